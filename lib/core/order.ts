/** Signed orders: what an administrator signs on the workstation and root applies to the database (SPEC §6.1). */
import { z } from 'zod'
import { type Bytes, checkLength, fromBase64, fromHex, newUuid, toBase64, toHex, uuidBytes } from './bytes.ts'
import { rowDigest } from './digest.ts'
import { ZtError } from './errors.ts'
import { formatCanonical, parseCanonical } from './json.ts'
import { checkOrigin } from './origin.ts'
import { rowFromJson, rowToJson } from './rows.ts'
import { type SignedWrite, signWrite, verifyWrite } from './signature.ts'
import type { Row, TableDefinition } from './tables.ts'

export const orderActions = ['create', 'update', 'retire'] as const
export type OrderAction = (typeof orderActions)[number]

export interface Order {
  readonly origin: string
  readonly table: string
  readonly action: OrderAction
  /** The columns of SPEC §5.2, with the state that they have after the action. */
  readonly row: Row
  /** UUID of the event. */
  readonly event: string
  /** r ‖ s, 64 bytes. */
  readonly signature: Bytes
  /** SHA-256 of the signer's SPKI, 32 bytes. */
  readonly signer: Bytes
}

const orderSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-order'),
  origin: z.string(),
  table: z.string(),
  action: z.enum(orderActions),
  row: z.record(z.string(), z.string().nullable()),
  event: z.string(),
  sig: z.string(),
  signer: z.string(),
})

const maxBytes = 1 << 20

/** What the order's signature says (SPEC §4.2). @throws BAD_FORMAT where the row is not one of `def` */
function signedWrite(def: TableDefinition, order: Omit<Order, 'signature' | 'signer'>): SignedWrite {
  if (def.table !== order.table || def.writer !== 'administrator')
    throw new ZtError('BAD_FORMAT', `order: ${order.table} is not a table that administrators write`)
  const { tenant_id: tenant, [def.key.name]: key, version, wrap_version: wrapVersion } = order.row
  if (typeof tenant !== 'string' || typeof key !== 'string' || Number(wrapVersion) !== 1)
    throw new ZtError('BAD_FORMAT', `order: the head of the row of ${def.table} is malformed`)
  const state = def.states[order.action === 'retire' ? 1 : 0]
  if (order.row.state !== state || (order.action === 'create') !== (Number(version) === 1))
    throw new ZtError(
      'BAD_FORMAT',
      `order: ${order.action} of ${def.table} wants state ${state} and its version`,
    )
  return {
    origin: checkOrigin(order.origin),
    event: order.event,
    action: order.action,
    tenant,
    table: def.table,
    key,
    version: Number(version),
    wrapVersion: 1,
    after: rowDigest(def, order.row),
  }
}

/**
 * @param row as it is after the action: `state` the first of the definition, or the second for `retire`;
 * version 1 for `create`, the next one else; wrap_version 1; a new salt
 * @param by.secretKey P-256 scalar of the administrator's certificate, 32 bytes
 */
export function signOrder(
  def: TableDefinition,
  row: Row,
  action: OrderAction,
  by: { origin: string; secretKey: Bytes; signer: Bytes; event?: string },
): Order {
  const order = { origin: by.origin, table: def.table, action, row, event: by.event ?? newUuid() }
  const signature = signWrite(by.secretKey, signedWrite(def, order))
  return { ...order, signature, signer: checkLength(by.signer, 'signer', 32) }
}

/** @param publicKey SEC1 point of the certificate whose signer the order names */
export function verifyOrder(def: TableDefinition, order: Order, publicKey: Bytes): boolean {
  return verifyWrite(publicKey, signedWrite(def, order), order.signature)
}

export function formatOrder(def: TableDefinition, order: Order): string {
  return formatCanonical(
    {
      v: 1,
      kind: 'ztmysql-order',
      origin: order.origin,
      table: order.table,
      action: order.action,
      row: rowToJson(def, order.row),
      event: order.event,
      sig: toBase64(order.signature),
      signer: toHex(order.signer),
    },
    true,
  )
}

/**
 * Inverse of formatOrder. Says nothing of the signature.
 * @param definitions of every protected table, in any order
 * @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH; also for a table that administrators do not write
 */
export function parseOrder(
  definitions: Iterable<TableDefinition>,
  source: Bytes | string,
  what = 'order',
): { definition: TableDefinition; order: Order } {
  const { origin, table, action, event, ...json } = parseCanonical(source, orderSchema, what, {
    maxBytes,
    newline: true,
  })
  const definition = [...definitions].find(def => def.table === table)
  if (definition === undefined)
    throw new ZtError('BAD_FORMAT', `${what}: no protected table is named ${table}`)
  uuidBytes(event, `${what}: event`)
  const row = rowFromJson(definition, json.row)
  const signature = fromBase64(json.sig, `${what}: sig`, 64)
  const order = {
    origin,
    table,
    action,
    row,
    event,
    signature,
    signer: fromHex(json.signer, `${what}: signer`, 32),
  }
  signedWrite(definition, order)
  return { definition, order }
}
