import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { random, uuidBytes } from '../../lib/core/bytes.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import {
  type Deployment,
  dataKeyRow,
  deployment,
  erasedRow,
  procedureCall,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

// A server of its own: one test leaves connections that lock what they can.
let d: Deployment
let a: TestTenant
let b: TestTenant
let victim: Connection

beforeAll(async () => {
  d = await deployment({ options: ['innodb_lock_wait_timeout=2', 'lock_wait_timeout=2'] })
  ;[a, b] = d.tenants
  victim = await d.connect(b.account)
})
afterAll(() => d[Symbol.asyncDispose]())

/** What the other tenant, the sealer, the anchor, the administrator and a revocation need, each within two seconds. */
async function everybodyElseGoesOn(): Promise<void> {
  const row = userRow(b)
  await d.write(victim, prepareWrite(d.define('users'), 'create', row, b.by))
  await d.write(
    victim,
    prepareWrite(d.define('users'), 'update', { ...row, version: 2, salt: random(16) }, b.by),
  )
  await victim.query('SELECT * FROM app_users')
  const [before] = await d.root.query('SELECT looked_at FROM seal_state')
  await d.root.call('seal_due')
  expect(await d.root.query('SELECT 1 FROM audit_pending WHERE tenant_id = ?', [uuidBytes(b.id)])).toEqual([])
  await d.anchor()
  const grant = {
    tenant_id: a.id,
    account: `g${crypto.randomUUID().slice(0, 8)}`,
    version: 1,
    wrap_version: 1,
    state: 'active',
    salt: random(16),
  }
  await d.write(d.root, prepareWrite(d.define('tenant_grant'), 'create', grant, d.administrator))
  await d.write(
    d.root,
    prepareWrite(
      d.define('tenant_grant'),
      'retire',
      { ...grant, version: 2, state: 'revoked', salt: random(16) },
      d.administrator,
    ),
  )
  await d.root.run('DELETE FROM tenant_context WHERE account = ?', [grant.account])
  await Bun.sleep(1200)
  const [after] = await d.root.query('SELECT looked_at FROM seal_state')
  expect(String(after?.looked_at) > String(before?.looked_at)).toBe(true)
}

/** An update that is inside its procedure for as long as another connection of the account holds the row. */
async function waitingWrite(c: Connection): Promise<{ ended: Promise<unknown> }> {
  const row = userRow(a)
  await d.write(c, prepareWrite(d.define('users'), 'create', row, a.by))
  const holder = await d.connect(a.account)
  await holder.run('START TRANSACTION')
  await holder.query('SELECT * FROM app_users WHERE id = ? FOR SHARE', [uuidBytes(String(row.id))])
  await c.run('SET SESSION innodb_lock_wait_timeout = 1000')
  const ended = d.write(c, prepareWrite(d.define('users'), 'update', { ...row, version: 2 }, a.by))
  for (let i = 0; i < 100; i++) {
    const waits = await d.root.query(
      "SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = ? AND trx_state = 'LOCK WAIT'",
      [c.info().threadId],
    )
    if (waits.length > 0) return { ended }
    await Bun.sleep(150) // INNODB_TRX is made anew only where nobody read it for a tenth of a second
  }
  throw new Error('it does not wait')
}

const create = (tenant: TestTenant) =>
  procedureCall(prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by))

