/** Applies what an administrator signed: through the same procedures and triggers as every write (SPEC §5.4, §6.1). */
import { uuidBytes } from '../core/bytes.ts'
import type { Change } from '../core/plan.ts'
import type { SignedOrder } from '../core/server_archive.ts'
import { callOf } from '../core/write.ts'
import type { Connection } from './mysql.ts'
import { killSessions } from './sessions.ts'

const tenantOf = ({ order }: SignedOrder): string => String(order.row.tenant_id)
const keyOf = ({ definition, order }: SignedOrder): string => String(order.row[definition.key.name])

/** Whether the event of an order is in the trail, or waits to be sealed. */
async function isKnown(connection: Connection, signed: SignedOrder): Promise<boolean> {
  const ids = [uuidBytes(tenantOf(signed), 'tenant'), uuidBytes(signed.order.event, 'event')]
  const [row] = await connection.query(
    `SELECT EXISTS (SELECT 1 FROM securedb.audit_events WHERE tenant_id = ? AND evt_id = ?)
         OR EXISTS (SELECT 1 FROM securedb.audit_pending WHERE tenant_id = ? AND evt_id = ?) AS known`,
    [...ids, ...ids],
  )
  return Number(row?.known) === 1
}

/** Those that are not in the trail yet, in order. @param installed false while there is no trail */
export async function pendingOrders(
  connection: Connection,
  orders: SignedOrder[],
  installed: boolean,
): Promise<SignedOrder[]> {
  if (!installed) return orders
  const pending: SignedOrder[] = []
  for (const order of orders) if (!(await isKnown(connection, order))) pending.push(order)
  return pending
}

export function orderChange(signed: SignedOrder): Change {
  const { definition, order } = signed
  const tenant = tenantOf(signed)
  const key = keyOf(signed)
  const item = `${definition.table} ${key === tenant ? tenant : `${tenant} ${key}`} (${signed.name})`
  const version = Number(order.row.version)
  return {
    item,
    before: version === 1 ? null : `version ${version - 1}`,
    after: `${order.action}, version ${version}`,
  }
}

/** Accounts whose sessions an order ends: of a grant its account, of a tenant every account that has it. */
async function endedBy(connection: Connection, signed: SignedOrder): Promise<string[]> {
  const { definition, order } = signed
  if (order.action !== 'retire') return []
  if (definition.table === 'tenant_grant') return [keyOf(signed)]
  const rows = await connection.query('SELECT account FROM securedb.tenant_grant WHERE tenant_id = ?', [
    uuidBytes(tenantOf(signed), 'tenant'),
  ])
  return rows.map(row => String(row.account))
}

/**
 * Applies one order. A revocation ends the account's sessions before, so that no transaction of theirs holds a lock, and
 * once more after: one that was opened in between had read its grant.
 */
export async function applyOrder(connection: Connection, signed: SignedOrder): Promise<void> {
  const accounts = await endedBy(connection, signed)
  for (const account of accounts) await killSessions(connection, account)
  const { definition: def, order } = signed
  const { procedure, params } = callOf({ ...order, def })
  await connection.call(`securedb.${procedure}`, params)
  for (const account of accounts) {
    await connection.run('DELETE FROM securedb.tenant_context WHERE account = ?', [account])
    await killSessions(connection, account)
  }
}
