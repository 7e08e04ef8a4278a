/** Bundles made in memory: an honest one is read and judged; whatever is bent in it is refused or judged red. */
import { describe, expect, test } from 'bun:test'
import { type Bytes, fromUtf8, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { isBundleName, readBundle } from '../../lib/core/proof/bundle.ts'
import { formatObservation, parseObservation } from '../../lib/core/proof/observation.ts'
import { parseRequirement } from '../../lib/core/proof/profile.ts'
import { type VerifyBundleOptions, verifyBundle } from '../../lib/core/proof/verify_bundle.ts'
import { bundle, definitions, type Made, nonce, observation, options } from '../support/bundle.ts'
import { honestTrail, type TrailBuilder } from '../support/trail.ts'

/** Ids of the controls that are red, of those that need no observation of a real server. */
async function red({ files, trail }: Made, more: Partial<VerifyBundleOptions> = {}): Promise<string[]> {
  const { judged } = await verifyBundle(files, options(trail, more))
  return judged
    .filter(one => one.control.grade === 'recomputed' && one.status === 'fail')
    .map(one => one.control.id)
}

async function refused(files: Map<string, Bytes>): Promise<string> {
  try {
    await readBundle(files, definitions)
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.message
    throw thrown
  }
  return 'accepted'
}

describe('an honest bundle', () => {
  test('is green in all that is recomputed, and says when it was collected', async () => {
    const made = bundle()
    expect(await red(made)).toEqual([])
    const verdict = await verifyBundle(made.files, options(made.trail))
    expect(verdict.opened < verdict.closed).toBe(true)
    expect(verdict.trail).toMatchObject({ ok: true, rows: 3, lastAnchor: 4 })
    const passes = verdict.judged.filter(one => one.status === 'pass').map(one => one.control.id)
    expect(passes).toContain('identity.certificate-binding')
    // the observations that are not in it are errors, and with them the verdict
    expect(verdict.ok).toBe(false)
    expect(verdict.judged.find(one => one.control.id === 'writes.procedures-only')?.status).toBe('error')
  })

  test('of a busy server: rows ahead of the trail are explained by events that the closing anchor covers', async () => {
    let waiting: TrailBuilder['events'] = []
    const made = bundle({
      queued: trail => {
        const at = trail.events.length
        trail.write(trail.row('busy'))
        waiting = trail.events.slice(at)
        return waiting.map(event => event.payload)
      },
    })
    expect(waiting.length).toBe(1)
    expect(await red(made)).toEqual([])
  })

  test('holds with anchors that came after it', async () => {
    const made = bundle()
    made.trail.write(made.trail.row('later'))
    made.trail.anchor()
    expect(await red(made)).toEqual([])
  })
})

describe('a bundle is refused', () => {
  test('when any byte of any file in its manifest is another', async () => {
    const { files } = bundle()
    for (const [name, bytes] of files) {
      if (name === 'closing.ndjson') continue // what covers it is the closing anchor: below
      const step = Math.max(1, Math.floor(bytes.length / 40))
      for (let at = 0; at < bytes.length; at += step) {
        const bent = bytes.slice()
        bent[at] = (bent[at] ?? 0) ^ 1
        const answer = await refused(new Map(files).set(name, bent))
        // a manifest of another host or tool is one that no event names: below
        if (name !== 'manifest.json')
          expect([name, at, answer]).toEqual([name, at, expect.stringMatching(name)])
      }
    }
  })

  test('when a file is missing, unlisted, or under another name', async () => {
    const { files } = bundle()
    for (const name of files.keys()) {
      const fewer = new Map(files)
      fewer.delete(name)
      expect(await refused(fewer)).toBe(`bundle: ${name} is missing`)
    }
    const extra = (name: string) => refused(new Map(files).set(name, utf8('{}\n')))
    expect(await extra('observations/firewall.json')).toContain('is not in its manifest')
    for (const name of [
      '../trail.ndjson',
      '/etc/passwd',
      'notes.txt',
      'observations/../x.json',
      'Manifest.json',
    ])
      expect(await extra(name)).toContain('does not belong in it')
  })

  test('when its manifest lists itself, a file twice, or out of order', async () => {
    const bend = async (change: (list: { path: string }[]) => unknown[]): Promise<string> => {
      const { files } = bundle()
      const manifest = JSON.parse(fromUtf8(files.get('manifest.json') ?? utf8(''), 'manifest'))
      manifest.files = change(manifest.files)
      return refused(files.set('manifest.json', utf8(`${JSON.stringify(manifest)}\n`)))
    }
    expect(await bend(list => [...list].reverse())).toContain('not sorted')
    expect(await bend(list => list.flatMap(file => [file, file]))).toContain('not sorted')
    expect(await bend(list => [...list.slice(0, -1), { ...list.at(-1), path: 'zz' }])).toContain(
      'is not in its manifest',
    )
    const self = { path: 'closing.ndjson', size: 1, sha256: 'ab'.repeat(32) }
    expect(await bend(list => [...list, self].sort((a, b) => (a.path < b.path ? -1 : 1)))).toContain(
      'lists closing.ndjson',
    )
  })

  test('when its trail was cut anywhere, or its counts are others', async () => {
    const whole = fromUtf8(bundle().files.get('trail.ndjson') ?? utf8(''), 'trail')
    const lines = whole.match(/[^\n]*\n/g) ?? []
    const cut = async (text: string): Promise<string> => {
      const made = bundle({ files: files => void files.set('trail.ndjson', utf8(text)) })
      return verifyBundle(made.files, options(made.trail)).then(
        () => 'accepted',
        thrown => (thrown as ZtError).message,
      )
    }
    expect(await cut(lines.slice(0, -1).join(''))).toContain('the file was cut')
    expect(await cut(whole.slice(0, -1))).toContain('was cut')
    expect(await cut(`${lines.slice(0, 3).join('')}${lines.at(-1)}`)).toContain('counts other lines')
    expect(await cut(lines.toSpliced(3, 1).join(''))).toContain('counts other lines')
    expect(await cut(lines.toSpliced(-2, 1).join(''))).toContain('counts other lines')
    expect(await cut(lines.toSpliced(3, 0, lines[2] ?? '').join(''))).toContain('counts other lines')
    expect(await cut(`${'x'.repeat(70_000)}\n${whole}`)).toContain('longer than')
    expect(await cut('')).toContain('cut')
    expect(await cut('\n')).toContain('cut')
  })

  test('when it is of a newer format, or an observation nests without end', async () => {
    const raise = (files: Map<string, Bytes>, name: string) =>
      files.set(name, utf8(fromUtf8(files.get(name) ?? utf8(''), name).replace('"v":1', '"v":2')))
    const newer = (name: string) =>
      refused(
        name === 'manifest.json'
          ? raise(bundle().files, name)
          : bundle({ files: files => void raise(files, name) }).files,
      )
    for (const name of ['manifest.json', 'trail.ndjson', 'observations/plaintext.json'])
      expect([name, await newer(name)]).toEqual([name, expect.stringContaining('this program knows 1')])
    const deep = utf8(
      fromUtf8(observation('plaintext', 1), 'o').replace(
        '"result":1',
        `"result":${'['.repeat(50_000)}${']'.repeat(50_000)}`,
      ),
    )
    expect(
      await refused(bundle({ files: f => void f.set('observations/plaintext.json', deep) }).files),
    ).toContain('observations/plaintext.json')
  })

  test('when it is of another log than the trust folder', async () => {
    const { files } = bundle()
    const other = honestTrail()
    const trust = { ...options(other).trust, origin: 'ztmysql.local/00000000deadbeef' }
    await expect(verifyBundle(files, options(other, { trust }))).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
    })
  })
})

