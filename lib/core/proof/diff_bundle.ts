/** What changed between two bundles of one log, and whether the newer one goes on where the older one ended. */
import type { TrailEvent } from '../audit/source.ts'
import { type Bytes, equal } from '../bytes.ts'
import type { Json } from '../controls/control.ts'
import { isTime } from '../time.ts'
import type { Bundle } from './bundle.ts'
import type { Observation } from './observation.ts'
import type { BundleVerdict } from './verify_bundle.ts'

export interface ValueChange {
  /** Path into the observation. */
  at: string
  before: Json | undefined
  after: Json | undefined
}

export interface ObservationChange {
  id: string
  change: 'added' | 'removed' | 'changed'
  values: ValueChange[]
  /** Changes that are counted and not listed. */
  more: number
}

export interface BundleDiff {
  v: 1
  /** Members of the manifest that differ. */
  about: { name: string; before: string; after: string }[]
  /** Whether every event of the older trail stands unchanged at the beginning of the newer one. */
  continues: boolean
  /** Why not. */
  fault: string | null
  /** Events that came since. */
  events: number
  observations: ObservationChange[]
  certificates: { path: string; change: 'added' | 'removed' | 'changed'; subject: string }[]
  /** Verdicts that differ, where both were judged. */
  controls: { id: string; before: string; after: string }[]
  /** Controls that passed before and do not now. */
  worse: string[]
}

const mostValues = 20
const mostLeaves = 20_000

const deepest = 16

/** Values by their path; what lies deeper than any probe's answer is one value. */
function leaves(value: Json | undefined, at: string, into: Map<string, Json>, depth = 0): Map<string, Json> {
  if (value === undefined || into.size >= mostLeaves) return into
  const inner = typeof value === 'object' && value !== null && depth < deepest ? Object.entries(value) : []
  if (inner.length === 0) into.set(at, value)
  for (const [name, member] of inner) leaves(member, at === '' ? name : `${at}.${name}`, into, depth + 1)
  return into
}

// a clock moves on between any two collections
const bothTimes = (a: Json | undefined, b: Json | undefined): boolean =>
  typeof a === 'string' && typeof b === 'string' && isTime(a) && isTime(b)

function changesOf(before: Observation, after: Observation): ValueChange[] {
  const seen = ({ result, error, identity, grade, command, host }: Observation): Map<string, Json> =>
    leaves(
      { identity, grade, command, host, ...(error === undefined ? { result: result ?? null } : { error }) },
      '',
      new Map(),
    )
  const [a, b] = [seen(before), seen(after)]
  return [...new Set([...a.keys(), ...b.keys()])]
    .sort()
    .map(at => ({ at, before: a.get(at), after: b.get(at) }))
    .filter(
      change =>
        JSON.stringify(change.before) !== JSON.stringify(change.after) &&
        !bothTimes(change.before, change.after),
    )
}

function observationChanges(older: Bundle, newer: Bundle): ObservationChange[] {
  const ids = [...new Set([...older.observations.keys(), ...newer.observations.keys()])].sort()
  return ids.flatMap((id): ObservationChange[] => {
    const [a, b] = [older.observations.get(id), newer.observations.get(id)]
    if (!a || !b) return [{ id, change: a ? 'removed' : 'added', values: [], more: 0 }]
    const values = changesOf(a, b)
    if (values.length === 0) return []
    return [
      {
        id,
        change: 'changed',
        values: values.slice(0, mostValues),
        more: Math.max(0, values.length - mostValues),
      },
    ]
  })
}

async function* eventsIn(bundle: Bundle): AsyncGenerator<TrailEvent> {
  for await (const batch of bundle.trail.events()) yield* batch
  for await (const batch of bundle.closing.events()) yield* batch
}

/** Why the newer trail does not go on from the older one; undefined where it does. */
async function trailFault(older: Bundle, newer: Bundle): Promise<string | undefined> {
  if (older.manifest.origin !== newer.manifest.origin)
    return `they are of two logs: ${older.manifest.origin} and ${newer.manifest.origin}`
  const later = eventsIn(newer)
  for await (const event of eventsIn(older)) {
    const { value, done } = await later.next()
    if (done) return `the newer trail ends before event ${event.seq} of the older one`
    if (!same(event.payload, value.payload) || !same(event.curr, value.curr))
      return `event ${event.seq} is another one in the newer trail`
  }
  return undefined
}

const same = (a: Bytes, b: Bytes): boolean => equal(a, b)

function certificateChanges(older: Bundle, newer: Bundle): BundleDiff['certificates'] {
  const [a, b] = [older, newer].map(
    bundle => new Map(bundle.certificates.map(({ path, info }) => [path, info])),
  )
  return [...new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])])].sort().flatMap(path => {
    const [before, after] = [a?.get(path), b?.get(path)]
    if (before && after && equal(before.der, after.der)) return []
    const change = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed'
    return [{ path, change, subject: (after ?? before)?.subject ?? '' } as const]
  })
}

export async function diffBundles(
  older: Bundle,
  newer: Bundle,
  judged?: { older: BundleVerdict; newer: BundleVerdict },
): Promise<BundleDiff> {
  const names = ['host', 'origin', 'tool', 'commit', 'created', 'nonce', 'size'] as const
  const fault = await trailFault(older, newer)
  const before = new Map(judged?.older.judged.map(({ control, status }) => [control.id, status]))
  const controls = (judged?.newer.judged ?? []).flatMap(({ control: { id }, status }) =>
    before.get(id) === status ? [] : [{ id, before: before.get(id) ?? 'unknown', after: status }],
  )
  return {
    v: 1,
    about: names.flatMap(name => {
      const [a, b] = [String(older.manifest[name]), String(newer.manifest[name])]
      return a === b ? [] : [{ name, before: a, after: b }]
    }),
    continues: fault === undefined,
    fault: fault ?? null,
    events: newer.closing.size - older.closing.size,
    observations: observationChanges(older, newer),
    certificates: certificateChanges(older, newer),
    controls,
    worse: controls.filter(change => change.before === 'pass').map(({ id }) => id),
  }
}
