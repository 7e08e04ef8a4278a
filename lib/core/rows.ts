/** Rows as JSON (SPEC §4.9): uuid and text as strings, numbers as decimal strings, bytes in base64, NULL as null. */
import { fromBase64, isUuid, toBase64, uuidText } from './bytes.ts'
import { ZtError } from './errors.ts'
import { type Column, columnsOf, columnValue, type Row, type TableDefinition, type Value } from './tables.ts'

export type RowJson = Record<string, string | null>

export function rowToJson(def: TableDefinition, row: Row): RowJson {
  return Object.fromEntries(columnsOf(def).map(c => [c.name, toJson(columnValue(row, c))]))
}

function toJson(value: Value): string | null {
  if (value === null || typeof value === 'string') return value
  return value instanceof Uint8Array ? toBase64(value) : String(value)
}

/** @throws BAD_FORMAT on unknown or missing columns, another order, non-canonical values, wrong lengths. */
export function rowFromJson(def: TableDefinition, json: unknown): Row {
  const columns = columnsOf(def)
  if (
    typeof json !== 'object' ||
    json === null ||
    Object.keys(json).join() !== columns.map(c => c.name).join()
  )
    throw new ZtError('BAD_FORMAT', `row of ${def.table}: other columns than ${def.scheme} has`)
  const fields = json as Record<string, unknown>
  return Object.fromEntries(columns.map(c => [c.name, fromJson(def, c, fields[c.name])]))
}

function fromJson(def: TableDefinition, column: Column, value: unknown): Value {
  const what = `${def.table}.${column.name}`
  if (value === null && !column.head) return null
  if (typeof value !== 'string') throw new ZtError('BAD_FORMAT', `${what}: expected a string`)
  switch (column.type) {
    case 'uuid':
      if (!isUuid(value)) throw new ZtError('BAD_FORMAT', `${what}: not a canonical UUID`)
      return value
    case 'text':
      return value
    case 'int':
    case 'uint':
      if (!/^(?:0|-?[1-9][0-9]{0,19})$/.test(value) || (column.type === 'uint' && value.startsWith('-')))
        throw new ZtError('BAD_FORMAT', `${what}: not a canonical decimal`)
      return BigInt(value)
    case 'bytes': {
      const bytes = fromBase64(value, what, column.length)
      if (column.max !== undefined && bytes.length > column.max)
        throw new ZtError('BAD_LENGTH', `${what}: expected at most ${column.max} bytes, got ${bytes.length}`)
      return bytes
    }
  }
}

/** A row as MySQL returns it (UUIDs as their 16 bytes) in the form that digests and codecs take. */
export function rowFromDatabase(def: TableDefinition, stored: Row): Row {
  return Object.fromEntries(
    columnsOf(def).map(column => {
      const value = columnValue(stored, column)
      return [column.name, column.type === 'uuid' && value instanceof Uint8Array ? uuidText(value) : value]
    }),
  )
}
