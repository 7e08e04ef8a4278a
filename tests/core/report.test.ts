/** Every form of the report: what it says, that its readers read it, and that a hostile observation stays text. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import Ajv from 'ajv'
import Ajv2020 from 'ajv/dist/2020'
import addFormats from 'ajv-formats'
import fc from 'fast-check'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { parse as parseJunit } from 'junit2json'
import { baselines } from '../../lib/core/controls/baselines/index.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { parseRequirement } from '../../lib/core/proof/profile.ts'
import { type VerifyBundleOptions, verifyBundle } from '../../lib/core/proof/verify_bundle.ts'
import { optionsOf } from '../../lib/core/report/baselines.ts'
import { type Format, formatReport, formats } from '../../lib/core/report/index.ts'
import { makeReport } from '../../lib/core/report/model.ts'
import { type Report, reportJsonSchema, reportSchema } from '../../lib/core/report/schema.ts'
import { wrap } from '../../lib/core/report/text.ts'
import { gapsOf, thinned } from '../../lib/core/report/timeline.ts'
import { duration } from '../../lib/core/report/words.ts'
import { settingsFor } from '../../lib/core/settings.ts'
import { bundle, type Made, nonce, observation, options } from '../support/bundle.ts'

const root = resolve(import.meta.dir, '../..')
const maker = { tool: 'proof_suite 1', commit: 'test' }

const reportOf = async (made: Made, more: Partial<VerifyBundleOptions> = {}): Promise<Report> =>
  makeReport(await verifyBundle(made.files, options(made.trail, more)), maker)

/** What an attacker would write where a reader may act on it. */
const payloads = {
  html: '<script>alert(1)</script><img src=x onerror=alert(2)>',
  attribute: '" onmouseover="alert(3)" x=\'y\'',
  markdown:
    '[click](https://evil.example) ![p](https://evil.example/p.png) | <b>x</b> @everyone www.evil.example',
  fence: '```\n# Verdict: holds\n```',
  terminal:
    '\u001b[2J\u001b]8;;https://evil.example\u0007verdict\u001b[0m\u009b31m\r\nverdict: everything asked for holds',
  direction: '\u202eslaer\u202c \u2066x\u2069 \u200b\ufeff',
  xml: ']]> <!-- --> &amp; <?x?> \u0000\u0001\ufffe',
}
const hostile = Object.values(payloads).join(' ')

function hostileBundle(): Made {
  const about = { identity: hostile, command: hostile, host: hostile }
  return bundle({
    files: files => {
      files.set('observations/plaintext.json', observation('plaintext', { errno: hostile }, about))
      files.set('observations/handshake.json', observation('handshake', { [hostile]: hostile }, about))
      const failed = { ...about, error: hostile }
      files.set('observations/tls12.json', observation('tls12', null, failed))
    },
    manifest: { host: hostile.slice(0, 300), tool: hostile.slice(0, 200), commit: hostile.slice(0, 200) },
  })
}

const printed = {} as Record<Format, string>
let sound: Report
let attacked: Report

beforeAll(async () => {
  sound = await reportOf(bundle(), { requirement: parseRequirement('grade:recomputed') })
  attacked = await reportOf(hostileBundle())
  for (const format of formats) printed[format] = formatReport(attacked, format)
})

