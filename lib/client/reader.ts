/** Reads of a tenant's rows: by key, by blind index, all of them; each is checked and opened before anybody sees it. */
import { type Bytes, isUuid, uuidBytes, uuidText } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { blindIndex, normalise } from '../core/envelope/blind_index.ts'
import { blindPurpose } from '../core/envelope/key_name.ts'
import type { Plain } from '../core/envelope/plain.ts'
import { openRow, requireLive } from '../core/envelope/row.ts'
import { ZtError } from '../core/errors.ts'
import { rowFromDatabase } from '../core/rows.ts'
import type { Row, TableDefinition } from '../core/tables.ts'
import type { Parameter } from '../edge/mysql.ts'
import type { DataKeys } from './data_keys.ts'
import type { Receipts } from './receipts.ts'
import type { Session } from './session.ts'

/** One opened row. */
export interface Found {
  readonly id: string
  readonly version: number
  readonly plain: Plain
}

export interface Reader {
  /** A live row that no receipt here contradicts, still sealed. @throws BAD_INPUT, NOT_FOUND, STALE_ROW */
  fetchLive(def: TableDefinition, id: string): Promise<Row>
  /** @throws as fetchLive; BAD_MAC, DECRYPT_FAILED, PLANTED_KEY, and what KMS and MySQL throw */
  open(def: TableDefinition, row: Row): Promise<Found>
  /** Live rows in the order of their keys, `pageSize` a statement: the memory it takes is a page's. */
  pages(def: TableDefinition, filter?: Filter): AsyncGenerator<Row[]>
  /** Which of these keys are there, in whatever state; at most pageSize of them. @throws as open */
  lookUp(def: TableDefinition, ids: readonly string[]): Promise<Map<string, Known>>
  /**
   * Live rows whose sealed columns equal all these texts after normalisation. A hit of the index is a guess until the
   * row's own cells confirm it. @throws BAD_INPUT where a column has no blind index or a text is malformed
   */
  find(def: TableDefinition, wanted: Readonly<Record<string, string>>): AsyncGenerator<Found>
}

/** What the database has under a key. */
export interface Known {
  readonly version: number
  readonly wrapVersion: number
  /** Id of its last event. */
  readonly event: string
  /** Of a live row in its first version, opened. */
  readonly plain?: Plain
}

export interface Filter {
  /** SQL over the view's columns. */
  readonly where: string
  readonly params: readonly Parameter[]
}

export interface ReaderOptions {
  readonly tenant: string
  readonly session: Session
  readonly keys: DataKeys
  readonly receipts: Receipts
  readonly warn: (line: string) => void
}

export const pageSize = 500

