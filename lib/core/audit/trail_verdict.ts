/**
 * Judges a trail: chain, tree, anchors, receipts, state and signatures. Pure: everything trusted is an argument,
 * and everything judged comes from the source. Streams; memory is bounded by `rowsPerPass` and the anchors.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, equal, toHex } from '../bytes.ts'
import { reason } from '../errors.ts'
import type { Row, TableDefinition } from '../tables.ts'
import type { Trust, TrustedCertificate } from '../trust.ts'
import { anchorNumber } from './anchor.ts'
import { type CheckedAnchor, checkAnchors } from './anchor_check.ts'
import { ChainCheck } from './chain_check.ts'
import { type Event, isRowEvent, parseEvent, type RowEvent } from './event.ts'
import { Findings } from './findings.ts'
import type { Receipt } from './receipt.ts'
import { checkSignature, checkSigner } from './signature_check.ts'
import type { StoredAnchor, TrailSource } from './source.ts'
import { type LastEvent, StateCheck } from './state_check.ts'

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

/** A write is young while the sealer may still be on its way to it. */
const youngMs = 60_000

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

  const bySigner = new Map<string, TrustedCertificate>(trust.certificates.map(c => [c.signer, c]))
  const receivedAt = receiveTimes(anchors, now)
  const receipts = new Map((options.receipts ?? []).map(r => [toHex(sha256(r.payload)), r]))
  const chain = new ChainCheck(trust.origin, anchors, findings)
  const passes = source.rows
    ? Math.max(1, Math.ceil((source.rowCount ?? 0) / (options.rowsPerPass ?? 200_000)))
    : 1
  const anchored = anchors.at(-1)?.size ?? 0
  const stateSize = source.stateSize ?? Number.POSITIVE_INFINITY
  const queue = new Queue()
  for await (const batch of source.pending?.() ?? []) for (const payload of batch) queue.add(payload)
  let rows = 0
  let signaturesChecked = 0

  const judge = (event: RowEvent, seq: number | null): void => {
    const where = seq === null ? `queued event ${event.id}` : `event ${seq}`
    signaturesChecked++
    try {
      const fault = checkSignature(event, trust.origin, bySigner, receivedAt(seq))
      if (fault) findings.add(fault.code, where, fault.what)
    } catch (thrown) {
      findings.add('SIG_BAD', where, reason(thrown))
    }
  }

  for (let pass = 0; pass < passes; pass++) {
    const first = pass === 0
    const state = new StateCheck(options.definitions, findings, pass, passes)
    for await (const batch of source.events()) {
      for (const stored of batch) {
        const event = first ? chain.add(stored) : tryParse(stored.payload)
        if (first && event) options.onEvent?.(event, stored.seq)
        if (first) queue.sealed(stored.payload)
        if (first) settleReceipt(receipts, stored.payload, stored.seq, anchored, findings)
        if (!event || !isRowEvent(event)) continue
        if (first) {
          const fault = checkSigner(event, options.definitions, bySigner)
          if (fault) findings.add(fault.code, `event ${stored.seq}`, fault.what)
          else if (options.signatures === 'all') judge(event, stored.seq)
        }
        if (stored.seq < stateSize) state.addEvent(event, stored.seq)
      }
      if (first) options.onProgress?.(chain.size, source.size)
    }
    for await (const batch of source.pending?.() ?? []) {
      for (const payload of batch) {
        const event = tryParse(payload)
        if (first) settleQueued(receipts, payload, findings)
        if (first && !event) findings.add('EVENT_MALFORMED', 'queued event', 'is no event')
        if (!event || !isRowEvent(event)) continue
        if (first) {
          const fault = checkSigner(event, options.definitions, bySigner)
          if (fault) findings.add(fault.code, `queued event ${event.id}`, fault.what)
          else if (options.signatures === 'all') judge(event, null)
        }
        state.addEvent(event, null)
      }
    }
    const judgeLast = (last: LastEvent): void => {
      // without a right signer it was reported when it went by
      if (options.signatures === 'last' && !checkSigner(last.event, options.definitions, bySigner))
        judge(last.event, last.seq)
    }
    if (source.rows) {
      for await (const batch of source.rows()) {
        for (const { table, row } of batch) {
          if (first) {
            rows++
            options.onRow?.(table, row)
          }
          const last = state.addRow(table, row)
          if (last) judgeLast(last)
        }
      }
      state.finish()
    } else for (const last of state.lastEvents()) judgeLast(last)
  }

  chain.finish(anchors.at(-1)?.number ?? 0)
  const readAt = source.takenAt ?? Date.parse(chain.latest)
  if (options.asOf === undefined) checkSilence(anchors.at(-1), readAt, gapSeconds, findings)
  queue.finish(source.stateSize === undefined ? readAt - youngMs : Number.POSITIVE_INFINITY, findings)
  if (source.head && (source.size !== chain.size || !equal(source.head, chain.head)))
    findings.add(
      'HEAD_MISMATCH',
      'chain head',
      `the database says ${source.size} events and head ${toHex(source.head)}, its events make ${chain.size} and ${toHex(chain.head)}`,
    )
  leftoverReceipts(receipts, trust.origin, now, findings)
  return {
    ok: findings.clean,
    origin: trust.origin,
    events: chain.size,
    head: toHex(chain.head),
    anchored,
    anchors: anchors.length,
    lastAnchor: anchors.at(-1)?.number ?? 0,
    rows,
    signaturesChecked,
    receipts: options.receipts?.length ?? 0,
    findings,
  }
}

