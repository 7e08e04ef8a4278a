/** Puts the rows of a backup into an empty server. Nothing in the file is run: it holds values, and the release the SQL. */
import { createHash } from 'node:crypto'
import { definitions } from '../../../sql/index.ts'
import { ZtError } from '../../core/errors.ts'
import { type BackupSection, type BackupValue, backedUpTables } from '../../core/host/backup.ts'
import { grantsFor, type Role } from '../../core/sqlgen/grants.ts'
import { roles } from '../../core/trust_files.ts'
import type { Connection } from '../mysql.ts'
import { planSchema } from '../schema.ts'
import type { ReadBackup, ReadSection } from './backup_file.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const hint = 'restore it with the release that made it, then upgrade with vm_oneclick apply'

/** The tables as the backup's release had them, as far as this one has them in the same form. */
async function makeTables(
  connection: Connection,
  origin: string,
  applied: Map<string, string>,
): Promise<void> {
  const { migrations } = await planSchema(connection, { origin })
  const known = new Set(migrations.map(({ name }) => name))
  const foreign = [...applied.keys()].find(name => !name.startsWith('schema/') && !known.has(name))
  if (foreign !== undefined)
    throw new ZtError(
      'NEWER_FORMAT',
      `the backup has the migration ${foreign}, which this release does not know`,
      {
        hint,
      },
    )
  await connection.run('CREATE DATABASE securedb CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin')
  await connection.run('USE securedb')
  for (const { name, sql, skip } of migrations) {
    const digest = applied.get(name)
    if (digest === undefined) {
      // a new table comes with the upgrade; one that changed its form would not take the old rows as they are
      if (/_create_/.test(name)) continue
      throw new ZtError('REFUSED', `the backup is older than the migration ${name}`, { hint })
    }
    if (digest !== sha256(sql))
      throw new ZtError('REFUSED', `the backup was made with another form of the migration ${name}`, { hint })
    if (!skip) await connection.run(sql)
  }
}

const loadable = new Set<string>(['migrations', ...backedUpTables, ...definitions.map(({ table }) => table)])

const weight = (row: BackupValue[]): number => row.reduce((sum, value) => sum + (value?.length ?? 4), 0)

