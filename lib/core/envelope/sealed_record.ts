/** One record that needs no database: its data key, wrapped, beside its row (SPEC §3.7). */
import { z } from 'zod'
import { type Bytes, random } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { rowFromJson, rowToJson } from '../rows.ts'
import { type Row, saltLength, type TableDefinition } from '../tables.ts'
import type { Entropy } from './aead.ts'
import { type DataKeyRecord, dataKeyColumns, dataKeyFromRow } from './data_key.ts'

const record = z.record(z.string(), z.string().nullable())
const sealedRecordSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-sealed-record'),
  table: z.string(),
  key: record,
  row: record,
})

/** A row of `data_keys` for its first version. */
export function newDataKeyRow(key: DataKeyRecord, entropy: Entropy = random): Row {
  return {
    tenant_id: key.tenant,
    id: key.id,
    version: 1,
    wrap_version: 1,
    state: 'active',
    ...dataKeyColumns(key),
    salt: entropy(saltLength),
  }
}

export interface SealedRecord {
  table: TableDefinition
  key: Row
  row: Row
}

/** One line of canonical JSON and LF. */
export function formatSealedRecord(keys: TableDefinition, { table, key, row }: SealedRecord): string {
  return formatCanonical(
    {
      v: 1,
      kind: 'ztmysql-sealed-record',
      table: table.table,
      key: rowToJson(keys, key),
      row: rowToJson(table, row),
    },
    true,
  )
}

/** @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH; REFUSED where the row is not sealed under the key beside it */
export function parseSealedRecord(
  keys: TableDefinition,
  tables: readonly TableDefinition[],
  text: Bytes | string,
): SealedRecord & { dataKey: DataKeyRecord } {
  const parsed = parseCanonical(text, sealedRecordSchema, 'sealed record', {
    maxBytes: 1 << 20,
    newline: true,
  })
  const table = tables.find(def => def.table === parsed.table && def.sealed)
  if (table === undefined) throw new ZtError('BAD_FORMAT', 'sealed record: of no sealed table')
  const key = rowFromJson(keys, parsed.key)
  const row = rowFromJson(table, parsed.row)
  const dataKey = dataKeyFromRow(key)
  if (row.tenant_id !== dataKey.tenant || row.dek_id !== dataKey.id || dataKey.purpose !== 'record')
    throw new ZtError('REFUSED', 'sealed record: the row is not sealed under the key beside it')
  return { table, key, row, dataKey }
}