export function openReader({ tenant, session, keys, receipts, warn }: ReaderOptions): Reader {
  const keyOf = (def: TableDefinition, id: string): Parameter =>
    def.key.type === 'uuid' ? uuidBytes(id, 'id') : id

  const accept = (def: TableDefinition, row: Row): Row => {
    receipts.requireFresh(def, row)
    requireLive(def, row, { tenant, key: String(row[def.key.name]) })
    return row
  }

  const open = async (def: TableDefinition, row: Row): Promise<Found> => {
    const { dek_id: dekId, [def.key.name]: id, version } = row
    if (typeof dekId !== 'string') throw new ZtError('BAD_FORMAT', `${def.table} ${id}: names no data key`)
    const dek = await keys.forReading(dekId, sizeOf(row))
    try {
      const plain = openRow(def, dek, row, { tenant, key: String(id) })
      return { id: String(id), version: Number(version), plain }
    } finally {
      wipe(dek)
    }
  }

  async function* pages(def: TableDefinition, filter?: Filter): AsyncGenerator<Row[]> {
    const { name } = def.key
    const more = filter === undefined ? '' : ` AND ${filter.where}`
    for (let last: string | undefined; ; ) {
      const after = last === undefined ? [] : [keyOf(def, last)]
      const sql = `SELECT * FROM ${def.view ?? def.table} WHERE state = ?${after.length ? ` AND ${name} > ?` : ''}${more} ORDER BY ${name} LIMIT ${pageSize}`
      const stored = await session.query(sql, [def.states[0], ...after, ...(filter?.params ?? [])])
      const rows = stored.map(row => accept(def, rowFromDatabase(def, row)))
      for (const row of rows) {
        const id = String(row[def.key.name])
        // A server that answers the same page again would keep us here for ever.
        if (last !== undefined && (def.key.type === 'uuid' ? id <= last : id === last))
          throw new ZtError('REFUSED', `${def.table}: the database answers rows that were not asked for`)
        last = id
      }
      if (rows.length > 0) yield rows
      if (rows.length < pageSize) return
    }
  }

  async function* find(def: TableDefinition, wanted: Readonly<Record<string, string>>) {
    const [first, ...others] = criteriaOf(def, wanted)
    if (first === undefined) throw new ZtError('USAGE', `${def.table}: nothing to search for`)
    const place = { tenant, table: def.table, column: first.of }
    const blindKeys = await keys.searching(blindPurpose(def.table, first.of))
    let indexes: Bytes[]
    try {
      indexes = blindKeys.map(key => blindIndex(key, place, first.normal))
    } finally {
      wipe(...blindKeys)
    }
    if (indexes.length === 0) return
    const where = `${first.name} IN (${indexes.map(() => '?').join()})`
    for await (const rows of pages(def, { where, params: indexes }))
      for (const row of rows) {
        const found = await open(def, row)
        const same = [first, ...others].map(
          ({ of, how, normal }) =>
            typeof found.plain[of] === 'string' && normalise(how, found.plain[of], of) === normal,
        )
        if (same[0] === false)
          warn(`warning: ${def.table} ${found.id}: its ${first.name} is not that of its ${first.of}`)
        if (same.every(Boolean)) yield found
      }
  }

  return {
    fetchLive: async (def, id) => {
      if (def.key.type === 'uuid' && !isUuid(id))
        throw new ZtError('BAD_INPUT', 'id: not a canonical lower-case UUID', {
          hint: 'the id is what create printed, for example 3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f',
        })
      const view = def.view ?? def.table
      const [found] = await session.query(`SELECT * FROM ${view} WHERE ${def.key.name} = ?`, [keyOf(def, id)])
      if (found === undefined)
        throw new ZtError('NOT_FOUND', `${def.table} ${id}: this tenant has no such row`, {
          hint: 'check the id, and that the account belongs to the tenant that wrote it',
        })
      const row = rowFromDatabase(def, found)
      receipts.requireFresh(def, row)
      requireLive(def, row, { tenant, key: id })
      return row
    },
    lookUp: async (def, ids) => {
      const known = new Map<string, Known>()
      if (ids.length === 0) return known
      const sql = `SELECT * FROM ${def.view ?? def.table} WHERE ${def.key.name} IN (${ids.map(() => '?').join()})`
      for (const stored of await session.query(
        sql,
        ids.map(id => keyOf(def, id)),
      )) {
        const row = rowFromDatabase(def, stored)
        const id = String(row[def.key.name])
        const [version, wrapVersion] = [Number(row.version), Number(row.wrap_version)]
        receipts.requireFresh(def, row)
        const event = stored.evt_id instanceof Uint8Array ? uuidText(stored.evt_id) : ''
        const first = version === 1 && row.state === def.states[0]
        const plain = first ? (await open(def, row)).plain : undefined
        known.set(id, { version, wrapVersion, event, ...(plain === undefined ? {} : { plain }) })
      }
      return known
    },
    open,
    pages,
    find,
  }
}

function criteriaOf(def: TableDefinition, wanted: Readonly<Record<string, string>>) {
  return Object.entries(wanted).map(([of, text]) => {
    const column = def.columns.find(known => known.kind === 'blind' && known.of === of)
    if (column?.kind !== 'blind') {
      const searchable = def.columns.flatMap(known => (known.kind === 'blind' ? [known.of] : []))
      throw new ZtError('BAD_INPUT', `${def.table}: ${of} has no blind index to search by`, {
        hint: `searchable: ${searchable.join(', ') || 'nothing'}`,
      })
    }
    return { name: column.name, of, how: column.normalise, normal: normalise(column.normalise, text, of) }
  })
}

/** A measure for the cache: bytes of a row's or plaintext's values. */
export function sizeOf(values: Row): number {
  return Object.values(values).reduce<number>(
    (sum, value) => sum + (value instanceof Uint8Array || typeof value === 'string' ? value.length : 8),
    0,
  )
}