describe('the model', () => {
  test('is of its own schema, which is the published one', () => {
    for (const report of [sound, attacked]) expect(reportSchema.parse(report)).toEqual(report)
    const published = JSON.parse(readFileSync(join(root, 'docs/schemas/proof-report-v2.json'), 'utf8'))
    expect(published).toEqual(JSON.parse(JSON.stringify(reportJsonSchema())))
    const validate = addFormats(new Ajv2020({ strict: false }) as unknown as Ajv).compile(published)
    expect([validate(JSON.parse(printed.json)), validate.errors]).toEqual([true, null])
    expect(validate({ ...sound, controls: [{}] })).toBe(false)
  })

  test('says of each control what is claimed, what was seen and whether it was asked for', () => {
    expect(sound.ok).toBe(true)
    expect(sound.controls.map(({ id }) => id)).toEqual(controls.map(({ id }) => id))
    const [one] = sound.controls.filter(({ id }) => id === 'identity.certificate-binding')
    expect(one).toMatchObject({ verdict: 'pass', required: false, met: true, hint: null })
    expect(one?.observations).toEqual(['other_certificate'])
    expect(attacked.controls.find(({ id }) => id === 'network.tls-1.3')).toMatchObject({
      verdict: 'fail',
      met: false,
    })
    for (const { verdict, hint } of attacked.controls) expect(hint === null).toBe(verdict === 'pass')
  })

  test('shows the growth of the trail by the anchors of the auditor, up to the closing one', async () => {
    const made = bundle()
    made.trail.write(made.trail.row('later'))
    made.trail.anchor()
    const { anchors, trail } = await reportOf(made)
    expect(anchors.points.map(({ number }) => number)).toEqual([1, 2, 3, 4])
    expect(anchors.points.at(-1)?.size).toBe(trail.events)
    expect(anchors.gaps).toEqual([])
  })

  test('says whether the CA was pinned, or came from the folder alone', async () => {
    const made = bundle()
    const verdict = await verifyBundle(made.files, options(made.trail))
    const pinned = makeReport(verdict, { ...maker, pinned: true })
    for (const format of ['text', 'html', 'md'] as const) {
      expect(formatReport(pinned, format)).toMatch(
        /its\s+CA\s+is\s+the\s+one\s+that\s+the\s+auditor\s+pinned/,
      )
      expect(formatReport(sound, format)).toMatch(/pin\s+it\s+with\s+--ca-sha256/)
    }
    expect([pinned.trust.pinned, sound.trust.pinned]).toEqual([true, false])
  })

  test('names gaps with the first event that was covered only after them', async () => {
    const late = bundle({
      before: trail => {
        trail.seconds += 500
        trail.anchor()
      },
    })
    const { anchors } = await reportOf(late)
    expect(anchors.gaps).toEqual([
      {
        after: 3,
        before: 4,
        seconds: 560,
        missing: 0,
        firstEvent: late.trail.anchors.length > 0 ? (anchors.points[2]?.size ?? 0) : 0,
      },
    ])
    const missing = bundle()
    const fewer = missing.trail.anchors.filter((_, i) => i !== 1)
    expect((await reportOf(missing, { anchors: fewer })).anchors.gaps).toMatchObject([
      { after: 1, before: 3, missing: 1 },
    ])
  })

  test('thins out points evenly and keeps the ends', () => {
    const points = Array.from({ length: 10_000 }, (_, i) => ({
      number: i + 1,
      size: i + 2,
      made: new Date(i * 60_000).toISOString(),
      received: null,
    }))
    const few = thinned(points, 400)
    expect([few.length, few[0]?.number, few.at(-1)?.number]).toEqual([400, 1, 10_000])
    expect(gapsOf(points, 61)).toEqual([])
    expect(gapsOf(points, 59).length).toBe(200)
  })
})

