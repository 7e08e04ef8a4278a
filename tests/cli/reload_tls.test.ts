/** vm_oneclick reload-tls on a server that runs: what it takes up, and that a bad archive changes nothing. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { type Bytes, utf8 } from '../../lib/core/bytes.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { formatTime } from '../../lib/core/time.ts'
import { readCertificate } from '../../lib/core/x509.ts'
import { installDatabase, planDatabase } from '../../lib/edge/database.ts'
import { planTlsReload, reloadTls } from '../../lib/edge/host/reload_tls.ts'
import { servedCertificate } from '../../lib/edge/host/tls_served.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { issueAccount, renewAccount } from '../../lib/edge/pki/accounts.ts'
import { issueCrl, issueServer } from '../../lib/edge/pki/certificates.ts'
import type { Draft } from '../../lib/edge/pki/draft.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'
import { revoke } from '../../lib/edge/pki/revocations.ts'
import { renewServer } from '../../lib/edge/pki/server.ts'
import { changePki } from '../../lib/edge/pki.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { type Host, makeHost, oneclick, systemUser } from '../support/oneclick.ts'
import { copyPki, passphrase } from '../support/pki.ts'
import { type MadeArchive, makeServerFiles, writeArchive } from '../support/server_archive.ts'

setDefaultTimeout(180_000) // a busy machine takes its time to start a server, or a program from source

const placesOf = (server: Mysqld, host: Host) => ({
  socket: server.socket,
  confDir: host.confDir,
  tlsDir: host.tlsDir,
  anchorDir: host.anchorDir,
  anchorUser: systemUser,
})

const serialServed = async (server: Mysqld, ca: string, serverName = '127.0.0.1'): Promise<string> => {
  const der = await servedCertificate({ host: '127.0.0.1', port: server.port }, { ca, serverName })
  return readCertificate(der, 'served').serial
}

const digestOf = (dir: string): string[] =>
  readdirSync(dir)
    .sort()
    .map(
      name =>
        `${name} ${createHash('sha256')
          .update(readFileSync(join(dir, name)))
          .digest('hex')}`,
    )

describe('a new archive of the PKI', () => {
  let server: Mysqld
  let host: Host
  let pki: string
  const change = (act: (draft: Draft) => void | Promise<void>) => changePki(pki, { passphrase }, act)
  const archive = (): string => {
    copyFileSync(join(pki, 'pki_server.tar.gz'), host.at('new.tar.gz'))
    chmodSync(host.at('new.tar.gz'), 0o600)
    return host.at('new.tar.gz')
  }
  const cli = (...args: string[]) =>
    oneclick(['reload-tls', '--socket', server.socket, '--conf-dir', host.confDir, ...args])
  const client = () =>
    openMysql({
      defaultsFile: join(pki, 'clients', 'app_user.cnf'),
      host: '127.0.0.1',
      port: server.port,
    })
  const ca = () => readFileSync(join(pki, 'ca.pem'), 'utf8')

  beforeAll(async () => {
    host = makeHost()
    pki = await copyPki(host.at('pki'))
    server = await freshServer()
    await installDatabase({ ...placesOf(server, host), pkiTar: archive() })
  }, 300_000)

  afterAll(async () => {
    await server.stop()
    host[Symbol.dispose]()
  })

  test('is taken up without a restart, proved on a new connection, and recorded; sessions go on', async () => {
    const before = await serialServed(server, ca())
    const session = await client()
    await change(draft => renewServer(draft))
    const planned = await cli('--pki-tar', archive(), '--dry-run')
    expect([planned.code, planned.stdout]).toEqual([0, expect.stringContaining('server-key.pem: ')])
    expect(await serialServed(server, ca())).toBe(before)

    const outcome = await cli('--pki-tar', archive())
    const after = await serialServed(server, ca())
    expect(after).not.toBe(before)
    expect([outcome.code, outcome.stdout]).toEqual([
      0,
      expect.stringMatching(
        new RegExp(`^certificate ${after}, until .*: seen on a new connection\nCRL until `),
      ),
    ])
    expect(existsSync(host.at('new.tar.gz'))).toBe(false)
    expect(await session.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
    await session.close()
    const { plan } = await planDatabase(placesOf(server, host))
    expect(plan.findings).toEqual([])
    expect(
      plan.steps.filter(step => ['tls', 'accounts', 'record'].includes(step.id) && step.changes.length > 0),
    ).toEqual([])
    expect(readdirSync(host.dir).filter(name => name.startsWith('.tls'))).toEqual([])
  })

  test('that is loaded already changes nothing', async () => {
    const outcome = await cli('--pki-tar', archive(), '--keep-archive', '--json')
    expect(outcome.code).toBe(0)
    expect(JSON.parse(outcome.stdout)).toMatchObject({ done: [], archiveRemoved: false, revoked: [] })
  })

  test('ends the sessions of a revoked certificate, which fails in the handshake from then on', async () => {
    const session = await client()
    await change(draft => revoke(draft, 'app_user'))
    const outcome = await cli('--pki-tar', archive())
    expect([outcome.code, outcome.stdout]).toEqual([0, expect.stringContaining('; revoked: app_user\n')])
    await expect(session.query('SELECT 1')).rejects.toThrow()
    session.destroy()
    await expect(client()).rejects.toMatchObject({ code: 'TLS' })
    await change(draft => renewAccount(draft, 'app_user'))
    expect((await reloadTls({ ...placesOf(server, host), pkiTar: archive() })).done).toContain('accounts')
    await (await client()).close()
  })

  test('with a new account is for apply', async () => {
    await change(async draft => {
      await issueAccount(draft, 'second_app', { role: 'app', tenant: 'tenant-a' })
    })
    const outcome = await cli('--pki-tar', archive())
    expect([outcome.code, outcome.stderr]).toEqual([
      1,
      'vm_oneclick: error: the archive brings new accounts: second_app\n' +
        'hint: reload-tls changes certificates alone: vm_oneclick apply takes the rest\n',
    ])
  })
})

describe('a bad archive changes nothing', () => {
  let server: Mysqld
  let host: Host
  let good: MadeArchive
  const day = 86_400
  const ago = (days: number) => ({ now: (Date.now() - days * day * 1000) * 1000 })
  const caPem = () => formatPem('CERTIFICATE', good.ca.certificate.der)

  beforeAll(async () => {
    host = makeHost()
    good = await makeServerFiles()
    server = await freshServer()
    const pkiTar = await writeArchive(host.at('good.tar.gz'), good.files)
    await installDatabase({ ...placesOf(server, host), pkiTar })
  }, 300_000)

  afterAll(async () => {
    await server.stop()
    host[Symbol.dispose]()
  })

  /** The files of a good archive with others in their place. */
  const variant = (changes: [string, string][] = []): Promise<string> =>
    writeArchive(
      host.at('bad.tar.gz'),
      new Map<string, Bytes>([
        ...good.files,
        ...changes.map(([name, pem]): [string, Bytes] => [name, utf8(pem)]),
      ]),
    )

  async function serverPair(
    daysAgo: number,
    names = ['db.example', '127.0.0.1'],
  ): Promise<[string, string][]> {
    const key = await makeKey('P-256')
    const certificate = await issueServer(good.ca, names, key.spki, { ...ago(daysAgo), seconds: 90 * day })
    return [
      ['server-cert.pem', formatPem('CERTIFICATE', certificate.der)],
      ['server-key.pem', formatPem('PRIVATE KEY', key.pkcs8)],
    ]
  }

  const crl = async (
    daysAgo: number,
    revoked: { serial: string; revokedAt: string }[] = [],
  ): Promise<[string, string][]> => [
    [
      'crl.pem',
      formatPem('X509 CRL', await issueCrl(good.ca, 2, revoked, { ...ago(daysAgo), seconds: 30 * day })),
    ],
  ]

  const kinds: [string, () => Promise<string>, string, RegExp][] = [
    [
      'an expired certificate',
      async () => variant(await serverPair(100)),
      'BAD_INPUT',
      /server-cert.pem: expired on /,
    ],
    [
      'a certificate of the future',
      async () => variant(await serverPair(-2)),
      'BAD_INPUT',
      /not valid before/,
    ],
    [
      'the key of another certificate',
      async () => variant((await serverPair(0)).slice(0, 1)),
      'BAD_INPUT',
      /not the key of server-cert.pem/,
    ],
    [
      'a certificate without the name',
      async () => variant(await serverPair(0, ['other.example'])),
      'BAD_INPUT',
      /does not name db.example/,
    ],
    [
      'a CA that signed nothing in it',
      async () => {
        const other = await makeServerFiles()
        return variant([['ca.pem', formatPem('CERTIFICATE', other.ca.certificate.der)]])
      },
      'BAD_INPUT',
      /not signed by the CA in ca.pem/,
    ],
    [
      'another PKI of the same name',
      async () => writeArchive(host.at('bad.tar.gz'), (await makeServerFiles({ origin: good.origin })).files),
      'REFUSED',
      /is not the one in place/,
    ],
    [
      'another log',
      async () => writeArchive(host.at('bad.tar.gz'), (await makeServerFiles()).files),
      'REFUSED',
      /the archive is for the log /,
    ],
    [
      'a CRL older than the one in place',
      async () => variant(await crl(2)),
      'REFUSED',
      /older than the one in place/,
    ],
    ['an expired CRL', async () => variant(await crl(40)), 'BAD_INPUT', /crl.pem: expired on /],
    [
      'a CRL that revokes the server',
      async () => {
        const pair = await serverPair(0)
        const der = readCertificate(
          Uint8Array.from(Buffer.from((pair[0]?.[1] ?? '').replace(/-----[^-]+-----|\s/g, ''), 'base64')),
          'x',
        )
        return variant([
          ...pair,
          ...(await crl(0, [
            { serial: der.serial, revokedAt: formatTime(Math.floor(Date.now() / 1000) * 1e6) },
          ])),
        ])
      },
      'BAD_INPUT',
      /server-cert.pem: revoked by crl.pem/,
    ],
    [
      'half a file',
      async () => {
        const path = await variant(await serverPair(0))
        const bytes = readFileSync(path)
        writeFileSync(path, bytes.subarray(0, bytes.length >> 1))
        return path
      },
      'BAD_FORMAT',
      /cut|damaged|gzip/,
    ],
    [
      'a mode that lets others read it',
      async () => {
        const path = await variant(await serverPair(0))
        chmodSync(path, 0o640)
        return path
      },
      'PERMISSION',
      /lets others in/,
    ],
    [
      'a link',
      async () => {
        const path = await variant(await serverPair(0))
        if (!existsSync(host.at('link.tar.gz'))) symlinkSync(path, host.at('link.tar.gz'))
        return host.at('link.tar.gz')
      },
      'PERMISSION',
      /link/,
    ],
    [
      'other signing keys for the anchor',
      async () => {
        const other = await makeServerFiles({ origin: good.origin })
        return variant([
          ...(await serverPair(0)),
          ['anchor_key.json', Buffer.from(other.files.get('anchor_key.json') ?? []).toString()],
        ])
      },
      'REFUSED',
      /other signing keys/,
    ],
  ]

  test.each(kinds)('%s', async (_, make, code, message) => {
    const path = await make()
    const before = [digestOf(host.tlsDir), digestOf(host.confDir), await serialServed(server, caPem())]
    await expect(reloadTls({ ...placesOf(server, host), pkiTar: path })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
    expect([digestOf(host.tlsDir), digestOf(host.confDir), await serialServed(server, caPem())]).toEqual(
      before,
    )
    expect(existsSync(path)).toBe(true)
  })

  test('the pin of another CA', async () => {
    const pkiTar = await variant(await serverPair(0))
    await expect(
      planTlsReload({ ...placesOf(server, host), pkiTar, caSha256: '0'.repeat(64) }),
    ).rejects.toMatchObject({ code: 'REFUSED', message: expect.stringContaining('not the pinned one') })
  })

  test('a certificate that no new connection is shown: the old files are back and loaded', async () => {
    const before = [digestOf(host.tlsDir), digestOf(host.confDir), await serialServed(server, caPem())]
    const pkiTar = await variant(await serverPair(0))
    // the first connection is the administrator's; every further one is turned away
    let connections = 0
    const door = createServer(client => {
      if (++connections > 1) return client.destroy()
      const inside = connect(server.socket)
      client.pipe(inside).pipe(client)
      client.on('error', () => inside.destroy())
    })
    const socket = host.at('door.sock')
    await new Promise<void>(done => door.listen(socket, done))
    await expect(reloadTls({ ...placesOf(server, host), socket, pkiTar })).rejects.toMatchObject({
      code: 'TLS',
      message: `step tls: a new connection to ${socket}: it closed the connection (nothing was changed before it)`,
    })
    door.close()
    const root = await openMysql({ socket: server.socket, user: 'root' })
    await root.run('ALTER INSTANCE RELOAD TLS') // what is in the files is what is loaded
    await root.close()
    expect([digestOf(host.tlsDir), digestOf(host.confDir), await serialServed(server, caPem())]).toEqual(
      before,
    )
    expect(readdirSync(host.dir).filter(name => name.startsWith('.tls'))).toEqual([])
    expect((await reloadTls({ ...placesOf(server, host), pkiTar })).done).toEqual(['tls', 'record'])
  })

  test('the very archive that is in place is fine, and the same CRL a second time too', async () => {
    const pkiTar = await variant(await serverPair(0))
    await reloadTls({ ...placesOf(server, host), pkiTar, keepArchive: true })
    expect((await reloadTls({ ...placesOf(server, host), pkiTar })).done).toEqual([])
  })
})