describe('a bundle is judged red', () => {
  test('when any byte of its closing part is another', async () => {
    const { files, trail } = bundle()
    const bytes = files.get('closing.ndjson') ?? utf8('')
    for (let at = 0; at < bytes.length; at += Math.max(1, Math.floor(bytes.length / 40))) {
      const bent = bytes.slice()
      bent[at] = (bent[at] ?? 0) ^ 1
      const verdict = await verifyBundle(new Map(files).set('closing.ndjson', bent), options(trail)).then(
        ({ judged }) => judged.filter(one => one.status === 'fail').map(one => one.control.layer),
        thrown => {
          if (thrown instanceof ZtError) return ['audit']
          throw thrown
        },
      )
      expect([at, verdict]).toEqual([at, expect.arrayContaining(['audit'])])
    }
  })

  test('when its manifest is another than the one whose event the closing anchor covers', async () => {
    const made = bundle()
    const text = fromUtf8(made.files.get('manifest.json') ?? utf8(''), 'manifest')
    made.files.set('manifest.json', utf8(text.replace('"host":"db"', '"host":"dc"')))
    expect(await red(made)).toEqual(['audit.bracketed'])
  })

  test('when it answers another nonce, or the trail holds none before its end', async () => {
    expect(await red(bundle(), { nonce: 'cd'.repeat(32) })).toEqual(['audit.bracketed'])
    expect(await red(bundle(), { nonce })).toEqual([])
    const late = bundle()
    const text = fromUtf8(late.files.get('manifest.json') ?? utf8(''), 'manifest')
    late.files.set('manifest.json', utf8(text.replace(nonce, 'cd'.repeat(32))))
    expect(await red(late)).toEqual(['audit.bracketed'])
  })

  test('when no anchor opens it, none closes it, or they lie too far apart', async () => {
    const made = bundle()
    const without = (number: number) => made.trail.anchors.filter((_, i) => i + 1 !== number)
    expect(await red(made, { anchors: without(4) })).toContain('audit.bracketed')
    expect(await red(made, { anchors: without(3) })).toEqual(
      expect.arrayContaining(['audit.heartbeat', 'audit.bracketed']),
    )
    const slow = bundle({
      between: trail => {
        trail.seconds += 1000
      },
    })
    expect(await red(slow, { gapSeconds: 3600 })).toEqual(['audit.bracketed'])
  })

  test('when the host shows another anchor than the auditor has', async () => {
    const made = bundle({
      files: (files, trail) => {
        const other = honestTrail()
        const [name] = trail.anchors.map(anchor => anchor.name)
        files.set(`anchors/${name}`, other.anchors[0]?.bytes ?? utf8(''))
      },
    })
    expect(await red(made)).toEqual(['audit.anchored'])
  })

  test('when a row is explained by an event that is never sealed', async () => {
    const made = bundle({
      queued: trail => [trail.queue(trail.row('ghost'))],
    })
    expect(await red(made)).toEqual(['audit.heartbeat'])
  })

  test('when a row was edited, and by an unsigned event in the queue too', async () => {
    const edited = bundle({
      before: trail => {
        const [row] = [...trail.rows.values()]
        if (row) trail.rows.set(String(row.id), { ...row, text: 'edited' })
      },
    })
    expect(await red(edited)).toEqual(['audit.state'])
    const unsigned = bundle({
      queued: trail => {
        const at = trail.events.length
        trail.write(trail.row('x'), trail.app, event => ({ ...event, sig: null, signer: null }))
        return trail.events.slice(at).map(event => event.payload)
      },
    })
    expect(await red(unsigned)).toEqual(['audit.signatures'])
  })
})

