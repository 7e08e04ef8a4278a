/** What each role may do: the whole of its rights (SPEC §2, §5.4), as single privileges. */
import type { Privilege } from '../grants.ts'
import type { TableDefinition } from '../tables.ts'

export type Role = 'app' | 'probe' | 'auditor' | 'probe_auditor' | 'anchor'

const execute = (name: string): Privilege => `EXECUTE ON PROCEDURE securedb.${name}`
const select = (name: string): Privilege => `SELECT ON securedb.${name}`

/** Hand-written procedures for clients, beside those that the definitions name. */
const clientProcedures = ['app_transfer']

const trail = [
  'audit_events',
  'audit_pending',
  'chain_head',
  'seal_state',
  'anchor_state',
  'gate_limits',
  'server_state',
  'restore_state',
  'migrations',
]

export function grantsFor(role: Role, definitions: readonly TableDefinition[]): Privilege[] {
  if (role === 'anchor')
    return ['seal_due', 'record_anchor', 'confirm_anchor', 'schema_snapshot', 'anchor_status'].map(execute)
  if (role === 'auditor' || role === 'probe_auditor')
    return [
      ...[...trail, ...definitions.map(d => d.table)].map(select),
      ...['record_nonce', 'anchor_status', 'schema_snapshot'].map(execute),
    ]
  const written = definitions.filter(d => d.writer === 'client')
  return [
    ...definitions.flatMap(d => (d.view ? [select(d.view)] : [])),
    execute('security_set_tenant'),
    'EXECUTE ON FUNCTION securedb.current_tenant',
    ...[
      ...written.flatMap(d => Object.values(d.procedures).filter(n => n !== undefined)),
      ...clientProcedures,
    ].map(execute),
  ]
}

/**
 * Rights of api_definer, which owns every routine, view, trigger and event: what those need to work. Nobody logs in as
 * this account, and its routines are fixed.
 */
export function definerGrants(definitions: readonly TableDefinition[]): Privilege[] {
  const on = (object: string, ...privileges: string[]) => privileges.map(p => `${p} ON ${object}`)
  return [
    // To see every routine, event and schema in a snapshot, not its own alone: a backdoor would have another owner.
    ...on('*.*', 'SHOW DATABASES', 'EVENT', 'SHOW_ROUTINE'),
    ...on('mysql.*', 'SELECT'),
    ...on('performance_schema.events_transactions_current', 'SELECT'),
    ...on('performance_schema.threads', 'SELECT'),
    ...on('performance_schema.global_variables', 'SELECT'),
    ...on('securedb.*', 'SELECT', 'EXECUTE', 'EVENT', 'TRIGGER', 'SHOW VIEW'),
    ...on('securedb.tenant_context', 'INSERT', 'DELETE'),
    ...on('securedb.audit_pending', 'INSERT', 'DELETE'),
    ...on('securedb.audit_events', 'INSERT'),
    ...on('securedb.server_state', 'INSERT', 'UPDATE'),
    ...['chain_head', 'seal_state', 'anchor_state'].flatMap(name => on(`securedb.${name}`, 'UPDATE')),
    ...definitions.flatMap(d => on(`securedb.${d.table}`, 'INSERT', 'UPDATE')),
  ]
}
