/** A signed write on its way: in the form that is kept until its receipt is there (SPEC §4.8). */
import { z } from 'zod'
import { type RowEvent, rowActions } from '../core/audit/event.ts'
import { type Bytes, fromBase64, fromHex, isUuid, toBase64, toHex } from '../core/bytes.ts'
import { rowDigest } from '../core/digest.ts'
import { placeOf } from '../core/envelope/row_mac.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import { rowFromJson, rowToJson } from '../core/rows.ts'
import type { TableDefinition } from '../core/tables.ts'
import type { Write } from '../core/write.ts'

export { batchCallOf, batchLimit, callOf, prepareWrite, type Write } from '../core/write.ts'

const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-pending'),
  origin: z.string(),
  table: z.string(),
  action: z.enum(rowActions),
  row: z.record(z.string(), z.string().nullable()),
  event: z.string().refine(isUuid, 'not a canonical UUID'),
  sig: z.string(),
  signer: z.string(),
})

export function formatPending(write: Write): string {
  return formatCanonical(
    {
      v: 1,
      kind: 'ztmysql-pending',
      origin: write.origin,
      table: write.def.table,
      action: write.action,
      row: rowToJson(write.def, write.row),
      event: write.event,
      sig: toBase64(write.signature),
      signer: toHex(write.signer),
    },
    true,
  )
}

/** @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export function parsePending(
  definitions: ReadonlyMap<string, TableDefinition>,
  text: Bytes | string,
  what: string,
): Write {
  const parsed = parseCanonical(text, schema, what, { maxBytes: 1 << 20, newline: true })
  const def = definitions.get(parsed.table)
  if (def === undefined) throw new ZtError('BAD_FORMAT', `${what}: of no protected table`)
  return {
    origin: parsed.origin,
    def,
    action: parsed.action,
    row: rowFromJson(def, parsed.row),
    event: parsed.event,
    signature: fromBase64(parsed.sig, `${what}: sig`, 64),
    signer: fromHex(parsed.signer, `${what}: signer`, 32),
  }
}

/** What of the event is not as the write says, or undefined. */
export function differs(write: Write, event: RowEvent, account: string): string | undefined {
  const place = placeOf(write.def, write.row)
  const wanted: Partial<RowEvent> = {
    id: write.event,
    action: write.action,
    tenant: place.tenant,
    table: write.def.table,
    key: place.row,
    ver: Number(write.row.version),
    wver: Number(write.row.wrap_version),
    scheme: write.def.scheme,
    after: toHex(rowDigest(write.def, write.row)),
    sig: toBase64(write.signature),
    signer: toHex(write.signer),
  }
  if (event.actor.slice(0, event.actor.lastIndexOf('@')) !== account) return 'actor'
  return (Object.keys(wanted) as (keyof RowEvent)[]).find(member => event[member] !== wanted[member])
}
