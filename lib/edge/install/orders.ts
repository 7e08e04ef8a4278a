import type { Step } from '../../core/plan.ts'
import type { SignedOrder } from '../../core/server_archive.ts'
import { applyOrder, orderChange, pendingOrders } from '../orders.ts'
import type { Target } from './target.ts'

/** Orders that are not in the trail yet, in the order in which they were signed. */
export async function ordersStep(
  { connection, installedOrigin }: Target,
  orders: SignedOrder[],
): Promise<Step> {
  const pending = await pendingOrders(connection, orders, installedOrigin !== null)
  return {
    id: 'orders',
    description: 'apply what an administrator signed: tenants, grants, revocations',
    changes: pending.map(orderChange),
    apply: async () => {
      for (const order of pending) await applyOrder(connection, order)
    },
  }
}
