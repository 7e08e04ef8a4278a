/** Accounts of the server: what is there, what should be, and the statements between the two. */
import { createHash } from 'node:crypto'
import { ZtError } from '../core/errors.ts'
import type { PkiServerAccount } from '../core/pki_server.ts'
import type { Change } from '../core/plan.ts'
import type { Row } from '../core/tables.ts'
import type { Connection } from './mysql.ts'
import { killSessions } from './sessions.ts'

/** Roles that have an account in MySQL: administrators sign on the workstation. */
export type ServerRole = PkiServerAccount['role']

export interface AccountName {
  user: string
  host: string
}

/** An account as mysql.user has it. */
export interface ObservedAccount extends AccountName {
  plugin: string
  /** SHA-256 of authentication_string, hex; null for an empty one. */
  stored: string | null
  /** authentication_string of a method that keeps no secret there (auth_socket). */
  clearString: string
  sslType: string
  subject: string
  issuer: string
  maxConnections: number
  locked: boolean
  expired: boolean
  /** Policies set for this account alone, beside the server's: none is ours. */
  policies: string
}

export interface DesiredAccount extends AccountName {
  /** Every host that the user name may come from: one account each, and one principal. The first has the password. */
  hosts: readonly string[]
  role: ServerRole
  subject: string
  issuer: string
  maxConnections: number
  /** Digest of what MySQL stored when the password was set; null: it was not set by us, or not this one. */
  stored: string | null
  /** Known while the archive is at hand. */
  password: string | null
}

/** Connections that an account may hold at once, so that none shuts out the others. */
export const connectionsOf: Record<ServerRole | 'anchor', number> = {
  app: 64,
  probe: 16,
  auditor: 16,
  probe_auditor: 16,
  anchor: 8,
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value ?? '')

function observed(row: Row): ObservedAccount {
  const string = row.auth instanceof Uint8Array ? row.auth : new Uint8Array()
  return {
    user: textOf(row.user),
    host: textOf(row.host),
    plugin: textOf(row.plugin),
    stored: string.length === 0 ? null : sha256(string),
    clearString: row.plugin === 'auth_socket' ? textOf(string) : '',
    sslType: textOf(row.ssl_type),
    subject: textOf(row.subject),
    issuer: textOf(row.issuer),
    maxConnections: Number(row.max_connections),
    locked: row.locked === 'Y',
    expired: row.expired === 'Y',
    policies: textOf(row.policies),
  }
}

/** Every account of the server. */
export async function observeAccounts(connection: Connection): Promise<ObservedAccount[]> {
  const rows = await connection.query(`
    SELECT User AS user, Host AS host, plugin, CAST(authentication_string AS BINARY) AS auth, ssl_type,
      x509_subject AS subject, x509_issuer AS issuer, max_user_connections AS max_connections,
      account_locked AS locked, password_expired AS expired,
      CONCAT_WS(' ', IF(max_questions > 0, 'max_questions', NULL), IF(max_updates > 0, 'max_updates', NULL),
        IF(max_connections > 0, 'max_connections', NULL), IF(LENGTH(ssl_cipher) > 0, 'ssl_cipher', NULL),
        IF(password_lifetime IS NULL, NULL, 'lifetime'), IF(password_reuse_history IS NULL, NULL, 'history'),
        IF(password_reuse_time IS NULL, NULL, 'reuse'),
        IF(password_require_current IS NULL, NULL, 'require_current'), CAST(User_attributes AS CHAR)) AS policies
    FROM mysql.user ORDER BY User, Host`)
  return rows.map(observed)
}

export const accountText = ({ user, host }: AccountName): string => `'${user}'@'${host}'`

const same = (a: AccountName, b: AccountName): boolean => a.user === b.user && a.host === b.host

interface Property {
  name: string
  before: string
  after: string
}

function properties(wanted: DesiredAccount, found: ObservedAccount): Property[] {
  const known = wanted.stored !== null && wanted.stored === found.stored
  const secret: Property[] = [
    { name: 'method', before: found.plugin, after: 'caching_sha2_password' },
    { name: 'password', before: known ? 'as set' : 'another, or not known to be this one', after: 'as set' },
  ]
  const all: Property[] = [
    // without the archive nobody can set the first one's: a finding, not a change; the others get it from the first
    ...(wanted.password === null && isFirst(wanted) ? [] : secret),
    { name: 'require', before: found.sslType, after: 'SPECIFIED' },
    { name: 'subject', before: found.subject, after: wanted.subject },
    { name: 'issuer', before: found.issuer, after: wanted.issuer },
    { name: 'connections', before: String(found.maxConnections), after: String(wanted.maxConnections) },
    { name: 'state', before: found.locked ? 'locked' : 'open', after: 'open' },
    { name: 'expired', before: found.expired ? 'yes' : 'no', after: 'no' },
    { name: 'policies of its own', before: found.policies || 'none', after: 'none' },
  ]
  return all.filter(({ before, after }) => before !== after)
}

