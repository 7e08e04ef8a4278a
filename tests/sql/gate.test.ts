import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { newUuid, random } from '../../lib/core/bytes.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import {
  type Deployment,
  dataKeyRow,
  erasedRow,
  procedureCall,
  sharedDeployment,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

let d: Deployment
let tenant: TestTenant
let app: Connection

beforeAll(async () => {
  d = await sharedDeployment()
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
})

afterEach(async () => {
  await d.root.run('UPDATE gate_limits SET unsealed_seconds = 30, anchor_seconds = 300')
  await d.root.run('ALTER EVENT seal_events ENABLE')
  await d.root.call('seal_due')
  await d.anchor()
})

const user = () => prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by)
/** Writes, and expects the status to have told the outcome. */
async function write(connection = app): Promise<string> {
  const gate = (await d.root.call('anchor_status'))[0]?.[0]?.gate
  const outcome = d.write(connection, user())
  const said = await outcome.then(
    () => null,
    (e: { sqlState?: string }) => e.sqlState,
  )
  if (connection === app) expect(said ?? null).toBe(gate === undefined ? null : (gate as string | null))
  return outcome
}

/** Stops the sealer, so that what a test writes into seal_state stays. */
async function stopSealer(): Promise<void> {
  await d.root.run('ALTER EVENT seal_events DISABLE')
  await Bun.sleep(100) // a run that was due may just begin
  for (let i = 0; i < 50; i++) {
    const running = await d.root.query(
      "SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'api_definer'",
    )
    if (running.length === 0) return
    await Bun.sleep(50)
  }
}

const age = (table: string, column: string, interval: string) =>
  d.root.run(`UPDATE ${table} SET ${column} = UTC_TIMESTAMP(6) - INTERVAL ${interval}`)

describe('the gate', () => {
  test('closes when the last confirmed anchor is too old, and a new one opens it', async () => {
    await age('anchor_state', 'confirmed_at', '299 SECOND')
    await write()
    await age('anchor_state', 'confirmed_at', '301 SECOND')
    await refused(write(), '1644 45G02')
    await d.anchor()
    await write()
  })

  test('is closed before the first anchor', async () => {
    await d.root.run('UPDATE anchor_state SET confirmed_at = NULL')
    await refused(write(), '1644 45G02')
  })

  test('closes when an event waits too long, and when the sealer has not looked for too long', async () => {
    await stopSealer()
    await age('seal_state', 'oldest_pending_at', '31 SECOND')
    await age('seal_state', 'looked_at', '0 SECOND')
    await refused(write(), '1644 45G01')
    await age('seal_state', 'oldest_pending_at', '29 SECOND')
    await write()
    await age('seal_state', 'looked_at', '31 SECOND')
    await refused(write(), '1644 45G01')
    await d.root.run('UPDATE seal_state SET looked_at = NULL')
    await refused(write(), '1644 45G01')
  })

  test('closes on times that lie ahead: the clock went backwards', async () => {
    await stopSealer()
    await d.root.call('seal_due')
    for (const [table, column] of [
      ['seal_state', 'looked_at'],
      ['seal_state', 'oldest_pending_at'],
      ['anchor_state', 'confirmed_at'],
    ] as const) {
      await age(table, column, '-60 SECOND')
      await refused(write(), '1644 45G03')
      await age(table, column, '1 SECOND')
      await write()
    }
  })

  test('its limits are data', async () => {
    await d.root.run('UPDATE gate_limits SET anchor_seconds = 1')
    await Bun.sleep(1100)
    await refused(write(), '1644 45G02')
  })

  test('does not believe the caller’s clock or zone', async () => {
    await age('anchor_state', 'confirmed_at', '3600 SECOND')
    for (const trick of [
      'timestamp = 1000000000',
      'timestamp = UNIX_TIMESTAMP() - 3590',
      "time_zone = '-12:00'",
      "time_zone = '-01:00'",
      "time_zone = '+14:00'",
    ]) {
      const c = await d.connect(tenant.account)
      await c.run(`SET SESSION ${trick}`)
      await refused(write(c), '1644 45G02')
      c.destroy()
    }
    // A zone with summer time would make an hour twice: no reading of the clock is better than a wrong one.
    const c = await d.connect(tenant.account)
    await c.run("SET SESSION time_zone = 'SYSTEM'")
    await refused(write(c), '1644 45G03')
    c.destroy()
  })

  test('is the same for a batch, an update, a new data key and a transfer', async () => {
    const row = userRow(tenant)
    await d.write(app, prepareWrite(d.define('users'), 'create', row, tenant.by))
    await age('anchor_state', 'confirmed_at', '3600 SECOND')
    await refused(
      d.write(app, prepareWrite(d.define('users'), 'update', { ...row, version: 2 }, tenant.by)),
      '1644 45G02',
    )
    await refused(
      d.write(app, prepareWrite(d.define('data_keys'), 'create', dataKeyRow(tenant, newUuid()), tenant.by)),
      '1644 45G02',
    )
    await refused(app.call('app_create_users_encrypted', ['[{}]']), '1644 45G02')
    await refused(app.call('app_transfer', new Array(15).fill(null)), '1644 45G02')
  })

  test('lets erase, retire, administrators, the auditor and the answer to a repeated call through', async () => {
    const row = userRow(tenant)
    const created = prepareWrite(d.define('users'), 'create', row, tenant.by)
    const receipt = await d.write(app, created)
    const key = dataKeyRow(tenant, newUuid())
    await d.write(app, prepareWrite(d.define('data_keys'), 'create', key, tenant.by))
    await age('anchor_state', 'confirmed_at', '3600 SECOND')
    expect(await d.write(app, created)).toBe(receipt)
    await d.write(app, prepareWrite(d.define('users'), 'erase', erasedRow(d.define('users'), row), tenant.by))
    await d.write(
      app,
      prepareWrite(
        d.define('data_keys'),
        'retire',
        { ...key, version: 2, state: 'retired', salt: random(16) },
        tenant.by,
      ),
    )
    const grant = {
      tenant_id: tenant.id,
      account: `g${Date.now()}`,
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
    const auditor = await d.connect(d.auditor)
    expect((await auditor.call('record_nonce', ['nonce', random(32)]))[0]?.[0]?.receipt).toContain(
      '"action":"nonce"',
    )
    auditor.destroy()
  })

  test('tells a closed gate from a value of a wrong length', async () => {
    await age('anchor_state', 'confirmed_at', '3600 SECOND')
    const { procedure, params } = procedureCall(user())
    await refused(app.call(procedure, params.with(0, random(3))), '1644 45G02')
  })
})
