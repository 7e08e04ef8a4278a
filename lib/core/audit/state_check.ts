import { type Bytes, equal, fromBase64, fromHex, fromUtf8, random, toHex, uuidBytes } from '../bytes.ts'
import { rowDigest } from '../digest.ts'
import { reason } from '../errors.ts'
import { fitsScheme, type Row, type TableDefinition, underScheme, type Value } from '../tables.ts'
import type { RowEvent } from './event.ts'
import type { Findings } from './findings.ts'
import type { StoredRow } from './source.ts'

/** What the trail says of one row: its last event. `seq` is null for an event that is queued but not sealed. */
export interface LastEvent {
  event: RowEvent
  seq: number | null
}

/** The rows whose hash ends in these bits; the steps of the first `quiet` events were judged before. */
export interface Slice {
  bits: number
  value: number
  quiet: number
}

export const wholeState: Slice = { bits: 0, value: 0, quiet: 0 }
const mostBits = 24
// the number of rows comes from the source: what is too much for a pass is split when it shows
const mostBitsAtFirst = 10

/** As many slices as it takes for each to hold about `rowsPerPass` of `rows`. */
export function slicesFor(rows: number, rowsPerPass: number): Slice[] {
  let bits = 0
  while (bits < mostBitsAtFirst && rows > rowsPerPass * 2 ** bits) bits++
  return Array.from({ length: 2 ** bits }, (_, value) => ({ bits, value, quiet: 0 }))
}

