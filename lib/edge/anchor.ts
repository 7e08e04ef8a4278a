/**
 * Anchors a trail: what the database recorded is signed once, kept on this disk, stored in the WORM store, and only
 * then confirmed to the database. Whatever step it was stopped at, the next run goes on from there (SPEC §4.6, §5.4).
 */
import { hostname } from 'node:os'
import {
  type Anchor,
  anchorHash,
  anchorName,
  formatAnchor,
  formatAnchorSyslog,
  noPredecessor,
} from '../core/audit/anchor.ts'
import { type AnchorKey, signCheckpoint, type TreeHead } from '../core/audit/checkpoint.ts'
import { type Grown, Growth, nothingGrown } from '../core/audit/growth.ts'
import { type Bytes, fromHex, toHex } from '../core/bytes.ts'
import { reason, ZtError } from '../core/errors.ts'
import { formatTime } from '../core/time.ts'
import type { AnchorDatabase, Recorded, Restored } from './anchor_database.ts'
import { forked, lastSigned } from './anchor_last.ts'
import type { AnchorState, SignedAnchor } from './anchor_state.ts'
import type { Syslog } from './syslog.ts'
import type { Worm } from './worm.ts'

/** What is done, in order; an anchor that is begun passes each of these but the first. */
export type Step = 'sealed' | 'recorded' | 'signed' | 'kept' | 'stored' | 'logged' | 'confirmed'

export interface AnchorOptions {
  database: AnchorDatabase
  state: AnchorState
  worm: Worm
  /** The pair that signs; at a rotation the old pair and then the new one. */
  keys: readonly [AnchorKey, ...AnchorKey[]]
  syslog?: Syslog
  /** Milliseconds since 1970. */
  now?: () => number
  /** Told after each step. What it throws stops the run there. */
  onStep?: (step: Step, number: number) => void
  /** Told what a person should know and no run should stop for. */
  onWarning?: (text: string) => void
}

export interface Anchored {
  number: number
  size: number
  /** Hex. */
  head: string
  /** Hex, of the object. */
  sha256: string
  name: string
  stored: 'created' | 'identical'
}

/**
 * One run: finishes what is outstanding, then anchors the trail as it stands. Returns the anchors delivered.
 * @throws LOCKED; VERIFY_FAILED where the trail does not extend the last anchor, or another object has its name;
 *   what database, store and disk throw, after which the next run goes on
 */
export async function runAnchor(options: AnchorOptions): Promise<Anchored[]> {
  const release = options.state.lock()
  try {
    return await run(options)
  } finally {
    release()
  }
}

async function run(o: AnchorOptions): Promise<Anchored[]> {
  const origin = o.keys[0].name
  await o.database.sealDue()
  o.onStep?.('sealed', 0)
  const status = await o.database.status()
  let last = await lastSigned(status, o.state, o.worm, origin, o.keys)
  const done: Anchored[] = []
  // at most one is outstanding: no further one is recorded before the store has accepted it
  for (const signed of o.state.spooled())
    if (signed.anchor.number > status.confirmedNumber) done.push(await deliver(o, signed))
  if (status.recordedNumber > (last?.anchor.number ?? 0)) {
    // recorded and never signed: it was meant for the pair that signed before it
    last = await make(o, [o.keys[0]], status.recordedNumber, last, status.restored)
    done.push(await deliver(o, last))
  }
  done.push(await deliver(o, await make(o, o.keys, (last?.anchor.number ?? 0) + 1, last, status.restored)))
  return done
}

/** The tree that the next anchor must extend: after a restore the one that the backup still has, once. */
function extendedHead(last: SignedAnchor | undefined, restored: Restored | undefined): TreeHead | undefined {
  if (!last || restored?.number !== last.anchor.number || restored.sha256 !== last.sha256) return last?.head
  return restored.base && { origin: last.anchor.origin, ...restored.base }
}

