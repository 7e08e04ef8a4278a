/**
 * Judges a trail: chain, tree, anchors, receipts, state and signatures. Pure: everything trusted is an argument,
 * and everything judged comes from the source. Streams; memory is bounded by `rowsPerPass` and the anchors.
 */
import { type Bytes, equal, toHex } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import type { Row, TableDefinition } from '../tables.ts'
import type { Trust } from '../trust.ts'
import { anchorNumber } from './anchor.ts'
import { type CheckedAnchor, checkAnchors, openByHelpers } from './anchor_check.ts'
import { type Base, checkBase } from './base.ts'
import { ChainCheck } from './chain_check.ts'
import { type Event, isRowEvent } from './event.ts'
import { Findings } from './findings.ts'
import type { Helpers } from './helpers.ts'
import { Queue, tryParse, youngMs } from './queue_check.ts'
import type { Receipt } from './receipt.ts'
import { ReceiptCheck } from './receipt_check.ts'
import { checkGrowth, covering } from './restored.ts'
import { SignatureJudge } from './signature_judge.ts'
import type { StoredAnchor, TrailSource } from './source.ts'
import { type Slice, StateCheck, slicesFor } from './state_check.ts'
import { type Walk, walkChain } from './walk.ts'

export interface VerifyOptions {
  trust: Pick<Trust, 'origin' | 'logKeys' | 'certificates' | 'witnesses'>
  anchors: StoredAnchor[]
  /** Leave later anchors out: the trail is a copy from before them, and may well be old. */
  asOf?: number
  /** Begin behind this anchor, up to which the trail was verified before. */
  since?: Base
  /** What is judged besides chain, tree and anchors: writers' signatures and rows, or nothing. */
  only?: 'chain'
  receipts?: Receipt[]
  definitions: Map<string, TableDefinition>
  /** Fingerprints of the schemas of releases, hex, the oldest first; empty: not judged. */
  golden: string[]
  /** ms since 1970, of the verifier. */
  now: number
  signatures: 'last' | 'all'
  gapSeconds?: number
  rowsPerPass?: number
  engine?: Engine
  /** Other threads; without them all is done here. */
  helpers?: Helpers
  onProgress?: (done: number, total: number) => void
  /** The same for the anchors, which come first. */
  onAnchors?: (done: number, total: number) => void
  /** Each event once, in order, whether or not anything is wrong with its place. */
  onEvent?: (event: Event, seq: number) => void
  /** Each row once. */
  onRow?: (table: string, row: Row) => void
}

export interface Verdict {
  ok: boolean
  /** `chain`: rows and writers' signatures were left out. */
  judged: 'all' | 'chain'
  origin: string
  /** Number of the first event that was looked at: 0, or the size of the base. */
  from: number
  events: number
  head: string
  /** Events under the newest anchor. */
  anchored: number
  anchors: number
  lastAnchor: number
  rows: number
  /** Rows that no event since the base speaks of. */
  rowsUnjudged: number
  signaturesChecked: number
  /** What they took, in seconds of one core. */
  signatureSeconds: number
  receipts: number
  engine: string
  findings: Findings
  /** Where the next run may begin: the trail under the newest anchor that it reaches. */
  base: Base | null
}

