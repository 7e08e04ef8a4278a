/** A backup of a running deployment: one moment of it, streamed into one private file (SPEC §8). */
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { definitions } from '../../../sql/index.ts'
import { anchorNumber } from '../../core/audit/anchor.ts'
import { type Bytes, toHex } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { type BackupSection, type BackupValue, backedUpTables } from '../../core/host/backup.ts'
import { formatTime } from '../../core/time.ts'
import { version } from '../../version.ts'
import { openRoot, readOrigin, scalar } from '../install/server.ts'
import { installDefaults, readRecord } from '../install/target.ts'
import type { Connection } from '../mysql.ts'
import { schemaSnapshot } from '../schema.ts'
import { recordPath } from '../server_files.ts'
import { writeBackup } from './backup_file.ts'

export interface BackupOptions {
  socket: string
  confDir: string
  /** A new file, or a folder in which it gets a name of its own. */
  out: string
  /** Put the private keys of server and anchor in as well. */
  withKeys?: boolean
  onProgress?: (done: number, total: number) => void
}

export interface Backup {
  path: string
  sha256: string
  origin: string
  events: number
  rows: number
  anchor: number
  keys: boolean
}

const text = (...names: string[]): BackupSection['columns'] => names.map(name => [name, 'text'])

async function columnsOf(connection: Connection, table: string): Promise<BackupSection['columns']> {
  const rows = await connection.query(
    `SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = 'securedb' AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [table],
  )
  if (rows.length === 0)
    throw new ZtError('NOT_FOUND', `table ${table} is not there`, {
      hint: 'see vm_oneclick check: what root took away cannot be backed up as whole',
    })
  return rows.map(({ name, type }) => [
    String(name),
    /^(?:var)?binary$|blob$/.test(String(type)) ? 'bytes' : 'text',
  ])
}

async function* tableRows(
  connection: Connection,
  table: string,
  columns: BackupSection['columns'],
): AsyncGenerator<BackupValue[]> {
  const list = columns.map(([name, type]) =>
    type === 'bytes' ? `\`${name}\`` : `CAST(\`${name}\` AS CHAR) AS \`${name}\``,
  )
  const order = table === 'audit_events' ? ' ORDER BY seq' : ''
  for await (const row of connection.stream(`SELECT ${list.join()} FROM securedb.\`${table}\`${order}`))
    yield columns.map(([name]) => row[name] as BackupValue)
}

/** Accounts of people and programs, and of the anchor: the server's own are made by the server. */
const accountsQuery = `SELECT CAST(User AS CHAR) AS user, CAST(Host AS CHAR) AS host, CAST(plugin AS CHAR) AS plugin,
    CAST(authentication_string AS BINARY) AS auth, CONVERT(x509_subject USING utf8mb4) AS subject,
    CONVERT(x509_issuer USING utf8mb4) AS issuer, CAST(max_user_connections AS CHAR) AS connections
  FROM mysql.user WHERE Host <> '' AND User NOT IN ('root', 'debian-sys-maint', 'api_definer', 'mysql.infoschema', 'mysql.session', 'mysql.sys')
  ORDER BY User, Host`
const accountColumns: BackupSection['columns'] = [
  ...text('user', 'host', 'plugin'),
  ['auth', 'bytes'],
  ...text('subject', 'issuer', 'connections'),
]

async function* grantRows(connection: Connection, accounts: BackupValue[][]): AsyncGenerator<BackupValue[]> {
  for (const [user, host] of accounts)
    for (const row of await connection.query('SHOW GRANTS FOR ?@?', [String(user), String(host)]))
      yield [String(user), String(host), String(Object.values(row)[0])]
}

const publicTls = ['ca.pem', 'crl.pem', 'server-cert.pem']

