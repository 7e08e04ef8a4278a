import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { newUuid, random, uuidBytes } from '../../lib/core/bytes.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { applyOrder } from '../../lib/edge/orders.ts'
import {
  type Deployment,
  deployment,
  procedureCall,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

// A server of its own: these tests restart it and take grants away.
setDefaultTimeout(60_000)

let d: Deployment
let a: TestTenant
let b: TestTenant

beforeAll(async () => {
  d = await deployment()
  ;[a, b] = d.tenants
  for (const tenant of d.tenants) {
    const connection = await d.connect(tenant.account)
    await d.write(connection, prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by))
    await connection.close()
  }
})
afterAll(() => d[Symbol.asyncDispose]())

const views = ['app_users', 'app_accounts', 'app_data_keys']

async function using<T>(opening: Promise<Connection>, use: (c: Connection) => Promise<T>): Promise<T> {
  const connection = await opening
  try {
    return await use(connection)
  } finally {
    connection.destroy()
  }
}

async function noReads(c: Connection, error: string): Promise<void> {
  for (const view of views) await refused(c.query(`SELECT * FROM ${view}`), error)
  await refused(c.query('SELECT current_tenant()'), error)
}

/** Neither reading nor writing is possible without a context. */
async function shut(c: Connection): Promise<void> {
  await noReads(c, '1644 45T01')
  const { procedure, params } = procedureCall(prepareWrite(d.define('users'), 'create', userRow(a), a.by))
  await refused(c.call(procedure, params), '1644 45T01')
  await refused(c.call('app_create_users_encrypted', ['[{}]']), '1644 45T01')
  await refused(c.call('app_transfer', new Array(15).fill(null)), '1644 45T01')
}

async function open(c: Connection, tenant: TestTenant): Promise<void> {
  expect((await c.query('SELECT current_tenant() AS t'))[0]?.t).toEqual(uuidBytes(tenant.id))
  expect((await c.query('SELECT COUNT(*) AS n FROM app_users'))[0]?.n).toBeGreaterThan(0)
}

