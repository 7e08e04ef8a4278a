import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { newUuid, random, toBase64, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import {
  accountRow,
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

const users = () => d.define('users')
const dataKeys = () => d.define('data_keys')
const signed = (
  table: 'users' | 'accounts' | 'data_keys',
  action: 'create' | 'update' | 'erase' | 'retire',
  row: ReturnType<typeof userRow>,
) => prepareWrite(d.define(table), action, row, tenant.by)

describe('create', () => {
  test('stores the row and returns an event that says what was sent', async () => {
    const row = userRow(tenant)
    const write = signed('users', 'create', row)
    const event = parseEvent(utf8(await d.write(app, write)))
    if (!isRowEvent(event)) throw new Error('not a row event')
    expect(event).toMatchObject({
      id: write.event,
      action: 'create',
      tenant: tenant.id,
      table: 'users',
      key: String(row.id),
      before: null,
    })
    expect(event.after).toBe(toHex(rowDigest(users(), row)))
    expect(event.sig).toBe(toBase64(write.signature))
    expect(event.actor).toBe(`${tenant.account}@127.0.0.1`)
    const [stored] = await app.query('SELECT * FROM app_users WHERE id = ?', [uuidBytes(String(row.id))])
    expect(rowFromDatabase(users(), stored ?? {})).toEqual(row)
    expect(stored?.evt_id).toEqual(uuidBytes(write.event))
  })

  test('answers the identical call with the first receipt, before and after it is sealed, and once the row has moved on', async () => {
    const row = userRow(tenant)
    const write = signed('users', 'create', row)
    const first = await d.write(app, write)
    expect(await d.write(app, write)).toBe(first)
    await d.root.call('seal_due')
    expect(await d.write(app, write)).toBe(first)
    await d.write(app, signed('users', 'update', { ...row, version: 2, salt: random(16) }))
    expect(await d.write(app, write)).toBe(first)
    const [found] = await d.root.query('SELECT COUNT(*) AS n FROM audit_events WHERE evt_id = ?', [
      uuidBytes(write.event),
    ])
    expect(found?.n).toBe(1)
  })

  test('refuses an event id that was used for another write, whether it waits or is sealed', async () => {
    const first = signed('users', 'create', userRow(tenant))
    await d.write(app, first)
    const other = { ...signed('users', 'create', userRow(tenant)), event: first.event }
    await refused(d.write(app, other), '1644 45W04')
    await d.root.call('seal_due')
    await refused(d.write(app, other), '1644 45W04')
    const changed = { ...first, signature: random(64) }
    await refused(d.write(app, changed), '1644 45W04')
    expect(
      await app.query('SELECT 1 FROM app_users WHERE id = ?', [uuidBytes(String(other.row.id))]),
    ).toEqual([])
  })

  test('refuses a change under the id of the event that made the row, while that event waits', async () => {
    const [row, key] = [userRow(tenant), dataKeyRow(tenant, newUuid())]
    const [made, issued] = [signed('users', 'create', row), signed('data_keys', 'create', key)]
    const next = { ...row, version: 2, salt: random(16) }
    const changes = [
      { ...signed('users', 'update', next), event: made.event },
      { ...signed('users', 'erase', erasedRow(users(), row)), event: made.event },
      {
        ...signed('data_keys', 'retire', { ...key, version: 2, state: 'retired', salt: random(16) }),
        event: issued.event,
      },
    ]
    await d.root.run('ALTER EVENT seal_events DISABLE')
    try {
      await d.root.call('seal_due') // whatever run was under way has ended when this has the head
      for (const write of [made, issued]) await d.write(app, write)
      for (const change of changes) await refused(d.write(app, change), '1644 45W04')
    } finally {
      await d.root.run('ALTER EVENT seal_events ENABLE')
    }
    const [stored] = await app.query('SELECT version FROM app_users WHERE id = ?', [
      uuidBytes(String(row.id)),
    ])
    expect(stored?.version).toBe(1)
  })

  test('two calls at once with one event id: the identical ones get one receipt, of different ones one is refused', async () => {
    const other = await d.connect(tenant.account)
    for (let i = 0; i < 20; i++) {
      const write = signed('users', 'create', userRow(tenant))
      const [first, second] = await Promise.all([d.write(app, write), d.write(other, write)])
      expect(second).toBe(first)
      const rival = { ...signed('users', 'create', userRow(tenant)), event: newUuid() }
      const results = await Promise.allSettled([
        d.write(app, { ...signed('users', 'create', userRow(tenant)), event: rival.event }),
        d.write(other, rival),
      ])
      expect(results.flatMap(r => (r.status === 'rejected' ? [r.reason.sqlState] : []))).toEqual(['45W04'])
      const [found] = await d.root.query(
        'SELECT (SELECT COUNT(*) FROM audit_events WHERE evt_id = ?) + (SELECT COUNT(*) FROM audit_pending WHERE evt_id = ?) AS n',
        [uuidBytes(rival.event), uuidBytes(rival.event)],
      )
      expect(Number(found?.n)).toBe(1)
    }
    other.destroy()
  })

  test('refuses a second row of the same key', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    await refused(d.write(app, signed('users', 'create', { ...row, salt: random(16) })), '1644 45W05')
    expect(await app.query('SHOW WARNINGS')).toMatchObject([
      { Code: 1644, Message: 'the row exists already' },
    ])
  })

  test.each([
    ['a version other than 1', { version: 2 }],
    ['a wrap version other than 1', { wrap_version: 2 }],
    ['no role', { role: null }],
    ['a role of the wrong form', { role: 'Staff' }],
    ['a role with a line end', { role: 'staff\n' }],
    ['a role that is too long', { role: `a${'b'.repeat(40)}` }],
    ['no name', { full_name: null }],
    ['a name shorter than a sealed nothing', { full_name: random(27) }],
    ['a name that is too long', { full_name: random(1024 + 29) }],
    ['a short blind index', { email_bidx: random(15) }],
    ['a long blind index', { email_bidx: random(17) }],
    ['a short record key', { record_key: random(59) }],
    ['a short MAC', { mac: random(31) }],
    ['a short salt', { salt: random(15) }],
    ['a long salt', { salt: random(17) }],
    ['no salt', { salt: null }],
    ['no field suite', { field_suite: null }],
  ])('refuses %s', async (_, change) => {
    const row = userRow(tenant, change)
    await refused(d.write(app, { ...signed('users', 'create', userRow(tenant)), row }), '1644 45W01')
  })

  test('refuses the same under a lax sql_mode, in which MySQL would cut or pad', async () => {
    const lax = await d.connect(tenant.account)
    await lax.run("SET SESSION sql_mode = ''")
    for (const change of [
      { salt: random(15) },
      { salt: random(300) },
      { mac: random(33) },
      { role: 'x'.repeat(400) },
    ]) {
      const row = userRow(tenant, change)
      await refused(d.write(lax, { ...signed('users', 'create', userRow(tenant)), row }), '1644 45W01')
    }
    await lax.close()
  })

  test('refuses ids and signatures of another length', async () => {
    const { procedure, params } = procedureCall(signed('users', 'create', userRow(tenant)))
    const n = params.length
    for (const [at, value] of [
      [0, random(15)],
      [n - 3, random(15)],
      [n - 3, null],
      [n - 2, random(63)],
      [n - 2, null],
      [n - 1, random(33)],
      [n - 1, null],
    ] as const)
      await refused(app.call(procedure, params.with(at, value)), '1644 45W01')
  })

  test('refuses a data key that is unknown, another tenant’s, of another purpose or retired', async () => {
    const blind = dataKeyRow(tenant, newUuid(), 'blind:users.email')
    await d.write(app, signed('data_keys', 'create', blind))
    const retired = dataKeyRow(tenant, newUuid())
    await d.write(app, signed('data_keys', 'create', retired))
    await d.write(
      app,
      signed('data_keys', 'retire', { ...retired, version: 2, state: 'retired', salt: random(16) }),
    )
    for (const dek of [newUuid(), d.tenants[1].dekId, String(blind.id), String(retired.id)])
      await refused(d.write(app, signed('users', 'create', userRow(tenant, { dek_id: dek }))), '1644 45W07')
  })

  test('refuses a parent that is missing, erased or another tenant’s', async () => {
    const user = userRow(tenant)
    await d.write(app, signed('users', 'create', user))
    await d.write(app, signed('accounts', 'create', accountRow(tenant, String(user.id))))
    await d.write(app, signed('users', 'erase', erasedRow(users(), user)))
    const other = d.tenants[1]
    const theirs = userRow(other)
    const neighbour = await d.connect(other.account)
    await d.write(neighbour, prepareWrite(users(), 'create', theirs, other.by))
    await neighbour.close()
    for (const parent of [newUuid(), String(user.id), String(theirs.id)])
      await refused(d.write(app, signed('accounts', 'create', accountRow(tenant, parent))), '1644 45W03')
  })
})

describe('update', () => {
  test('replaces the row and names the digests before and after', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    const next = userRow(tenant, { id: String(row.id), version: 2, phone: null, phone_bidx: null })
    const write = signed('users', 'update', next)
    const receipt = await d.write(app, write)
    const event = parseEvent(utf8(receipt))
    expect(event).toMatchObject({
      action: 'update',
      ver: 2,
      before: toHex(rowDigest(users(), row)),
      after: toHex(rowDigest(users(), next)),
    })
    expect(await d.write(app, write)).toBe(receipt)
    const [stored] = await app.query('SELECT * FROM app_users WHERE id = ?', [uuidBytes(String(row.id))])
    expect(rowFromDatabase(users(), stored ?? {})).toEqual(next)
  })

  test('refuses a version that is not the next one, an unknown row and an erased one', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    for (const version of [3, 4])
      await refused(d.write(app, signed('users', 'update', { ...row, version })), '1644 45W02')
    await refused(d.write(app, signed('users', 'update', userRow(tenant, { version: 2 }))), '1644 45W06')
    await d.write(app, signed('users', 'erase', erasedRow(users(), row)))
    await refused(d.write(app, signed('users', 'update', { ...row, version: 3 })), '1644 45W06')
  })

  test('refuses another tenant’s row', async () => {
    const other = d.tenants[1]
    const theirs = userRow(other)
    const neighbour = await d.connect(other.account)
    await d.write(neighbour, prepareWrite(users(), 'create', theirs, other.by))
    const mine = { ...theirs, tenant_id: tenant.id, version: 2, dek_id: tenant.dekId }
    await refused(d.write(app, signed('users', 'update', mine)), '1644 45W06')
    await refused(d.write(app, signed('users', 'erase', erasedRow(users(), mine))), '1644 45W06')
    expect(
      (await neighbour.query('SELECT version FROM app_users WHERE id = ?', [uuidBytes(String(theirs.id))]))[0]
        ?.version,
    ).toBe(1)
    await neighbour.close()
  })
})

