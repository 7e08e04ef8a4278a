/** Evidence from Google beside a bundle and in it: each weakness turns its own row red, and nothing old or strange passes. */
import { describe, expect, test } from 'bun:test'
import { utf8 } from '../../lib/core/bytes.ts'
import type { Json } from '../../lib/core/controls/control.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { gcsChecksum } from '../../lib/core/crc32c.ts'
import type { Seen } from '../../lib/core/gcp/evidence.ts'
import { keyName } from '../../lib/core/gcp/settings.ts'
import { formatObservation, type Observation, parseObservation } from '../../lib/core/proof/observation.ts'
import type { Status } from '../../lib/core/proof/outcome.ts'
import { meets, parseRequirement } from '../../lib/core/proof/profile.ts'
import { type VerifyBundleOptions, verifyBundle } from '../../lib/core/proof/verify_bundle.ts'
import { formatTime } from '../../lib/core/time.ts'
import { bundle, type Made, options } from '../support/bundle.ts'
import { attest, now, seen, settings, weaknesses } from '../support/gcp_seen.ts'

const ids = controls.filter(({ layer }) => layer === 'google').map(({ id }) => id)
const minute = 60_000

/** The time between the bundle's two anchors, by the auditor's copy. */
const middleOf = ({ trail }: Made): number => {
  const [opening, closing] = trail.anchors.slice(-2)
  return ((opening?.receivedAt ?? 0) + (closing?.receivedAt ?? 0)) / 2
}

/** Evidence whose times are moved to where the bundle is, and which names an anchor of its log. */
function evidenceFor(made: Made, anchor = -2): Seen {
  const at = middleOf(made)
  const evidence = seen()
  const newest = made.trail.anchors.at(anchor)
  if (!newest) throw new Error('no anchor')
  const moved = (time: number | null) => (time === null ? null : time - now + at)
  return {
    ...evidence,
    at,
    lastEntry: moved(evidence.lastEntry),
    lastExport: moved(evidence.lastExport),
    lastAnchor: {
      name: `anchors/${newest.name}`,
      created: newest.receivedAt ?? 0,
      crc32c: gcsChecksum(newest.bytes),
    },
  }
}

const observed = (evidence: Seen, more: Partial<Observation> = {}): Observation => ({
  v: 1,
  id: 'google',
  time: formatTime(evidence.at * 1000),
  host: 'workstation',
  identity: 'the account of gcloud',
  grade: 'off-host',
  command: 'outside_gcp_setup verify',
  result: JSON.parse(JSON.stringify(evidence)) as Json,
  ...more,
})

const row = async (made: Made, more: Partial<VerifyBundleOptions>) => {
  const { judged } = await verifyBundle(made.files, options(made.trail, { attest, ...more }))
  return judged.filter(({ control }) => control.layer === 'google')
}
const rows = async (made: Made, more: Partial<VerifyBundleOptions>): Promise<Record<string, Status>> =>
  Object.fromEntries((await row(made, more)).map(({ control, status }) => [control.id, status]))
const every = (status: Status) => Object.fromEntries(ids.map(id => [id, status]))

const made = bundle()
const google = observed(evidenceFor(made))

