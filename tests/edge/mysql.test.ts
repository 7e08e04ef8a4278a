import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatClientConfig } from '../../lib/core/mycnf.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { type Connection, MysqlError, openMysql, type TlsMaterial } from '../../lib/edge/mysql.ts'
import { issueClient, issueServer, makeAuthority } from '../../lib/edge/pki/certificates.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'
import { type Deployment, sharedDeployment } from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

let d: Deployment
let dir: string
let app: Connection
let ssl: TlsMaterial
const validity = { now: Date.now() * 1000, seconds: 3600 }

beforeAll(async () => {
  d = await sharedDeployment()
  dir = mkdtempSync(join(tmpdir(), 'zt-'))
  app = await d.connect('app_user')
  ssl = d.options('app_user').ssl as TlsMaterial
})
afterAll(() => {
  app.destroy()
  rmSync(dir, { recursive: true, force: true })
})

describe('values', () => {
  test('come without loss', async () => {
    const [row] = await app.query(
      "SELECT 1 AS a, 18446744073709551615 AS b, -9223372036854775808 AS c, 9007199254740991 AS e, X'00FF' AS f, 1.50 AS g, CAST('2030-01-02 03:04:05.678901' AS DATETIME(6)) AS h, JSON_OBJECT('k', 1) AS i, NULL AS j, 'ü' AS k",
    )
    expect(row).toEqual({
      a: 1,
      b: 2n ** 64n - 1n,
      c: -(2n ** 63n),
      e: 2 ** 53 - 1,
      f: new Uint8Array([0, 255]),
      g: '1.50',
      h: '2030-01-02 03:04:05.678901',
      i: '{"k": 1}',
      j: null,
      k: 'ü',
    })
    expect(row?.f).not.toBeInstanceOf(Buffer)
  })

  test('go as they are, whatever they hold', async () => {
    for (const value of ["'; DROP TABLE x; --", '\\', "\\'", '\0\n\r\x1a"', '?', '€😀'])
      expect((await app.query('SELECT ? AS v', [value]))[0]?.v).toBe(value)
    const all = Uint8Array.from({ length: 256 }, (_, i) => i)
    expect((await app.query('SELECT ? AS v', [all]))[0]?.v).toEqual(all)
    expect((await app.query('SELECT ? + 0 AS v', [2n ** 63n]))[0]?.v).toBe(2n ** 63n)
  })

  test('one statement a call', async () => {
    await refused(app.query('SELECT 1; SELECT 2'), '1064')
  })

  test('stream in constant memory; leaving early ends the connection', async () => {
    const c = await d.connectBare('app_user')
    const sql =
      'WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 900) SELECT n FROM t'
    let n = 0
    for await (const row of c.stream(sql)) n += Number(row.n)
    expect(n).toBe((900 * 901) / 2)
    await expect(Array.fromAsync(c.stream('SELECT nothing'))).rejects.toMatchObject({ errno: 1054 })
    for await (const _ of c.stream(sql)) break
    await expect(c.query('SELECT 1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
  })
})

describe('a connection over the network', () => {
  test('speaks TLS 1.3 with a 256-bit suite to the certificate that it expects', () => {
    const { tls, where } = app.info()
    expect(tls?.protocol).toBe('TLSv1.3')
    expect(tls?.cipher).toBeOneOf(['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'])
    expect(tls?.peerCertificate.length).toBeGreaterThan(300)
    expect(where).toBe(`127.0.0.1:${d.server.port}`)
    expect(d.root.info().tls).toBeNull()
  })

  test('is refused without a certificate, with another account’s, and with a wrong password', async () => {
    const options = d.options('app_user')
    await refused(openMysql({ ...options, ssl: { ca: ssl.ca } }), '1045')
    await refused(openMysql({ ...options, ssl: d.options('app_other').ssl as TlsMaterial }), '1045')
    await refused(openMysql({ ...options, password: 'x' }), '1045')
  })

  test('refuses a server of another CA, and a certificate of the right CA for another name, before any password', async () => {
    const ca = await makeAuthority(await makeKey('P-384'), { ...validity, seconds: 7200 })
    const otherCa = formatPem('CERTIFICATE', ca.certificate.der)
    const attempt = openMysql({ ...d.options('app_user'), ssl: { ...ssl, ca: otherCa } })
    await expect(attempt).rejects.toMatchObject({ code: 'TLS' })
    // A server whose certificate comes from a CA that the client trusts, but names another host.
    const key = await makeKey('P-256')
    const certificate = await issueServer(ca, ['elsewhere.example'], key.spki, validity)
    const client = await makeKey('P-256')
    const clientCertificate = await issueClient(
      ca,
      { role: 'app', account: 'app_user', tenant: null },
      client.spki,
      validity,
    )
    const write = (name: string, text: string) => {
      writeFileSync(join(dir, name), text, { mode: 0o600 })
      return join(dir, name)
    }
    const files = [
      ['ssl_ca', write('ca.pem', otherCa)],
      ['ssl_cert', write('s.pem', formatPem('CERTIFICATE', certificate.der))],
      ['ssl_key', write('s.key', formatPem('PRIVATE KEY', key.pkcs8))],
    ] as const
    const before = await d.root.query(
      'SELECT @@ssl_ca AS ssl_ca, @@ssl_cert AS ssl_cert, @@ssl_key AS ssl_key',
    )
    const set = async (values: Iterable<readonly [string, string]>) => {
      for (const [name, value] of values) await d.root.run(`SET GLOBAL ${name} = ?`, [value])
      await d.root.run('ALTER INSTANCE RELOAD TLS')
    }
    try {
      await set(files)
      for (const host of ['127.0.0.1', 'localhost'])
        await expect(
          openMysql({
            ...d.options('app_user'),
            host,
            ssl: {
              ca: otherCa,
              cert: formatPem('CERTIFICATE', clientCertificate.der),
              key: formatPem('PRIVATE KEY', client.pkcs8),
            },
          }),
        ).rejects.toMatchObject({ code: 'TLS' })
    } finally {
      await set(Object.entries(before[0] ?? {}).map(([name, value]) => [name, String(value)] as const))
    }
    ;(await d.connectBare('app_user')).destroy()
  })

  test('is not opened without a CA, and not to a port where nobody listens', async () => {
    await expect(openMysql({ host: '127.0.0.1', user: 'x' })).rejects.toMatchObject({ code: 'USAGE' })
    await expect(openMysql({ socket: '/nowhere' })).rejects.toMatchObject({ code: 'USAGE' })
    await expect(openMysql({ ...d.options('app_user'), port: 1 })).rejects.toMatchObject({
      code: 'UNREACHABLE',
    })
    await expect(openMysql({ socket: '/nowhere.sock', user: 'root' })).rejects.toMatchObject({
      code: 'UNREACHABLE',
    })
  })

  test('is opened by a defaults-file, which must be private and ask for no less', async () => {
    const write = (name: string, text: string, mode = 0o600) => {
      writeFileSync(join(dir, name), text, { mode })
      return join(dir, name)
    }
    const { host = '', port = 0, user = '', password = '' } = d.options('app_user')
    const config = {
      user,
      password,
      host,
      port,
      sslCa: write('c-ca.pem', String(ssl.ca)),
      sslCert: write('c.pem', String(ssl.cert)),
      sslKey: write('c.key', String(ssl.key)),
      sslMode: 'VERIFY_IDENTITY',
      tlsVersion: 'TLSv1.3',
    }
    const good = write('good.cnf', formatClientConfig(config))
    const c = await openMysql({ defaultsFile: good })
    expect((await c.query('SELECT CURRENT_USER() AS u'))[0]?.u).toBe('app_user@127.0.0.1')
    await c.close()
    const open = write('open.cnf', formatClientConfig(config), 0o644)
    await expect(openMysql({ defaultsFile: open })).rejects.toMatchObject({ code: 'PERMISSION' })
    for (const weaker of [{ sslMode: 'REQUIRED' }, { tlsVersion: 'TLSv1.2' }])
      await expect(
        openMysql({ defaultsFile: write('weak.cnf', formatClientConfig({ ...config, ...weaker })) }),
      ).rejects.toMatchObject({ code: 'BAD_INPUT' })
  })
})

describe('errors', () => {
  test('keep number and state, and no statement', async () => {
    const thrown = await app.query('SELECT ? FROM nowhere.x', ['secret']).catch((e: unknown) => e)
    expect(thrown).toBeInstanceOf(MysqlError)
    expect(thrown).toMatchObject({ errno: 1142, sqlState: '42000', code: 'DENIED' })
    expect(Bun.inspect(thrown)).not.toContain("'secret'")
  })

  test('of a connection that was cut say so', async () => {
    const c = await d.connectBare('app_user')
    await d.root.run('KILL ?', [c.info().threadId])
    await expect(c.query('SELECT 1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
    await expect(c.query('SELECT 1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
  })
})
