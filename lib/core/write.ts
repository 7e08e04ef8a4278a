/** A signed write to a protected table, and the call that makes it (SPEC §4.2, §5.4). */
import type { RowAction } from './audit/event.ts'
import { type Bytes, newUuid, toBase64, uuidBytes } from './bytes.ts'
import { rowDigest } from './digest.ts'
import { placeOf } from './envelope/row_mac.ts'
import { ZtError } from './errors.ts'
import { signWrite } from './signature.ts'
import { rewrapColumns } from './sqlgen/rewrap.ts'
import { type Column, columnsOf, columnValue, type Row, type TableDefinition, type Value } from './tables.ts'

export interface Write {
  readonly origin: string
  readonly def: TableDefinition
  readonly action: RowAction
  /** As it is after the action. */
  readonly row: Row
  /** UUID. */
  readonly event: string
  /** 64 bytes. */
  readonly signature: Bytes
  /** 32 bytes. */
  readonly signer: Bytes
}

/** A write of `row`, signed. @param event fresh, or one that names this very write and no other */
export function prepareWrite(
  def: TableDefinition,
  action: RowAction,
  row: Row,
  by: { origin: string; signer: Bytes; secretKey: Bytes },
  event = newUuid(),
): Write {
  const place = placeOf(def, row)
  const signature = signWrite(by.secretKey, {
    origin: by.origin,
    event,
    action,
    tenant: place.tenant,
    table: def.table,
    key: place.row,
    version: Number(row.version),
    wrapVersion: Number(row.wrap_version),
    after: rowDigest(def, row),
  })
  return { origin: by.origin, def, action, row, event, signature, signer: by.signer }
}

/** The procedure and its positional parameters (SPEC §5.4). @throws BAD_INPUT where the table has none for the action */
export function callOf({ def, action, row, ...write }: Write): { procedure: string; params: Value[] } {
  const procedure = action === 'rewrap' ? undefined : def.procedures[action]
  if (procedure === undefined) throw new ZtError('BAD_INPUT', `${def.table}: has no procedure for ${action}`)
  const short: Partial<Record<RowAction, string[]>> = {
    erase: [def.key.name, 'version'],
    retire: [def.key.name, 'version', 'salt'],
  }
  const params = columnsOf(def)
    .filter(({ name }) =>
      name === 'tenant_id'
        ? def.writer === 'administrator' // clients' procedures take the tenant from their context
        : (short[action]?.includes(name) ?? name !== 'state'),
    )
    .map(column => {
      const value = columnValue(row, column)
      return column.type === 'uuid' && typeof value === 'string' ? uuidBytes(value, column.name) : value
    })
  return { procedure, params: [...params, uuidBytes(write.event), write.signature, write.signer] }
}

/** Rows that one batch call may carry (SPEC §5.4). */
export const batchLimit = 500

/**
 * The batch procedure for creates or re-wraps of one table, and its one JSON parameter. The receipts come back in no
 * given order. @throws BAD_INPUT where the table has no such form, the writes are not all of a kind, or there are too many
 */
export function batchCallOf(writes: readonly Write[]): { procedure: string; params: Value[] } {
  const [first] = writes
  const { createMany, rewrapMany } = first?.def.procedures ?? {}
  const procedure =
    first?.action === 'create' ? createMany : first?.action === 'rewrap' ? rewrapMany : undefined
  if (first === undefined || procedure === undefined || writes.length > batchLimit)
    throw new ZtError('BAD_INPUT', `${first?.def.table ?? 'nothing'}: no batch of ${writes.length} rows`, {
      hint: `a batch has 1 to ${batchLimit} rows of one table that has a batch form`,
    })
  if (writes.some(write => write.def !== first.def || write.action !== first.action))
    throw new ZtError('BAD_INPUT', `${first.def.table}: a batch holds one action on one table alone`)
  const columns =
    first.action === 'rewrap'
      ? rewrapColumns(first.def)
      : columnsOf(first.def).filter(({ name }) => name !== 'tenant_id' && name !== 'state')
  return { procedure, params: [`[${writes.map(write => batchRow(write, columns)).join()}]`] }
}

function batchRow({ row, event, signature, signer }: Write, columns: readonly Column[]): string {
  const members = columns.map(
    column => `${JSON.stringify(column.name)}:${jsonText(columnValue(row, column))}`,
  )
  const tail = { evt_id: event, evt_sig: toBase64(signature), evt_key: toBase64(signer) }
  return `{${members.join()},${JSON.stringify(tail).slice(1)}`
}

/** Numbers go in as digits, also beyond 2^53. */
const jsonText = (value: Value): string =>
  value instanceof Uint8Array
    ? JSON.stringify(toBase64(value))
    : typeof value === 'bigint'
      ? String(value)
      : JSON.stringify(value)
