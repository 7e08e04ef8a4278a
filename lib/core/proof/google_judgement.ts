/** The evidence of `outside_gcp_setup verify` (SPEC §7.5), judged by the same promises as there. */
import { anchorNumber } from '../audit/anchor.ts'
import type { StoredAnchor } from '../audit/source.ts'
import { gcsChecksum } from '../crc32c.ts'
import { reason } from '../errors.ts'
import { googleProbe, parseSeen, type Seen } from '../gcp/evidence.ts'
import { type Attest, keysOf } from '../gcp/promise.ts'
import { promises } from '../gcp/promises.ts'
import type { Trust } from '../trust.ts'
import type { Observation } from './observation.ts'
import { fail, type Outcome, pass } from './outcome.ts'

/** What the evidence is held against. */
export interface GoogleContext {
  /** Whether the auditor brought it; else it came with the bundle, and is its collector's word. */
  own: boolean
  /** Checks attestations against the roots of the trust folder; absent where it has none. */
  attest: Attest | undefined
  /** The auditor's copy. */
  anchors: readonly StoredAnchor[]
  /** Times of the anchors around the bundle, ms since 1970; null where one is missing. */
  opened: number | null
  closed: number | null
}

const dayMs = 86_400_000
/** Between Google's clock and that of a copy which was not fetched from it. */
const skewMs = 600_000

/** @param id of a control of the layer google */
export function judgeGoogle(
  id: string,
  observation: Observation | undefined,
  context: GoogleContext,
  trust: Pick<Trust, 'tenants'>,
): Outcome {
  if (observation === undefined)
    return {
      status: 'not-applicable',
      reason: 'no evidence from Google was given: outside_gcp_setup verify --out, then --google',
    }
  if (observation.grade !== 'off-host')
    return { status: 'error', reason: `observation ${googleProbe} is of grade ${observation.grade}` }
  if (observation.error !== undefined)
    return { status: 'error', reason: `${googleProbe} could not run: ${observation.error}` }
  try {
    const seen = parseSeen(observation.result)
    if (id === 'google.evidence') return judgeEvidence(seen, observation, context, trust)
    const promised = promises.find(each => each.id === id)
    if (promised === undefined) return { status: 'error', reason: `${id} is no promise of this release` }
    const [holds, detail] = promised.judge(seen, context.attest)
    if (holds === undefined) return { status: 'not-applicable', reason: detail }
    return holds ? pass(detail) : fail(detail)
  } catch (thrown) {
    return fail(reason(thrown))
  }
}

function judgeEvidence(
  seen: Seen,
  { time }: Observation,
  context: GoogleContext,
  trust: Pick<Trust, 'tenants'>,
): Outcome {
  const fault =
    (Date.parse(time) === seen.at ? undefined : 'its two times differ') ??
    ageFault(seen, context) ??
    anchorFault(seen, context) ??
    tenantFault(seen, trust)
  if (fault !== undefined) return fail(fault)
  const from = seen.standIn ? ', FROM A STAND-IN AND NOT FROM GOOGLE' : ''
  const whose = context.own ? 'your own' : 'from the bundle, hence its collector’s word'
  return pass(`of ${new Date(seen.at).toISOString()}, ${whose}${from}`)
}

function ageFault({ at }: Seen, { own, opened, closed }: GoogleContext): string | undefined {
  if (opened === null || closed === null) return 'the bundle has no place in time to hold it against'
  const hours = (ms: number): string => `${Math.round(ms / 3_600_000)} h`
  if (at < opened - dayMs) return `it is ${hours(opened - at)} older than the bundle`
  // what lies in the bundle was there before the bundle was closed
  if (at > closed + (own ? dayMs : skewMs)) return `it is ${hours(at - closed)} younger than the bundle`
  return undefined
}

/** An anchor is signed and cannot be known beforehand: evidence that names it was taken after it, and of this log. */
function anchorFault({ lastAnchor, at }: Seen, { anchors, opened }: GoogleContext): string | undefined {
  if (lastAnchor === null) return 'it names no anchor, so it may be of any deployment and any day'
  const name = lastAnchor.name.split('/').at(-1) ?? ''
  const mine = anchorNumber(name) === undefined ? undefined : anchors.find(each => each.name === name)
  if (mine === undefined)
    return `its newest anchor ${JSON.stringify(name.slice(0, 60))} is not in your copy: fetch the anchors again, or it is of another log`
  if (gcsChecksum(mine.bytes) !== lastAnchor.crc32c) return `the bucket holds another ${name} than your copy`
  const received = mine.receivedAt
  if (received !== null && Math.abs(received - lastAnchor.created) > skewMs)
    return `Google received ${name} at ${new Date(lastAnchor.created).toISOString()}, your copy says ${new Date(received).toISOString()}`
  if (opened !== null && lastAnchor.created < opened - dayMs)
    return `its newest anchor ${name} is more than a day older than the bundle`
  return at < lastAnchor.created - skewMs ? `it was taken before its own newest anchor` : undefined
}

function tenantFault(seen: Seen, trust: Pick<Trust, 'tenants'>): string | undefined {
  const looked = new Set(
    keysOf(seen).flatMap(([, key]) => (key === undefined ? [] : [`gcp-kms://${key.name}`])),
  )
  const lost = trust.tenants
    .filter(({ fixture }) => !fixture)
    .flatMap(({ label, kmsKeys }) =>
      kmsKeys
        .filter(uri => uri.startsWith('gcp-kms://') && !looked.has(uri))
        .map(uri => `${uri} of tenant ${label}`),
    )
  return lost.length === 0 ? undefined : `it says nothing of ${lost.join(', ')}`
}
