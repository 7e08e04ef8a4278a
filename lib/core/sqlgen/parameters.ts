/** Parameters of the standard procedures, positional (SPEC §5.4): what the generator writes and a client sends. */
import { type Column, columnsOf, type TableDefinition } from '../tables.ts'
import { eventColumns, keyed, parameterType } from './columns.ts'

export type Action = 'create' | 'update' | 'erase' | 'retire'

/** A parameter `p_NAME`: a column of the row, or evt_id (16 bytes), evt_sig (64), evt_key (32). */
export interface Parameter {
  name: string
  column?: Column
  sqlType: string
}

const eventTypes = { evt_id: 'VARBINARY(255)', evt_sig: 'VARBINARY(255)', evt_key: 'VARBINARY(255)' }

/** Columns that a call of `action` carries, in order; tenant_id only for tables that administrators write. */
export function parameterColumns(def: TableDefinition, action: Action): Column[] {
  const columns = columnsOf(def).filter(
    c => c.name !== 'state' && (c.name !== 'tenant_id' || def.writer === 'administrator'),
  )
  if (action === 'create' || action === 'update') return columns
  const names = [
    'tenant_id',
    ...(keyed(def) ? [def.key.name] : []),
    'version',
    ...(action === 'retire' ? ['salt'] : []),
  ]
  return columns.filter(c => names.includes(c.name))
}

export function parametersOf(def: TableDefinition, action: Action): Parameter[] {
  return [
    ...parameterColumns(def, action).map(column => ({
      name: column.name,
      column,
      sqlType: parameterType(def, column),
    })),
    ...eventColumns.map(name => ({ name, sqlType: eventTypes[name] })),
  ]
}
