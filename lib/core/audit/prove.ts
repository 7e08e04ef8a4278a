/** Makes proofs from a trail that streams by: of events under an anchor, of one anchor extending another, of a range. */
import { type Bytes, equal, toHex } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import type { CheckedAnchor } from './anchor_check.ts'
import type { Base } from './base.ts'
import type { ConsistencyProof } from './consistency.ts'
import type { Event } from './event.ts'
import { Frontier, leafHash } from './merkle.ts'
import { tryParse } from './queue_check.ts'
import type { TrailEvent, TrailSource } from './source.ts'
import type { TlogProof } from './tlog_proof.ts'
import { TreeIndex } from './tree_index.ts'

export interface Found {
  event: Event
  payload: Bytes
  seq: number
}

interface Scan {
  /** How many events to take into the tree. */
  size: number
  /** Whether this one is sought. */
  wants?: (event: TrailEvent) => boolean
  /** Leaves to be kept besides. */
  keep?: readonly number[]
  /** Go on behind `size` for those that are sought. */
  beyond?: boolean
  engine?: Engine | undefined
  onProgress?: ((done: number, total: number) => void) | undefined
}

const notInOrder = (seq: number, expected: number): ZtError =>
  new ZtError(
    'VERIFY_FAILED',
    `event ${seq} stands where event ${expected} belongs: nothing can be proved from this trail`,
    {
      hint: 'run chain_verify on it: it says what is wrong',
    },
  )

async function scan(source: TrailSource, what: Scan): Promise<{ tree: TreeIndex; found: Found[] }> {
  const { size, wants, keep = [], engine = noble, onProgress } = what
  const { base } = source
  const tree = new TreeIndex(new Frontier(base?.size ?? 0, base?.frontier ?? []), engine.sha256)
  const kept = new Set(keep)
  const found: Found[] = []
  scanning: for await (const batch of source.events(base?.size ?? 0)) {
    for (const stored of batch) {
      if (stored.seq >= size && !what.beyond) break scanning
      const sought = wants?.(stored) ?? false
      const event = sought ? tryParse(stored.payload) : undefined
      if (event) found.push({ event, payload: stored.payload.slice(), seq: stored.seq })
      if (stored.seq >= size) continue
      if (stored.seq !== tree.size) throw notInOrder(stored.seq, tree.size)
      tree.add(leafHash(stored.payload, engine.sha256), sought || kept.has(stored.seq))
    }
    onProgress?.(tree.size, size)
  }
  if (tree.size !== size)
    throw new ZtError('VERIFY_FAILED', `the trail has ${tree.size} events, the anchor covers ${size}`, {
      hint: 'its tail was cut or an old copy restored: run chain_verify on it',
    })
  return { tree, found }
}

function requireRoot(root: Bytes, anchor: CheckedAnchor): void {
  if (!equal(root, anchor.checkpointRoot))
    throw new ZtError(
      'VERIFY_FAILED',
      `anchor ${anchor.number}: its root of ${anchor.size} events is ${toHex(anchor.checkpointRoot)}, the trail has ${toHex(root)}`,
      { hint: 'anchored history was rewritten: run chain_verify on it' },
    )
}

/** The newest anchor whose events the source has, by its own word. @throws NOT_FOUND */
export function coveringAnchor(source: TrailSource, anchors: readonly CheckedAnchor[]): CheckedAnchor {
  const from = source.base?.size ?? 0
  const anchor = anchors.findLast(one => one.size <= source.size && one.size > from)
  if (!anchor)
    throw new ZtError('NOT_FOUND', 'no anchor of your copy covers anything of this trail', {
      hint: 'fetch the anchors from the store again, or name another trail',
    })
  return anchor
}

export interface Proved extends Found {
  /** Absent for an event that no anchor covers yet. */
  proof: TlogProof | undefined
}

/** Proofs of every event that is sought, under `anchor`. @throws VERIFY_FAILED where the trail is not what was anchored */
export async function proveEvents(
  source: TrailSource,
  anchor: CheckedAnchor,
  wants: (event: TrailEvent) => boolean,
  options: Pick<Scan, 'engine' | 'onProgress'> = {},
): Promise<Proved[]> {
  const { tree, found } = await scan(source, { ...options, size: anchor.size, wants, beyond: true })
  requireRoot(tree.root(), anchor)
  return found.map(one => ({
    ...one,
    proof:
      one.seq < anchor.size
        ? { index: one.seq, path: tree.inclusion(one.seq), checkpoint: anchor.checkpoint }
        : undefined,
  }))
}

/** Proof that `later` extends `earlier`. @throws as proveEvents */
export async function proveConsistency(
  source: TrailSource,
  earlier: CheckedAnchor,
  later: CheckedAnchor,
  options: Pick<Scan, 'engine' | 'onProgress'> = {},
): Promise<ConsistencyProof> {
  if (source.base)
    throw new ZtError('BAD_INPUT', 'a range does not reach back to the first event', {
      hint: 'name the live database or a whole export',
    })
  const { tree } = await scan(source, { ...options, size: later.size, keep: [earlier.size - 1] })
  requireRoot(tree.root(), later)
  requireRoot(tree.rangeRoot(0, earlier.size), earlier)
  return {
    origin: later.origin,
    from: earlier.number,
    to: later.number,
    path: tree.consistency(earlier.size),
    earlier: earlier.checkpoint,
    later: later.checkpoint,
  }
}

/** What the trail was at an anchor, by its events up to there. @throws as proveEvents */
export async function baseOf(
  source: TrailSource,
  anchor: CheckedAnchor,
  options: Pick<Scan, 'engine' | 'onProgress'> = {},
): Promise<Base> {
  const { sha256 } = options.engine ?? noble
  const frontier = new Frontier(source.base?.size ?? 0, source.base?.frontier ?? [], sha256)
  let head: Bytes | undefined
  scanning: for await (const batch of source.events(source.base?.size ?? 0)) {
    for (const { seq, payload, curr } of batch) {
      if (seq >= anchor.size) break scanning
      if (seq !== frontier.size) throw notInOrder(seq, frontier.size)
      frontier.append(leafHash(payload, sha256))
      head = curr
    }
    options.onProgress?.(frontier.size, anchor.size)
  }
  requireRoot(frontier.root(), anchor)
  if (!head || toHex(head) !== anchor.head)
    throw new ZtError(
      'VERIFY_FAILED',
      `anchor ${anchor.number}: its head is not that of event ${anchor.size - 1}`,
    )
  const { origin, number, size } = anchor
  return { origin, anchor: number, size, head, frontier: frontier.nodes }
}
