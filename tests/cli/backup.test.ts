/** A backup of a server that runs, and the way back into an empty one, as a person goes it. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { anchorNow } from '../../lib/edge/anchor_service.ts'
import { planDatabase } from '../../lib/edge/database.ts'
import { type Backup, makeBackup } from '../../lib/edge/host/backup.ts'
import { type RestoreOptions, restoreBackup } from '../../lib/edge/host/restore.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { schemaSnapshot } from '../../lib/edge/schema.ts'
import { judgeTrail } from '../../lib/edge/verify.ts'
import { tableDefinitions } from '../../sql/index.ts'
import { type Live, live as makeLive, userRow } from '../support/live.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { oneclick } from '../support/oneclick.ts'

setDefaultTimeout(300_000) // a busy machine takes its time to start servers

let live: Live
let backup: Backup
/** The store as it was when the backup was made: two anchors. */
let people: number

const places = () => ({ socket: live.server.socket, confDir: live.at('conf') })
const text = (path: string): string => gunzipSync(readFileSync(path)).toString('utf8')
const addPerson = () => live.write(live.tenants[0], 'users', 'create', userRow(live.tenants[0]))

/** A server that nobody has used. */
const empty = (): Promise<Mysqld> => freshServer()
const rootOf = (server: Mysqld): Promise<Connection> => openMysql({ socket: server.socket, user: 'root' })

const wishes = (server: Mysqld, more: Partial<RestoreOptions> = {}): RestoreOptions => ({
  socket: server.socket,
  file: backup.path,
  anchors: live.at('worm'),
  trust: live.at('pki', 'trust'),
  ...more,
})

const anchorOn = (server: Mysqld, state: string) =>
  anchorNow({
    socket: server.socket,
    user: 'root',
    worm: live.at('worm'),
    state,
    key: live.at('anchor', 'anchor_key.json'),
    syslog: 'none',
    waitSeconds: 60,
  })

const verify = (server: Mysqld) =>
  judgeTrail(
    {
      socket: server.socket,
      trust: live.at('pki', 'trust'),
      anchors: live.at('worm'),
      signatures: 'all',
      gapSeconds: 86_400,
    },
    () => undefined,
  )

/** Every row that a restore must bring back, in one digest a table. */
async function contents(root: Connection): Promise<Record<string, string>> {
  const all: Record<string, string> = {}
  for (const table of [...tableDefinitions.keys(), 'gate_limits']) {
    const digest = createHash('sha256')
    const rows = await root.query(`SELECT * FROM securedb.${table}`)
    for (const line of rows.map(row => JSON.stringify(Object.values(row).map(String))).sort())
      digest.update(line)
    all[table] = `${rows.length} ${digest.digest('hex')}`
  }
  return all
}

beforeAll(async () => {
  live = await makeLive()
  await addPerson()
  await live.anchor()
  await addPerson() // sealed or not: in the backup either way
  backup = await makeBackup({ ...places(), out: live.at('one.ztbackup') })
  people = (await live.root.query('SELECT id FROM securedb.users')).length
}, 600_000)

afterAll(async () => {
  await live[Symbol.asyncDispose]()
})