describe('an observation', () => {
  const good = observation('plaintext', { errno: 1045 })
  const name = 'observations/plaintext.json'

  test('re-prints to its own bytes, and is refused under another name, form or version', () => {
    expect(formatObservation(parseObservation(good, name))).toBe(fromUtf8(good, name))
    const bad = (from: string, to: string, as = name) => {
      expect(() => parseObservation(utf8(fromUtf8(good, name).replace(from, to)), as)).toThrow(ZtError)
    }
    bad('', '', 'observations/other.json')
    bad('"v":1', '"v":2')
    bad('"v":1', '"v":0')
    bad('"grade":"network"', '"grade":"sworn"')
    bad('"host"', '"Host"')
    bad('{"v"', '{ "v"')
    bad('"result"', '"error":"x","result"')
    bad('"time":"2026', '"time":"26')
    bad('\n', '')
    bad('}\n', '}\n\n')
    bad('"id":"plaintext"', '"id":"../plaintext"')
  })
})

test('a bundle knows its names', () => {
  for (const name of [
    'manifest.json',
    'observations/tls12.json',
    'anchors/anchor-0000000001.json',
    'certificates/a-01.pem',
  ])
    expect(isBundleName(name)).toBe(true)
  for (const name of [
    '',
    '.',
    '..',
    'manifest.json/',
    './manifest.json',
    'observations/',
    'observations/A.json',
  ])
    expect(isBundleName(name)).toBe(false)
  for (const name of [
    'observations/a\n.json',
    'manifest.json\n',
    'anchors/anchor-1.json',
    `observations/${'a'.repeat(41)}.json`,
  ])
    expect(isBundleName(name)).toBe(false)
})

describe('what this release does not know', () => {
  test('an observation of no control is named, and the bundle does not pass', async () => {
    const made = bundle({
      files: files => void files.set('observations/of_the_future.json', observation('of_the_future', {})),
    })
    const asked = { requirement: parseRequirement('identity.certificate-binding') }
    const honest = bundle()
    expect((await verifyBundle(honest.files, options(honest.trail, asked))).ok).toBe(true)
    const verdict = await verifyBundle(made.files, options(made.trail, asked))
    expect([verdict.ok, verdict.unknown]).toEqual([false, ['of_the_future']])
  })

  test('a control, grade or profile of another release cannot be asked for', () => {
    for (const text of ['', 'everything', 'host.future', 'grade:best', 'full,', 'network.*'])
      expect(() => parseRequirement(text)).toThrow('--require')
  })
})

describe('a requirement', () => {
  const verdictOf = async (text: string, made = bundle()) =>
    verifyBundle(made.files, options(made.trail, { requirement: parseRequirement(text) }))

  test('of one control asks for it, for what it rests on, and for the brackets', async () => {
    expect(parseRequirement('writes.tenant-isolation').controls).toEqual([
      'audit.anchored',
      'audit.bracketed',
      'writes.procedure-path',
      'writes.tenant-isolation',
    ])
    expect((await verdictOf('identity.certificate-binding')).ok).toBe(true)
    expect((await verdictOf('identity.certificate-binding,host.firewall')).ok).toBe(false)
    const stale = bundle({
      between: trail => {
        trail.seconds += 1000
      },
    })
    expect((await verdictOf('identity.certificate-binding', stale)).ok).toBe(false)
  })

  test('of a grade asks for every enforced control of it', async () => {
    expect((await verdictOf('grade:recomputed')).ok).toBe(true)
    // writes.procedures-only has no observation in it
    expect((await verdictOf('grade:network')).ok).toBe(false)
  })

  test('that names an optional control wants a pass of it, not its absence', async () => {
    expect((await verdictOf('host.fips')).ok).toBe(false)
  })
})