export async function verifyTrail(source: TrailSource, options: VerifyOptions): Promise<Verdict> {
  const { trust, now, engine = noble } = options
  const base = options.since ?? source.base
  const findings = new Findings()
  const copy = options.anchors.filter(
    object => options.asOf === undefined || (anchorNumber(object.name) ?? 0) <= options.asOf,
  )
  const gapSeconds = options.gapSeconds ?? 300
  const opened = options.helpers
    ? await openByHelpers(copy, options.helpers, base?.anchor, options.onAnchors)
    : undefined
  const checked = checkAnchors(copy, trust, findings, { gapSeconds, from: base?.anchor, engine, opened })
  const anchors = base ? checked.filter(anchor => anchor.number > base.anchor) : checked
  if (base) requireBase(base, checked, source)
  if (copy.length === 0) findings.add('ANCHOR_NONE', 'anchors', 'the copy of the WORM store is empty')
  if (source.origin !== trust.origin)
    findings.add(
      'ORIGIN_MISMATCH',
      'trail',
      `names the log ${source.origin}, the trust folder ${trust.origin}`,
    )
  checkSchema(anchors, options.golden, findings)

  const within = source.range ? anchors.filter(anchor => anchor.size <= source.size) : anchors
  const chain = new ChainCheck(trust.origin, within, findings, { base, engine, copy: checked })
  const signatures = new SignatureJudge(options, receiveTimes(anchors, chain.lost, now), findings)
  const receipts = new ReceiptCheck(options.receipts ?? [], findings)
  const from = base?.size ?? 0
  const rowsPerPass = options.rowsPerPass ?? 100_000
  const withRows = options.only !== 'chain' && source.rows !== undefined && source.range !== true
  const slices = slicesFor(withRows ? (source.rowCount ?? 0) : 0, rowsPerPass)
  const anchored = within.at(-1)?.size ?? from
  const stateSize = source.stateSize ?? Number.POSITIVE_INFINITY
  const queue = new Queue()
  const pending = () => (options.only === 'chain' ? [] : (source.pending?.() ?? []))
  for await (const batch of pending()) for (const payload of batch) queue.add(payload)
  let [rows, unjudged, seen] = [0, 0, 0]

  const state = (slice: Slice) =>
    new StateCheck(options.definitions, findings, { slice, rowsPerPass, partial: base !== undefined })
  const passBy = (into: StateCheck, event: Event, payload: Bytes, seq: number): void => {
    options.onEvent?.(event, seq)
    queue.sealed(event, payload)
    receipts.sealed(event, payload, seq, anchored)
    if (options.only === 'chain' || !isRowEvent(event)) return
    signatures.passBy(event, seq)
    if (seq < stateSize) into.addEvent(event, seq, payload)
  }
  const wantsEvents = options.only !== 'chain' || options.onEvent !== undefined || receipts.count > 0

  for (let pass = 0; pass < slices.length; pass++) {
    const first = pass === 0
    const into = state(slices[pass] as Slice)
    if (first) {
      const walk: Walk = { source, chain, from, wantsEvents }
      if (options.helpers) walk.helpers = options.helpers
      for await (const batch of walkChain(walk)) {
        seen += batch.length
        for (const { event, payload, seq } of batch) passBy(into, event, payload, seq)
        options.onProgress?.(chain.size - from, Math.max(0, source.size - from))
        await signatures.settle()
        if (seen > source.size + endless) break
      }
    } else
      for await (const batch of source.events(from))
        for (const { payload, seq } of batch) {
          const event = seq >= from && seq < stateSize ? tryParse(payload) : undefined
          if (event && isRowEvent(event)) into.addEvent(event, seq, payload)
        }
    for await (const batch of pending()) {
      for (const payload of batch) {
        const event = tryParse(payload)
        if (first && event) receipts.queued(event, payload)
        if (first && !event) findings.add('EVENT_MALFORMED', 'queued event', 'is no event')
        if (!event || !isRowEvent(event)) continue
        if (first) signatures.passBy(event, null)
        into.addEvent(event, null, payload)
      }
    }
    if (withRows) {
      for await (const batch of source.rows?.() ?? []) {
        for (const { table, row, beside } of batch) {
          if (first) {
            rows++
            options.onRow?.(table, row)
          }
          const last = into.addRow(table, row, beside)
          if (last) signatures.last(last)
        }
        await signatures.settle()
      }
      into.finish()
    } else for (const last of into.lastEvents()) signatures.last(last)
    unjudged += into.unjudged
    slices.push(...into.deferred)
    await signatures.settle(0)
  }

  if (base && chain.size === from && source.size < from)
    findings.add(
      'ANCHOR_BEYOND',
      `anchor ${base.anchor}`,
      `covers ${from} events, the trail has ${source.size}`,
    )
  chain.finish(anchors.at(-1)?.number ?? base?.anchor ?? 0)
  checkGrowth(checked, chain.restoredAfter, findings)
  const readAt = source.takenAt ?? Date.parse(chain.latest)
  if (options.asOf === undefined && !source.range) checkSilence(checked.at(-1), readAt, gapSeconds, findings)
  // the closing anchor of a bundle must cover what waited when its rows were read
  queue.finish(
    source.stateSize === undefined ? readAt - youngMs : Number.POSITIVE_INFINITY,
    now + youngMs,
    findings,
  )
  if (source.head && (source.size !== chain.size || !equal(source.head, chain.head)))
    findings.add(
      'HEAD_MISMATCH',
      'chain head',
      `the database says ${source.size} events and head ${toHex(source.head)}, its events make ${chain.size} and ${toHex(chain.head)}`,
    )
  receipts.finish(trust.origin, now)
  return {
    ok: findings.clean,
    judged: options.only ?? 'all',
    origin: trust.origin,
    from,
    events: chain.size,
    head: toHex(chain.head),
    anchored: within.findLast(anchor => !chain.lost.has(anchor.number))?.size ?? from,
    anchors: checked.length,
    lastAnchor: within.at(-1)?.number ?? base?.anchor ?? 0,
    rows,
    rowsUnjudged: unjudged,
    signaturesChecked: signatures.checked,
    signatureSeconds: Math.round(signatures.ms) / 1000,
    receipts: options.receipts?.length ?? 0,
    engine: engine.name,
    findings,
    base: chain.base ?? null,
  }
}

