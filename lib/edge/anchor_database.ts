/** The anchor's side of the database: five procedures, no table (SPEC §5.4). */
import { type SchemaObject, schemaFingerprint } from '../core/audit/schema.ts'
import { type Bytes, checkLength, toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { Row } from '../core/tables.ts'
import { type Connection, MysqlError } from './mysql.ts'

/** anchor_status(). Times as the database prints them, UTC. */
export interface AnchorStatus {
  recordedNumber: number
  recordedSize: number
  confirmedNumber: number
  /** Hex; 64 zeros before the first. */
  confirmedSha256: string
  confirmedAt: string | null
  oldestPendingAt: string | null
  pending: number
  /** SQLSTATE with which a write would be refused now, null where it would not. */
  gate: string | null
  /** Of the last restore; absent where there was none. */
  restored?: Restored
}

/** Where a trail goes on from after a restore (SPEC §4.16). */
export interface Restored {
  /** The newest anchor of the store then; its numbers go on from there. */
  number: number
  /** Hex. */
  sha256: string
  /** Events under that anchor, and events of the backup: where the first are more, those between are lost. */
  anchoredSize: number
  restoredSize: number
  /** The newest anchored tree that the backup still has; undefined for none. */
  base: { size: number; root: Bytes } | undefined
}

/** The answer of record_anchor(): what the anchor covers. */
export interface Recorded {
  size: number
  /** 32 bytes. */
  head: Bytes
}

export interface AnchorDatabase {
  sealDue(): Promise<void>
  status(): Promise<AnchorStatus>
  /** Of the schema as it stands, 32 bytes. */
  fingerprint(): Promise<Bytes>
  /** `onLeaf` gets the leaf hashes from event `from` on, in order and without gaps. */
  record(
    anchor: { number: number; fingerprint: Bytes; prev: Bytes; from: number },
    onLeaf: (leaf: Bytes) => void,
  ): Promise<Recorded>
  confirm(number: number, sha256: Bytes): Promise<void>
}

const misfit = (what: string): ZtError =>
  new ZtError('MYSQL', `${what}: not the answer that was expected`, {
    hint: 'the schema of the database and this program are of different releases',
  })

function count(row: Row, name: string, what: string): number {
  const value = Number(row[name])
  if (row[name] === null || !Number.isSafeInteger(value) || value < 0) throw misfit(`${what}: ${name}`)
  return value
}

function hash(row: Row, name: string, what: string): Bytes {
  const value = row[name]
  if (!(value instanceof Uint8Array)) throw misfit(`${what}: ${name}`)
  return checkLength(value, `${what}: ${name}`, 32)
}

function text(row: Row, name: string, what: string): string {
  const value = row[name]
  if (typeof value !== 'string') throw misfit(`${what}: ${name}`)
  return value
}

const orNull = <T>(row: Row, name: string, read: () => T): T | null => (row[name] === null ? null : read())

function one(rows: Row[][], what: string): Row {
  const row = rows[0]?.[0]
  if (row === undefined) throw misfit(what)
  return row
}

function restoredOf(row: Row, what: string): { restored?: Restored } {
  if (row.restored_number == null) return {}
  const size = count(row, 'base_size', what)
  return {
    restored: {
      number: count(row, 'restored_number', what),
      sha256: toHex(hash(row, 'restored_sha256', what)),
      anchoredSize: count(row, 'lost_size', what),
      restoredSize: count(row, 'restored_size', what),
      base: size === 0 ? undefined : { size, root: hash(row, 'base_root', what) },
    },
  }
}

/** A row of anchor_status(). @throws MYSQL */
export function anchorStatusOf(row: Row): AnchorStatus {
  const what = 'anchor_status'
  return {
    recordedNumber: count(row, 'recorded_number', what),
    recordedSize: count(row, 'recorded_size', what),
    confirmedNumber: count(row, 'confirmed_number', what),
    confirmedSha256: toHex(hash(row, 'confirmed_sha256', what)),
    confirmedAt: orNull(row, 'confirmed_at', () => text(row, 'confirmed_at', what)),
    oldestPendingAt: orNull(row, 'oldest_pending_at', () => text(row, 'oldest_pending_at', what)),
    pending: count(row, 'pending', what),
    gate: orNull(row, 'gate', () => text(row, 'gate', what)),
    ...restoredOf(row, what),
  }
}

/** An upgrade takes a procedure away and puts it back, then its grant: ER_SP_DOES_NOT_EXIST, ER_PROCACCESS_DENIED_ERROR. */
const beingReplaced = new Set([1305, 1370])
const patience = { tries: 20, milliseconds: 500 }

/** Waits out an upgrade of a few seconds, or each one would leave the anchor's unit failed. @throws what `ask` does at last */
async function onceThere<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await ask()
    } catch (thrown) {
      if (!(thrown instanceof MysqlError) || !beingReplaced.has(thrown.errno)) throw thrown
      if (tries === patience.tries) throw replaced(thrown)
      await Bun.sleep(patience.milliseconds)
    }
}

const replaced = (cause: MysqlError): ZtError =>
  new ZtError(cause.code, cause.message, {
    cause,
    hint: 'an upgrade of the schema was killed, or a grant is missing: vm_oneclick apply puts both right',
  })

export function anchorDatabase(connection: Connection, database = 'securedb'): AnchorDatabase {
  const call = (procedure: string, params: Parameters<Connection['call']>[1] = []) =>
    onceThere(() => connection.call(`${database}.${procedure}`, params))
  return {
    async sealDue() {
      await call('seal_due')
    },
    async status() {
      return anchorStatusOf(one(await call('anchor_status'), 'anchor_status'))
    },
    async fingerprint() {
      const what = 'schema_snapshot'
      const rows = (await call(what))[0] ?? []
      if (rows.length === 0) throw misfit(what)
      return schemaFingerprint(
        rows.map(
          (row): SchemaObject => ({
            kind: text(row, 'kind', what),
            name: text(row, 'name', what),
            definition: text(row, 'definition', what),
          }),
        ),
      )
    },
    async record({ number, fingerprint, prev, from }, onLeaf) {
      const what = 'record_anchor'
      let recorded: Recorded | undefined
      let next = from
      // streamed: a first anchor may bring the leaves of the whole trail
      for await (const row of connection.stream(`CALL ${database}.${what}(?, ?, ?, ?)`, [
        number,
        fingerprint,
        prev,
        from,
      ]))
        if ('size' in row) recorded = { size: count(row, 'size', what), head: hash(row, 'head', what) }
        else if ('seq' in row) {
          if (count(row, 'seq', what) !== next)
            throw new ZtError('VERIFY_FAILED', `${what}: event ${next} is missing`)
          onLeaf(hash(row, 'leaf', what))
          next += 1
        }
      if (recorded === undefined) throw misfit(what)
      return recorded
    },
    async confirm(number, sha256) {
      await call('confirm_anchor', [number, sha256])
    },
  }
}