/** FNV-1a with a basis of its own for each run, stirred: who chooses the rows' names cannot choose their slice. */
function hashOf(name: string, basis: number): number {
  let hash = basis
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

const basis = new DataView(random(4).buffer).getUint32(0)

export const rowName = (table: string, tenant: string, key: string): string => `${table} ${tenant} ${key}`

export interface StateOptions {
  slice?: Slice
  /** Rows held at most; where the trail knows more, half of the slice is left for a pass of its own. */
  rowsPerPass?: number
  /** Only what happened since a base is known: rows without an event are not judged. */
  partial?: boolean
}

/** The payload rather than the event: an object of its members takes three times as much. */
interface Kept {
  payload: Bytes
  seq: number | null
}

/**
 * Compares every row with its last event, both ways. Memory is bounded by rows per pass, whatever the trail says and
 * whatever rows are left of it: the source is streamed once a pass, and a row belongs to one pass alone.
 */
export class StateCheck {
  readonly #last = new Map<string, Kept>()
  readonly #findings: Findings
  readonly #definitions: Map<string, TableDefinition>
  readonly #limit: number
  readonly #partial: boolean
  readonly #quiet: number
  #bits: number
  readonly #value: number
  #count = 0
  /** Slices that turned out to be too much for this pass. */
  readonly deferred: Slice[] = []
  /** Rows that no event since the base speaks of. */
  unjudged = 0

  constructor(
    definitions: Map<string, TableDefinition>,
    findings: Findings,
    { slice = wholeState, rowsPerPass = 100_000, partial = false }: StateOptions = {},
  ) {
    this.#findings = findings
    this.#definitions = definitions
    this.#limit = rowsPerPass * 2
    this.#partial = partial
    this.#bits = slice.bits
    this.#value = slice.value
    this.#quiet = slice.quiet
  }

  #mine(name: string): boolean {
    return this.#bits === 0 || hashOf(name, basis) % 2 ** this.#bits === this.#value
  }

  #split(): void {
    this.deferred.push({
      bits: this.#bits + 1,
      value: this.#value + 2 ** this.#bits,
      quiet: Math.max(this.#quiet, this.#count),
    })
    this.#bits += 1
    for (const name of this.#last.keys()) if (!this.#mine(name)) this.#last.delete(name)
  }

  /** Takes one event on a row, in order; checks the step from the one before. */
  addEvent(event: RowEvent, seq: number | null, payload: Bytes): void {
    this.#count++
    const name = rowName(event.table, event.tenant, event.key)
    if (!this.#mine(name)) return
    if (this.#count > this.#quiet) {
      const where = seq === null ? `queued event ${event.id}` : `event ${seq}`
      this.#checkStep(this.#lastOf(name)?.event, event, where)
    }
    this.#last.set(name, { payload: payload.slice(), seq })
    while (this.#last.size > this.#limit && this.#bits < mostBits) this.#split()
  }

  #lastOf(name: string): LastEvent | undefined {
    const kept = this.#last.get(name)
    return kept && eventOf(kept)
  }

  #checkStep(before: RowEvent | undefined, event: RowEvent, where: string): void {
    const { ver, wver } = event
    const name = `${event.table} ${event.key}`
    if (before === undefined && this.#partial && event.action !== 'create') return
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
        event.tenant,
      )
    // across a migration of the table the two digests are of different schemes and say nothing of each other
    else if (before && event.scheme === before.scheme && event.before !== before.after)
      this.#findings.add(
        'BEFORE_MISMATCH',
        where,
        `${name}: digest before is ${event.before}, the last event left ${before.after}`,
        event.tenant,
      )
  }

  /** Takes one stored row; returns its last event if the row is as that event left it. */
  addRow(table: string, row: Row, beside?: StoredRow['beside']): LastEvent | undefined {
    const def = this.#definitions.get(table)
    const tenant = String(row.tenant_id)
    const key = def ? String(row[def.key.name]) : ''
    const name = rowName(table, tenant, key)
    if (!this.#mine(name)) return undefined
    const where = `${table} ${key}`
    const last = this.#lastOf(name)
    this.#last.delete(name)
    if (this.#partial && !last) {
      this.unjudged++
      return undefined
    }
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
        tenant,
      )
      return undefined
    }
    let digest: Bytes
    try {
      digest = rowDigest(scheme, row)
    } catch (thrown) {
      this.#findings.add('ROW_MALFORMED', where, reason(thrown), tenant)
      return undefined
    }
    if (!last) {
      this.#findings.add('ROW_WITHOUT_EVENT', where, `tenant ${tenant}: the trail knows no such row`, tenant)
      return undefined
    }
    if (last.event.after !== toHex(digest)) {
      this.#findings.add(
        'ROW_EDITED',
        where,
        `tenant ${tenant}: not as ${last.event.actor} left it at ${last.event.time} (${place(last)}, digest ${short(last.event.after)}, now ${short(toHex(digest))})`,
        tenant,
      )
      return undefined
    }
    const other = beside && besideOther(beside, last.event)
    if (other !== undefined) {
      this.#findings.add(
        'ROW_EDITED',
        where,
        `tenant ${tenant}: the ${other} beside it is not that of ${place(last)}`,
        tenant,
      )
      return undefined
    }
    return last
  }

  finish(): void {
    for (const kept of this.#last.values()) {
      const last = eventOf(kept)
      this.#findings.add(
        'ROW_MISSING',
        `${last.event.table} ${last.event.key}`,
        `tenant ${last.event.tenant}: ${place(last)} left it`,
        last.event.tenant,
      )
    }
    this.#last.clear()
  }

  /** The last events collected so far, for a run that has no rows to compare. */
  *lastEvents(): Iterable<LastEvent> {
    for (const kept of this.#last.values()) yield eventOf(kept)
  }
}

/** It was parsed strictly when it went by. */
const eventOf = ({ payload, seq }: Kept): LastEvent => ({
  event: JSON.parse(fromUtf8(payload, 'event')) as RowEvent,
  seq,
})

/** What beside the row is not its last event's: readers find their receipt by it. */
function besideOther(
  { id, sig, signer }: NonNullable<StoredRow['beside']>,
  event: RowEvent,
): string | undefined {
  const same = (value: Value, wanted: Bytes | null): boolean =>
    value instanceof Uint8Array ? wanted !== null && equal(value, wanted) : value === wanted
  if (!same(id, uuidBytes(event.id))) return 'event id'
  if (!same(sig, event.sig === null ? null : fromBase64(event.sig, 'sig'))) return 'signature'
  return same(signer, event.signer === null ? null : fromHex(event.signer, 'signer')) ? undefined : 'signer'
}

/** Enough of a digest to tell two apart in a line. */
const short = (hex: string): string => `${hex.slice(0, 16)}…`

const place = (last: LastEvent): string =>
  last.seq === null ? `queued event ${last.event.id}` : `event ${last.seq}`
