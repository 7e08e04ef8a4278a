/** What stands before every client's write: tenant context, gate, data key, parents, in one SELECT. */
import type { TableDefinition } from '../tables.ts'
import { endState } from './columns.ts'
import { callerAccount, ident, literal, utcNow } from './text.ts'

export const contextVariables = `  DECLARE v_nonce BINARY(16) DEFAULT IF(LENGTH(@ztmysql_nonce) = 16, CAST(@ztmysql_nonce AS BINARY), NULL);
  DECLARE v_account VARCHAR(32) DEFAULT ${callerAccount};
  DECLARE v_tenant BINARY(16);`

export const gateVariables = `  DECLARE v_now DATETIME(6);
  DECLARE v_oldest DATETIME(6);
  DECLARE v_looked DATETIME(6);
  DECLARE v_anchored DATETIME(6);
  DECLARE v_unsealed_limit BIGINT;
  DECLARE v_anchor_limit BIGINT;
  DECLARE v_tenant_limit BIGINT;`

const contextFrom = `FROM boot b
JOIN tenant_context c ON c.connection_id = CONNECTION_ID()
  AND c.nonce = v_nonce AND c.boot_id = b.boot_id AND c.account = v_account
JOIN tenant_grant g ON g.tenant_id = c.tenant_id AND g.account = c.account AND g.state = 'active'
JOIN tenants t ON t.tenant_id = c.tenant_id AND t.state = 'active'`

const gateFrom = `
JOIN seal_state s ON s.id = 1
JOIN anchor_state a ON a.id = 1
JOIN gate_limits l ON l.id = 1`

export interface Lookup {
  /** SELECT expression. */
  value: string
  /** Variable that takes it. */
  into: string
  join: string
  lock?: string
}

/** SELECT … INTO that leaves v_tenant NULL without a context, and fills the gate's variables where `gated`. */
export function contextSelect(gated: boolean, lookups: Lookup[]): string {
  const values = ['c.tenant_id']
  const into = ['v_tenant']
  if (gated) {
    values.push('s.oldest_pending_at', 's.looked_at', 'a.confirmed_at')
    values.push('l.unsealed_seconds * 1000000', 'l.anchor_seconds * 1000000', 'l.tenant_pending')
    into.push('v_oldest', 'v_looked', 'v_anchored', 'v_unsealed_limit', 'v_anchor_limit', 'v_tenant_limit')
  }
  const locks = lookups.flatMap(l => (l.lock ? [l.lock] : []))
  return `SELECT ${[...values, ...lookups.map(l => l.value)].join(', ')}
  INTO ${[...into, ...lookups.map(l => l.into)].join(', ')}
${contextFrom}${gated ? gateFrom : ''}${lookups.map(l => `\n${l.join}`).join('')}
WHERE b.id = 1${locks.length ? `\nFOR SHARE OF ${locks.join(', ')}` : ''};`
}

/** The clock is read after the times that it is compared with, or they could lie ahead of it. */
export const readClock = `SET v_now = ${utcNow};`

const age = (time: string): string => `TIMESTAMPDIFF(MICROSECOND, ${time}, v_now)`

/** WHEN branches that give the SQLSTATE of a missing context or closed gate. */
export function gateCases(gated: boolean): string[] {
  const context = `WHEN v_tenant IS NULL THEN '45T01'`
  if (!gated) return [context]
  return [
    context,
    `WHEN v_now IS NULL OR ${age('v_looked')} < 0 OR ${age('v_anchored')} < 0 OR IFNULL(${age('v_oldest')}, 0) < 0 THEN '45G03'`,
    `WHEN v_looked IS NULL OR ${age('v_looked')} > v_unsealed_limit OR IFNULL(${age('v_oldest')}, 0) > v_unsealed_limit THEN '45G01'`,
    `WHEN v_anchored IS NULL OR ${age('v_anchored')} > v_anchor_limit THEN '45G02'`,
  ]
}

/** A parent row must be there and live until the write is done: it is locked, before anything is written. */
export function parentLookup(
  parent: TableDefinition,
  value: string,
  index: number,
  tenant = 'c.tenant_id',
): Lookup & { declare: string } {
  const alias = `p${index}`
  const key = parent.key.name === 'tenant_id' ? '' : ` AND ${alias}.${ident(parent.key.name)} = ${value}`
  return {
    value: `${alias}.state`,
    into: `v_parent${index}`,
    join: `LEFT JOIN ${ident(parent.table)} ${alias} ON ${alias}.tenant_id = ${tenant}${key}`,
    lock: alias,
    declare: `  DECLARE v_parent${index} VARCHAR(16);`,
  }
}

export const parentCase = (parent: TableDefinition, index: number): string =>
  `WHEN IFNULL(v_parent${index} = ${literal(endState(parent))}, TRUE) THEN '45W03'`

/** Rows are sealed under an active data key of their tenant that is meant for records. */
export const keyLookup: Lookup = {
  value: `k.state = 'active' AND k.purpose = 'record'`,
  into: 'v_key',
  join: 'LEFT JOIN data_keys k ON k.tenant_id = c.tenant_id AND k.id = p_dek_id',
}
export const keyCase = `WHEN v_key IS NOT TRUE THEN '45W07'`