describe('tenant context', () => {
  test('without one, nothing is read or written', () => using(d.connectBare(a.account), shut))

  test('is given for a granted tenant alone; a refused call leaves none behind', () =>
    using(d.connectBare(a.account), async c => {
      for (const asked of [b.id, newUuid(), a.id.toUpperCase(), `${a.id.slice(0, 35)}_`, '', 'x', null]) {
        await c.call('security_set_tenant', [a.id])
        await open(c, a)
        await refused(c.call('security_set_tenant', [asked]), '1644 45T02')
        await shut(c)
      }
    }))

  test('shows a tenant its own rows alone', () =>
    using(d.connect(a.account), async c => {
      for (const view of views) {
        const rows = await c.query(`SELECT DISTINCT tenant_id FROM ${view}`)
        expect(rows.filter(r => !Buffer.from(uuidBytes(a.id)).equals(r.tenant_id as Uint8Array))).toEqual([])
      }
      expect(await c.query('SELECT 1 FROM app_users WHERE tenant_id = ?', [uuidBytes(b.id)])).toEqual([])
    }))

  test('does not outlive COM_RESET_CONNECTION, as a pool sends before it hands on', () =>
    using(d.connect(a.account), async c => {
      await open(c, a)
      await c.reset()
      await c.run('USE securedb')
      await shut(c)
    }))

  test('does not outlive COM_CHANGE_USER, to the same account or another', () =>
    using(d.connect(a.account), async c => {
      for (const account of [a.account, b.account, a.account]) {
        const { user = '', password = '' } = d.options(account)
        // Another account's certificate is another connection: MySQL refuses the change.
        if (account !== a.account) await refused(c.changeUser(user, password), '1045')
        else {
          await c.changeUser(user, password)
          await c.run('USE securedb')
          await shut(c)
        }
        if (account !== a.account) return
      }
    }))

  test('cannot be guessed, borrowed or built from a user variable', () =>
    using(d.connect(a.account), async c => {
      const nonce = (await c.query('SELECT @ztmysql_nonce AS n'))[0]?.n as Uint8Array
      expect(nonce.length).toBe(16)
      for (const wrong of [0, 1, 1.5, -1, '', 'x', null, random(16), random(15), new Uint8Array(16), true]) {
        await c.run('SET @ztmysql_nonce = ?', [wrong])
        await noReads(c, '1644 45T01')
      }
      await using(d.connectBare(b.account), async thief => {
        await thief.run('SET @ztmysql_nonce = ?', [nonce])
        await shut(thief)
      })
      await using(d.connectBare(a.account), async other => {
        await other.run('SET @ztmysql_nonce = ?', [nonce])
        await shut(other)
      })
      await c.run('SET @ztmysql_nonce = ?', [nonce])
      await open(c, a)
    }))

  test('an over-long nonce is refused, whatever it begins with', () =>
    using(d.connect(a.account), async c => {
      await c.run("SET @ztmysql_nonce = CONCAT(@ztmysql_nonce, 'x')")
      await noReads(c, '1644 45T01')
    }))

  test('ends with the grant, in the middle of a session, for reading and writing', () =>
    using(d.connect(b.account), async c => {
      await open(c, b)
      const grant = {
        tenant_id: b.id,
        account: b.account,
        version: 2,
        wrap_version: 1,
        state: 'revoked',
        salt: random(16),
      }
      await c.run('START TRANSACTION')
      await c.query('SELECT * FROM app_users FOR SHARE')
      await d.write(d.root, prepareWrite(d.define('tenant_grant'), 'retire', grant, d.administrator))
      await shut(c)
      await refused(c.call('security_set_tenant', [b.id]), '1644 45T02')
      await d.write(
        d.root,
        prepareWrite(
          d.define('tenant_grant'),
          'update',
          { ...grant, version: 3, state: 'active', salt: random(16) },
          d.administrator,
        ),
      )
      await c.call('security_set_tenant', [b.id])
      await open(c, b)
    }))

  test('is ended by a revocation together with the sessions that hold it, whatever they hold', async () => {
    const holder = await d.connect(b.account)
    await holder.run('START TRANSACTION')
    await holder.query('SELECT * FROM app_users FOR SHARE')
    const busy = await d.connect(b.account)
    const sleeping = busy.query('SELECT SLEEP(30) FROM app_users').catch((e: unknown) => e)
    const grant = {
      tenant_id: b.id,
      account: b.account,
      version: 4,
      wrap_version: 1,
      state: 'revoked',
      salt: random(16),
    }
    const write = prepareWrite(d.define('tenant_grant'), 'retire', grant, d.administrator)
    await applyOrder(d.root, {
      name: 'orders/000001.json',
      definition: d.define('tenant_grant'),
      order: {
        origin: d.origin,
        table: 'tenant_grant',
        action: 'retire',
        row: grant,
        event: write.event,
        signature: write.signature,
        signer: write.signer,
      },
    })
    for (const c of [holder, busy])
      await expect(c.query('SELECT 1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
    await sleeping
    expect(await d.root.query('SELECT 1 FROM tenant_context WHERE account = ?', [b.account])).toEqual([])
    await using(d.connectBare(b.account), c => refused(c.call('security_set_tenant', [b.id]), '1644 45T02'))
    const renewed = { ...grant, version: 5, state: 'active', salt: random(16) }
    await d.write(d.root, prepareWrite(d.define('tenant_grant'), 'update', renewed, d.administrator))
  })

  test('does not survive a restart, nor an old nonce on a repeated connection id', async () => {
    const old = await d.connect(a.account)
    const [was] = await old.query('SELECT CONNECTION_ID() AS id, @ztmysql_nonce AS nonce')
    const [row] = await d.root.query('SELECT * FROM tenant_context WHERE connection_id = ?', [
      Number(was?.id),
    ])
    const [boot] = await d.root.query('SELECT boot_id FROM boot')
    await d.restart()
    expect((await d.root.query('SELECT COUNT(*) AS n FROM tenant_context'))[0]?.n).toBe(0)
    expect((await d.root.query('SELECT boot_id FROM boot'))[0]?.boot_id).not.toEqual(boot?.boot_id)
    // As if the table had not been emptied: the boot id alone voids the row.
    await d.root.run('INSERT INTO tenant_context VALUES (?, ?, ?, ?, ?, ?)', [
      Number(was?.id),
      row?.nonce as Uint8Array,
      row?.boot_id as Uint8Array,
      a.account,
      uuidBytes(a.id),
      String(row?.set_at),
    ])
    for (let id = 0; id < Number(was?.id); )
      await using(d.connectBare(a.account), async c => {
        id = Number((await c.query('SELECT CONNECTION_ID() AS id'))[0]?.id)
        if (id !== Number(was?.id)) return
        await c.run('SET @ztmysql_nonce = ?', [was?.nonce ?? null])
        await shut(c)
        id = Number.POSITIVE_INFINITY
      })
    old.destroy()
  }, 60_000)
})

describe('the transaction in which a view is read', () => {
  test.each(['REPEATABLE READ', 'SERIALIZABLE', 'READ UNCOMMITTED'])('is not %s', level =>
    using(d.connect(a.account), async c => {
      await c.run(`SET SESSION TRANSACTION ISOLATION LEVEL ${level}`)
      await noReads(c, '1644 45T03')
      await c.run('START TRANSACTION')
      await noReads(c, '1644 45T03')
      await c.run('ROLLBACK')
      await c.run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
      await open(c, a)
      await c.run(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await noReads(c, '1644 45T03').catch(() => undefined) // the level holds for one transaction: the first read used it up
      await c.run(`SET TRANSACTION ISOLATION LEVEL ${level}`)
      await refused(c.query('SELECT * FROM app_users'), '1644 45T03')
    }),
  )

  test('is no XA transaction, and a procedure refuses to run in one', () =>
    using(d.connect(a.account), async c => {
      await c.run("XA START 'x'")
      await noReads(c, '1644 45T03')
      const { procedure, params } = procedureCall(prepareWrite(d.define('users'), 'create', userRow(a), a.by))
      await refused(c.call(procedure, params), '1399')
      await refused(c.call('security_set_tenant', [a.id]), '1399')
      await c.run("XA END 'x'")
      await c.run("XA ROLLBACK 'x'")
    }))

  test('may be any for a procedure, which owns its own and leaves none open', () =>
    using(d.connect(a.account), async c => {
      for (const setting of [
        'SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE',
        'SET SESSION transaction_read_only = ON',
        'SET SESSION autocommit = 0',
        'SET SESSION completion_type = 1',
        'SET SESSION foreign_key_checks = 0, unique_checks = 0',
        'SET SESSION insert_id = 5',
        "SELECT GET_LOCK('securedb', 1)",
      ]) {
        await c.query(setting)
        const row = userRow(a)
        expect(await d.write(c, prepareWrite(d.define('users'), 'create', row, a.by))).toContain(
          String(row.id),
        )
        const [open] = await d.root.query(
          `SELECT COUNT(*) AS n FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = ?`,
          [c.info().threadId],
        )
        expect(open?.n).toBe(0)
      }
      await c.query('SET SESSION completion_type = 2')
      const row = userRow(a)
      expect(await d.write(c, prepareWrite(d.define('users'), 'create', row, a.by))).toContain(String(row.id))
      await c.query('DO 1') // still connected
    }))

  test('what an app may not set, it may not set', () =>
    using(d.connect(a.account), async c => {
      for (const setting of [
        'sql_log_bin = 0',
        'pseudo_thread_id = 1',
        "gtid_next = 'AUTOMATIC'",
        'sql_require_primary_key = 1',
      ])
        await refused(c.run(`SET SESSION ${setting}`), '1227')
    }))
})
