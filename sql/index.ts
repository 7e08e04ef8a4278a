/**
 * The database as data: hand-written objects, one a file, and the definitions of the protected tables. Files below 100
 * are migrations: forward only, run once, never changed again. The others are replaced whenever they differ.
 */
import { z } from 'zod'
import type { SqlObject } from '../lib/core/sqlgen/text.ts'
import { type TableDefinition, tableSchema } from '../lib/core/tables.ts'
import s010 from './010_create_migrations.sql' with { type: 'text' }
import s011 from './011_create_boot.sql' with { type: 'text' }
import s012 from './012_create_tenant_context.sql' with { type: 'text' }
import s013 from './013_create_chain_head.sql' with { type: 'text' }
import s014 from './014_create_audit_events.sql' with { type: 'text' }
import s015 from './015_create_audit_pending.sql' with { type: 'text' }
import s016 from './016_create_seal_state.sql' with { type: 'text' }
import s017 from './017_create_anchor_state.sql' with { type: 'text' }
import s018 from './018_create_gate_limits.sql' with { type: 'text' }
import s019 from './019_create_server_state.sql' with { type: 'text' }
import s020 from './020_create_restore_state.sql' with { type: 'text' }
import s100 from './100_create_signal_state.sql' with { type: 'text' }
import s110 from './110_create_current_tenant.sql' with { type: 'text' }
import s111 from './111_create_security_set_tenant.sql' with { type: 'text' }
import s112 from './112_create_sweep_contexts.sql' with { type: 'text' }
import s120 from './120_create_audit_events_no_update.sql' with { type: 'text' }
import s121 from './121_create_audit_events_no_delete.sql' with { type: 'text' }
import s122 from './122_create_audit_pending_no_update.sql' with { type: 'text' }
import s123 from './123_create_audit_pending_no_loss.sql' with { type: 'text' }
import s130 from './130_create_seal_batch.sql' with { type: 'text' }
import s131 from './131_create_seal_run.sql' with { type: 'text' }
import s132 from './132_create_seal_events.sql' with { type: 'text' }
import s133 from './133_create_sweep_event.sql' with { type: 'text' }
import s134 from './134_create_seal_backlog.sql' with { type: 'text' }
import s135 from './135_create_seal_due.sql' with { type: 'text' }
import s140 from './140_create_queue_server_event.sql' with { type: 'text' }
import s141 from './141_create_record_nonce.sql' with { type: 'text' }
import s142 from './142_create_record_anchor.sql' with { type: 'text' }
import s143 from './143_create_confirm_anchor.sql' with { type: 'text' }
import s144 from './144_create_anchor_status.sql' with { type: 'text' }
import s145 from './145_create_schema_snapshot.sql' with { type: 'text' }
import s146 from './146_create_observe_server.sql' with { type: 'text' }
import s147 from './147_create_record_server.sql' with { type: 'text' }
import s150 from './150_create_same_write.sql' with { type: 'text' }
import s151 from './151_create_find_receipt.sql' with { type: 'text' }
import s160 from './160_create_app_transfer.sql' with { type: 'text' }
import goldenJson from './golden.json' with { type: 'json' }
import releasedJson from './released.json' with { type: 'json' }
import accounts from './tables/accounts.json' with { type: 'json' }
import dataKeys from './tables/data_keys.json' with { type: 'json' }
import tenantGrant from './tables/tenant_grant.json' with { type: 'json' }
import tenants from './tables/tenants.json' with { type: 'json' }
import users from './tables/users.json' with { type: 'json' }

/** Parents before children. A further table is one more name here. @throws ZodError: a mistake in a definition */
export const definitions: readonly TableDefinition[] = [tenants, tenantGrant, dataKeys, users, accounts].map(
  json => tableSchema.parse(json),
)

export const tableDefinitions: Map<string, TableDefinition> = new Map(definitions.map(d => [d.table, d]))

export interface Migration {
  name: string
  sql: string
}

/** In order. */
export const migrations: readonly Migration[] = (
  [
    ['010_create_migrations', s010],
    ['011_create_boot', s011],
    ['012_create_tenant_context', s012],
    ['013_create_chain_head', s013],
    ['014_create_audit_events', s014],
    ['015_create_audit_pending', s015],
    ['016_create_seal_state', s016],
    ['017_create_anchor_state', s017],
    ['018_create_gate_limits', s018],
    ['019_create_server_state', s019],
    ['020_create_restore_state', s020],
  ] as const
).map(([name, sql]) => ({ name, sql }))

const header = /^CREATE DEFINER=`api_definer`@`localhost` (PROCEDURE|FUNCTION|TRIGGER|EVENT) `([a-z0-9_]+)`/m

function objectOf(sql: string): SqlObject {
  const [, kind = '', name = ''] = header.exec(sql) ?? []
  if (name === '') throw new Error(`sql: no object in ${sql.slice(0, 80)}`)
  return { kind: kind.toLowerCase() as SqlObject['kind'], name, sql }
}

/** Hand-written routines, triggers and events, in the order in which they are made. */
export const handwritten: readonly SqlObject[] = [
  s100,
  s110,
  s111,
  s112,
  s120,
  s121,
  s122,
  s123,
  s130,
  s131,
  s132,
  s133,
  s134,
  s135,
  s140,
  s141,
  s142,
  s143,
  s144,
  s145,
  s146,
  s147,
  s150,
  s151,
  s160,
].map(objectOf)

/** What the release's schema looks like on a server: written by scripts/golden.ts. */
export const golden = z
  .strictObject({
    mysql: z.string(),
    fingerprint: z.string(),
    objects: z.array(
      z.strictObject({
        kind: z.string(),
        name: z.string(),
        /** SHA-256 of the statement that makes it, hex. */
        source: z.string(),
        /** SHA-256 of its definition in schema_snapshot(), hex. */
        live: z.string(),
      }),
    ),
  })
  .parse(goldenJson)

/** Earlier releases, the oldest first: a trail that was upgraded has their anchors too. */
const released = z
  .array(z.strictObject({ release: z.string(), fingerprint: z.string().regex(/^[0-9a-f]{64}$/) }))
  .parse(releasedJson)

/** Fingerprints of the schemas of all releases, hex, the oldest first. */
export const goldenFingerprints: string[] = [
  ...released.map(({ fingerprint }) => fingerprint),
  ...(golden.fingerprint === '' ? [] : [golden.fingerprint]),
]
