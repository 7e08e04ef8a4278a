import { type Bytes, equal, fromHex, toHex } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { reason } from '../errors.ts'
import { isEventOf } from './anchor.ts'
import type { CheckedAnchor } from './anchor_check.ts'
import type { Base } from './base.ts'
import { genesisHash, linkHash } from './chain.ts'
import { type ChunkSummary, columnsFit, isBehind, sealSeconds } from './chunk.ts'
import { type Event, parseEvent, type ServerData } from './event.ts'
import type { Findings } from './findings.ts'
import { Frontier, leafHash } from './merkle.ts'
import { judgeRestore, type RestoreEvent } from './restored.ts'
import type { TrailEvent } from './source.ts'

/**
 * Recomputes chain and tree one event at a time and holds them against the anchors. Memory: the frontier, the
 * anchors and one event. After a break it goes on from the stored hash, so that each break is named once.
 */
export class ChainCheck {
  #frontier: Frontier
  readonly #origin: string
  readonly #findings: Findings
  readonly #anchors: CheckedAnchor[]
  readonly #engine: Engine
  readonly #copy: readonly CheckedAnchor[]
  /** Numbers of anchors whose events a restore lost, and of those that a restore goes on from. */
  readonly lost = new Set<number>()
  readonly restoredAfter = new Set<number>()
  #runs: string | undefined
  #at = 0
  #next = 0
  #head: Bytes
  #latest = ''
  /** Latest time of an event that the anchors so far do not cover. */
  #newest = ''
  #anchorNumber = 0

  /** @param base where the trail is trusted so far; the anchors are those after it, `copy` all of them */
  constructor(
    origin: string,
    anchors: CheckedAnchor[],
    findings: Findings,
    {
      base,
      engine = noble,
      copy = anchors,
    }: { base?: Base | undefined; engine?: Engine | undefined; copy?: readonly CheckedAnchor[] } = {},
  ) {
    this.#origin = origin
    this.#findings = findings
    this.#anchors = anchors
    this.#engine = engine
    this.#copy = copy
    this.#head = base?.head ?? genesisHash(origin)
    this.#next = base?.size ?? 0
    this.#frontier = new Frontier(base?.size ?? 0, base?.frontier ?? [], engine.sha256)
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

  /** The trail up to the newest anchor that it agreed with: from there a later run can go on. */
  base: Base | undefined

  #keepBase(anchor: CheckedAnchor, head: Bytes, frontier: Frontier): void {
    const { number, size } = anchor
    this.base = { origin: this.#origin, anchor: number, size, head, frontier: [...frontier.nodes] }
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
    const curr = linkHash(stored.prev, stored.payload, this.#engine.sha256)
    if (!equal(curr, stored.curr))
      findings.add('HASH_MISMATCH', where, `stored ${toHex(stored.curr)}, computed ${toHex(curr)}`)
    this.#next = stored.seq + 1
    this.#head = stored.curr
    this.#frontier.append(leafHash(stored.payload, this.#engine.sha256))

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
      if (event.action === 'restore') this.#goOn(event, stored)
      if (event.action === 'server') this.#checkServer(event.data, where)
    }
    this.#checkAnchorAt(event, stored)
    return event
  }

  /** Behind a restore: the anchors of what was lost are behind it too. */
  #goOn(event: RestoreEvent, { seq, prev }: TrailEvent): void {
    const ahead = this.#anchors.slice(this.#at)
    const lost = judgeRestore(event, { seq, prev, anchors: this.#copy, ahead }, this.#findings)
    for (const { number } of lost) this.lost.add(number)
    this.restoredAfter.add(event.data.number)
    this.#anchorNumber = event.data.number
    this.#at += lost.length
    this.#newest = ''
  }

  #checkServer({ mysql, announced }: ServerData['server'], where: string): void {
    const before = this.#runs
    this.#runs = mysql
    if (!announced)
      this.#findings.add(
        'SERVER_CHANGED',
        where,
        before === mysql || before === undefined
          ? `MySQL ${mysql} runs with other plugins or components than were announced`
          : `MySQL ${mysql} runs, and ${before} was announced`,
      )
  }

  /**
   * Goes on behind a chunk in which nothing is wrong, if it begins where this trail stands and agrees with the anchors;
   * false, and nothing has changed, where its events must be looked at one by one.
   */
  skip(chunk: ChunkSummary): boolean {
    if (chunk.first !== this.#next || !equal(chunk.prev, this.#head)) return false
    // behind a gap the leaves no longer stand where their numbers say
    if (this.#frontier.size !== this.#next) return false
    if (isBehind(this.#latest, chunk.earliest)) return false
    const frontier = this.#frontier.clone()
    let [at, newest, number] = [this.#at, this.#newest, this.#anchorNumber]
    let base: { anchor: CheckedAnchor; head: string; frontier: Frontier } | undefined
    for (const part of chunk.parts) {
      for (const { root, leaves } of part.subtrees) frontier.appendSubtree(root, leaves)
      if (part.newest > newest) newest = part.newest
      if (part.anchor) number = part.anchor.data.number
      const anchor = this.#anchors[at]
      if (anchor === undefined || anchor.size > frontier.size) continue
      if (anchor.size < frontier.size || !part.anchor || !isEventOf(anchor, part.anchor, part.head))
        return false
      if (!equal(frontier.root(), anchor.checkpointRoot) || isAhead(anchor, newest)) return false
      base = { anchor, head: part.head, frontier: frontier.clone() }
      at++
      newest = ''
      if ((this.#anchors[at]?.size ?? Number.POSITIVE_INFINITY) <= frontier.size) return false
    }
    if (base) this.#keepBase(base.anchor, fromHex(base.head, 'head', 32), base.frontier)
    this.#frontier = frontier
    this.#at = at
    this.#newest = newest
    this.#anchorNumber = number
    this.#next = chunk.first + chunk.count
    this.#head = chunk.curr
    if (chunk.latest > this.#latest) this.#latest = chunk.latest
    return true
  }

  #checkColumns(stored: TrailEvent, event: Event, where: string): void {
    if (!columnsFit(stored, event))
      this.#findings.add(
        'EVENT_COLUMNS',
        where,
        `the columns do not name tenant ${event.tenant} and event ${event.id}`,
      )
  }

  #checkTime(event: Event, where: string): void {
    if (isBehind(this.#latest, event.time))
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
    if (event && isEventOf(anchor, event, toHex(stored.curr)) && equal(root, anchor.checkpointRoot))
      this.#keepBase(anchor, stored.curr, this.#frontier)
    const newest = this.#newest
    this.#newest = ''
    if (isAhead(anchor, newest))
      this.#findings.add(
        'CLOCK_AHEAD',
        where,
        `it covers an event of ${newest} and was received at ${new Date(anchor.receivedAt ?? 0).toISOString()}`,
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

/** Whether an event under the anchor says a later time than that at which the store received it. */
const isAhead = (anchor: CheckedAnchor, newest: string): boolean =>
  anchor.receivedAt !== null && Date.parse(newest) > anchor.receivedAt + sealSeconds * 1000
