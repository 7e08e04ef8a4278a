import { type Bytes, concat, equal, toHex, uuidBytes } from '../bytes.ts'
import { reason } from '../errors.ts'
import { isEventOf } from './anchor.ts'
import type { CheckedAnchor } from './anchor_check.ts'
import { genesisHash, linkHash } from './chain.ts'
import { type Event, parseEvent } from './event.ts'
import type { Findings } from './findings.ts'
import { Frontier, leafHash } from './merkle.ts'
import type { TrailEvent } from './source.ts'

/** The gate's limit: how long an event may wait before it is sealed. */
const sealSeconds = 30
const noTenant = new Uint8Array(16)

/**
 * Recomputes chain and tree one event at a time and holds them against the anchors. Memory: the frontier, the
 * anchors and one event. After a break it goes on from the stored hash, so that each break is named once.
 */
export class ChainCheck {
  readonly #frontier = new Frontier()
  readonly #origin: string
  readonly #findings: Findings
  readonly #anchors: CheckedAnchor[]
  #at = 0
  #next = 0
  #head: Bytes
  #latest = ''
  /** Latest time of an event that the anchors so far do not cover. */
  #newest = ''
  #anchorNumber = 0

  constructor(origin: string, anchors: CheckedAnchor[], findings: Findings) {
    this.#origin = origin
    this.#findings = findings
    this.#anchors = anchors
    this.#head = genesisHash(origin)
  }

  get #anchor(): CheckedAnchor | undefined {
    return this.#anchors[this.#at]
  }

  get size(): number {
    return this.#next
  }

  /** Latest time that any event says, empty before the first. */
  get latest(): string {
    return this.#latest
  }

  get head(): Bytes {
    return this.#head
  }

  /** The parsed event, or undefined where it is not one. */
  add(stored: TrailEvent): Event | undefined {
    const findings = this.#findings
    const where = `event ${stored.seq}`
    if (stored.seq !== this.#next) findings.add('SEQ_GAP', where, `expected event ${this.#next}`)
    if (!equal(stored.prev, this.#head))
      findings.add(
        'CHAIN_BREAK',
        where,
        `names predecessor ${toHex(stored.prev)}, it is ${toHex(this.#head)}`,
      )
    const curr = linkHash(stored.prev, stored.payload)
    if (!equal(curr, stored.curr))
      findings.add('HASH_MISMATCH', where, `stored ${toHex(stored.curr)}, computed ${toHex(curr)}`)
    this.#next = stored.seq + 1
    this.#head = stored.curr
    this.#frontier.append(leafHash(stored.payload))

    let event: Event | undefined
    try {
      event = parseEvent(stored.payload)
    } catch (thrown) {
      findings.add('EVENT_MALFORMED', where, reason(thrown))
    }
    if (event) {
      this.#checkColumns(stored, event, where)
      this.#checkTime(event, where)
      if (event.action === 'genesis' && (stored.seq !== 0 || event.data.origin !== this.#origin))
        findings.add('EVENT_MALFORMED', where, `a genesis of ${event.data.origin} does not belong here`)
      if (event.action === 'anchor') this.#anchorNumber = event.data.number
    }
    this.#checkAnchorAt(event, stored)
    return event
  }

  #checkColumns(stored: TrailEvent, event: Event, where: string): void {
    if (!stored.columns) return
    const tenant = event.tenant === null ? noTenant : uuidBytes(event.tenant)
    if (!equal(concat(tenant, uuidBytes(event.id)), concat(stored.columns.tenant, stored.columns.event)))
      this.#findings.add(
        'EVENT_COLUMNS',
        where,
        `the columns do not name tenant ${event.tenant} and event ${event.id}`,
      )
  }

  #checkTime(event: Event, where: string): void {
    const behind = this.#latest === '' ? 0 : (Date.parse(this.#latest) - Date.parse(event.time)) / 1000
    if (behind > sealSeconds)
      this.#findings.add(
        event.sig === null ? 'LATE_COMMIT' : 'TIME_BACKWARDS',
        where,
        `${event.time} comes after ${this.#latest}`,
      )
    if (event.time > this.#latest) this.#latest = event.time
    if (event.time > this.#newest) this.#newest = event.time
  }

  /** An anchor of this size must have this root and head, and this event must be its own. */
  #checkAnchorAt(event: Event | undefined, stored: TrailEvent): void {
    for (let passed = this.#anchor; passed && passed.size < this.#next; passed = this.#anchor) {
      this.#at++
      this.#findings.add('ANCHOR_FORK', `anchor ${passed.number}`, `no event ${passed.size - 1} in the trail`)
    }
    const anchor = this.#anchor
    if (anchor?.size !== this.#next) return
    this.#at++
    const where = `anchor ${anchor.number}`
    const root = this.#frontier.root()
    if (!equal(root, anchor.checkpointRoot))
      this.#findings.add(
        'ANCHOR_FORK',
        where,
        `anchored root of ${anchor.size} events is ${toHex(anchor.checkpointRoot)}, the trail has ${toHex(root)}`,
      )
    if (!event || !isEventOf(anchor, event, toHex(stored.curr)))
      this.#findings.add('ANCHOR_EVENT', where, `event ${stored.seq} is not the event of this anchor`)
    const newest = this.#newest
    this.#newest = ''
    if (anchor.receivedAt !== null && Date.parse(newest) > anchor.receivedAt + sealSeconds * 1000)
      this.#findings.add(
        'CLOCK_AHEAD',
        where,
        `it covers an event of ${newest} and was received at ${new Date(anchor.receivedAt).toISOString()}`,
      )
  }

  /** To be called once, after the last event. */
  finish(lastAnchor: number): void {
    for (const anchor of this.#anchors.slice(this.#at))
      this.#findings.add(
        'ANCHOR_BEYOND',
        `anchor ${anchor.number}`,
        `covers ${anchor.size} events, the trail has ${this.#next}`,
      )
    if (this.#anchorNumber > lastAnchor)
      this.#findings.add(
        'ANCHOR_PENDING',
        `anchor ${this.#anchorNumber}`,
        `recorded in the trail; the newest in this copy of the store is ${lastAnchor}`,
      )
  }
}