/** Records an anchor (or asks again for one that was recorded and never signed), checks, signs and keeps it. */
async function make(
  o: AnchorOptions,
  keys: readonly [AnchorKey, ...AnchorKey[]],
  number: number,
  last: SignedAnchor | undefined,
  restored: Restored | undefined,
): Promise<SignedAnchor> {
  const origin = o.keys[0].name
  const fingerprint = await o.database.fingerprint()
  const prev = last?.sha256 ?? noPredecessor
  const record = async (base: Grown) => {
    const growth = new Growth(base, extendedHead(last, restored))
    const request = { number, fingerprint, prev: fromHex(prev, 'prev', 32), from: growth.from }
    const recorded = await o.database.record(request, leaf => growth.add(leaf))
    return { recorded, growth, fault: growth.fault(recorded.size) }
  }
  let made = await record(o.state.cached(origin))
  // the cache may be at fault: from event 0 on there is no doubt
  if (made.fault !== undefined && made.growth.from > 0) made = await record(nothingGrown())
  o.onStep?.('recorded', number)
  const { recorded, growth, fault } = made
  if (fault !== undefined) throw forked(`anchor ${number} is not signed: ${fault}`)
  if (last && toHex(fingerprint) !== last.anchor.fingerprint)
    o.onWarning?.(`the schema has changed since anchor ${last.anchor.number}`)
  const root = growth.grown.frontier.root()
  const time = Math.floor((o.now ?? Date.now)() / 1000)
  const signed = sign(keys, { number, prev, fingerprint: toHex(fingerprint) }, recorded, root, time)
  o.onStep?.('signed', number)
  o.state.keep(signed)
  o.state.cache(origin, growth.grown)
  o.onStep?.('kept', number)
  return signed
}

/** @param seconds since 1970 */
function sign(
  keys: readonly [AnchorKey, ...AnchorKey[]],
  place: Pick<Anchor, 'number' | 'prev' | 'fingerprint'>,
  recorded: Recorded,
  root: Bytes,
  seconds: number,
): SignedAnchor {
  const head = { origin: keys[0].name, size: recorded.size, root }
  const anchor: Anchor = {
    v: 1,
    origin: head.origin,
    number: place.number,
    size: head.size,
    head: toHex(recorded.head),
    fingerprint: place.fingerprint,
    prev: place.prev,
    time: formatTime(seconds * 1_000_000),
    checkpoint: signCheckpoint(head, keys, seconds),
  }
  const bytes = formatAnchor(anchor)
  return { anchor, bytes, sha256: anchorHash(bytes), head }
}

/** Store, system log, database; the spool drops what is older. */
async function deliver(o: AnchorOptions, { anchor, bytes, sha256 }: SignedAnchor): Promise<Anchored> {
  const { number, size, head } = anchor
  const name = anchorName(number)
  const stored = await store(o.worm, name, bytes)
  o.onStep?.('stored', number)
  await tell(o, bytes)
  o.onStep?.('logged', number)
  await o.database.confirm(number, fromHex(sha256, 'sha256', 32))
  o.onStep?.('confirmed', number)
  o.state.prune(number)
  return { number, size, head, sha256, name, stored }
}

async function store(worm: Worm, name: string, bytes: Bytes): Promise<'created' | 'identical'> {
  try {
    return await worm.put(name, bytes)
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code !== 'WORM') throw thrown
    // somebody else wrote under this name: no failure to reach the store, but a finding
    throw new ZtError('VERIFY_FAILED', thrown.message, {
      cause: thrown,
      ...(thrown.hint ? { hint: thrown.hint } : {}),
    })
  }
}

/** The store is the evidence; the system log is a second witness, whose absence stops nothing. */
async function tell(o: AnchorOptions, bytes: Bytes): Promise<void> {
  try {
    await o.syslog?.send(formatAnchorSyslog(bytes, { host: hostname(), pid: process.pid }))
  } catch (thrown) {
    o.onWarning?.(reason(thrown))
  }
}
