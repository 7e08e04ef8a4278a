/** What an application account can do, tried with probe accounts in fixture tenants; nothing else is ever written. */

import { tableDefinitions } from '../../../sql/index.ts'
import { newUuid, random, uuidBytes, uuidText } from '../../core/bytes.ts'
import type { Json } from '../../core/controls/control.ts'
import { ZtError } from '../../core/errors.ts'
import { columnsOf, type Row, type TableDefinition, type Value } from '../../core/tables.ts'
import { callOf, prepareWrite } from '../../core/write.ts'
import { type Connection, openMysql } from '../mysql.ts'
import type { ProbeIdentity } from './identity.ts'
import { attempt, type Probe, type ProbeContext } from './probe.ts'

const asOwn = (context: ProbeContext): string => `${context.own.account}, tenant ${context.own.tenant}`

async function withTenant<T>(
  identity: ProbeIdentity,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  return withConnection(identity, async connection => {
    await connection.call('security_set_tenant', [identity.tenant])
    return use(connection)
  })
}

async function withConnection<T>(
  identity: ProbeIdentity,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await openMysql({ defaultsFile: identity.defaultsFile, database: 'securedb' })
  try {
    return await use(connection)
  } finally {
    await connection.close()
  }
}

function tableDefinition(table: string): TableDefinition {
  const def = tableDefinitions.get(table)
  if (!def) throw new ZtError('INTERNAL', `no definition of ${table}`)
  return def
}

/** Random bytes of the right lengths: no data key is within a probe's reach, and none is needed to try a procedure. */
function randomRow(def: TableDefinition, own: Row): Row {
  return Object.fromEntries(
    columnsOf(def).map((column): [string, Value] => {
      if (column.name in own) return [column.name, own[column.name] ?? null]
      if (column.optional) return [column.name, null]
      return [column.name, random(column.length ?? Math.min(column.max ?? 64, 64))]
    }),
  )
}

/**
 * Writes a row of random bytes for a fixture tenant, and takes it back again: an erased row and two events are left of
 * each run, and one data key of them all.
 */
class Fixture {
  readonly userId = newUuid()
  readonly #connection: Connection
  readonly #identity: ProbeIdentity
  readonly #origin: string

  constructor(connection: Connection, identity: ProbeIdentity, origin: string) {
    this.#connection = connection
    this.#identity = identity
    this.#origin = origin
  }

  async create(): Promise<void> {
    const head = { tenant_id: this.#identity.tenant, version: 1, wrap_version: 1 }
    await this.#write('users', 'create', {
      ...head,
      id: this.userId,
      state: 'live',
      role: 'probe',
      field_suite: 'hkdf-sha256/aes-256-gcm',
      dek_id: await this.#dataKey(head),
    })
  }

  /** The tenant's data key, made where it has none. */
  async #dataKey(head: Row): Promise<string> {
    const [known] = await this.#connection.query(
      "SELECT id FROM app_data_keys WHERE purpose = 'record' AND state = 'active' LIMIT 1",
    )
    if (known?.id instanceof Uint8Array) return uuidText(known.id)
    const id = newUuid()
    await this.#write('data_keys', 'create', {
      ...head,
      id,
      state: 'active',
      purpose: 'record',
      suite: 'kms',
      kms_key: 'gcp-kms://projects/probe/locations/none/keyRings/none/cryptoKeys/none',
    })
    return id
  }

  async remove(): Promise<void> {
    const users = tableDefinition('users')
    const empty = Object.fromEntries(columnsOf(users).map(column => [column.name, null]))
    const head = { tenant_id: this.#identity.tenant, version: 2, wrap_version: 1 }
    await this.#write('users', 'erase', { ...empty, ...head, id: this.userId, state: 'erased' })
  }

  async #write(table: string, action: 'create' | 'erase', own: Row): Promise<void> {
    const def = tableDefinition(table)
    const row = randomRow(def, own)
    const { signer, secretKey } = this.#identity
    const { procedure, params } = callOf(
      prepareWrite(def, action, row, { origin: this.#origin, signer, secretKey }),
    )
    await this.#connection.call(procedure, params)
  }
}

const tables = ['users', 'accounts', 'tenants', 'tenant_grant', 'data_keys', 'audit_events', 'audit_pending']
const statements = {
  select: (table: string) => `SELECT * FROM ${table} LIMIT 1`,
  insert: (table: string) => `INSERT INTO ${table} (tenant_id) VALUES (0)`,
  update: (table: string) => `UPDATE ${table} SET tenant_id = tenant_id`,
  delete: (table: string) => `DELETE FROM ${table}`,
}

export const accessProbes: Probe[] = [
  {
    id: 'direct_sql',
    grade: 'network',
    identity: asOwn,
    command: () => `${Object.keys(statements).join(', ')} on ${tables.join(', ')}`,
    run: ({ own }) =>
      withTenant(own, async connection => {
        const attempts: { [name: string]: Json } = {}
        for (const table of tables)
          for (const [verb, sql] of Object.entries(statements))
            attempts[`${verb}_${table}`] = await attempt(() => connection.query(sql(`securedb.${table}`)))
        return { attempts }
      }),
  },
  {
    id: 'procedure_path',
    grade: 'network',
    identity: asOwn,
    command: () => 'app_create_user_encrypted, SELECT from app_users, app_erase_user',
    run: ({ own, origin }) =>
      withTenant(own, async connection => {
        const fixture = new Fixture(connection, own, origin)
        const stateOf = async () => {
          const [row] = await connection.query('SELECT state FROM app_users WHERE id = ?', [
            uuidBytes(fixture.userId),
          ])
          return row?.state ?? null
        }
        await fixture.create()
        const state = await stateOf()
        await fixture.remove()
        return { created: true, read: state === 'live', erased: (await stateOf()) === 'erased' }
      }),
  },
  {
    id: 'no_context',
    grade: 'network',
    identity: context => `${context.own.account}, no tenant set`,
    command: () => 'SELECT from app_users, app_accounts, app_data_keys; CALL app_erase_user',
    run: ({ own }) =>
      withConnection(own, async connection => {
        const id = uuidBytes(newUuid())
        return {
          attempts: {
            users: await attempt(() => connection.query('SELECT * FROM app_users')),
            accounts: await attempt(() => connection.query('SELECT * FROM app_accounts')),
            data_keys: await attempt(() => connection.query('SELECT * FROM app_data_keys')),
            erase: await attempt(() =>
              connection.call('app_erase_user', [id, 2, id, random(64), random(32)]),
            ),
          },
        }
      }),
  },
  {
    id: 'tenant_crossing',
    grade: 'network',
    identity: asOwn,
    command: context =>
      `security_set_tenant('${context.neighbour.tenant}'); read and erase a row of that tenant`,
    run: ({ own, neighbour, origin }) =>
      withTenant(neighbour, async theirs => {
        const fixture = new Fixture(theirs, neighbour, origin)
        await fixture.create()
        const id = uuidBytes(fixture.userId)
        const find = (connection: Connection) => () =>
          connection.query('SELECT id FROM app_users WHERE id = ?', [id])
        try {
          return await withTenant(own, async mine => ({
            neighbour: await attempt(find(theirs)),
            read: await attempt(find(mine)),
            write: await attempt(() =>
              mine.call('app_erase_user', [id, 2, uuidBytes(newUuid()), random(64), own.signer]),
            ),
            enter: await attempt(() => mine.call('security_set_tenant', [neighbour.tenant])),
          }))
        } finally {
          await fixture.remove()
        }
      }),
  },
]
