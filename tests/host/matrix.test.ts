import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { controls } from '../../lib/core/controls/index.ts'
import { revoke } from '../../lib/edge/pki/revocations.ts'
import { changePki } from '../../lib/edge/pki.ts'
import { binary } from '../support/binary.ts'
import { type Application, openApplication } from '../support/host_application.ts'
import { MysqlClient } from '../support/host_client.ts'
import {
  archive,
  database,
  type Installation,
  installation,
  oneclick,
  passphrase,
  whenActive,
} from '../support/host_installation.ts'
import { bootHost, type TestHost, until } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let made: Installation
let host: TestHost
let client: MysqlClient
beforeAll(async () => {
  made = await installation()
  host = await bootHost({ ...database, base: made.base })
  await whenActive(host, 'mysql')
  client = await MysqlClient.boot('h2', '10.77.0.52', made.pki)
})
afterAll(async () => {
  await client.host.stop()
  await host.stop()
})

describe('one binary and one archive', () => {
  test('make a stock host the hardened, anchored server, and the archive is gone', async () => {
    expect([made.first.exitCode, made.first.stderr]).toEqual([0, expect.stringMatching(/took [\d.]+ s/)])
    expect(made.first.stdout).toMatch(/^applied: packages, users, .*, host-record$/m)
    expect((await host.exec('test', '-e', archive)).exitCode).toBe(1)
    process.stderr.write(`the first run took ${made.first.seconds.toFixed(1)} s\n`)
  })

  test('after a reboot nothing is drift, and a second run changes nothing', async () => {
    expect(await host.must(oneclick, 'check')).toBe('no drift\n')
    const began = performance.now()
    expect(await host.must(oneclick, '--yes')).toBe('nothing to do\n')
    process.stderr.write(`the second run took ${((performance.now() - began) / 1000).toFixed(1)} s\n`)
    expect(await host.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
  })

  test('open 3306 to the network that was named, and nothing else', async () => {
    expect(await Promise.all([3306, 33_060, 33_062, 22].map(port => host.port(port)))).toEqual([
      'open',
      'silent',
      'silent',
      'silent', // a stock host has no sshd to keep
    ])
    expect(await Promise.all([3306, 33_060, 22].map(port => host.port(port, 6)))).toEqual([
      'silent',
      'silent',
      'silent',
    ])
  })
})

describe('the matrix', () => {
  let application: Application
  beforeAll(async () => {
    application = await openApplication(made, '10.77.0.60')
  })

  /** What this machine's kernel, or the story told here, does not have; each with the verdict's own words. */
  const notHere: Record<string, RegExp> = {
    'host.kernel': /the kernel is not this container's/,
    'host.confinement': /the kernel runs neither AppArmor nor SELinux/,
    'host.fips': /this kernel has no FIPS mode/,
    'host.scan': /no OpenSCAP scan was run/,
    ...Object.fromEntries(
      controls
        .filter(({ layer }) => layer === 'google')
        .map(({ id }) => [id, /no evidence from Google was given/]),
    ),
  }

  test('is green on the host, control by control, judged offline by the second binary', async () => {
    await application.createPerson({ full_name: 'Ada Example', role: 'customer', email: 'ada@example.org' })
    await host.push([await binary('proof_suite'), join(made.pki, 'pki_probes.tar.gz')], '/root')
    await host.mustSh(
      'mkdir -m 700 /etc/ztmysql/probes; tar xzf /root/pki_probes.tar.gz -C /etc/ztmysql/probes',
    )
    await host.write('/root/canary', 'Ada Example\n', 0o600)
    const options = [
      '--socket',
      '/run/mysqld/mysqld.sock',
      '--worm',
      '/var/lib/ztmysql/worm',
      '--canary',
      '/root/canary',
    ]
    const places = [
      '--conf-dir',
      '/etc/mysql/mysql.conf.d',
      '--tls-dir',
      '/etc/ztmysql/tls',
      '--bind-address',
      '*',
    ]
    // the key is the anchor's own, so that its service anchors and not the suite
    const collect = [
      '/root/proof_suite',
      ...options,
      ...places,
      '--anchor-now',
      '--out',
      '/root/bundle.tar.gz',
    ]
    expect(await host.exec(...collect)).toMatchObject({ exitCode: 0 })
    const out = join(made.dir, 'auditor')
    await host.pull('/root/bundle.tar.gz', out)
    await host.pull('/var/lib/ztmysql/worm', out)
    cpSync(join(made.pki, 'trust'), join(out, 'trust'), { recursive: true })
    const verify = [await binary('proof_suite'), 'verify', join(out, 'bundle.tar.gz')]
    const trusted = ['--trust', join(out, 'trust'), '--anchors', join(out, 'worm'), '--json']
    const judged = Bun.spawnSync([...verify, ...trusted])
    writeFileSync(join(out, 'verdict.json'), judged.stdout)
    const verdict = JSON.parse(readFileSync(join(out, 'verdict.json'), 'utf8')) as {
      controls: { id: string; verdict: string; reason: string }[]
    }
    const unexpected = verdict.controls
      .filter(({ id, verdict, reason }) =>
        notHere[id] ? verdict !== 'not-applicable' || !notHere[id].test(reason) : verdict !== 'pass',
      )
      .map(({ id, verdict, reason }) => `${id}: ${verdict}: ${reason}`)
    expect(unexpected).toEqual([])
    expect(verdict.controls.map(({ id }) => id).sort()).toEqual(controls.map(({ id }) => id).sort())
    expect(judged.exitCode).toBe(0)
  })
})

describe('the stock client', () => {
  // A handful of refusals bans the client, as it should, and a moment later than they happen; here each is to be seen
  // by itself, so the client is one that is never banned.
  const jail = (verb: string) => host.must('fail2ban-client', 'set', 'ztmysql', verb, client.host.ip)
  beforeAll(async () => {
    await jail('addignoreip')
    await host.must('fail2ban-client', 'unban', '--all')
  })
  afterAll(() => jail('delignoreip'))

  const who = 'SELECT CURRENT_USER()'
  const refused = (stderr: string, exitCode = 1) => ({
    exitCode,
    stdout: '',
    stderr: expect.stringContaining(stderr),
  })

  test.each(['acme_app', 'globex_app', 'gone_app', 'auditor'])(
    'gets in as %s with its certificate',
    async account => {
      expect(await client.query(account, who)).toMatchObject({
        exitCode: 0,
        stdout: `${account}@10.77.0.0/24\n`,
      })
      const cipher = await client.query(account, "SHOW SESSION STATUS LIKE 'Ssl_version'")
      expect(cipher.stdout).toBe('Ssl_version\tTLSv1.3\n')
    },
  )

  test('is refused without a certificate', async () => {
    const bare = await client.withoutCertificate('acme_app')
    expect(await client.query(bare, who)).toEqual(
      refused("ERROR 1045 (28000): Access denied for user 'acme_app'@'10.77.0.52'"),
    )
  })

  test("is refused with another account's, of its tenant and of another's", async () => {
    for (const other of ['globex_app', 'gone_app', 'auditor'])
      expect(await client.query('acme_app', who, ...client.certificateOf(other))).toEqual(
        refused("ERROR 1045 (28000): Access denied for user 'acme_app'@'10.77.0.52'"),
      )
  })

  /**
   * In TLS 1.3 a client is through before the server has judged its certificate: the refusal reaches the mysql client as
   * an alert or as a closed connection, whichever it reads first; openssl reads on, and says which alert it was.
   */
  async function refusedByTls(account: string, alert: string): Promise<void> {
    const { exitCode, stdout, stderr } = await client.query(account, who)
    expect([exitCode, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(new RegExp(`^ERROR 2013 \\(HY000\\): Lost connection|^ERROR 2026 .*${alert}`))
    expect(await client.tlsTranscript(account, host.ip)).toContain(alert)
  }

  test('is refused with an expired one', async () => {
    await refusedByTls('late_app', 'alert certificate expired')
  })

  const weakSuite =
    'ERROR 2026 (HY000): SSL connection error: error:0A000410:SSL routines::ssl/tls alert handshake failure'
  test.each([
    ['without TLS', '--ssl-mode=DISABLED', 'ERROR 1045 (28000): Access denied for user'],
    [
      'over TLS 1.2',
      '--tls-version=TLSv1.2',
      'ERROR 2026 (HY000): SSL connection error: error:0A00042E:SSL routines::tlsv1 alert protocol version',
    ],
    ['with a suite of 128 bits', '--tls-ciphersuites=TLS_AES_128_GCM_SHA256', weakSuite],
    ['with a suite for small devices', '--tls-ciphersuites=TLS_AES_128_CCM_SHA256', weakSuite],
  ])('is refused %s', async (_, option, error) => {
    expect(await client.query('acme_app', who, option)).toEqual(refused(error))
  })

  test('gets in with the other of the two suites', async () => {
    const suite = '--tls-ciphersuites=TLS_CHACHA20_POLY1305_SHA256'
    expect(await client.query('acme_app', who, suite)).toMatchObject({ exitCode: 0 })
  })

  test('reads and writes nothing but by the procedures', async () => {
    expect(await client.query('acme_app', 'SELECT * FROM securedb.users')).toEqual(
      refused(
        "ERROR 1142 (42000) at line 1: SELECT command denied to user 'acme_app'@'10.77.0.52' for table 'users'",
      ),
    )
    expect(await client.query('acme_app', 'DELETE FROM securedb.audit_events')).toEqual(
      refused("ERROR 1142 (42000) at line 1: DELETE command denied to user 'acme_app'@'10.77.0.52'"),
    )
    expect(await client.query('acme_app', 'SELECT * FROM securedb.app_users')).toEqual(
      refused('ERROR 1644 (45T01) at line 1: no tenant context'),
    )
  })

  test('is refused with a revoked certificate after the reload, which ends its session and no other', async () => {
    const hold = (account: string) =>
      client.host.begin(`hold-${account}`, 'mysql', ...client.options(account), '-e', 'SELECT SLEEP(3000)')
    const gone = hold('gone_app')
    hold('acme_app')
    const sessions = `SELECT GROUP_CONCAT(user ORDER BY user) FROM information_schema.processlist
      WHERE info LIKE 'SELECT SLEEP%'`
    const seen = async () => (await host.must('mysql', '-BNe', sessions)).trim()
    await until('both hold a session', async () => (await seen()) === 'acme_app,gone_app')
    await changePki(made.pki, { passphrase }, draft => revoke(draft, 'gone_app'))
    await host.push([join(made.pki, 'pki_server.tar.gz')], '/root')
    const reloaded = await host.exec(oneclick, 'reload-tls', '--pki-tar', archive)
    expect([reloaded.exitCode, reloaded.stderr]).toEqual([0, expect.any(String)])
    expect(await gone.exited).toBe(1)
    expect(await new Response(gone.stderr).text()).toMatch(/^ERROR (2013 \(HY000\)|1317 \(70100\))/)
    expect(await seen()).toBe('acme_app')
    await refusedByTls('gone_app', 'alert certificate revoked')
    expect(await client.query('acme_app', who)).toMatchObject({ exitCode: 0 })
    await client.host.must('systemctl', 'kill', '-s', 'KILL', 'hold-acme_app')
  })
})
