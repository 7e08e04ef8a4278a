/** The schema of a deployment: planned, applied, recorded in the trail. As root over the local socket. */
import { genesisHash } from '../core/audit/chain.ts'
import { schemaFingerprint } from '../core/audit/schema.ts'
import { toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { Change } from '../core/plan.ts'
import type { SqlObject } from '../core/sqlgen/objects.ts'
import { version } from '../version.ts'
import type { Connection } from './mysql.ts'
import { runAlone } from './schema_locks.ts'
import {
  type NamedStatement,
  planSchema,
  releaseName,
  type SchemaOptions,
  type SchemaPlan,
} from './schema_plan.ts'
import { schemaSnapshot, sha256, snapshotProcedure } from './schema_state.ts'

export { planSchema, type SchemaOptions, type SchemaPlan } from './schema_plan.ts'
export { schemaSnapshot } from './schema_state.ts'

/**
 * For the server's init_file: runs before anybody is let in, and voids the contexts of the last run. Before the schema
 * stands it fails, which MySQL reports (MY-000061) and passes over.
 */
export const initFileText = `REPLACE INTO securedb.boot (id, boot_id) VALUES (1, RANDOM_BYTES(16));
DELETE FROM securedb.tenant_context;
`

/** Seconds, and events: more than any honest write takes, less than anybody would like to find out later. */
const limits = { unsealed: 30, anchor: 300, warn: 120, tenantPending: 20000 }

// What a routine runs with is what its creator had.
const session = [
  'SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin',
  "SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
  "SET SESSION time_zone = '+00:00'",
  "SET SESSION transaction_isolation = 'READ-COMMITTED'",
  'SET SESSION autocommit = 1',
  'SET SESSION lock_wait_timeout = 3',
]

/** Makes the schema what the plan says, and returns what changed. Safe to repeat after any interruption. */
export async function applySchema(connection: Connection, options: SchemaOptions): Promise<Change[]> {
  for (const statement of session) await connection.run(statement)
  const plan = await planSchema(connection, options)
  const [finding] = plan.findings
  if (finding)
    throw new ZtError('DRIFT', `schema: ${finding.item} ${finding.detail}`, {
      hint: 'somebody changed it by hand: find out who and why, and put it back',
    })
  if (plan.changes.length === 0) return []
  await makeDatabase(connection)
  await connection.run('USE securedb')
  await withoutSnapshot(connection, async () => {
    await prepareDefiner(connection, plan)
    for (const migration of plan.migrations) if (!migration.skip) await runAlone(connection, migration.sql)
    await seed(connection, plan.options.origin)
    await grantDefiner(connection, plan)
    await replaceObjects(connection, plan)
  })
  await record(connection, plan)
  return plan.changes
}

/** CREATE DATABASE IF NOT EXISTS waits for every transaction on a database that is there. */
async function makeDatabase(connection: Connection): Promise<void> {
  const there = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'securedb'"
  if ((await connection.query(there)).length > 0) return
  await connection.run('CREATE DATABASE securedb CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin')
}

/**
 * Every anchor asks schema_snapshot() for the fingerprint that it signs. One taken between two statements here would be
 * of no release, and a finding for good: so there is none to be taken, and the anchor of that minute fails. An apply that
 * was killed leaves it away, and the next one puts it back.
 */
async function withoutSnapshot(connection: Connection, change: () => Promise<void>): Promise<void> {
  const snapshot = snapshotProcedure()
  const grants = (await executeGrants(connection)).filter(grant => grant.includes(`\`${snapshot.name}\``))
  await runAlone(connection, drop(snapshot)) // waits for a call that runs
  await change()
  await connection.run(snapshot.sql)
  for (const grant of grants) await connection.run(grant)
}

async function prepareDefiner(connection: Connection, { definerAccount, state }: SchemaPlan): Promise<void> {
  if (!definerAccount) return
  const [plugin] = await connection.query(
    "SELECT 1 AS found FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'mysql_no_login' AND PLUGIN_STATUS = 'ACTIVE'",
  )
  if (!plugin) await connection.run("INSTALL PLUGIN mysql_no_login SONAME 'mysql_no_login.so'")
  const verb = state.definer === null ? 'CREATE' : 'ALTER'
  await connection.run(
    `${verb} USER 'api_definer'@'localhost' IDENTIFIED WITH mysql_no_login REQUIRE NONE ACCOUNT LOCK`,
  )
}

async function seed(connection: Connection, origin: string): Promise<void> {
  const { unsealed, anchor, warn, tenantPending } = limits
  const zero = new Uint8Array(32)
  await connection.run('INSERT IGNORE INTO boot (id, boot_id) VALUES (1, RANDOM_BYTES(16))')
  await connection.run('INSERT IGNORE INTO chain_head (id, origin, size, head) VALUES (1, ?, 0, ?)', [
    origin,
    genesisHash(origin),
  ])
  await connection.run('INSERT IGNORE INTO seal_state (id) VALUES (1)')
  await connection.run('INSERT IGNORE INTO anchor_state VALUES (1, 0, 0, 0, ?, NULL)', [zero])
  await connection.run('INSERT IGNORE INTO gate_limits VALUES (1, ?, ?, ?, ?)', [
    unsealed,
    anchor,
    warn,
    tenantPending,
  ])
}

async function grantDefiner(connection: Connection, { grants }: SchemaPlan): Promise<void> {
  const account = "'api_definer'@'localhost'"
  for (const privilege of grants.extra) await connection.run(`REVOKE ${privilege} FROM ${account}`)
  for (const privilege of grants.missing) await connection.run(`GRANT ${privilege} TO ${account}`)
}

/** DROP PROCEDURE takes every account's EXECUTE with it. */
async function executeGrants(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    "SELECT CAST(User AS CHAR) AS user, CAST(Host AS CHAR) AS host, Routine_type AS kind, Routine_name AS name FROM mysql.procs_priv WHERE Db = 'securedb' AND FIND_IN_SET('Execute', Proc_priv)",
  )
  return rows.map(r => `GRANT EXECUTE ON ${r.kind} securedb.\`${r.name}\` TO '${r.user}'@'${r.host}'`)
}