describe('erase and retire', () => {
  test('erasing leaves the head and nothing else', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    const erased = erasedRow(users(), row)
    const write = signed('users', 'erase', erased)
    const receipt = await d.write(app, write)
    expect(parseEvent(utf8(receipt))).toMatchObject({
      action: 'erase',
      ver: 2,
      after: toHex(rowDigest(users(), erased)),
    })
    const [stored] = await app.query('SELECT * FROM app_users WHERE id = ?', [uuidBytes(String(row.id))])
    expect(rowFromDatabase(users(), stored ?? {})).toEqual(erased)
    expect(await d.write(app, write)).toBe(receipt)
    await refused(d.write(app, signed('users', 'erase', { ...erased, version: 3 })), '1644 45W06')
  })

  test('retiring a data key keeps its columns and takes a new salt', async () => {
    const row = dataKeyRow(tenant, newUuid())
    await d.write(app, signed('data_keys', 'create', row))
    const retired = { ...row, version: 2, state: 'retired', salt: random(16) }
    const write = signed('data_keys', 'retire', retired)
    const receipt = await d.write(app, write)
    expect(parseEvent(utf8(receipt))).toMatchObject({
      action: 'retire',
      after: toHex(rowDigest(dataKeys(), retired)),
    })
    const [stored] = await app.query('SELECT * FROM app_data_keys WHERE id = ?', [uuidBytes(String(row.id))])
    expect(rowFromDatabase(dataKeys(), stored ?? {})).toEqual(retired)
    expect(await d.write(app, write)).toBe(receipt)
    await refused(d.write(app, signed('data_keys', 'retire', { ...retired, version: 3 })), '1644 45W06')
  })
})

