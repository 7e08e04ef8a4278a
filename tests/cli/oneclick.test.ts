/** An installation on a real server: made once, run again, checked, bent out of shape, put right. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { installDatabase, planDatabase } from '../../lib/edge/database.ts'
import { type Connection, type MysqlOptions, openMysql } from '../../lib/edge/mysql.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { type Host, inHost, makeHost, oneclick, systemUser } from '../support/oneclick.ts'
import { sharedPki } from '../support/pki.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(180_000) // a busy machine takes its time to start a server, or a program from source

let server: Mysqld
let host: Host
let pki: string
let archive: string

const options = () => ['--socket', server.socket, ...inHost(host)]
const places = () => ({ socket: server.socket, confDir: host.confDir })
const asRoot = () => openMysql({ socket: server.socket, user: 'root' })

async function withRoot<T>(act: (root: Connection) => Promise<T>): Promise<T> {
  const root = await asRoot()
  try {
    return await act(root)
  } finally {
    await root.close()
  }
}

const client = (account: string, more: MysqlOptions = {}): Promise<Connection> =>
  openMysql({
    defaultsFile: join(pki, 'clients', `${account}.cnf`),
    host: '127.0.0.1',
    port: server.port,
    ...more,
  })

const passwordOf = (account: string): string => {
  const { accounts } = JSON.parse(readFileSync(join(pki, 'server', 'server.json'), 'utf8'))
  return accounts.find((each: { account: string }) => each.account === account).password
}

const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8)

beforeAll(async () => {
  host = makeHost()
  pki = await sharedPki()
  archive = host.at('pki_server.tar.gz')
  copyFileSync(join(pki, 'pki_server.tar.gz'), archive)
  chmodSync(archive, 0o600)
  server = await freshServer()
}, 300_000)

afterAll(async () => {
  await server.stop()
  host[Symbol.dispose]()
})

describe('an installation', () => {
  test('is interrupted after every step, and goes on from there', async () => {
    const done: string[] = []
    for (let runs = 0; runs < 30; runs++) {
      const attempt = installDatabase({
        ...places(),
        tlsDir: host.tlsDir,
        anchorDir: host.anchorDir,
        anchorUser: systemUser,
        pkiTar: archive,
        keepArchive: true,
        progress: {
          ended: step => {
            done.push(step.id)
            throw new Error('pulled the plug')
          },
        },
      })
      const thrown = await attempt.then(
        () => undefined,
        (reason: unknown) => reason,
      )
      if (thrown === undefined) break
      expect(String(thrown)).toContain('pulled the plug')
    }
    expect(done).toEqual([
      ...['tls', 'anchor-key', 'options', 'settings', 'schema'],
      ...['accounts', 'anchor-account', 'grants', 'orders'],
    ])
  })

  test('that is complete says so, removes the archive, and waits for a restart', async () => {
    const outcome = await oneclick(['--yes', ...options()], { PKI_TAR: archive })
    expect([outcome.stderr, outcome.code]).toEqual([
      'the archive was removed: it held the key of the server\n',
      0,
    ])
    expect(outcome.stdout).toEndWith('restart needed: yes\nnothing to do but to restart mysqld\n')
    expect(outcome.stdout).toContain('tls_certificates_enforced_validation: OFF → ON')
    expect(existsSync(archive)).toBe(false)
  })

  test('leaves files that only their owner reads', () => {
    expect(
      Object.fromEntries(readdirSync(host.confDir).map(name => [name, modeOf(join(host.confDir, name))])),
    ).toEqual({
      'zero-trust-init.sql': '640',
      'zero-trust.cnf': '640',
      'zero-trust.json': '600',
    })
    expect(
      Object.fromEntries(readdirSync(host.tlsDir).map(name => [name, modeOf(join(host.tlsDir, name))])),
    ).toEqual({
      'ca.pem': '640',
      'crl.pem': '640',
      'server-cert.pem': '640',
      'server-key.pem': '600',
    })
    expect([modeOf(host.tlsDir), modeOf(host.anchorDir)]).toEqual(['750', '700'])
    expect(modeOf(join(host.anchorDir, 'anchor_key.json'))).toBe('600')
  })

  test('is not clean before the restart, and is after it: the server takes every option', async () => {
    const before = await oneclick(['check', ...options()])
    expect(before.code).toBe(1)
    expect(before.stdout).toContain('restart: settings that mysqld takes up when it starts again')
    expect(before.stdout).toMatch(/\nto do: restart mysqld, so that it takes up \d+ settings\n$/)
    expect(before.stdout).not.toContain('drift') // nothing that apply could put right
    await server.restart({ config: readFileSync(join(host.confDir, 'zero-trust.cnf'), 'utf8') })
    const after = await oneclick(['check', ...options()])
    expect([after.stdout, after.stderr, after.code]).toEqual(['no drift\n', '', 0])
  })

  test('changes nothing when run again by the command that made it', async () => {
    const outcome = await oneclick(['--yes', ...options()], { PKI_TAR: archive })
    expect([outcome.stdout, outcome.code]).toEqual(['restart needed: no\nnothing to do\n', 0])
    const wrong = await oneclick(['--yes', '--pki-tar', archive, ...options()])
    expect(wrong.code).toBe(3) // a name that was typed is not a leftover of the environment
    expect(wrong.stderr).toContain('no such file')
  })

  test('lets each account in by its certificate and password, and by nothing less', async () => {
    const app = await client('app_user')
    expect(app.info().tls).toMatchObject({ protocol: 'TLSv1.3' })
    const { tenant } = JSON.parse(readFileSync(join(host.confDir, 'zero-trust.json'), 'utf8')).accounts.find(
      (each: { account: string }) => each.account === 'app_user',
    )
    await app.call('securedb.security_set_tenant', [tenant])
    expect(await app.query('SELECT id FROM securedb.app_users')).toEqual([])
    await refused(app.query('SELECT * FROM securedb.users'), '1142')
    await app.close()
    const auditor = await client('auditor')
    expect(await auditor.query('SELECT COUNT(*) > 0 AS some FROM securedb.audit_events')).toEqual([
      { some: 1 },
    ])
    await auditor.close()

    await refused(client('app_user', { password: 'another' }), '1045')
    await refused(client('app_user', { user: 'auditor', password: passwordOf('auditor') }), '1045')
    const ca = readFileSync(join(host.tlsDir, 'ca.pem'))
    await refused(client('app_user', { ssl: { ca } }), '1045')
  })

  test('writes no password anywhere', async () => {
    const everything = await withRoot(async root => {
      await root.run('FLUSH LOGS')
      return Bun.spawnSync(
        ['grep', '-rlaFf', '-', server.dataDir, host.confDir, host.tlsDir, server.errorLog],
        {
          stdin: Buffer.from(['app_user', 'auditor', 'probe_a'].map(passwordOf).join('\n')),
        },
      )
    })
    expect(passwordOf('app_user').length).toBeGreaterThan(20)
    expect([everything.stdout.toString(), everything.exitCode]).toEqual(['', 1])
    // and grep finds what is there: the binary log holds the account and the salted hash in place of the password
    const control = Bun.spawnSync([
      'grep',
      '-rlaF',
      "CREATE USER 'app_user'@'127.0.0.1' IDENTIFIED WITH 'caching_sha2_password' AS",
      server.dataDir,
    ])
    expect(control.stdout.toString()).toContain('binlog')
  })

  test('says how it stands', async () => {
    const { code, stdout } = await oneclick(['status', '--json', ...options()])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      serverName: 'db.example',
      hostPart: '127.0.0.1',
      clean: true,
      pending: [],
      restart: false,
      trail: { recorded_number: 0 },
    })
    const told = (await oneclick(['status', ...options()])).stdout.trimEnd().split('\n')
    expect(told.map(line => line.slice(0, 13))).toEqual(
      ['log', 'server', 'certificate', 'anchors', 'waiting', 'gate', 'drift'].map(label => label.padEnd(13)),
    )
    expect(told).toContain('anchors      none yet')
    expect(told).toContain('gate         closed (45G02): no anchor yet: run anchor_head now')
    expect(told).toContain('drift        none')
  })
})

describe('drift', () => {
  const setUp: [string, (root: Connection) => Promise<unknown>, RegExp, 'put right' | 'reported'][] = [
    ['a setting', root => root.run('SET GLOBAL local_infile = ON'), /~ local_infile: ON → OFF/, 'put right'],
    ['TLS', root => root.run("SET GLOBAL tls_version = 'TLSv1.2,TLSv1.3'"), /~ tls_version: /, 'put right'],
    [
      'a persisted setting',
      root => root.run('SET PERSIST require_secure_transport = OFF'),
      /- persisted require_secure_transport: OFF/,
      'put right',
    ],
    [
      'a grant too many',
      root => root.run("GRANT SELECT ON securedb.users TO app_user@'127.0.0.1'"),
      /- grant to 'app_user'@'127.0.0.1': SELECT ON securedb.users/,
      'put right',
    ],
    [
      'a right over everything, to hand on',
      root => root.run("GRANT PROCESS ON *.* TO auditor@'127.0.0.1' WITH GRANT OPTION"),
      /- grant to 'auditor'@'127.0.0.1': GRANT OPTION ON \*\.\*/,
      'put right',
    ],
    [
      'a grant too few',
      root => root.run("REVOKE EXECUTE ON PROCEDURE securedb.record_nonce FROM auditor@'127.0.0.1'"),
      /\+ grant to 'auditor'@'127.0.0.1': EXECUTE ON PROCEDURE securedb.record_nonce/,
      'put right',
    ],
    [
      'an account without its certificate',
      root => root.run("ALTER USER app_user@'127.0.0.1' REQUIRE NONE"),
      /~ account 'app_user'@'127.0.0.1': require: {2}→ SPECIFIED/,
      'put right',
    ],
    [
      'an account bound to another subject',
      root => root.run("ALTER USER auditor@'127.0.0.1' REQUIRE SUBJECT '/CN=x'"),
      /~ account 'auditor'@'127.0.0.1': subject: \/CN=x → /,
      'put right',
    ],
    [
      'an account without limits',
      root => root.run("ALTER USER app_user@'127.0.0.1' WITH MAX_USER_CONNECTIONS 0"),
      /~ account 'app_user'@'127.0.0.1': connections: 0 → 64/,
      'put right',
    ],
    [
      'a password that never ends',
      root => root.run("ALTER USER app_user@'127.0.0.1' PASSWORD EXPIRE NEVER"),
      /~ account 'app_user'@'127.0.0.1': policies of its own: lifetime → none/,
      'put right',
    ],
    [
      'an account at a second host',
      root => root.run("CREATE USER app_user@'%' IDENTIFIED BY 'Another-pass-1'"),
      /- account 'app_user'@'%': a second one of that name/,
      'put right',
    ],
    [
      'an account that came in elsewhere',
      root => root.run("RENAME USER probe_a@'127.0.0.1' TO probe_a@'%'"),
      /~ account 'probe_a'@'127.0.0.1': host: % → 127.0.0.1/,
      'put right',
    ],
    [
      'an anonymous account',
      root => root.run("CREATE USER ''@localhost"),
      /- account ''@'localhost': anonymous/,
      'put right',
    ],
    [
      'the anchor for another user of the system',
      root => root.run("ALTER USER anchor@localhost IDENTIFIED WITH auth_socket AS 'nobody'"),
      /~ account 'anchor'@'localhost': auth_socket nobody/,
      'put right',
    ],
    [
      'root by a password',
      root => root.run("ALTER USER root@localhost IDENTIFIED WITH caching_sha2_password BY ''"),
      /~ account root@localhost: method/,
      'put right',
    ],
    [
      'a plugin',
      root => root.run('UNINSTALL PLUGIN mysql_no_login'),
      /\+ plugin mysql_no_login: active/,
      'put right',
    ],
    [
      'a routine',
      root => root.run('DROP PROCEDURE securedb.app_erase_user'),
      /\+ procedure app_erase_user: /,
      'put right',
    ],
    [
      'a trigger',
      root => root.run('DROP TRIGGER securedb.audit_events_no_delete'),
      /\+ trigger audit_events_no_delete: /,
      'put right',
    ],
    [
      'an account that nobody asked for',
      root => root.run("CREATE USER mallory@'10.0.0.1' IDENTIFIED BY 'Another-pass-1'"),
      /! account 'mallory'@'10.0.0.1': is not in the archive/,
      'reported',
    ],
    [
      'another password',
      root => root.run("ALTER USER auditor@'127.0.0.1' IDENTIFIED BY 'Another-pass-1'"),
      /! account 'auditor'@'127.0.0.1': is gone or has another password/,
      'reported',
    ],
    [
      'a persisted setting of somebodys own',
      root => root.run('SET PERSIST long_query_time = 3'),
      /! persisted long_query_time: SET PERSIST left it at 3/,
      'reported',
    ],
  ]

  /** Undoes what apply only reports. */
  const amends = [
    "DROP USER mallory@'10.0.0.1'",
    'RESET PERSIST long_query_time',
    'SET GLOBAL long_query_time = 10',
  ]

  test('of each kind is named, and put right where no archive is needed', async () => {
    await withRoot(async root => {
      for (const [, bend] of setUp) await bend(root)
    })
    const check = await oneclick(['check', ...options()])
    expect(check.code).toBe(1)
    for (const [what, , line] of setUp)
      expect([what, check.stdout.split('\n').some(l => line.test(l))]).toEqual([what, true])

    const applied = await oneclick(['apply', '--yes', ...options()])
    expect([applied.code, applied.stderr]).toEqual([0, expect.stringContaining('went by the record')])
    const again = await oneclick(['check', ...options()])
    for (const [what, , line, fate] of setUp)
      expect([what, again.stdout.split('\n').some(l => line.test(l))]).toEqual([what, fate === 'reported'])
    expect(again.stdout.split('\n').filter(line => /^ {2}[~+-]/.test(line))).toEqual([])
    await withRoot(async root => {
      for (const amend of amends) await root.run(amend)
    })
  })

  test('of a password is put right by the archive, though the policy refuses a password that was used before', async () => {
    copyFileSync(join(pki, 'pki_server.tar.gz'), archive)
    const outcome = await oneclick(['apply', '--yes', '--keep-archive', ...options()], { PKI_TAR: archive })
    expect([outcome.code, outcome.stdout]).toEqual([0, expect.stringContaining('applied: accounts')])
    await (await client('auditor')).close()
    expect((await oneclick(['check', ...options()])).stdout).toBe('no drift\n')
  })

  test('of files is named, and put right by the archive', async () => {
    const key = join(host.tlsDir, 'server-key.pem')
    const crl = join(host.tlsDir, 'crl.pem')
    const cnf = join(host.confDir, 'zero-trust.cnf')
    const before = readFileSync(crl)
    chmodSync(key, 0o644)
    writeFileSync(crl, '')
    writeFileSync(cnf, readFileSync(cnf, 'utf8').replace('local_infile=OFF', 'local_infile=ON'))
    const { plan } = await planDatabase(places())
    expect(plan.findings.map(finding => finding.item).sort()).toEqual([crl, key])
    expect(plan.steps.find(step => step.id === 'options')?.changes.map(change => change.item)).toEqual([cnf])
    await installDatabase({ ...places(), pkiTar: archive, keepArchive: true })
    expect([modeOf(key), readFileSync(crl)]).toEqual(['600', before])
    expect((await planDatabase(places())).plan).toMatchObject({ findings: [], restart: [] })
  })

  test('of the record is an error, not a clean bill', async () => {
    const record = join(host.confDir, 'zero-trust.json')
    const good = readFileSync(record)
    chmodSync(record, 0o644)
    await expect(planDatabase(places())).rejects.toMatchObject({ code: 'PERMISSION' })
    chmodSync(record, 0o600)
    writeFileSync(record, good.subarray(0, -20))
    await expect(planDatabase(places())).rejects.toMatchObject({ code: 'BAD_FORMAT' })
    writeFileSync(record, good)
  })
})

describe('an installed server stops the installer', () => {
  test('for an archive of another log', async () => {
    const { makeServerFiles, writeArchive } = await import('../support/server_archive.ts')
    const other = await writeArchive(host.at('other.tar.gz'), (await makeServerFiles()).files)
    await expect(installDatabase({ ...places(), pkiTar: other })).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('the archive is for the log'),
    })
    expect(existsSync(other)).toBe(true)
  })

  test('where a migration was changed after it was applied', async () => {
    await withRoot(root =>
      root.run("UPDATE securedb.migrations SET sha256 = REPEAT('x', 32) WHERE name = 'users/1'"),
    )
    const outcome = await oneclick(['apply', '--yes', ...options()])
    expect([outcome.code, outcome.stderr]).toEqual([1, expect.stringContaining('migration users/1')])
  })

  test('where a newer release made the schema', async () => {
    await withRoot(root =>
      root.run("INSERT INTO securedb.migrations VALUES ('schema/99.0.0', REPEAT('x', 32), UTC_TIMESTAMP(6))"),
    )
    const outcome = await oneclick(['apply', '--yes', ...options()])
    expect([outcome.code, outcome.stderr]).toEqual([3, expect.stringContaining('schema/99.0.0')])
  })
})
