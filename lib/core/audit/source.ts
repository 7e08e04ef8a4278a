/** What a verifier reads, and from nowhere else: a live database, an export or a bundle stand behind it. */
import type { Bytes } from '../bytes.ts'
import type { Row, Value } from '../tables.ts'
import type { Base } from './base.ts'

/** One stored event. Hashes are 32 bytes; `columns` are the copies beside the payload, where the source has them. */
export interface TrailEvent {
  seq: number
  prev: Bytes
  payload: Bytes
  curr: Bytes
  columns?: { tenant: Bytes; event: Bytes }
}

export interface StoredRow {
  table: string
  row: Row
  /** What a live server keeps beside the row of its last event: id, signature and signer. An export has none of it. */
  beside?: { id: Value; sig: Value; signer: Value }
}

export interface TrailSource {
  origin: string
  /** The number of the first event, 0 for a whole trail. */
  from: number
  /** How many events there are, as the database says of itself; used for progress and compared, never trusted. */
  size: number
  /** Head as the database keeps it. */
  head?: Bytes
  /** When a live source was read, ms since 1970; absent where only its events tell the time. */
  takenAt?: number
  /** Events in order, in batches; can be opened again. @param from the first wanted; a source that cannot seek gives all */
  events(from?: number): AsyncIterable<TrailEvent[]>
  /** The same in whole runs of lines, to be read by others; absent where the source has no lines. */
  lines?(from?: number): AsyncIterable<LineRun>
  /** An archive: a range that ends where it says, and is judged by the anchors in it alone. */
  range?: boolean
  /** What the trail was before the range. */
  base?: Base
  /** Rows of the protected tables in any order, in batches; absent where only the trail is judged. */
  rows?(): AsyncIterable<StoredRow[]>
  rowCount?: number
  /** Events from this number on came after the rows were read; default: none did. */
  stateSize?: number
  /** Payloads committed but not sealed at the moment of the snapshot: they explain rows ahead of the trail. */
  pending?(): AsyncIterable<Bytes[]>
}

/** Lines of an export, each of one event, with their ends. */
export interface LineRun {
  bytes: Bytes
  /** Where it stands, for messages. */
  what: string
  /** @throws BAD_FORMAT */
  events(): TrailEvent[]
}

/** An object of the WORM store. `receivedAt`: the store's own time in ms since 1970, null where it has none. */
export interface StoredAnchor {
  name: string
  bytes: Bytes
  receivedAt: number | null
}
