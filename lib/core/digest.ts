import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, utf8 } from './bytes.ts'
import { columnsOf, columnValue, digestPart, type Row, type TableDefinition, valueBytes } from './tables.ts'

/** SHA-256(part(scheme) ‖ part(column) …) over every client-written column in order, 32 bytes (SPEC §5.3). */
export function rowDigest(def: TableDefinition, row: Row): Bytes {
  const parts = columnsOf(def).map(column => {
    const value = columnValue(row, column)
    return digestPart(value === null ? null : valueBytes(column, value))
  })
  return sha256(concat(digestPart(utf8(def.scheme)), ...parts))
}