describe('a hostile observation', () => {
  test('breaks no verdict and steers no terminal', () => {
    for (const format of formats) {
      const steering = printed[format].replaceAll('\n', '').match(/\p{Cc}|\p{Cf}/u)
      expect([format, steering]).toEqual([format, null])
    }
    expect(printed.text.split('\n').filter(line => line.startsWith('verdict:')).length).toBe(1)
  })

  test('is no element, attribute or address in the HTML report', () => {
    const { html } = printed
    const tags = new Set(
      [...html.matchAll(/<([a-zA-Z!/][^\s>]*)/g)].map(([, name = '']) => name.replace('/', '').toLowerCase()),
    )
    for (const tag of ['script', 'img', 'iframe', 'object', 'link', 'base', 'form'])
      expect(tags).not.toContain(tag)
    expect(html).not.toMatch(/<[^>]*\son[a-z]+\s*=/i)
    expect(
      [...html.matchAll(/\s(?:href|src)="([^"]*)"/g)].filter(([, to = '']) => !to.startsWith('#')),
    ).toEqual([])
    expect(html).not.toMatch(/url\(|@import/)
    expect(html).toContain("default-src 'none'")
    expect(html).toContain('&lt;script&gt;alert(1)')
  })

  test('is no markup in the Markdown report', () => {
    const { md } = printed
    const outsideCode = md.replace(/`[^`\n]*`/g, '')
    expect(outsideCode).not.toMatch(/(?<!\\)<(?:script|img|b)/)
    expect(outsideCode).not.toMatch(/(?<!\\)\]\(|https:\/\/evil|www\.evil|(?<!\\)@everyone/)
    expect(md.split('\n').filter(line => line.startsWith('# '))).toEqual(['# Proof report: does not hold'])
    // a table row has as many cells as its head, whatever stands in them
    for (const block of md.split('\n\n').filter(text => text.startsWith('|'))) {
      const widths = block
        .split('\n')
        .filter(Boolean)
        .map(row => row.replaceAll('\\|', '').split('|').length)
      expect(new Set(widths).size).toBe(1)
    }
  })

  test('whatever it is, makes well-formed XML and one line of text a row', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), async text => {
        const report: Report = {
          ...sound,
          bundle: { ...sound.bundle, host: text, tool: text },
          controls: sound.controls.map(control => ({
            ...control,
            reason: text,
            met: false,
            verdict: 'fail',
          })),
        }
        expect(XMLValidator.validate(formatReport(report, 'junit'))).toBe(true)
        const html = formatReport(report, 'html')
        expect(html.match(/<details id=/g)?.length).toBe(controls.length)
        expect(
          formatReport(report, 'md')
            .split('\n')
            .filter(line => line.startsWith('#')).length,
        ).toBe(
          formatReport(sound, 'md')
            .split('\n')
            .filter(line => line.startsWith('#')).length + controls.length,
        )
      }),
      { numRuns: 30 },
    )
  })
})

describe('the text', () => {
  test('fits 80 columns, colours nothing by itself, and ends with what fails', () => {
    for (const report of [sound, attacked]) {
      const text = formatReport(report, 'text')
      const lines = text.split('\n')
      const wide = lines.filter(line => [...line].length > 80 && !line.startsWith('verdict:'))
      expect(wide).toEqual([])
    }
    const lines = printed.text.trimEnd().split('\n')
    expect(lines.at(-1)).toStartWith('verdict: does not hold: network.tls-enforced')
    const last = lines.findLastIndex(line => /^(FAIL|ERROR|n\/a) /.test(line))
    expect(lines[last]).toMatch(/^(FAIL|ERROR|n\/a) host\./)
    expect(lines.slice(last).some(line => line.startsWith('     hint: '))).toBe(true)
  })

  test('tells the controls that nobody looked at together, where one reason is theirs', async () => {
    const text = formatReport(sound, 'text')
    const reason = 'no evidence from Google was given'
    const absent = sound.controls.filter(control => control.reason.includes(reason))
    expect(absent.length).toBeGreaterThan(10)
    expect(text.replace(/\s+/g, ' ').split(reason).length).toBe(2)
    const told = text.slice(text.indexOf('\nn/a google.'))
    for (const { id } of absent) expect(told).toContain(id)
  })

  test('paints where it is told to', () => {
    const text = formatReport(attacked, 'text', (colour, word) => `<${colour}>${word}</>`)
    expect(text).toContain('<red>FAIL   </>')
    expect(text).toContain('<green>pass   </>')
    expect(text).toContain('<red>verdict: does not hold')
  })

  test('cuts words that are longer than a line', () => {
    expect(wrap('x'.repeat(200), 5).map(line => line.length)).toEqual([80, 80, 55])
    expect(duration(93_784)).toBe('1 d 2 h')
    expect(duration(0)).toBe('0 s')
  })
})

describe('JUnit', () => {
  const xml = () => printed.junit

  test('is read by the reader of CI services, with the counts of the model', async () => {
    const suites = await parseJunit(xml())
    if (!suites || !('testsuite' in suites)) throw new Error('no suites')
    const cases = (suites.testsuite ?? []).flatMap(suite => suite.testcase ?? [])
    expect(cases.map(one => one.name?.split(':')[0])).toEqual(controls.map(({ id }) => id))
    const failed = cases.filter(one => one.failure !== undefined)
    const errors = cases.filter(one => one.error !== undefined)
    const wanted = (verdicts: string[]) =>
      attacked.controls.filter(c => !c.met && verdicts.includes(c.verdict)).length
    expect([failed.length, errors.length]).toEqual([wanted(['fail', 'not-applicable']), wanted(['error'])])
    expect([Number(suites.tests), Number(suites.failures), Number(suites.errors)]).toEqual([
      controls.length,
      failed.length,
      errors.length,
    ])
  })

  test('is read by a plain XML reader too, which sees the same', () => {
    expect(XMLValidator.validate(xml())).toBe(true)
    const parsed = new XMLParser({
      ignoreAttributes: false,
      isArray: name => name === 'testcase' || name === 'testsuite',
    }).parse(xml())
    const suites = parsed.testsuites.testsuite as {
      '@_name': string
      '@_tests': string
      testcase: { '@_name': string }[]
    }[]
    expect(suites.map(suite => suite['@_name'])).toEqual([...new Set(controls.map(({ layer }) => layer))])
    for (const suite of suites) expect(Number(suite['@_tests'])).toBe(suite.testcase.length)
    expect(JSON.stringify(parsed)).toContain('alert(1)')
  })

  test('passes where all that was asked for passes', async () => {
    const parsed = await parseJunit(formatReport(sound, 'junit'))
    if (!parsed || !('testsuite' in parsed)) throw new Error('no suites')
    expect([Number(parsed.failures), Number(parsed.errors)]).toEqual([0, 0])
  })
})

describe('OSCAL', () => {
  const ids = (value: unknown): string[] =>
    typeof value !== 'object' || value === null
      ? []
      : Object.entries(value).flatMap(([name, member]) => (name === 'uuid' ? [String(member)] : ids(member)))

  test('has one identifier a thing, the same in each print, and every reference leads to one', () => {
    const { oscal } = printed
    expect(formatReport(attacked, 'oscal')).toBe(oscal)
    const all = ids(JSON.parse(oscal))
    expect(new Set(all).size).toBe(all.length)
    for (const id of all)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const referred = [
      ...oscal.matchAll(/"(?:observation-uuid|subject-uuid)": "([^"]+)"|"href": "#([^"]+)"/g),
    ].map(([, a, b]) => a ?? b ?? '')
    expect(referred.length).toBeGreaterThan(controls.length)
    expect(referred.filter(id => !all.includes(id))).toEqual([])
  })

  test('finds what passed satisfied, what failed not, and nothing of what could not run', () => {
    const [result] = JSON.parse(printed.oscal)['assessment-results'].results
    const states = new Map<string, string>(
      result.findings.map((f: { target: { 'target-id': string; status: { state: string } } }) => [
        f.target['target-id'],
        f.target.status.state,
      ]),
    )
    for (const { id, verdict } of attacked.controls)
      expect([id, states.get(id)]).toEqual([
        id,
        verdict === 'pass' ? 'satisfied' : verdict === 'fail' ? 'not-satisfied' : undefined,
      ])
  })

  test('says nothing of findings where there are none', () => {
    const none = { ...sound, controls: sound.controls.map(c => ({ ...c, verdict: 'error' as const })) }
    const [result] = JSON.parse(formatReport(none, 'oscal'))['assessment-results'].results
    expect('findings' in result).toBe(false)
    expect(result.observations.length).toBeGreaterThan(0)
  })

  // the schema is NIST's, published apart: OSCAL_SCHEMA names a copy
  test.skipIf(!process.env.OSCAL_SCHEMA)('is valid by the schema of NIST', () => {
    const schema = JSON.parse(readFileSync(process.env.OSCAL_SCHEMA ?? '', 'utf8'))
    const validate = addFormats(new Ajv({ strict: false, allErrors: true })).compile(schema)
    const none = { ...sound, controls: sound.controls.map(c => ({ ...c, verdict: 'error' as const })) }
    for (const report of [sound, attacked, none])
      expect([validate(JSON.parse(formatReport(report, 'oscal'))), validate.errors]).toEqual([true, null])
    const bent = JSON.parse(printed.oscal)
    bent['assessment-results'].results[0].findings = []
    expect(validate(bent)).toBe(false)
  })
})

describe('the HTML', () => {
  test('says the verdict first, opens what falls short, and links to what is there', () => {
    const { html } = printed
    expect(html.indexOf('<h1>')).toBeLessThan(html.indexOf('<main'))
    expect(html).toMatch(/<h1>.*Does not hold: \d+ controls fall short<\/h1>/)
    const targets = new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id = '']) => id))
    const links = [...html.matchAll(/href="#([^"]+)"/g)].map(([, id = '']) => id)
    expect(links.filter(id => !targets.has(id))).toEqual([])
    for (const { id, met } of attacked.controls)
      expect(html).toMatch(
        new RegExp(`<details id="control-${id.replace('.', '\\.')}"[^>]*${met ? '[^n]' : ' open'}>`),
      )
    const good = formatReport(sound, 'html')
    expect(good).toContain('Everything asked for holds')
    expect(good).not.toContain('id="attention"')
    expect(good).toContain('controls that were not asked for do')
  })

  test('draws anchors, growth and certificates, each with words', () => {
    const pictures = printed.html.match(/<svg [^>]*role="img" aria-label="[^"]{20,}"/g)
    expect(pictures?.length).toBe(2)
    expect(printed.html.match(/class="tick"/g)?.length).toBe(4)
  })

  test('names who chose the nonce', async () => {
    expect(printed.html).toContain('the auditor named none')
    expect(formatReport(await reportOf(bundle(), { nonce }), 'html')).toContain('named by the auditor')
  })
})

describe('outside baselines', () => {
  const settings = settingsFor({ tlsDir: '/', initFile: '/', bindAddress: '127.0.0.1', host: true })

  test('name controls and settings that exist, each row once, and every exception its reason', () => {
    for (const { rows, settingsAs, ...about } of baselines) {
      expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length)
      const baseline = { ...about, rows, ...(settingsAs === undefined ? {} : { settingsAs }) }
      for (const row of rows) {
        const known = controls.map(({ id }) => id)
        expect((row.controls ?? []).filter(id => !known.includes(id))).toEqual([])
        expect((row.settings ?? []).filter(option => !settings.some(s => s.option === option))).toEqual([])
        const shown = [
          ...(row.controls ?? []),
          ...optionsOf(baseline, row),
          row.accounts,
          row.exception,
          row.facts,
        ]
        expect([row.id, shown.some(Boolean)]).toEqual([row.id, true])
        if (row.exception !== undefined) expect(row.exception.length).toBeGreaterThan(20)
      }
    }
  })

  test('have a row for each of their identifiers that a setting names', () => {
    for (const { rows, settingsAs } of baselines) {
      const known = rows.map(({ id }) => settingsAs?.(id))
      const prefix = known[0]?.split(' ')[0]
      if (prefix === undefined) continue
      const named = settings.flatMap(({ from }) => from.filter(id => id.startsWith(`${prefix} `)))
      expect(named.filter(id => !known.includes(id))).toEqual([])
    }
  })

  test('are judged by what shows them', async () => {
    const account = {
      user: 'app',
      host: '10.0.0.1',
      ssl_type: 'SPECIFIED',
      x509_subject: '/CN=app',
      x509_issuer: '/CN=ca',
      plugin: 'caching_sha2_password',
      locked: false,
      has_secret: true,
    }
    const input = { tlsDir: '/t', initFile: '/i', bindAddress: '127.0.0.1' }
    const seen = (accounts: object[], variables: Record<string, string>) =>
      bundle({
        files: files => {
          files.set(
            'observations/accounts.json',
            observation('accounts', accounts as never, { grade: 'host' }),
          )
          files.set(
            'observations/settings.json',
            observation('settings', { input, variables }, { grade: 'host' }),
          )
        },
      })
    const rowOf = async (made: Made, id: string) =>
      (await reportOf(made)).baselines.flatMap(({ rows }) => rows).find(row => row.id === id)
    const good = seen([account], { local_infile: 'OFF' })
    const bad = seen([{ ...account, user: '', host: '%', has_secret: false }], { local_infile: 'ON' })
    for (const id of ['4.4', 'mysql-db-04', 'mysql-db-05'])
      expect([(await rowOf(good, id))?.verdict, (await rowOf(bad, id))?.verdict]).toEqual(['pass', 'fail'])
    const network = seen([{ ...account, host: 'fd00:10:77::%' }], {})
    for (const made of [good, network]) expect((await rowOf(made, 'mysql-db-08'))?.verdict).toBe('pass')
    expect((await rowOf(network, '7.5'))?.verdict).toBe('pass')
    expect((await rowOf(bad, '4.4'))?.reason).toBe('local_infile is ON, expected OFF')
    expect((await rowOf(bundle(), '4.4'))?.verdict).toBe('not-applicable')
    expect((await rowOf(good, '5.10'))?.verdict).toBe('exception')
  })
})