const drop = ({ kind, name }: { kind: string; name: string }): string =>
  `DROP ${kind.toUpperCase()} IF EXISTS \`${name}\``

const tableOf = (trigger: SqlObject): string => / ON `([a-z0-9_]+)` FOR EACH ROW/.exec(trigger.sql)?.[1] ?? ''

async function replaceObjects(connection: Connection, { objects, extra }: SchemaPlan): Promise<void> {
  const grants = await executeGrants(connection)
  for (const object of extra) await runAlone(connection, drop(object))
  const triggers = objects.filter(o => o.kind === 'trigger')
  const later = ['trigger', 'event']
  const others = objects.filter(o => !later.includes(o.kind) && o.name !== snapshotProcedure().name)
  for (const object of others) {
    if (object.kind !== 'view') await runAlone(connection, drop(object))
    await runAlone(connection, object.sql)
  }
  for (const table of new Set(triggers.map(tableOf))) {
    // Between DROP and CREATE a write would leave no event: nobody writes meanwhile.
    await runAlone(connection, `LOCK TABLES \`${table}\` WRITE`)
    try {
      for (const trigger of triggers.filter(t => tableOf(t) === table)) {
        await runAlone(connection, drop(trigger))
        await connection.run(trigger.sql)
      }
    } finally {
      await connection.run('UNLOCK TABLES')
    }
  }
  for (const event of objects.filter(o => o.kind === 'event')) {
    await runAlone(connection, drop(event))
    await connection.run(event.sql)
  }
  const made = new Set(others.map(o => o.name))
  for (const grant of grants)
    if ([...made].some(name => grant.includes(`\`${name}\``))) await connection.run(grant)
}

/** Queues an event of the server's own and does `also` in one transaction. */
async function queue(
  connection: Connection,
  action: string,
  data: object,
  also?: () => Promise<void>,
): Promise<void> {
  await connection.run('START TRANSACTION')
  await connection.run('CALL queue_server_event(?, ?, @ztmysql_payload)', [action, JSON.stringify(data)])
  await also?.()
  await connection.run('COMMIT')
}

const note = (connection: Connection, name: string, digest: Uint8Array) => async (): Promise<void> => {
  await connection.run('REPLACE INTO migrations (name, sha256, applied_at) VALUES (?, ?, UTC_TIMESTAMP(6))', [
    name,
    digest,
  ])
}

async function record(connection: Connection, plan: SchemaPlan): Promise<void> {
  const [{ fresh } = { fresh: 0 }] = await connection.query(
    'SELECT h.size = 0 AND NOT EXISTS (SELECT 1 FROM audit_pending) AS fresh FROM chain_head h',
  )
  if (Number(fresh) === 1) await queue(connection, 'genesis', { origin: plan.options.origin })
  await connection.call('seal_due') // genesis is event 0, whatever the clock's resolution
  const done = (migration: NamedStatement): Promise<void> => {
    const digest = sha256(migration.sql)
    const data = { name: migration.name, sha256: toHex(digest) }
    return queue(connection, 'migration', data, note(connection, migration.name, digest))
  }
  for (const migration of plan.migrations) await done(migration)
  await announceServer(connection)
  const fingerprint = schemaFingerprint(await schemaSnapshot(connection))
  const data = { release: version, fingerprint: toHex(fingerprint) }
  await queue(connection, 'schema', data, note(connection, releaseName, fingerprint))
  await connection.call('seal_due')
}

/**
 * Says in the trail, as root, which MySQL and which plugins run, where that changed. With `minutes`, what changes until
 * then is announced too, whoever sees it first.
 */
export async function announceServer(connection: Connection, minutes = 0): Promise<void> {
  await connection.run('START TRANSACTION')
  await connection.run('CALL securedb.record_server(TRUE, ?)', [minutes])
  await connection.run('COMMIT')
  await connection.call('securedb.seal_due')
}
