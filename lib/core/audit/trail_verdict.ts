/**
 * Judges a trail: chain, tree, anchors, receipts, state and signatures. Pure: everything trusted is an argument,
 * and everything judged comes from the source. Streams; memory is bounded by `rowsPerPass` and the anchors.
 */
import { equal, toHex } from '../bytes.ts'
import type { Row, TableDefinition } from '../tables.ts'
import type { Trust } from '../trust.ts'
import { anchorNumber } from './anchor.ts'
import { type CheckedAnchor, checkAnchors } from './anchor_check.ts'
import { ChainCheck } from './chain_check.ts'
import { type Event, isRowEvent } from './event.ts'
import { Findings } from './findings.ts'
import { Queue, tryParse, youngMs } from './queue_check.ts'
import type { Receipt } from './receipt.ts'
import { ReceiptCheck } from './receipt_check.ts'
import { SignatureJudge } from './signature_judge.ts'
import type { StoredAnchor, TrailSource } from './source.ts'
import { StateCheck } from './state_check.ts'

export interface VerifyOptions {
  trust: Pick<Trust, 'origin' | 'logKeys' | 'certificates'>
  anchors: StoredAnchor[]
  /** Leave later anchors out: the trail is a copy from before them, and may well be old. */
  asOf?: number
  receipts?: Receipt[]
  definitions: Map<string, TableDefinition>
  /** Fingerprints of the schemas of releases, hex; empty: not judged. */
  golden: string[]
  /** ms since 1970, of the verifier. */
  now: number
  signatures: 'last' | 'all'
  gapSeconds?: number
  rowsPerPass?: number
  onProgress?: (done: number, total: number) => void
  /** Each event once, in order, whether or not anything is wrong with its place. */
  onEvent?: (event: Event, seq: number) => void
  /** Each row once. */
  onRow?: (table: string, row: Row) => void
}

export interface Verdict {
  ok: boolean
  origin: string
  events: number
  head: string
  /** Events under the newest anchor. */
  anchored: number
  anchors: number
  lastAnchor: number
  rows: number
  signaturesChecked: number
  receipts: number
  findings: Findings
}

export async function verifyTrail(source: TrailSource, options: VerifyOptions): Promise<Verdict> {
  const { trust, now } = options
  const findings = new Findings()
  const copy = options.anchors.filter(
    object => options.asOf === undefined || (anchorNumber(object.name) ?? 0) <= options.asOf,
  )
  const gapSeconds = options.gapSeconds ?? 300
  const anchors = checkAnchors(copy, trust, findings, { gapSeconds })
  if (copy.length === 0) findings.add('ANCHOR_NONE', 'anchors', 'the copy of the WORM store is empty')
  if (source.origin !== trust.origin)
    findings.add(
      'ORIGIN_MISMATCH',
      'trail',
      `names the log ${source.origin}, the trust folder ${trust.origin}`,
    )
  checkSchema(anchors, options.golden, findings)

  const signatures = new SignatureJudge(options, receiveTimes(anchors, now), findings)
  const receipts = new ReceiptCheck(options.receipts ?? [], findings)
  const chain = new ChainCheck(trust.origin, anchors, findings)
  const passes = source.rows
    ? Math.max(1, Math.ceil((source.rowCount ?? 0) / (options.rowsPerPass ?? 200_000)))
    : 1
  const anchored = anchors.at(-1)?.size ?? 0
  const stateSize = source.stateSize ?? Number.POSITIVE_INFINITY
  const queue = new Queue()
  for await (const batch of source.pending?.() ?? []) for (const payload of batch) queue.add(payload)
  let rows = 0

  for (let pass = 0; pass < passes; pass++) {
    const first = pass === 0
    const state = new StateCheck(options.definitions, findings, pass, passes)
    for await (const batch of source.events()) {
      for (const stored of batch) {
        const event = first ? chain.add(stored) : tryParse(stored.payload)
        if (first && event) options.onEvent?.(event, stored.seq)
        if (first) queue.sealed(stored.payload)
        if (first) receipts.sealed(stored.payload, stored.seq, anchored)
        if (!event || !isRowEvent(event)) continue
        if (first) signatures.passBy(event, stored.seq)
        if (stored.seq < stateSize) state.addEvent(event, stored.seq)
      }
      if (first) options.onProgress?.(chain.size, source.size)
    }
    for await (const batch of source.pending?.() ?? []) {
      for (const payload of batch) {
        const event = tryParse(payload)
        if (first) receipts.queued(payload)
        if (first && !event) findings.add('EVENT_MALFORMED', 'queued event', 'is no event')
        if (!event || !isRowEvent(event)) continue
        if (first) signatures.passBy(event, null)
        state.addEvent(event, null)
      }
    }
    if (source.rows) {
      for await (const batch of source.rows()) {
        for (const { table, row } of batch) {
          if (first) {
            rows++
            options.onRow?.(table, row)
          }
          const last = state.addRow(table, row)
          if (last) signatures.last(last)
        }
      }
      state.finish()
    } else for (const last of state.lastEvents()) signatures.last(last)
  }

  chain.finish(anchors.at(-1)?.number ?? 0)
  const readAt = source.takenAt ?? Date.parse(chain.latest)
  if (options.asOf === undefined) checkSilence(anchors.at(-1), readAt, gapSeconds, findings)
  // the closing anchor of a bundle must cover what waited when its rows were read
  queue.finish(source.stateSize === undefined ? readAt - youngMs : Number.POSITIVE_INFINITY, findings)
  if (source.head && (source.size !== chain.size || !equal(source.head, chain.head)))
    findings.add(
      'HEAD_MISMATCH',
      'chain head',
      `the database says ${source.size} events and head ${toHex(source.head)}, its events make ${chain.size} and ${toHex(chain.head)}`,
    )
  receipts.finish(trust.origin, now)
  return {
    ok: findings.clean,
    origin: trust.origin,
    events: chain.size,
    head: toHex(chain.head),
    anchored,
    anchors: anchors.length,
    lastAnchor: anchors.at(-1)?.number ?? 0,
    rows,
    signaturesChecked: signatures.checked,
    receipts: options.receipts?.length ?? 0,
    findings,
  }
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
  for (const anchor of anchors)
    if (!golden.includes(anchor.fingerprint))
      findings.add(
        'SCHEMA_NOT_GOLDEN',
        `anchor ${anchor.number}`,
        `fingerprint ${anchor.fingerprint}, the release has ${golden.join(', ')}`,
      )
}

/** For an event: when the first anchor that covers it was received (made, where the store keeps no time). */
function receiveTimes(anchors: CheckedAnchor[], now: number): (seq: number | null) => number {
  return seq => {
    if (seq === null) return now
    let low = 0
    let high = anchors.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((anchors[middle]?.size ?? 0) > seq) high = middle
      else low = middle + 1
    }
    const anchor = anchors[low]
    return anchor ? (anchor.receivedAt ?? Date.parse(anchor.time)) : now
  }
}