describe('administrators’ procedures', () => {
  test('a tenant and its grant are made, ended and renewed by root, signed by the administrator', async () => {
    const admin = (
      table: string,
      action: 'create' | 'update' | 'retire',
      row: Parameters<typeof prepareWrite>[2],
    ) => d.write(d.root, prepareWrite(d.define(table), action, row, d.administrator))
    const head = { version: 1, wrap_version: 1, state: 'active', salt: random(16) }
    const id = newUuid()
    const grant = { tenant_id: id, account: 'app_new', ...head }
    await refused(admin('tenant_grant', 'create', grant), '1644 45W03')
    await admin('tenants', 'create', { tenant_id: id, ...head, label: 'tenant-new' })
    await refused(
      admin('tenants', 'create', { tenant_id: newUuid(), ...head, label: 'Tenant' }),
      '1644 45W01',
    )
    const made = parseEvent(utf8(await admin('tenant_grant', 'create', grant)))
    expect(made).toMatchObject({ table: 'tenant_grant', key: 'app_new', tenant: id, actor: 'root@localhost' })
    await admin('tenant_grant', 'retire', { ...grant, version: 2, state: 'revoked', salt: random(16) })
    await refused(
      admin('tenant_grant', 'retire', { ...grant, version: 3, state: 'revoked', salt: random(16) }),
      '1644 45W06',
    )
    const renewed = await admin('tenant_grant', 'update', { ...grant, version: 3, salt: random(16) })
    expect(parseEvent(utf8(renewed))).toMatchObject({ action: 'update', ver: 3 })
    await admin('tenants', 'retire', {
      tenant_id: id,
      ...head,
      version: 2,
      state: 'retired',
      label: 'tenant-new',
      salt: random(16),
    })
    await refused(admin('tenant_grant', 'update', { ...grant, version: 4, salt: random(16) }), '1644 45W03')
  })

  test('nobody else may call them', async () => {
    const auditor = await d.connect(d.auditor)
    for (const connection of [app, auditor, await d.connectAnchor()])
      for (const procedure of [
        'admin_create_tenant',
        'admin_retire_tenant',
        'admin_create_tenant_grant',
        'admin_renew_tenant_grant',
        'admin_revoke_tenant_grant',
        'queue_server_event',
        'seal_batch',
        'find_receipt',
        'signal_state',
      ])
        await refused(connection.call(procedure), '1370')
    await auditor.close()
  })
})

