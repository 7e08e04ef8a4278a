/** What vm_oneclick refuses, and that a refusal changes nothing. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { utf8 } from '../../lib/core/bytes.ts'
import { type ErrorCode, ZtError } from '../../lib/core/errors.ts'
import { type ApplyOptions, installDatabase, planDatabase } from '../../lib/edge/database.ts'
import { lockDir } from '../../lib/edge/files.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { type Host, inHost, makeHost, oneclick, systemUser } from '../support/oneclick.ts'
import {
  type ArchiveWishes,
  type MadeArchive,
  makeServerFiles,
  writeArchive,
} from '../support/server_archive.ts'

setDefaultTimeout(180_000) // a busy machine takes its time to start a server, or a program from source

let server: Mysqld
let root: Connection
let host: Host
let good: MadeArchive
let archive: string

beforeAll(async () => {
  host = makeHost()
  good = await makeServerFiles()
  archive = await writeArchive(host.at('pki_server.tar.gz'), good.files)
  server = await freshServer()
  root = await openMysql({ socket: server.socket, user: 'root' })
}, 300_000)

afterAll(async () => {
  await root.close()
  await server.stop()
  host[Symbol.dispose]()
})

type Wishes = Partial<ApplyOptions>
const places = () => ({
  socket: server.socket,
  confDir: host.confDir,
  tlsDir: host.tlsDir,
  anchorDir: host.anchorDir,
  anchorUser: systemUser,
})

const install = (wishes: Wishes) => installDatabase({ ...places(), ...wishes })

/** Refused with that code and those words, and a hint; none of the archive's secrets is said, nothing is left behind. */
async function refuses(wishes: Wishes, code: ErrorCode, ...words: string[]): Promise<void> {
  const thrown = await install(wishes).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(thrown instanceof ZtError)) throw thrown ?? new Error('was not refused')
  expect([thrown.code, thrown.message]).toEqual([code, expect.stringContaining(words[0] ?? '')])
  for (const word of words) expect(thrown.message).toContain(word)
  expect(thrown.hint).toBeString()
  for (const password of good.passwords) expect(`${thrown.message}${thrown.hint}`).not.toContain(password)
  expect([host.confDir, host.tlsDir, host.anchorDir].filter(path => existsSync(path))).toEqual([])
}

const changed = async (wishes: ArchiveWishes): Promise<string> =>
  await writeArchive(host.at('other.tar.gz'), (await makeServerFiles(wishes)).files)

const withFiles = (edit: (files: Map<string, Uint8Array>) => void): Promise<string> => {
  const files = new Map(good.files)
  edit(files)
  return writeArchive(host.at('other.tar.gz'), files)
}

interface Entry {
  name: string
  type?: 'file' | 'symlink' | 'link' | 'directory'
  linkname?: string
  text?: string
}

/** The good archive with further entries before its end, as an attacker would pack them. */
async function withEntries(...entries: Entry[]): Promise<string> {
  const archive = pack()
  const chunks: Buffer[] = []
  archive.on('data', chunk => {
    chunks.push(Buffer.from(chunk as Uint8Array))
  })
  const ended = new Promise<void>(done => archive.on('end', () => done()))
  for (const [name, bytes] of good.files) archive.entry({ name, mode: 0o600 }, Buffer.from(bytes))
  for (const { name, type = 'file', linkname, text = '' } of entries)
    archive.entry({ name, type, mode: 0o600, ...(linkname ? { linkname } : {}) }, type === 'file' ? text : '')
  archive.finalize()
  await ended
  const path = host.at('packed.tar.gz')
  writeFileSync(path, gzipSync(Buffer.concat(chunks)))
  chmodSync(path, 0o600)
  return path
}