/** Rows in statements of up to 1 MB. */
async function loadTable(
  connection: Connection,
  { section, columns }: BackupSection,
  rows: AsyncIterable<BackupValue[]>,
  onRows: (n: number) => void,
): Promise<void> {
  const table = section.slice('table:'.length)
  if (!loadable.has(table))
    throw new ZtError('BAD_FORMAT', `the backup has a table ${table}, which is not ours`)
  const insert = `INSERT INTO securedb.\`${table}\` (${columns.map(([name]) => `\`${name}\``).join()}) VALUES `
  const marks = `(${columns.map(() => '?').join()})`
  let batch: BackupValue[][] = []
  let bytes = 0
  const flush = async () => {
    if (batch.length === 0) return
    await connection.run(insert + batch.map(() => marks).join(), batch.flat())
    onRows(batch.length)
    batch = []
    bytes = 0
  }
  for await (const row of rows) {
    batch.push(row)
    bytes += weight(row)
    if (batch.length === 500 || bytes > 1 << 20) await flush()
  }
  await flush()
}

async function migrationsOf(
  { columns }: BackupSection,
  rows: AsyncIterable<BackupValue[]>,
): Promise<{ applied: Map<string, string>; all: BackupValue[][] }> {
  const [name, digest] = ['name', 'sha256'].map(wanted => columns.findIndex(([found]) => found === wanted))
  const applied = new Map<string, string>()
  const all: BackupValue[][] = []
  for await (const row of rows) {
    const value = row[digest ?? -1]
    applied.set(
      String(row[name ?? -1]),
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : '',
    )
    all.push(row)
  }
  return { applied, all }
}

/** What stands in the order of the accounts' section. */
export interface BackedUpAccount {
  user: string
  host: string
  plugin: string
  auth: Uint8Array
  subject: string
  issuer: string
  connections: number
}

export interface Loaded {
  accounts: BackedUpAccount[]
  files: [name: string, bytes: Uint8Array][]
}

/** The whole backup; the caller has compared its digests before. */
export async function loadBackup(
  connection: Connection,
  backup: ReadBackup,
  onRows: (n: number) => void,
): Promise<Loaded> {
  const loaded: Loaded = { accounts: [], files: [] }
  let made = false
  for await (const { section, rows } of backup.sections()) {
    if (section.section === 'table:migrations') {
      const { applied, all } = await migrationsOf(section, rows)
      await makeTables(connection, backup.header.origin, applied)
      made = true
      await loadTable(connection, section, inOrder(all), onRows)
    } else if (section.section.startsWith('table:')) {
      if (!made) throw new ZtError('BAD_FORMAT', 'the backup does not begin with its migrations')
      await loadTable(connection, section, rows, onRows)
    } else if (section.section === 'accounts') loaded.accounts = await accountsOf({ section, rows })
    else if (section.section === 'files')
      for await (const [name, bytes] of rows)
        if (bytes instanceof Uint8Array) loaded.files.push([String(name), bytes])
  }
  if (!made) throw new ZtError('BAD_FORMAT', 'the backup holds no tables')
  return loaded
}

async function* inOrder<T>(items: T[]): AsyncGenerator<T> {
  yield* items
}

async function accountsOf({ section, rows }: ReadSection): Promise<BackedUpAccount[]> {
  const at = new Map(section.columns.map(([name], i) => [name, i]))
  const accounts: BackedUpAccount[] = []
  for await (const row of rows) {
    const value = (name: string): BackupValue => row[at.get(name) ?? -1] ?? null
    const auth = value('auth')
    accounts.push({
      user: String(value('user')),
      host: String(value('host')),
      plugin: String(value('plugin')),
      auth: auth instanceof Uint8Array ? auth : new Uint8Array(0),
      subject: String(value('subject') ?? ''),
      issuer: String(value('issuer') ?? ''),
      connections: Number(value('connections')),
    })
  }
  return accounts
}

/** The role that a certificate's subject names (SPEC §2). */
function roleOf({ user, subject }: BackedUpAccount): Exclude<Role, 'anchor'> | undefined {
  const [, role = '', account] = /^\/O=Zero-Trust MySQL\/OU=([a-z_]+)\/CN=([a-z0-9_]+)\//.exec(subject) ?? []
  const known = roles.find(each => each === role)
  return account === user && known !== undefined && known !== 'administrator' ? known : undefined
}

/**
 * Accounts under their old credentials, with the rights of their roles in this release and no others.
 * @returns those that are not ours, and were not made
 */
export async function restoreAccounts(
  connection: Connection,
  accounts: BackedUpAccount[],
): Promise<string[]> {
  const left: string[] = []
  for (const account of accounts) {
    const { user, host, plugin, auth, subject, issuer, connections } = account
    const isAnchor = user === 'anchor' && host === 'localhost' && plugin === 'auth_socket'
    const role = isAnchor ? 'anchor' : plugin === 'caching_sha2_password' ? roleOf(account) : undefined
    if (role === undefined) {
      left.push(`${user}@${host}`)
      continue
    }
    await connection.run('DROP USER IF EXISTS ?@?', [user, host])
    if (isAnchor) {
      await ensureSocketPlugin(connection)
      await connection.run(
        'CREATE USER ?@? IDENTIFIED WITH auth_socket AS ? REQUIRE NONE WITH MAX_USER_CONNECTIONS ?',
        [user, host, Buffer.from(auth).toString('utf8'), connections],
      )
    } else
      await connection.run(
        `CREATE USER ?@? IDENTIFIED WITH caching_sha2_password AS ? REQUIRE SUBJECT ? AND ISSUER ? WITH MAX_USER_CONNECTIONS ?`,
        [user, host, auth, subject, issuer, connections],
      )
    for (const privilege of grantsFor(role, definitions))
      await connection.run(`GRANT ${privilege} TO ?@?`, [user, host])
  }
  return left
}

async function ensureSocketPlugin(connection: Connection): Promise<void> {
  const found = await connection.query(
    "SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'auth_socket' AND PLUGIN_STATUS = 'ACTIVE'",
  )
  if (found.length === 0) await connection.run("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'")
}
