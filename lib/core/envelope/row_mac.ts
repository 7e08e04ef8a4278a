/** What makes the clear columns of a sealed row the client's own word (SPEC §3.5). */
import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, checkLength, concat, equal } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { lp } from '../lp.ts'
import {
  columnsOf,
  columnValue,
  fitsScheme,
  type Row,
  type TableDefinition,
  underScheme,
  valueBytes,
} from '../tables.ts'
import { keyLength, wipe } from './aead.ts'
import { fieldSuite } from './cell.ts'
import type { Place } from './record_key.ts'

/** 0x00 for NULL, or 0x01 ‖ the bytes of the value. */
const part = (bytes: Bytes | null): Bytes =>
  bytes === null ? Uint8Array.of(0) : concat(Uint8Array.of(1), bytes)

/** Tenant, table and key of a row. @throws BAD_INPUT where tenant or key is missing or no text */
export function placeOf(def: TableDefinition, row: Row): Place {
  const { tenant_id: tenant, [def.key.name]: key } = row
  if (typeof tenant !== 'string' || typeof key !== 'string')
    throw new ZtError('BAD_INPUT', `row of ${def.table}: has no tenant or no key`)
  return { tenant, table: def.table, row: key }
}

/** 32 bytes over scheme, tenant, table, key, version, state, every own column and the field suite. */
export function rowMac(def: TableDefinition, row: Row, recordKey: Bytes): Bytes {
  const place = placeOf(def, row)
  const info = lp('ztmysql/v1/row-mac', place.tenant, place.table, place.row)
  const key = hkdf(
    sha256,
    checkLength(recordKey, 'record key', keyLength),
    new Uint8Array(0),
    info,
    keyLength,
  )
  const own = new Set(def.columns.map(column => column.name))
  const columns = columnsOf(def)
  const parts = columns
    .filter(column => own.has(column.name))
    .map(column => {
      const value = columnValue(row, column)
      return part(value === null ? null : valueBytes(column, value))
    })
  const head = ['version', 'state'].map(name => {
    const column = columns.find(known => known.name === name)
    const value = column === undefined ? null : columnValue(row, column)
    if (column === undefined || value === null) throw new ZtError('BAD_INPUT', `row has no ${name}`)
    return valueBytes(column, value)
  })
  const message = lp(
    'ztmysql/v1/row',
    def.scheme,
    place.tenant,
    place.table,
    place.row,
    ...head,
    ...parts,
    fieldSuite,
  )
  try {
    return hmac(sha256, key, message)
  } finally {
    wipe(key)
  }
}

/**
 * Checks under the present scheme, then under older ones: a row that was written before a migration keeps its MAC.
 * @throws BAD_MAC where a column, the version or the state is not what the client that sealed the row wrote
 */
export function checkRowMac(def: TableDefinition, row: Row, recordKey: Bytes): void {
  const { mac } = row
  const schemes = [def.scheme, ...def.history.map(entry => entry.scheme)]
  for (const scheme of schemes.map(name => underScheme(def, name)))
    if (
      scheme &&
      mac instanceof Uint8Array &&
      fitsScheme(def, scheme, row) &&
      equal(mac, rowMac(scheme, row, recordKey))
    )
      return
  throw new ZtError('BAD_MAC', `${def.table} ${placeOf(def, row).row}: the row is not what a client wrote`, {
    hint: 'use nothing of it: somebody changed it in the database; run chain_verify',
  })
}
