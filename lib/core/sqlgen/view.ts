import { columnsOf, type TableDefinition } from '../tables.ts'
import { eventColumns, indexName } from './columns.ts'
import { definer, ident, type SqlObject } from './text.ts'

/**
 * The tenant's own rows. Every index that the optimiser may take begins with the tenant, so another tenant's row is
 * never read: a predicate evaluated on it would speak of its values in an error message (attack: error oracle).
 */
export function createView(def: TableDefinition, name: string): SqlObject {
  const columns = [...columnsOf(def).map(c => c.name), ...eventColumns]
  const indexes = ['PRIMARY', ...def.indexes.map(i => ident(indexName(i)))]
  return {
    kind: 'view',
    name,
    sql: `CREATE OR REPLACE ALGORITHM=MERGE DEFINER=${definer} SQL SECURITY DEFINER VIEW ${ident(name)} AS
SELECT ${columns.map(c => `t.${ident(c)}`).join(', ')}
FROM ${ident(def.table)} t FORCE INDEX (${indexes.join(', ')})
WHERE t.tenant_id = current_tenant()`,
  }
}