describe('evidence from Google', () => {
  test('that nobody gave is not applicable, and never a pass', async () => {
    expect(await rows(made, {})).toEqual(every('not-applicable'))
    const { judged } = await verifyBundle(made.files, options(made.trail))
    const unmet = (text: string) =>
      judged.filter(one => !meets(one, parseRequirement(text))).map(({ control }) => control.id)
    expect(unmet('full').filter(id => id.startsWith('google.'))).toEqual([])
    expect(unmet('google').filter(id => id.startsWith('google.'))).toEqual(ids)
  })

  test('of a whole set-up is green, whether the auditor brings it or the bundle does', async () => {
    expect(await rows(made, { google })).toEqual(every('pass'))
    const carrying = bundle({
      files: files => void files.set('observations/google.json', utf8(formatObservation(google))),
    })
    const evidence = evidenceFor(carrying)
    // the anchors of another trail: evidence of another log
    expect((await rows(carrying, {}))['google.evidence']).toBe('fail')
    const own = await row(carrying, { google: observed(evidence) })
    expect(own.map(({ status }) => status)).toEqual(ids.map(() => 'pass'))
    expect(own[0]?.reason).toContain('your own')
  })

  test('in a bundle is said to be the word of whoever collected', async () => {
    const carrying = bundle({
      before: trail => void trail.write(trail.row('seen')),
      files: (files, trail) => {
        const evidence = evidenceFor({
          files,
          trail: { ...trail, anchors: [...trail.anchors, ...trail.anchors.slice(-1)] } as Made['trail'],
        })
        files.set('observations/google.json', utf8(formatObservation(observed(evidence))))
      },
    })
    const [evidence] = await row(carrying, {})
    expect(evidence).toMatchObject({ status: 'pass', reason: expect.stringContaining('collector’s word') })
  })

  test.each(weaknesses)('of %s turns the rows of its promises red, and no other', async (_, bend, broken) => {
    const evidence = evidenceFor(made)
    // the weakness is made at its own time and moved with it
    const bent = seen()
    bend(bent)
    const shift = evidence.at - now
    const next: Seen = {
      ...bent,
      at: evidence.at,
      keys: bent.keys,
      lastEntry: bent.lastEntry === null ? null : bent.lastEntry + shift,
      lastExport: bent.lastExport === null ? null : bent.lastExport + shift,
      lastAnchor:
        bent.lastAnchor === null ? null : { ...bent.lastAnchor, created: bent.lastAnchor.created + shift },
    }
    const untouched = JSON.stringify(bent.lastAnchor) === JSON.stringify(seen().lastAnchor)
    if (untouched) next.lastAnchor = evidence.lastAnchor
    const found = await rows(made, { google: observed(next) })
    const red = ids.filter(id => found[id] !== 'pass')
    // who names no anchor of this log has no evidence of it
    expect(red).toEqual(ids.filter(id => broken.includes(id) || (!untouched && id === 'google.evidence')))
  })

  test('without roots in the trust folder believes no attestation', async () => {
    const { judged } = await verifyBundle(made.files, options(made.trail, { google }))
    const one = judged.find(({ control }) => control.id === 'google.attested')
    expect(one).toMatchObject({ status: 'not-applicable', reason: expect.stringContaining('no roots') })
  })

  const bentEvidence = (bend: (evidence: Seen) => unknown): Observation => {
    const evidence = evidenceFor(made)
    bend(evidence)
    return observed(evidence)
  }
  test.each<[string, () => Observation, string]>([
    [
      'of the day before yesterday',
      () => bentEvidence(e => Object.assign(e, { at: e.at - 2 * 1440 * minute })),
      'older than the bundle',
    ],
    [
      'of the day after tomorrow',
      () => bentEvidence(e => Object.assign(e, { at: e.at + 2 * 1440 * minute })),
      'younger than the bundle',
    ],
    [
      'with two times',
      () => observed(evidenceFor(made), { time: '2026-01-01T00:00:00.000000Z' }),
      'its two times differ',
    ],
    ['of no anchor', () => bentEvidence(e => Object.assign(e, { lastAnchor: null })), 'names no anchor'],
    [
      'of an anchor that the copy does not have',
      () => bentEvidence(e => Object.assign(e.lastAnchor ?? {}, { name: 'anchors/anchor-0000000099.json' })),
      'is not in your copy',
    ],
    [
      "of another log's anchor",
      () => bentEvidence(e => Object.assign(e.lastAnchor ?? {}, { crc32c: 'AAAAAA==' })),
      'holds another',
    ],
    [
      'of an anchor that Google received at another time than the copy says',
      () =>
        bentEvidence(e =>
          Object.assign(e.lastAnchor ?? {}, { created: (e.lastAnchor?.created ?? 0) - 30 * minute }),
        ),
      'your copy says',
    ],
  ])('%s turns the row of the evidence red', async (_, make, reason) => {
    const [first] = await row(made, { google: make() })
    expect([first?.status, first?.reason]).toEqual(['fail', expect.stringContaining(reason)])
  })

  test('that says nothing of a tenant of the trust folder turns the row of the evidence red', async () => {
    const { trust } = options(made.trail)
    const tenant = (label: string, fixture = false) => ({
      id: '00000000-0000-4000-8000-000000000000',
      label,
      fixture,
      issuers: [],
      kems: [],
      kmsKeys: [`gcp-kms://${keyName(settings, label)}`],
    })
    const judged = async (...labels: string[]) => {
      const [first] = await row(made, {
        google,
        trust: { ...trust, tenants: [...labels.map(label => tenant(label)), tenant('probe', true)] },
      })
      return [first?.status, first?.reason]
    }
    expect((await judged('acme', 'globex'))[0]).toBe('pass')
    expect(await judged('acme', 'initech')).toEqual(['fail', expect.stringContaining('of tenant initech')])
  })

  test('of a stand-in says so', async () => {
    const [first] = await row(made, { google: bentEvidence(e => Object.assign(e, { standIn: true })) })
    expect(first?.reason).toContain('FROM A STAND-IN')
  })

  test.each<[string, Partial<Observation>, Status]>([
    ['of the host', { grade: 'host' }, 'error'],
    ['of another shape', { result: { at: 1 } }, 'fail'],
    ['with a member more', { result: { ...(google.result as object), more: 1 } as Json }, 'fail'],
    [
      'with a bad project',
      {
        result: { ...(google.result as object), settings: { ...settings, project: '-' } } as unknown as Json,
      },
      'fail',
    ],
  ])('%s is no evidence', async (_, more, status) => {
    expect(await rows(made, { google: { ...google, ...more } })).toEqual(every(status))
  })

  test('comes back from its file as it went in', () => {
    expect(parseObservation(utf8(formatObservation(google)), 'observations/google.json')).toEqual(google)
  })
})