/** Committed events outside the trail, by the hash of their payload, with their times in ms since 1970. */
class Queue {
  readonly #waiting = new Map<string, { id: string; time: number }>()

  add(payload: Bytes): void {
    const event = tryParse(payload)
    if (event) this.#waiting.set(toHex(sha256(payload)), { id: event.id, time: Date.parse(event.time) })
  }

  /** Takes out what was sealed later in the same source: the closing events of a bundle. */
  sealed(payload: Bytes): void {
    if (this.#waiting.size > 0) this.#waiting.delete(toHex(sha256(payload)))
  }

  finish(before: number, findings: Findings): void {
    for (const { id, time } of this.#waiting.values())
      if (time < before)
        findings.add('EVENT_UNSEALED', `queued event ${id}`, `committed at ${new Date(time).toISOString()}`)
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

function tryParse(payload: Bytes): Event | undefined {
  try {
    return parseEvent(payload)
  } catch {
    return undefined // reported as EVENT_MALFORMED in the first pass
  }
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

function settleReceipt(
  receipts: Map<string, Receipt>,
  payload: Bytes,
  seq: number,
  anchored: number,
  findings: Findings,
): void {
  if (receipts.size === 0) return
  const key = toHex(sha256(payload))
  const receipt = receipts.get(key)
  if (!receipt) return
  receipts.delete(key)
  if (seq >= anchored)
    findings.add('RECEIPT_PENDING', `receipt ${receipt.event.id}`, `event ${seq} is not under an anchor yet`)
}

function settleQueued(receipts: Map<string, Receipt>, payload: Bytes, findings: Findings): void {
  if (receipts.size === 0) return
  const key = toHex(sha256(payload))
  const receipt = receipts.get(key)
  if (!receipt) return
  receipts.delete(key)
  findings.add('RECEIPT_PENDING', `receipt ${receipt.event.id}`, 'not sealed yet')
}

function leftoverReceipts(
  receipts: Map<string, Receipt>,
  origin: string,
  now: number,
  findings: Findings,
): void {
  for (const receipt of receipts.values()) {
    const where = `receipt ${receipt.event.id}`
    const age = now - Date.parse(receipt.event.time)
    if (receipt.origin !== origin) findings.add('ORIGIN_MISMATCH', where, `names the log ${receipt.origin}`)
    else if (age < youngMs) findings.add('RECEIPT_PENDING', where, 'not sealed yet')
    else findings.add('RECEIPT_MISSING', where, `acknowledged at ${receipt.event.time}, not in the trail`)
  }
}