describe('an application that holds what it can', () => {
  test.each<[string, (c: Connection) => Promise<unknown>]>([
    [
      'an open transaction with shared locks on all that its views show',
      async c => {
        await c.run('START TRANSACTION')
        for (const view of ['app_users', 'app_accounts', 'app_data_keys'])
          await c.query(`SELECT * FROM ${view} FOR SHARE`)
        await c.query("SELECT * FROM app_users WHERE email_bidx = X'00' FOR SHARE")
        await c.query('SELECT current_tenant() FROM app_users FOR SHARE')
      },
    ],
    [
      'SERIALIZABLE, a refused read and an open transaction',
      async c => {
        await c.run('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE')
        await c.run('START TRANSACTION')
        for (const view of ['app_users', 'app_accounts', 'app_data_keys'])
          await refused(c.query(`SELECT * FROM ${view} FOR SHARE`), '1644 45T03')
        await refused(c.query('SELECT current_tenant()'), '1644 45T03')
      },
    ],
    [
      'REPEATABLE READ with a read view kept open',
      async c => {
        await c.run('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ')
        await c.run('START TRANSACTION WITH CONSISTENT SNAPSHOT')
        await refused(c.query('SELECT * FROM app_users'), '1644 45T03')
      },
    ],
    [
      'a prepared XA transaction, left behind',
      async c => {
        const name = crypto.randomUUID()
        await c.run('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE')
        await c.run('XA START ?', [name])
        for (const view of ['app_users', 'app_accounts', 'app_data_keys'])
          await refused(c.query(`SELECT * FROM ${view} FOR SHARE`), '1644 45T03')
        await c.run('XA END ?', [name])
        await c.run('XA PREPARE ?', [name])
        c.destroy()
      },
    ],
    [
      'SERIALIZABLE without autocommit, writes and writes that fail',
      async c => {
        await c.run('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE')
        await c.run('SET SESSION autocommit = 0, completion_type = 1')
        const { procedure, params } = create(a)
        await c.call(procedure, params)
        await refused(c.call(procedure, params.with(-1, random(32))), '1644 45W04')
        await refused(c.call(procedure, params.with(-3, random(16))), '1644 45W05')
        await refused(c.call('security_set_tenant', [b.id]), '1644 45T02')
        await c.call('security_set_tenant', [a.id])
        await refused(c.call('app_create_users_encrypted', ['[{}]']), '1644 45W01')
        await refused(c.call('app_transfer', new Array(15).fill(null)), '1644 45W01')
        await refused(
          d.write(c, prepareWrite(d.define('users'), 'update', userRow(a, { version: 2 }), a.by)),
          '1644 45W06',
        )
        await refused(
          d.write(
            c,
            prepareWrite(d.define('users'), 'erase', erasedRow(d.define('users'), userRow(a)), a.by),
          ),
          '1644 45W06',
        )
        await refused(
          d.write(
            c,
            prepareWrite(
              d.define('data_keys'),
              'retire',
              { ...dataKeyRow(a, crypto.randomUUID()), version: 2, state: 'retired' },
              a.by,
            ),
          ),
          '1644 45W06',
        )
      },
    ],
    [
      'user-level locks of every name',
      async c => {
        for (const name of ['securedb', 'chain_head', 'audit_events', 'seal'])
          await c.query('SELECT GET_LOCK(?, 0)', [name])
      },
    ],
    [
      'a write that waits for a lock of its own making',
      async c => {
        // It waits for ever, and holds nothing that others need; the end of the server ends it.
        await waitingWrite(c).then(({ ended }) => void ended.catch(() => undefined))
      },
    ],
    [
      'a procedure killed in the middle',
      async c => {
        // An application cannot: inside a procedure the session is its owner's (1095). Root, or a time limit, can.
        const { ended } = await waitingWrite(c)
        await Promise.all([refused(ended, '1317 70100'), d.root.run(`KILL QUERY ${c.info().threadId}`)])
      },
    ],
  ])('stops nobody else by %s', async (_, hold) => {
    const c = await d.connect(a.account)
    await hold(c)
    await everybodyElseGoesOn()
  })
})

describe('contexts of connections that have gone', () => {
  test('are swept after a minute, those that live stay', async () => {
    await d.root.run(
      "INSERT INTO tenant_context VALUES (999999999, RANDOM_BYTES(16), RANDOM_BYTES(16), 'gone', RANDOM_BYTES(16), '2020-01-01')",
    )
    await d.root.run('UPDATE tenant_context SET set_at = set_at - INTERVAL 1 HOUR')
    await d.root.run('CALL sweep_contexts()')
    expect(await d.root.query('SELECT 1 FROM tenant_context WHERE connection_id = 999999999')).toEqual([])
    await victim.query('SELECT current_tenant()')
  })
})
