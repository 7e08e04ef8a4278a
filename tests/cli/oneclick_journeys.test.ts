/** Journeys of a tenant and of an account on a running deployment: added, renewed, revoked, retired (docs/operations.md). */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { applyOrders, installDatabase, planDatabase } from '../../lib/edge/database.ts'
import { type Connection, MysqlError, type MysqlOptions, openMysql } from '../../lib/edge/mysql.ts'
import { issueAccount, renewAccount } from '../../lib/edge/pki/accounts.ts'
import type { Draft } from '../../lib/edge/pki/draft.ts'
import { revoke } from '../../lib/edge/pki/revocations.ts'
import { addTenant, retireTenant } from '../../lib/edge/pki/tenants.ts'
import { changePki, readPki } from '../../lib/edge/pki.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { type Host, inHost, makeHost, oneclick, systemUser } from '../support/oneclick.ts'
import { copyPki, passphrase } from '../support/pki.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(180_000) // a busy machine takes its time to start a server, or a program from source

let server: Mysqld
let host: Host
let pki: string
let root: Connection

const places = () => ({
  socket: server.socket,
  confDir: host.confDir,
  tlsDir: host.tlsDir,
  anchorDir: host.anchorDir,
  anchorUser: systemUser,
})

const change = (act: (draft: Draft) => void | Promise<void>) => changePki(pki, { passphrase }, act)

/** The archive as it is now, applied. */
const apply = () =>
  installDatabase({ ...places(), pkiTar: join(pki, 'pki_server.tar.gz'), keepArchive: true })

const client = (account: string): Promise<Connection> =>
  openMysql({ defaultsFile: join(pki, 'clients', `${account}.cnf`), host: '127.0.0.1', port: server.port })

const tenantId = (label: string): string =>
  readPki(pki).tenants.find(tenant => tenant.label === label)?.id ?? ''

/** What an account connects with, taken before the PKI removes it. */
const keep = (account: string): MysqlOptions => {
  const { accounts } = JSON.parse(readFileSync(join(pki, 'server', 'server.json'), 'utf8'))
  const file = (name: string) => readFileSync(join(pki, 'clients', `${account}-${name}.pem`))
  return {
    host: '127.0.0.1',
    port: server.port,
    user: account,
    password: accounts.find((each: { account: string }) => each.account === account).password,
    ssl: { ca: file('ca'), cert: file('cert'), key: file('key') },
  }
}

/** An application's connection with its tenant set. */
async function app(account: string, label: string): Promise<Connection> {
  const connection = await client(account)
  await connection.call('securedb.security_set_tenant', [tenantId(label)])
  return connection
}

/** The server ended the session: no statement gets through. */
async function expectEnded(connection: Connection): Promise<void> {
  const thrown = await connection.query('SELECT 1').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(thrown).toBeInstanceOf(Error)
  expect(thrown).not.toBeInstanceOf(MysqlError) // no answer at all, rather than a refusal
  connection.destroy()
}

/** (table, action, state) of the newest event about a key. */
async function lastEvent(table: string, key: string): Promise<string | undefined> {
  await root.call('securedb.seal_due')
  const rows = await root.query(
    `SELECT JSON_UNQUOTE(JSON_EXTRACT(CONVERT(payload USING utf8mb4), '$.action')) AS action FROM securedb.audit_events
     WHERE CONVERT(payload USING utf8mb4) LIKE ? AND CONVERT(payload USING utf8mb4) LIKE ? ORDER BY seq DESC LIMIT 1`,
    [`%"table":"${table}"%`, `%"key":"${key}"%`],
  )
  return rows[0] && String(rows[0].action)
}

beforeAll(async () => {
  host = makeHost()
  pki = await copyPki(host.at('pki'))
  server = await freshServer()
  await apply()
  root = await openMysql({ socket: server.socket, user: 'root' })
}, 300_000)

afterAll(async () => {
  await root.close()
  await server.stop()
  host[Symbol.dispose]()
})

