import { type Bytes, toHex, utf8 } from '../bytes.ts'
import { rowDigest } from '../digest.ts'
import { reason } from '../errors.ts'
import { fitsScheme, type Row, type TableDefinition, underScheme } from '../tables.ts'
import type { RowEvent } from './event.ts'
import type { Findings } from './findings.ts'

/** What the trail says of one row: its last event. `seq` is null for an event that is queued but not sealed. */
export interface LastEvent {
  event: RowEvent
  seq: number | null
}

/** FNV-1a over the row's name: spreads rows over passes, so that each pass holds a bounded share of them. */
function bucketOf(name: string, passes: number): number {
  let hash = 0x811c9dc5
  for (const byte of utf8(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash % passes
}

export const rowName = (table: string, tenant: string, key: string): string => `${table} ${tenant} ${key}`

/**
 * Compares every row with its last event, both ways. Memory is bounded by rows per pass: the source is streamed
 * once a pass, and a row belongs to one pass alone.
 */
export class StateCheck {
  readonly #last = new Map<string, LastEvent>()
  readonly #findings: Findings
  readonly #definitions: Map<string, TableDefinition>
  readonly #pass: number
  readonly #passes: number

  constructor(definitions: Map<string, TableDefinition>, findings: Findings, pass = 0, passes = 1) {
    this.#findings = findings
    this.#definitions = definitions
    this.#pass = pass
    this.#passes = passes
  }

  #mine(name: string): boolean {
    return this.#passes === 1 || bucketOf(name, this.#passes) === this.#pass
  }

  /** Takes one event on a row, in order; checks the step from the one before. */
  addEvent(event: RowEvent, seq: number | null): void {
    const name = rowName(event.table, event.tenant, event.key)
    if (!this.#mine(name)) return
    const where = seq === null ? `queued event ${event.id}` : `event ${seq}`
    const before = this.#last.get(name)
    this.#checkStep(before?.event, event, where)
    this.#last.set(name, { event, seq })
  }

  #checkStep(before: RowEvent | undefined, event: RowEvent, where: string): void {
    const { ver, wver } = event
    const name = `${event.table} ${event.key}`
    const right =
      before === undefined
        ? event.action === 'create' && ver === 1 && wver === 1 && event.before === null
        : event.action === 'rewrap'
          ? ver === before.ver && wver === before.wver + 1
          : event.action !== 'create' && ver === before.ver + 1 && wver === 1
    if (!right)
      this.#findings.add(
        'VERSION_GAP',
        where,
        `${event.action} of ${name} makes version ${ver}.${wver}, the trail stood at ${before ? `${before.ver}.${before.wver}` : 'no row'}`,
      )
    // across a migration of the table the two digests are of different schemes and say nothing of each other
    else if (before && event.scheme === before.scheme && event.before !== before.after)
      this.#findings.add(
        'BEFORE_MISMATCH',
        where,
        `${name}: digest before is ${event.before}, the last event left ${before.after}`,
      )
  }

  /** Takes one stored row; returns its last event if the row is as that event left it. */
  addRow(table: string, row: Row): LastEvent | undefined {
    const def = this.#definitions.get(table)
    const tenant = String(row.tenant_id)
    const key = def ? String(row[def.key.name]) : ''
    const name = rowName(table, tenant, key)
    if (!this.#mine(name)) return undefined
    const where = `${table} ${key}`
    const last = this.#last.get(name)
    this.#last.delete(name)
    if (!def) {
      this.#findings.add('ROW_MALFORMED', where, 'the release protects no such table')
      return undefined
    }
    const scheme = last ? underScheme(def, last.event.scheme) : def
    if (!scheme || !fitsScheme(def, scheme, row)) {
      this.#findings.add(
        'ROW_EDITED',
        where,
        `tenant ${tenant}: it is not in the form of ${last?.event.scheme}`,
      )
      return undefined
    }
    let digest: Bytes
    try {
      digest = rowDigest(scheme, row)
    } catch (thrown) {
      this.#findings.add('ROW_MALFORMED', where, reason(thrown))
      return undefined
    }
    if (!last) {
      this.#findings.add('ROW_WITHOUT_EVENT', where, `tenant ${tenant}: the trail knows no such row`)
      return undefined
    }
    if (last.event.after !== toHex(digest)) {
      this.#findings.add(
        'ROW_EDITED',
        where,
        `tenant ${tenant}: not as ${last.event.actor} left it at ${last.event.time} (${place(last)}, digest ${short(last.event.after)}, now ${short(toHex(digest))})`,
      )
      return undefined
    }
    return last
  }

  finish(): void {
    for (const [, last] of this.#last)
      this.#findings.add(
        'ROW_MISSING',
        `${last.event.table} ${last.event.key}`,
        `tenant ${last.event.tenant}: ${place(last)} left it`,
      )
    this.#last.clear()
  }

  /** The last events collected so far, for a run that has no rows to compare. */
  lastEvents(): Iterable<LastEvent> {
    return this.#last.values()
  }
}

/** Enough of a digest to tell two apart in a line. */
const short = (hex: string): string => `${hex.slice(0, 16)}…`

const place = (last: LastEvent): string =>
  last.seq === null ? `queued event ${last.event.id}` : `event ${last.seq}`