/** Events beyond the number that the source claims: it may go on for ever, and is wrong already. */
const endless = 10_000

/** @throws VERIFY_FAILED, NOT_FOUND */
function requireBase(base: Base, checked: CheckedAnchor[], source: TrailSource): void {
  const anchor = checked.find(one => one.number === base.anchor)
  if (!anchor)
    throw new ZtError('VERIFY_FAILED', `base: your copy has no good anchor ${base.anchor}`, {
      hint: 'begin at an anchor that is in your own copy',
    })
  checkBase(base, anchor, 'base')
  if (source.from > base.size)
    throw new ZtError(
      'BAD_INPUT',
      `the trail begins at event ${source.from}, the base ends at ${base.size}`,
      {
        hint: 'name an older anchor, or a file that reaches further back',
      },
    )
}

/** An anchor must have come within the limit before the trail was read: a timer that stands still makes no gap. */
function checkSilence(
  last: CheckedAnchor | undefined,
  readAt: number,
  gapSeconds: number,
  findings: Findings,
): void {
  if (last?.receivedAt == null) return
  const silence = (readAt - last.receivedAt) / 1000
  if (silence > gapSeconds)
    findings.add(
      'HEARTBEAT_GAP',
      `anchor ${last.number}`,
      `none came in the ${Math.round(silence)} s after it; the first event that none covers is event ${last.size}`,
    )
}

function checkSchema(anchors: CheckedAnchor[], golden: string[], findings: Findings): void {
  if (golden.length === 0) return
  let newest = 0
  for (const { number, fingerprint } of anchors) {
    const release = golden.lastIndexOf(fingerprint)
    newest = Math.max(newest, release)
    if (release === newest) continue
    const what =
      release < 0
        ? `fingerprint ${fingerprint}, the release has ${golden.join(', ')}`
        : `fingerprint ${fingerprint} of an older release, after one of a newer` // its mistakes were mended since
    findings.add('SCHEMA_NOT_GOLDEN', `anchor ${number}`, what)
  }
}

/** For an event: when the first anchor that covers it was received (made, where the store keeps no time). */
function receiveTimes(
  anchors: CheckedAnchor[],
  lost: ReadonlySet<number>,
  now: number,
): (seq: number | null) => number {
  let [known, list] = [lost.size, covering(anchors, lost)]
  return seq => {
    if (seq === null) return now
    if (lost.size !== known) [known, list] = [lost.size, covering(anchors, lost)]
    let low = 0
    let high = list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((list[middle]?.size ?? 0) > seq) high = middle
      else low = middle + 1
    }
    const anchor = list[low]
    return anchor ? (anchor.receivedAt ?? Date.parse(anchor.time)) : now
  }
}