describe('direct writes of root', () => {
  test('pass only as legal steps, and leave an unsigned event', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    const key = [uuidBytes(tenant.id), uuidBytes(String(row.id))]
    const where = 'WHERE tenant_id = ? AND id = ?'
    for (const change of [
      "role = 'boss'",
      "version = version + 2, role = 'boss'",
      'tenant_id = RANDOM_BYTES(16), version = version + 1',
      'version = version + 1, wrap_version = 2',
      "state = 'erased', version = version + 1",
    ])
      await refused(d.root.run(`UPDATE users SET ${change} ${where}`, key), '1644 45A02')
    await refused(d.root.run(`DELETE FROM users ${where}`, key), '1644 45A02')
    await d.root.run(`UPDATE users SET role = 'boss', version = version + 1 ${where}`, key)
    const [event] = await d.root.query(
      "SELECT CONVERT(payload USING utf8mb4) AS payload FROM audit_pending WHERE payload LIKE CONCAT('%', ?, '%\"ver\":2,%') UNION SELECT CONVERT(payload USING utf8mb4) FROM audit_events WHERE payload LIKE CONCAT('%', ?, '%\"ver\":2,%')",
      [String(row.id), String(row.id)],
    )
    expect(parseEvent(utf8(String(event?.payload)))).toMatchObject({
      actor: 'root@localhost',
      action: 'update',
      sig: null,
      signer: null,
    })
  })

  test('a re-wrap keeps the version and changes nothing but the wrap', async () => {
    const row = userRow(tenant)
    await d.write(app, signed('users', 'create', row))
    const key = [uuidBytes(tenant.id), uuidBytes(String(row.id))]
    const rewrap =
      'UPDATE users SET wrap_version = wrap_version + 1, record_key = RANDOM_BYTES(60), salt = RANDOM_BYTES(16)'
    await refused(d.root.run(`${rewrap}, role = 'boss' WHERE tenant_id = ? AND id = ?`, key), '1644 45A02')
    await d.root.run(`${rewrap} WHERE tenant_id = ? AND id = ?`, key)
    const [stored] = await d.root.query(
      'SELECT version, wrap_version FROM users WHERE tenant_id = ? AND id = ?',
      key,
    )
    expect(stored).toEqual({ version: 1, wrap_version: 2 })
  })

  test('the trail takes no change, and the queue loses nothing', async () => {
    await refused(d.root.run("UPDATE audit_events SET payload = 'x' WHERE seq = 0"), '1644 45A01')
    await refused(d.root.run('DELETE FROM audit_events WHERE seq = 0'), '1644 45A01')
    await d.root.run('START TRANSACTION')
    await d.root.run('CALL queue_server_event(?, ?, @p)', ['nonce', '{"nonce":"00"}'])
    await refused(d.root.run('DELETE FROM audit_pending'), '1644 45A01')
    await refused(d.root.run("UPDATE audit_pending SET payload = 'x'"), '1644 45A01')
    await d.root.run('ROLLBACK')
  })
})