describe('an archive is refused', () => {
  test('that is not there', () =>
    refuses({ pkiTar: host.at('none') }, 'NOT_FOUND', 'no such file', host.at('none')))

  test('that is not named, where nothing is installed', () =>
    refuses({}, 'NOT_FOUND', 'nothing is installed here'))

  test('that others can read', async () => {
    const loose = await writeArchive(host.at('loose.tar.gz'), good.files, 0o640)
    await refuses({ pkiTar: loose }, 'PERMISSION', 'mode 0640 lets others in')
  })

  test('that is a link', async () => {
    symlinkSync(archive, host.at('link.tar.gz'))
    await refuses({ pkiTar: host.at('link.tar.gz') }, 'PERMISSION', 'symbolic link')
  })

  test('that is cut, wherever the cut is', async () => {
    const whole = readFileSync(archive)
    const cut = host.at('cut.tar.gz')
    writeFileSync(cut, whole.subarray(0, whole.length - 9), { mode: 0o600 })
    await refuses({ pkiTar: cut }, 'BAD_FORMAT', 'cut.tar.gz', 'not a gzip archive')
    writeFileSync(cut, gzipSync(gunzipSync(whole).subarray(0, 2048)))
    await refuses({ pkiTar: cut }, 'BAD_FORMAT', 'does not end as a tar archive does')
  })

  test('that is something else', async () => {
    writeFileSync(host.at('text'), 'no archive', { mode: 0o600 })
    await refuses({ pkiTar: host.at('text') }, 'BAD_FORMAT', 'not a gzip archive')
  })

  test.each<[string, Entry]>([
    ['a path upwards', { name: '../etc/cron.d/x', text: 'x' }],
    ['an absolute path', { name: '/etc/cron.d/x', text: 'x' }],
    ['a symbolic link', { name: 'orders/000001.json', type: 'symlink', linkname: '/etc/shadow' }],
    ['a hard link', { name: 'orders/000001.json', type: 'link', linkname: '/etc/shadow' }],
    ['a folder', { name: 'orders', type: 'directory' }],
    ['a file twice', { name: 'ca.pem', text: 'x' }],
    ['a file of another name', { name: 'run.sh', text: 'x' }],
    ['an order by another name', { name: 'orders/1.json', text: 'x' }],
  ])('that holds %s', async (_what, entry) => {
    await refuses({ pkiTar: await withEntries(entry) }, 'BAD_FORMAT', 'archive')
  })

  test.each([
    ...['server.json', 'server-cert.pem', 'server-key.pem', 'ca.pem', 'crl.pem', 'anchor_key.json'],
  ])('that lacks %s', async name => {
    const path = await withFiles(files => files.delete(name))
    await refuses({ pkiTar: path }, 'BAD_FORMAT', `${name} is missing`)
  })

  test('whose accounts nobody could tell apart, or are the servers own', async () => {
    const text = new TextDecoder().decode(good.files.get('server.json'))
    const [entry = ''] = /\{"account".*\}(?=\])/.exec(text) ?? []
    const twice = await withFiles(files =>
      files.set('server.json', utf8(text.replace(entry, `${entry},${entry}`))),
    )
    await refuses({ pkiTar: twice }, 'BAD_FORMAT', 'server.json: not as this release writes it')
    const anchor = text.replace('"account":"auditor"', '"account":"anchor"')
    const taken = await withFiles(files => files.set('server.json', utf8(anchor)))
    await refuses({ pkiTar: taken }, 'BAD_FORMAT', "anchor is an account of the server's own")
  })

  test('whose server.json is damaged, without a word of what it says', async () => {
    const text = new TextDecoder().decode(good.files.get('server.json'))
    const path = await withFiles(files => files.set('server.json', utf8(text.slice(0, -9))))
    await refuses({ pkiTar: path }, 'BAD_FORMAT', 'server.json: not as this release writes it')
  })

  test('whose anchor keys are those of another log', async () => {
    const { files } = await makeServerFiles()
    const path = await withFiles(all => all.set('anchor_key.json', files.get('anchor_key.json') ?? utf8('')))
    await refuses({ pkiTar: path }, 'BAD_FORMAT', 'belongs to another log')
  })

  test.each<[string, ArchiveWishes, string]>([
    ['has expired', { madeDaysAgo: 91 }, 'server-cert.pem: expired on'],
    ['is not valid yet', { madeDaysAgo: -2 }, 'server-cert.pem: not valid before'],
    ['has another key', { otherKey: true }, 'server-key.pem: not the key of server-cert.pem'],
    ['another CA signed', { otherCa: true }, 'server-cert.pem: not signed by the CA in ca.pem'],
    ['names another server', { names: ['other.example'] }, 'server-cert.pem: does not name db.example'],
    ['is a clients', { clientCertificate: true }, 'server-cert.pem: not a server certificate'],
    ['is revoked', { revoked: true }, 'server-cert.pem: revoked by crl.pem'],
    ['comes with an old CRL', { crlMadeDaysAgo: 31 }, 'crl.pem: expired on'],
    ['comes with the CRL of another CA', { otherCrl: true }, 'crl.pem: not signed by the CA in ca.pem'],
    ['binds accounts to another issuer', { issuer: '/O=Other/CN=CA' }, 'not in ca.pem'],
  ])('whose certificate %s', async (_what, wishes, words) => {
    await refuses({ pkiTar: await changed(wishes) }, 'BAD_INPUT', words)
  })

  test('whose CA is not the pinned one, and taken where it is', async () => {
    await refuses({ pkiTar: archive, caSha256: '00'.repeat(32) }, 'REFUSED', 'not the pinned one')
    const pin = new Bun.CryptoHasher('sha256').update(good.ca.certificate.der).digest('hex')
    const { plan } = await planDatabase({ ...places(), pkiTar: archive, caSha256: pin })
    expect(plan.steps.map(step => step.id)).toContain('tls')
    expect(existsSync(host.confDir)).toBe(false)
  })
})