describe('a backup', () => {
  test('is private, whole, and says what is in it', async () => {
    expect(statSync(backup.path).mode & 0o777).toBe(0o600)
    const outcome = await oneclick(['backup', '--verify', backup.path])
    expect([outcome.code, outcome.stderr]).toEqual([0, ''])
    expect(outcome.stdout).toStartWith(
      `${backup.path}: whole, SHA-256 ${backup.sha256}\nlog ${live.origin} at `,
    )
    expect(createHash('sha256').update(readFileSync(backup.path)).digest('hex')).toBe(backup.sha256)
    const sections = JSON.parse(
      (await oneclick(['backup', '--verify', backup.path, '--json'])).stdout,
    ).sections
    expect(sections).toMatchObject({ 'table:users': people, 'table:audit_events': backup.events, files: 6 })
    const seen = text(backup.path)
    for (const part of ['"procedure"', '"trigger"', '"event"', 'GRANT SELECT ON', 'serialNumber='])
      expect(seen).toContain(part)
  })

  test('holds no private key unless it is asked to', async () => {
    const key = readFileSync(live.at('tls', 'server-key.pem')).toString('base64')
    const anchorKey = readFileSync(live.at('anchor', 'anchor_key.json')).toString('base64')
    expect(text(backup.path)).not.toContain(key)
    expect(text(backup.path)).not.toContain(anchorKey)
    const out = live.at('keys.ztbackup')
    const outcome = await oneclick([
      ...['backup', '--out', out, '--with-keys', '--socket', live.server.socket],
      ...['--conf-dir', live.at('conf')],
    ])
    expect([outcome.code, outcome.stderr]).toEqual([0, expect.stringContaining('holds the private keys')])
    expect(text(out)).toContain(key)
    expect(text(out)).toContain(anchorKey)
  })

  test('gets a name of its own in a folder, and replaces nothing', async () => {
    mkdirSync(live.at('backups'), { mode: 0o700 })
    const made = await makeBackup({ ...places(), out: live.at('backups') })
    expect(readdirSync(live.at('backups'))).toEqual([
      expect.stringMatching(/^ztmysql\.local-[0-9a-f]{16}-\d{8}T\d{6}Z\.ztbackup$/),
    ])
    await expect(makeBackup({ ...places(), out: made.path })).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(readdirSync(live.at('backups'))).toHaveLength(1)
  })

  test('is of one moment while applications write, and nobody waits for it', async () => {
    let writing = true
    const writer = (async () => {
      let n = 0
      for (; writing; n++) await addPerson()
      return n
    })()
    const made = await makeBackup({ ...places(), out: live.at('busy.ztbackup') })
    writing = false
    expect(await writer).toBeGreaterThan(0)
    const server = await empty()
    const restored = await restoreBackup(wishes(server, { file: made.path, acceptLoss: true }))
    expect(restored.verdict.findings.kept.filter(({ severity }) => severity === 'fail')).toEqual([])
    await server.stop()
  })

  test('that cannot be written whole is not there', async () => {
    await expect(makeBackup({ ...places(), out: live.at('nowhere', 'x') })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    await expect(
      makeBackup({
        ...places(),
        out: live.at('early.ztbackup'),
        onProgress: () => {
          throw new Error('pulled the plug')
        },
      }),
    ).rejects.toThrow('pulled the plug')
    expect(existsSync(live.at('early.ztbackup'))).toBe(false)
    expect(readdirSync(live.dir).filter(name => name.startsWith('.zt-'))).toEqual([])
  })

  test('that was cut, changed or left open is refused', async () => {
    const bytes = readFileSync(backup.path)
    const path = live.at('bad.ztbackup')
    const put = (content: Uint8Array | string, mode = 0o600) => {
      writeFileSync(path, typeof content === 'string' ? gzipSync(content) : content)
      chmodSync(path, mode)
      return oneclick(['backup', '--verify', path])
    }
    const plain = text(backup.path)
    const lines = plain.split('\n')
    for (const [content, message] of [
      [bytes.subarray(0, bytes.length >> 1), 'cut or damaged'],
      [bytes.subarray(0, bytes.length - 1), 'cut or damaged'],
      [lines.slice(0, 40).join('\n'), 'cut'],
      [`${lines.slice(0, -2).join('\n')}\n`, 'cut after line'],
      [plain.replace('"customer"', '"chief"'), 'is not what it was'],
      [plain.replace('"size":', '"size":1'), 'is not what it was'],
      [lines.filter((_, i) => i !== 30).join('\n'), 'is not what it was'],
      [`${plain}[]\n`, 'goes on after its end'],
    ] as const) {
      const outcome = await put(content)
      expect([outcome.code, outcome.stderr]).toEqual([1, expect.stringContaining(message)])
    }
    expect((await put(bytes, 0o640)).stderr).toContain('lets others in')
    symlinkSync(backup.path, live.at('link'))
    expect((await oneclick(['backup', '--verify', live.at('link')])).stderr).toContain('is a symbolic link')
  })
})

describe('a restore', () => {
  const servers: Mysqld[] = []
  const server = async () => {
    const made = await empty()
    servers.push(made)
    return made
  }
  afterEach(async () => {
    for (const made of servers.splice(0)) await made.stop()
  })

  test('brings everything back, verified; the anchors go on, and the log is known as restored', async () => {
    const target = await server()
    const before = await contents(live.root)
    const snapshot = await schemaSnapshot(live.root)
    const dry = await oneclick([
      ...['restore', '--in', backup.path, '--anchors', live.at('worm'), '--trust', live.at('pki', 'trust')],
      ...['--socket', target.socket, '--layer', 'database', '--dry-run'],
    ])
    expect([dry.code, dry.stderr]).toEqual([0, ''])
    const outcome = await oneclick([
      ...['restore', '--in', backup.path, '--anchors', live.at('worm'), '--trust', live.at('pki', 'trust')],
      ...['--socket', target.socket, '--layer', 'database', '--files', live.at('files')],
    ])
    expect([outcome.code, outcome.stderr]).toEqual([0, expect.stringContaining('next: vm_oneclick apply')])
    expect(outcome.stdout).toContain('the trail and the rows are what was anchored')
    expect(outcome.stdout).toContain('LOG_RESTORED')
    expect(readFileSync(live.at('files', 'tls', 'ca.pem'))).toEqual(readFileSync(live.at('tls', 'ca.pem')))

    const root = await rootOf(target)
    const after = await contents(root)
    // people were added since the backup was made
    expect(after).toEqual({ ...before, users: after.users as string })
    expect(after.users).toStartWith(`${people} `)
    const ours = (objects: typeof snapshot) => objects.filter(({ kind }) => !kind.startsWith('server.'))
    expect(ours(await schemaSnapshot(root))).toEqual(ours(snapshot))
    const accounts = `SELECT CAST(User AS CHAR) AS u, CAST(Host AS CHAR) AS h, plugin, HEX(authentication_string) AS a,
      CONVERT(x509_subject USING utf8mb4) AS s, CONVERT(x509_issuer USING utf8mb4) AS i, max_user_connections AS c
      FROM mysql.user WHERE User NOT IN ('root', 'mysql.sys', 'mysql.session', 'mysql.infoschema') ORDER BY u`
    expect(await root.query(accounts)).toEqual(await live.root.query(accounts))
    const [account] = live.tenants.map(tenant => tenant.account)
    const grants = "SHOW GRANTS FOR ?@'127.0.0.1'"
    const sorted = async (connection: Connection) =>
      (await connection.query(grants, [account ?? ''])).map(row => String(Object.values(row)[0])).sort()
    expect(await sorted(root)).toEqual(await sorted(live.root))
    await root.close()
  })

  test('goes on in numbering, and what it goes on with is one history', async () => {
    // a copy of the store of its own: the running server goes on with the other one
    const target = await server()
    const copy = live.at('copy')
    mkdirSync(copy, { mode: 0o700 })
    for (const name of readdirSync(live.at('worm')))
      writeFileSync(join(copy, name), readFileSync(live.at('worm', name)))
    const restored = await restoreBackup(wishes(target, { anchors: copy }))
    expect(restored.plan).toMatchObject({ number: backup.anchor, lostEvents: 0 })
    const anchored = await anchorNow({
      socket: target.socket,
      user: 'root',
      worm: copy,
      state: live.at('state'),
      key: live.at('anchor', 'anchor_key.json'),
      syslog: 'none',
      waitSeconds: 60,
    })
    expect(anchored.map(({ number }) => number)).toEqual([backup.anchor + 1])
    const verdict = await judgeTrail(
      {
        socket: target.socket,
        trust: live.at('pki', 'trust'),
        anchors: copy,
        signatures: 'all',
        gapSeconds: 86_400,
      },
      () => undefined,
    )
    expect(verdict.findings.kept.map(({ code }) => code)).toEqual(['LOG_RESTORED'])
    expect(verdict).toMatchObject({ ok: true, lastAnchor: backup.anchor + 1, anchored: verdict.events })
  })

  test('is refused in a server that holds anything', async () => {
    const restore = restoreBackup(wishes(live.server))
    await expect(restore).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'this server has a database securedb already',
    })
    const target = await server()
    const root = await rootOf(target)
    await root.run('CREATE DATABASE shop')
    await expect(restoreBackup(wishes(target))).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'this server holds other databases: shop',
    })
    await root.close()
  })

  test('is refused without the store’s anchors, or with others', async () => {
    const target = await server()
    mkdirSync(live.at('none'), { mode: 0o700 })
    await expect(restoreBackup(wishes(target, { anchors: live.at('none') }))).rejects.toMatchObject({
      code: 'REFUSED',
      message: `the backup knows anchor ${backup.anchor}, which is not in your copy of the store`,
    })
  })

  test('that was cut short begins anew, and the installer leaves it alone meanwhile', async () => {
    const target = await server()
    await expect(
      restoreBackup(
        wishes(target, {
          onProgress: () => {
            throw new Error('pulled the plug')
          },
        }),
      ),
    ).rejects.toThrow('pulled the plug')
    await expect(
      planDatabase({ ...places(), socket: target.socket, pkiTar: live.at('pki', 'pki_server.tar.gz') }),
    ).rejects.toMatchObject({
      message: 'this server holds other databases: ztmysql_restoring',
    })
    const restored = await restoreBackup(wishes(target))
    expect(restored.verdict.findings.clean).toBe(true)
    const root = await rootOf(target)
    expect((await root.query('SHOW DATABASES')).map(row => Object.values(row)[0])).not.toContain(
      'ztmysql_restoring',
    )
    await root.close()
  })

  test('of rows that were changed in the file is found against the anchors', async () => {
    const target = await server()
    const plain = text(backup.path)
    const at = plain.indexOf('{"section":"table:users"')
    const forged = live.at('forged.ztbackup')
    writeFileSync(
      forged,
      gzipSync(resealed(plain.slice(0, at) + plain.slice(at).replace('"customer"', '"chief"'))),
    )
    chmodSync(forged, 0o600)
    expect((await oneclick(['backup', '--verify', forged])).code).toBe(0) // its digests are as good as its maker
    const outcome = await oneclick([
      ...['restore', '--in', forged, '--anchors', live.at('worm'), '--trust', live.at('pki', 'trust')],
      ...['--socket', target.socket, '--layer', 'database'],
    ])
    expect([outcome.code, outcome.stdout]).toEqual([1, expect.stringContaining('fail ROW_EDITED: users ')])
  })

  test('that lacks anchored events must be asked for, and is a finding for good', async () => {
    const target = await server()
    const old = backup.anchor
    await live.anchor()
    await live.anchor()
    await expect(restoreBackup(wishes(target))).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringMatching(
        new RegExp(
          `^the backup lacks \\d+ anchored events, ${backup.events} to \\d+, which anchor ${old + 1} and later ones cover$`,
        ),
      ),
    })
    const restored = await restoreBackup(wishes(target, { acceptLoss: true }))
    expect(restored.plan.lostEvents).toBeGreaterThan(0)
    expect(restored.verdict.findings.kept.map(({ code }) => code)).toContain('RESTORE_LOSS')
    const last = restored.plan.number
    const root = await rootOf(target)
    const [status] = await root.call('securedb.anchor_status')
    expect(status?.[0]).toMatchObject({ restored_number: last, restored_size: backup.events, gate: '45G02' })
    // the lost branch stays in the store; the numbers go on behind it
    const [anchored] = await anchorOn(target, live.at('lossy'))
    expect(anchored?.number).toBe(last + 1)
    const again = await anchorOn(target, live.at('lossy'))
    expect(again.map(({ number }) => number)).toEqual([last + 2])
    const verdict = await verify(target)
    expect(verdict.ok).toBe(false)
    expect(
      verdict.findings.kept.filter(({ severity }) => severity === 'fail').map(({ code }) => code),
    ).toEqual(['RESTORE_LOSS'])
    await root.close()
  })
})

/** What somebody does who changes a backup and knows its form: all digests again. */
function resealed(plain: string): string {
  const sha256 = (value: string) => createHash('sha256').update(value).digest('hex')
  const out: string[] = []
  let section = ''
  let count = 0
  let sections = 0
  for (const line of plain.split('\n').slice(0, -1)) {
    if (line.startsWith('{"end":')) {
      out.push(JSON.stringify({ end: JSON.parse(line).end, lines: count - 1, sha256: sha256(section) }))
      sections++
    } else if (line.startsWith('{"closing":')) {
      const before = `${out.join('\n')}\n`
      out.push(JSON.stringify({ closing: true, sections, lines: out.length, sha256: sha256(before) }))
    } else {
      if (line.startsWith('{"section":')) {
        section = ''
        count = 0
      }
      section += `${line}\n`
      count++
      out.push(line)
    }
  }
  return `${out.join('\n')}\n`
}
