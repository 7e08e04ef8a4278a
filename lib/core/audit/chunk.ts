/**
 * A run of events judged by itself, wherever its place in the trail is: whether anything is wrong inside, and what a
 * chain that arrives there needs in order to go on behind it. So that many cores can check one trail.
 */
import { type Bytes, concat, equal, toHex, uuidBytes } from '../bytes.ts'
import type { Engine } from '../engine.ts'
import { linkHash } from './chain.ts'
import { type AnchorEvent, type Event, eventMaxBytes, parseEvent } from './event.ts'
import { leafHash, nodeHash } from './merkle.ts'
import { type QuickEvent, quickEvent } from './quick_event.ts'
import type { TrailEvent } from './source.ts'

/** How long an event may wait before it is sealed: the gate's limit. */
export const sealSeconds = 30

/** Events up to and with an anchor's, or up to the end of the chunk. */
export interface ChunkPart {
  /** Full subtrees over their leaves, in order. */
  subtrees: { root: Bytes; leaves: number }[]
  /** Latest time among them. */
  newest: string
  /** The anchor's event, if one ends the part. */
  anchor: AnchorEvent | null
  /** curr_hash of the last of them, hex. */
  head: string
}

export interface ChunkSummary {
  /** Number of the first event. */
  first: number
  count: number
  /** What the first one names as its predecessor. */
  prev: Bytes
  curr: Bytes
  earliest: string
  latest: string
  parts: ChunkPart[]
}

const noTenant = new Uint8Array(16)

/** Events whose place decides what they mean. */
const alone: readonly string[] = ['genesis', 'restore', 'server']

/** Whether the columns beside an event, where there are any, say what it says. */
export function columnsFit(stored: TrailEvent, event: Pick<Event, 'id' | 'tenant'>): boolean {
  if (!stored.columns) return true
  const tenant = event.tenant === null ? noTenant : uuidBytes(event.tenant)
  return equal(concat(tenant, uuidBytes(event.id)), concat(stored.columns.tenant, stored.columns.event))
}

/** Whether `time` lies further behind `latest` than an event may wait. Empty texts are no times. */
export const isBehind = (latest: string, time: string): boolean =>
  latest !== '' && time < latest && (Date.parse(latest) - Date.parse(time)) / 1000 > sealSeconds

/** Collects leaves into the largest subtrees that stand where the tree of the whole log has them. */
class Subtrees {
  readonly #engine: Engine
  #at: number
  #done: { root: Bytes; leaves: number; start: number }[] = []

  constructor(start: number, engine: Engine) {
    this.#at = start
    this.#engine = engine
  }

  add(leaf: Bytes): void {
    let node = { root: leaf, leaves: 1, start: this.#at }
    for (
      let last = this.#done.at(-1);
      last?.leaves === node.leaves && last.start % (2 * last.leaves) === 0;
    ) {
      node = {
        root: nodeHash(last.root, node.root, this.#engine.sha256),
        leaves: 2 * last.leaves,
        start: last.start,
      }
      this.#done.pop()
      last = this.#done.at(-1)
    }
    this.#done.push(node)
    this.#at += 1
  }

  take(): ChunkPart['subtrees'] {
    const taken = this.#done.map(({ root, leaves }) => ({ root, leaves }))
    this.#done = []
    return taken
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What a run must know of an event; undefined for one that ChainCheck must look at. */
function look(payload: Bytes): (QuickEvent & { anchor: AnchorEvent | null }) | undefined {
  try {
    const quick = payload.length <= eventMaxBytes ? quickEvent(decoder.decode(payload)) : undefined
    if (quick) return { ...quick, anchor: null }
    const event = parseEvent(payload)
    if (alone.includes(event.action)) return undefined
    const { id, time, tenant } = event
    return { id, time, tenant, anchor: event.action === 'anchor' ? event : null }
  } catch {
    return undefined // ChainCheck says why
  }
}

/**
 * Undefined unless all is well inside: numbers, links, hashes, form, columns and times. Whoever gets undefined looks at
 * the events one by one (ChainCheck), which says what is wrong: this only ever says that nothing is.
 */
export function summarise(events: readonly TrailEvent[], engine: Engine): ChunkSummary | undefined {
  const [first, last] = [events[0], events.at(-1)]
  if (!first || !last) return undefined
  const subtrees = new Subtrees(first.seq, engine)
  const parts: ChunkPart[] = []
  let [head, earliest, latest, newest] = [first.prev, '', '', '']
  for (const [i, stored] of events.entries()) {
    if (stored.seq !== first.seq + i || !Number.isSafeInteger(stored.seq)) return undefined
    if (!equal(stored.prev, head)) return undefined
    if (!equal(linkHash(stored.prev, stored.payload, engine.sha256), stored.curr)) return undefined
    const seen = look(stored.payload)
    if (!seen || !columnsFit(stored, seen) || isBehind(latest, seen.time)) return undefined
    head = stored.curr
    subtrees.add(leafHash(stored.payload, engine.sha256))
    const { time, anchor } = seen
    if (earliest === '' || time < earliest) earliest = time
    if (time > latest) latest = time
    if (time > newest) newest = time
    if (!anchor && stored !== last) continue
    parts.push({ subtrees: subtrees.take(), newest, anchor, head: toHex(head) })
    newest = ''
  }
  return {
    first: first.seq,
    count: events.length,
    prev: first.prev,
    curr: last.curr,
    earliest,
    latest,
    parts,
  }
}

/** What a worker is asked about one chunk: lines of an export, or events packed by packEvents. */
export type ChunkJob = { lines: Bytes; what: string } | { packed: Bytes }

const fixed = 8 + 32 + 32 + 32 + 4

/** Events as one block of bytes, which passes between threads at the price of a copy. */
export function packEvents(events: readonly TrailEvent[]): Bytes {
  const size = events.reduce((sum, e) => sum + fixed + e.payload.length, 0)
  const out = new Uint8Array(size)
  const view = new DataView(out.buffer)
  let at = 0
  for (const { seq, prev, payload, curr, columns } of events) {
    view.setFloat64(at, seq)
    out.set(prev.subarray(0, 32), at + 8)
    out.set(curr.subarray(0, 32), at + 40)
    if (columns) {
      out.set(columns.tenant.subarray(0, 16), at + 72)
      out.set(columns.event.subarray(0, 16), at + 88)
    }
    view.setUint32(at + 104, payload.length)
    out.set(payload, at + fixed)
    at += fixed + payload.length
  }
  return out
}

/** True if packEvents loses nothing of them: fields have their lengths, and all of them columns or none. */
export const packable = (events: readonly TrailEvent[]): boolean =>
  events.every(
    e =>
      e.prev.length === 32 &&
      e.curr.length === 32 &&
      e.columns?.tenant.length === 16 &&
      e.columns.event.length === 16,
  )

export function unpackEvents(bytes: Bytes): TrailEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const events: TrailEvent[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + fixed + view.getUint32(at + 104)
    events.push({
      seq: view.getFloat64(at),
      prev: bytes.subarray(at + 8, at + 40),
      curr: bytes.subarray(at + 40, at + 72),
      columns: { tenant: bytes.subarray(at + 72, at + 88), event: bytes.subarray(at + 88, at + 104) },
      payload: bytes.subarray(at + fixed, end),
    })
    at = end
  }
  return events
}