export const isFirst = ({ host, hosts }: DesiredAccount): boolean => host === hosts[0]

/** Accounts of its name under hosts that are not wanted: the first host's account takes care of them. */
const elsewhereOf = (wanted: DesiredAccount, accounts: ObservedAccount[]): ObservedAccount[] =>
  isFirst(wanted)
    ? accounts.filter(({ user, host }) => user === wanted.user && !wanted.hosts.includes(host))
    : []

/** What must change to make one account so. */
export function accountChanges(wanted: DesiredAccount, accounts: ObservedAccount[]): Change[] {
  const text = accountText(wanted)
  const here = accounts.find(account => same(account, wanted))
  const elsewhere = elsewhereOf(wanted, accounts)
  const moved = elsewhere.map((account, i) =>
    here === undefined && i === 0
      ? { item: `account ${text}: host`, before: account.host, after: wanted.host }
      : { item: `account ${accountText(account)}`, before: 'a second one of that name', after: null },
  )
  const found = here ?? elsewhere[0]
  const source = accounts.some(({ user }) => user === wanted.user)
  if (found === undefined && wanted.password === null && !source) return []
  if (found === undefined)
    return [{ item: `account ${text}`, before: null, after: `${wanted.role} ${wanted.subject}` }]
  return [
    ...moved,
    ...properties(wanted, found).map(({ name, before, after }) => ({
      item: `account ${text}: ${name}`,
      before,
      after,
    })),
  ]
}

// Every clause is named, so that whatever was changed by hand goes back. The history is cleared for the moment in which the
// password is set: under the server's policy MySQL would refuse one that the account had before.
const clauses = `REQUIRE SUBJECT ? AND ISSUER ?
  WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS ?
  PASSWORD EXPIRE DEFAULT PASSWORD REQUIRE CURRENT DEFAULT FAILED_LOGIN_ATTEMPTS 0 PASSWORD_LOCK_TIME 0 ACCOUNT UNLOCK`

/** What MySQL stores for a password: the same for each host, so that one record of it does for all. */
async function storedPassword(connection: Connection, { user, host }: AccountName): Promise<Uint8Array> {
  const [row] = await connection.query(
    'SELECT CAST(authentication_string AS BINARY) AS auth FROM mysql.user WHERE User = ? AND Host = ?',
    [user, host],
  )
  if (row?.auth instanceof Uint8Array) return row.auth
  throw new ZtError('MYSQL', `account ${accountText({ user, host })}: has no password to copy`)
}

/**
 * Makes one account so, and ends its sessions: those were opened under the old certificate, password or limits.
 * A password travels once, over the local socket; MySQL writes its salted hash to the binary log.
 */
export async function putAccount(
  connection: Connection,
  wanted: DesiredAccount,
  accounts: ObservedAccount[],
): Promise<void> {
  const { user, host, subject, issuer, maxConnections } = wanted
  const others = elsewhereOf(wanted, accounts)
  let exists = accounts.some(account => same(account, wanted))
  for (const other of others) {
    if (exists) await connection.run('DROP USER ?@?', [user, other.host])
    else await connection.run('RENAME USER ?@? TO ?@?', [user, other.host, user, host])
    exists = true
  }
  const found = accounts.find(account => same(account, wanted)) ?? others[0]
  const keepsPassword = found !== undefined && wanted.stored !== null && wanted.stored === found.stored
  const clauseValues = [subject, issuer, maxConnections]
  if (!keepsPassword && !isFirst(wanted)) {
    const stored = await storedPassword(connection, { user, host: wanted.hosts[0] ?? '' })
    await connection.run(
      `${exists ? 'ALTER' : 'CREATE'} USER ?@? IDENTIFIED WITH caching_sha2_password AS ? ${clauses}`,
      [user, host, stored, ...clauseValues],
    )
  } else if (!keepsPassword && wanted.password !== null) {
    if (exists)
      await connection.run('ALTER USER ?@? PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY', [user, host])
    await connection.run(
      `${exists ? 'ALTER' : 'CREATE'} USER ?@? IDENTIFIED WITH caching_sha2_password BY ? ${clauses}`,
      [user, host, wanted.password, ...clauseValues],
    )
  } else await connection.run(`ALTER USER ?@? ${clauses}`, [user, host, ...clauseValues])
  await connection.run('ALTER USER ?@? PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT', [
    user,
    host,
  ])
  await killSessions(connection, user)
}

/** Locks an account, ends its sessions, and drops it. */
export async function dropAccount(connection: Connection, { user, host }: AccountName): Promise<void> {
  await connection.run('ALTER USER ?@? ACCOUNT LOCK', [user, host])
  await killSessions(connection, user)
  await connection.run('DROP USER ?@?', [user, host])
  await killSessions(connection, user)
}