describe('a tenant and its account', () => {
  test('are added by the next archive, and disturb nobody', async () => {
    const neighbour = await app('app_user', 'tenant-a')
    await change(async draft => {
      await addTenant(draft, 'acme')
      await issueAccount(draft, 'acme_app', { role: 'app', tenant: 'acme' })
    })
    const { done, plan } = await apply()
    expect(done).toEqual(['tls', 'accounts', 'grants', 'orders'].filter(id => done.includes(id)))
    expect(done).toContain('orders')
    expect(plan.findings).toEqual([])
    const connection = await app('acme_app', 'acme')
    expect(await connection.query('SELECT id FROM securedb.app_users')).toEqual([])
    await refused(connection.call('securedb.security_set_tenant', [tenantId('tenant-a')]), '1644 45T02')
    await connection.close()
    expect(await neighbour.query('SELECT id FROM securedb.app_users')).toEqual([])
    await neighbour.close()
  })

  test('are added by orders alone, where the account is there', async () => {
    const before = readdirSync(join(pki, 'server', 'orders'))
    await change(draft => addTenant(draft, 'late'))
    const files = readdirSync(join(pki, 'server', 'orders'))
      .filter(name => !before.includes(name))
      .map(name => join(pki, 'server', 'orders', name))
    expect(files).toHaveLength(1)
    const options = ['--socket', server.socket, '--conf-dir', host.confDir]
    const planned = await oneclick(['orders', '--dry-run', '--verbose', ...files, ...options])
    expect([planned.code, planned.stdout]).toEqual([
      0,
      expect.stringContaining(`+ tenants ${tenantId('late')}`),
    ])
    const applied = await oneclick(['orders', '--yes', ...files, ...options])
    expect([applied.code, applied.stdout]).toEqual([0, `applied: ${files[0]}\n`])
    const again = await oneclick(['orders', '--yes', ...files, ...options])
    expect([again.code, again.stdout]).toEqual([0, 'nothing to do\n'])
    expect(await lastEvent('tenants', tenantId('late'))).toBe('create')
  })

  test('are refused by an order for another log', async () => {
    const [name = ''] = readdirSync(join(pki, 'server', 'orders'))
    const text = readFileSync(join(pki, 'server', 'orders', name), 'utf8')
    writeFileSync(
      host.at('foreign.json'),
      text.replace(/"origin":"[^"]+"/, '"origin":"ztmysql.local/0000000000000000"'),
    )
    await expect(
      applyOrders({ socket: server.socket, confDir: host.confDir, files: [host.at('foreign.json')] }),
    ).rejects.toMatchObject({ code: 'BAD_FORMAT', message: expect.stringContaining('is for the log') })
  })
})

describe('a renewed certificate', () => {
  test('lets the account in; its predecessor does not, and its sessions end', async () => {
    const session = await app('acme_app', 'acme')
    const old = keep('acme_app')
    await (await openMysql(old)).close()
    await change(draft => renewAccount(draft, 'acme_app'))
    const planned = await planDatabase({ ...places(), pkiTar: join(pki, 'pki_server.tar.gz') })
    expect(planned.plan.steps.find(step => step.id === 'accounts')?.changes).toEqual([
      {
        item: "account 'acme_app'@'127.0.0.1': subject",
        before: expect.stringContaining('CN=acme_app'),
        after: expect.stringContaining('CN=acme_app'),
      },
    ])
    await apply()
    await expectEnded(session)
    await refused(openMysql(old), '1045')
    await (await app('acme_app', 'acme')).close()
  })
})