/** Certificates, the record of the installation and what the anchor keeps; private keys only where asked for. */
function* hostFiles(confDir: string, withKeys: boolean): Generator<[name: string, bytes: Bytes]> {
  const record = readRecord({ confDir })
  const { tlsDir, anchorDir } = record ?? installDefaults
  const wanted: [string, string][] = [
    ['record.json', recordPath({ confDir, tlsDir, anchorDir })],
    ...[...publicTls, ...(withKeys ? ['server-key.pem'] : [])].map((name): [string, string] => [
      `tls/${name}`,
      join(tlsDir, name),
    ]),
    ...['frontier.json', ...(withKeys ? ['anchor_key.json'] : [])].map((name): [string, string] => [
      `anchor/${name}`,
      join(anchorDir, name),
    ]),
  ]
  const spool = join(anchorDir, 'spool')
  const spooled = existsSync(spool) ? readdirSync(spool).filter(name => anchorNumber(name) !== undefined) : []
  wanted.push(...spooled.map((name): [string, string] => [`anchor/spool/${name}`, join(spool, name)]))
  for (const [name, path] of wanted) {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    // the anchor's folder is the anchor's: a link there could name anything that root can read
    if (stats?.isFile() && stats.size <= 1 << 20) yield [name, readFileSync(path)]
    else if (withKeys && /key/.test(name))
      throw new ZtError('NOT_FOUND', `${path}: no such key to back up`, { hint: 'leave out --with-keys' })
  }
}

function placeOf(out: string, origin: string, time: string): string {
  if (!existsSync(out) || !statSync(out).isDirectory()) return out
  const stamp = time.slice(0, 19).replace(/[-:]/g, '')
  return join(out, `${origin.replace('/', '-')}-${stamp}Z.ztbackup`)
}

/**
 * The server goes on meanwhile: all tables are read in one snapshot, and no schema change comes between.
 * @throws NOT_FOUND where nothing is installed; CONFLICT where the file exists
 */
export async function makeBackup(options: BackupOptions): Promise<Backup> {
  const { socket, confDir, out, withKeys = false, onProgress } = options
  const connection = await openRoot(socket)
  const guard = await openRoot(socket)
  try {
    const origin = await readOrigin(connection, ['securedb'])
    if (origin === null)
      throw new ZtError('NOT_FOUND', 'nothing is installed here', { hint: 'there is nothing to back up' })
    const objects = await schemaSnapshot(connection)
    await guard.run('LOCK INSTANCE FOR BACKUP')
    await connection.run('SET SESSION max_execution_time = 0')
    await connection.run('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ')
    await connection.run('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
    const [head] = await connection.query('SELECT size, head FROM securedb.chain_head WHERE id = 1')
    const [anchor] = await connection.query(
      'SELECT confirmed_number, confirmed_sha256 FROM securedb.anchor_state WHERE id = 1',
    )
    const time = formatTime(Date.now() * 1000)
    const size = Number(head?.size)
    const path = placeOf(out, origin, time)
    const writer = await writeBackup(path, {
      origin,
      time,
      release: version,
      mysql: await scalar(connection, 'VERSION()'),
      size,
      head: toHex(head?.head as Bytes),
      anchor: Number(anchor?.confirmed_number),
      anchorSha256: toHex(anchor?.confirmed_sha256 as Bytes),
      keys: withKeys,
    })
    try {
      const tables = ['migrations', ...backedUpTables, ...definitions.map(({ table }) => table)]
      let total = size
      for (const { table } of definitions)
        total += Number(await scalar(connection, `(SELECT COUNT(*) FROM securedb.\`${table}\`)`))
      let rows = 0
      async function* counted(from: AsyncIterable<BackupValue[]>): AsyncGenerator<BackupValue[]> {
        for await (const row of from) {
          rows++
          if (rows % 1000 === 0) onProgress?.(Math.min(rows, total), total)
          yield row
        }
      }
      for (const table of tables) {
        const columns = await columnsOf(connection, table)
        await writer.section(
          { section: `table:${table}`, columns },
          counted(tableRows(connection, table, columns)),
        )
      }
      await writer.section(
        { section: 'schema', columns: text('kind', 'name', 'definition') },
        objects.map(({ kind, name, definition }) => [kind, name, definition]),
      )
      const accounts = (await connection.query(accountsQuery)).map(row =>
        accountColumns.map(([name]) => row[name] as BackupValue),
      )
      await writer.section({ section: 'accounts', columns: accountColumns }, accounts)
      await writer.section(
        { section: 'grants', columns: text('user', 'host', 'privilege') },
        grantRows(connection, accounts),
      )
      await writer.section(
        {
          section: 'files',
          columns: [
            ['name', 'text'],
            ['content', 'bytes'],
          ],
        },
        hostFiles(confDir, withKeys),
      )
      onProgress?.(total, total)
      const sha256 = await writer.commit()
      return {
        path,
        sha256,
        origin,
        events: size,
        rows,
        anchor: Number(anchor?.confirmed_number),
        keys: withKeys,
      }
    } finally {
      writer.abort()
    }
  } finally {
    connection.destroy()
    guard.destroy()
  }
}