describe('an installation is refused', () => {
  test('without a server, before an archive is asked for', () =>
    refuses({ socket: host.at('no.sock') }, 'UNREACHABLE', host.at('no.sock')))

  test('without a server', () =>
    refuses({ pkiTar: archive, socket: host.at('no.sock') }, 'UNREACHABLE', host.at('no.sock')))

  test('where root is not let in', async () => {
    await root.run("ALTER USER root@localhost IDENTIFIED WITH caching_sha2_password BY 'a password'")
    await refuses({ pkiTar: archive }, 'DENIED', 'root is not let in (1045)')
    await root.run('ALTER USER root@localhost IDENTIFIED WITH auth_socket AS ?', [systemUser])
  })

  test('on a server with the databases of others', async () => {
    await root.run('CREATE DATABASE shop')
    await refuses({ pkiTar: archive }, 'REFUSED', 'holds other databases: shop')
    await root.run('DROP DATABASE shop')
    await root.run('CREATE DATABASE test')
    await root.run('CREATE TABLE test.kept (id INT PRIMARY KEY)')
    await refuses({ pkiTar: archive }, 'REFUSED', 'holds other databases: test')
    await root.run('DROP DATABASE test')
    await root.run('CREATE DATABASE securedb')
    await root.run('CREATE TABLE securedb.kept (id INT PRIMARY KEY)')
    await refuses({ pkiTar: archive }, 'REFUSED', 'not one of ours')
    await root.run('DROP DATABASE securedb')
  })

  test.each([['%'], ['10.%'], ['10.0.0.1/8'], ['0.0.0.0/0'], ['localhost'], ['10.0.0.256']])(
    'for accounts from %s',
    async hostPart => {
      await refuses({ pkiTar: archive, hostPart }, 'BAD_INPUT', 'host part')
    },
  )

  test('with an anchor that runs as nobody known', () =>
    refuses({ pkiTar: archive, anchorUser: 'no-such-user' }, 'NOT_FOUND', 'no system user no-such-user'))

  test('in a folder that an option file cannot name', () =>
    refuses({ pkiTar: archive, tlsDir: host.at('a b#c') }, 'BAD_INPUT', 'a b#c'))

  test('in a folder that others may replace', async () => {
    mkdirSync(host.at('open'))
    chmodSync(host.at('open'), 0o777)
    const tlsDir = join(host.at('open'), 'tls')
    await refuses({ pkiTar: archive, tlsDir }, 'PERMISSION', 'others may write there')
  })

  test('without a terminal to ask on, and without --yes', async () => {
    const args = ['apply', '--socket', server.socket, ...inHost(host), '--pki-tar', archive]
    const { code, stdout, stderr } = await oneclick(args)
    expect(code).toBe(2)
    expect(stdout).toContain('accounts: tie each account to its certificate') // what it would have asked about
    expect(stdout.split('\n').length).toBeLessThan(20)
    expect(stderr).toBe(
      'vm_oneclick: error: there is no terminal to ask on\nhint: give --yes to apply the plan\n',
    )
    expect([host.tlsDir, host.anchorDir].filter(path => existsSync(path))).toEqual([])
  })

  test('and a plan is short: a line a step, each change only where that is asked for', async () => {
    const args = ['plan', '--socket', server.socket, ...inHost(host), '--pki-tar', archive]
    const short = await oneclick(args)
    const long = await oneclick([...args, '--verbose'])
    const json = await oneclick([...args, '--json'])
    expect([short.code, long.code, json.code]).toEqual([0, 0, 0])
    const ids = (JSON.parse(json.stdout) as { steps: { id: string }[] }).steps.map(step => step.id)
    const lines = short.stdout.trimEnd().split('\n')
    expect(lines.map(line => line.slice(0, line.indexOf(':')))).toEqual([...ids, 'restart'])
    expect(lines.find(line => line.startsWith('schema: '))).toMatch(
      /\(\d+ changes: .*\d+ migrations, .*\d+ procedures/,
    )
    expect(short.stderr).toEndWith('--verbose lists each change\n')
    expect(long.stdout).toContain('\n  + procedure app_erase_user: ')
    expect(long.stderr).not.toContain('--verbose')
  })

  test('while another run is at work', async () => {
    mkdirSync(host.confDir, { recursive: true })
    const release = lockDir(host.confDir)
    const attempt = install({ pkiTar: archive })
    await expect(attempt).rejects.toMatchObject({
      code: 'LOCKED',
      message: `${host.confDir}: in use by process ${process.pid}`,
    })
    release()
    expect(readdirSync(host.confDir)).toEqual([])
  })

  test('and the server is as it was', async () => {
    const databases = await root.query('SHOW DATABASES')
    expect(databases.map(row => row.Database).sort()).toEqual([
      'information_schema',
      'mysql',
      'performance_schema',
      'sys',
    ])
    const [{ transport } = {}] = await root.query('SELECT @@require_secure_transport AS transport')
    expect(transport).toBe(0)
    const accounts = await root.query("SELECT User AS user FROM mysql.user WHERE User NOT LIKE 'mysql.%'")
    expect(accounts.map(row => row.user)).toEqual(['root'])
    expect(existsSync(archive)).toBe(true)
  })
})