describe('a revocation', () => {
  test('of a certificate alone ends its sessions; a renewal lets the account in again', async () => {
    const session = await app('acme_app', 'acme')
    const neighbour = await app('app_user', 'tenant-a')
    const revoked = keep('acme_app')
    await change(draft => revoke(draft, 'acme_app'))
    expect((await apply()).done).toContain('tls')
    await expectEnded(session)
    expect(await neighbour.query('SELECT id FROM securedb.app_users')).toEqual([])
    await neighbour.close()
    await expect(openMysql(revoked)).rejects.toMatchObject({ code: 'TLS' })
    await change(draft => renewAccount(draft, 'acme_app'))
    await apply()
    await (await app('acme_app', 'acme')).close()
  })

  test('ends the sessions, the grant and the account, and stays in the trail', async () => {
    const session = await app('acme_app', 'acme')
    await session.run('START TRANSACTION')
    await session.query('SELECT id FROM securedb.app_users')
    const revoked = keep('acme_app')
    await change(draft => revoke(draft, 'acme_app', { retire: true }))
    const { done } = await apply()
    expect(done).toContain('orders')
    await expectEnded(session)
    expect(await lastEvent('tenant_grant', 'acme_app')).toBe('retire')
    expect(await root.query("SELECT User FROM mysql.user WHERE User = 'acme_app'")).toEqual([])
    const [{ contexts } = {}] = await root.query(
      "SELECT COUNT(*) AS contexts FROM securedb.tenant_context WHERE account = 'acme_app'",
    )
    expect(contexts).toBe(0)
    // the CRL ends the handshake, before MySQL could say that it knows no such account
    await expect(openMysql(revoked)).rejects.toMatchObject({ code: 'TLS' })
  })

  test('by an order alone leaves an account that can do nothing', async () => {
    await change(async draft => {
      await issueAccount(draft, 'late_app', { role: 'app', tenant: 'late' })
    })
    await apply()
    const session = await app('late_app', 'late')
    const before = readdirSync(join(pki, 'server', 'orders'))
    const late = keep('late_app')
    await change(draft => revoke(draft, 'late_app', { retire: true }))
    const files = readdirSync(join(pki, 'server', 'orders'))
      .filter(name => !before.includes(name))
      .map(name => join(pki, 'server', 'orders', name))
    expect((await applyOrders({ socket: server.socket, confDir: host.confDir, files })).done).toEqual([
      'orders',
    ])
    await expectEnded(session)
    const again = await openMysql(late)
    await refused(again.call('securedb.security_set_tenant', [tenantId('late')]), '1644 45T02')
    await again.close()
    await apply()
    expect(await root.query("SELECT User FROM mysql.user WHERE User = 'late_app'")).toEqual([])
  })

  test('of a tenant ends its accounts, and no other', async () => {
    await change(async draft => {
      await addTenant(draft, 'brief')
      await issueAccount(draft, 'brief_app', { role: 'app', tenant: 'brief' })
    })
    await apply()
    const session = await app('brief_app', 'brief')
    const neighbour = await app('app_user', 'tenant-a')
    await change(draft => retireTenant(draft, 'brief'))
    await apply()
    await expectEnded(session)
    expect(await neighbour.query('SELECT id FROM securedb.app_users')).toEqual([])
    await neighbour.close()
    expect(await lastEvent('tenants', tenantId('brief'))).toBe('retire')
    expect((await planDatabase(places())).plan.findings).toEqual([])
  })
})

describe('a change of where accounts come from', () => {
  test('moves them without an archive, and is taken back the same way', async () => {
    const moved = await oneclick([
      'apply',
      '--yes',
      ...['--socket', server.socket],
      ...inHost(host),
      '--host-part',
      '10.1.0.0/16',
    ])
    expect([moved.code, moved.stdout]).toEqual([0, expect.stringContaining('bind_address: 127.0.0.1 → *')])
    await refused(client('app_user'), '1130')
    const hosts = await root.query(
      "SELECT DISTINCT Host AS host FROM mysql.user WHERE User IN ('app_user', 'auditor', 'probe_a')",
    )
    expect(hosts).toEqual([{ host: '10.1.0.0/16' }])
    const grants = await root.query("SHOW GRANTS FOR app_user@'10.1.0.0/16'")
    expect(grants.length).toBeGreaterThan(5)
    const back = await oneclick([
      'apply',
      '--yes',
      '--socket',
      server.socket,
      ...inHost(host),
      '--host-part',
      '127.0.0.1',
    ])
    expect(back.code).toBe(0)
    await (await app('app_user', 'tenant-a')).close()
  })
})
