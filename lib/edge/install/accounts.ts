/** Steps that make the accounts of the server what the archive, or the record of it, says. */

import { ZtError } from '../../core/errors.ts'
import { hostsOf } from '../../core/host_part.ts'
import { passwordDigest } from '../../core/install_record.ts'
import type { Finding, Step } from '../../core/plan.ts'
import {
  type AccountName,
  accountChanges,
  accountText,
  connectionsOf,
  type DesiredAccount,
  dropAccount,
  isFirst,
  type ObservedAccount,
  putAccount,
} from '../accounts.ts'
import { runClean } from '../child.ts'
import { killSessions } from '../sessions.ts'
import { writeRecord } from './record.ts'
import type { Target } from './target.ts'

export const anchorAccount: AccountName = { user: 'anchor', host: 'localhost' }
const definer: AccountName = { user: 'api_definer', host: 'localhost' }
const rootAccount: AccountName = { user: 'root', host: 'localhost' }

/** Accounts of the server's own and of Debian's maintenance scripts. */
const systemAccounts = ['mysql.infoschema', 'mysql.session', 'mysql.sys', 'debian-sys-maint', 'root']

/** Every account that the archive lists, or the record where there is none. */
export function desiredAccounts({ material, record, hostPart }: Target): DesiredAccount[] {
  const recorded = new Map(record?.accounts.map(account => [account.account, account]))
  const hosts = hostsOf(hostPart)
  const onEach = (account: Omit<DesiredAccount, 'host' | 'hosts'>): DesiredAccount[] =>
    hosts.map(host => ({ ...account, host, hosts }))
  if (material === null)
    return [...recorded.values()].flatMap(({ account, role, subject, issuer, stored }) =>
      onEach({
        user: account,
        role,
        subject,
        issuer,
        maxConnections: connectionsOf[role],
        stored,
        password: null,
      }),
    )
  return material.archive.accounts.flatMap(({ account, role, subject, issuer, password }) => {
    const known = recorded.get(account)
    return onEach({
      user: account,
      role,
      subject,
      issuer,
      maxConnections: connectionsOf[role],
      stored: known?.password === passwordDigest(account, password) ? known.stored : null,
      password,
    })
  })
}

/** Accounts without a name let anybody in. */
export function anonymousStep(
  { connection }: Target,
  accounts: ObservedAccount[],
  databases: string[],
): Step {
  const anonymous = accounts.filter(({ user }) => user === '')
  const test = databases.includes('test')
  return {
    id: 'leftovers',
    description: 'drop anonymous accounts and the empty test database',
    changes: [
      ...anonymous.map(account => ({
        item: `account ${accountText(account)}`,
        before: 'anonymous',
        after: null,
      })),
      ...(test ? [{ item: 'database test', before: 'empty', after: null }] : []),
    ],
    apply: async () => {
      for (const { user, host } of anonymous) await connection.run('DROP USER ?@?', [user, host])
      if (test) await connection.run('DROP DATABASE test')
    },
  }
}

/** Root without a password behind a socket that everybody reaches: the system must say who it is. */
export async function rootStep({ connection }: Target, accounts: ObservedAccount[]): Promise<Step> {
  const { exitCode, stdout, stderr } = await runClean(['id', '-un'], '/') // the runtime may not know its own name
  const systemUser = stdout.trim()
  if (exitCode !== 0) throw new ZtError('MISSING_TOOL', `id -un: ${stderr.trim()}`)
  const root = accounts.find(({ user, host }) => user === rootAccount.user && host === rootAccount.host)
  const open = root !== undefined && root.plugin !== 'auth_socket'
  return {
    id: 'root',
    description: `let root@localhost in by auth_socket alone, as the system's ${systemUser}`,
    changes: open
      ? [
          {
            item: 'account root@localhost: method',
            before: `${root.plugin}, no password`,
            after: 'auth_socket',
          },
        ]
      : [],
    apply: async () => {
      await connection.run('ALTER USER root@localhost IDENTIFIED WITH auth_socket AS ?', [systemUser])
    },
  }
}

/** auth_socket for root and the anchor, mysql_no_login for the owner of the routines. */
export async function pluginStep({ connection }: Target): Promise<Step> {
  const wanted = ['auth_socket', 'mysql_no_login']
  const rows = await connection.query(
    "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_NAME IN (?, ?)",
    wanted,
  )
  const missing = wanted.filter(name => !rows.some(row => row.name === name))
  return {
    id: 'plugins',
    description: 'load the methods by which root, the anchor and the definer are known',
    changes: missing.map(name => ({ item: `plugin ${name}`, before: null, after: 'active' })),
    apply: async () => {
      for (const name of missing) await connection.run('INSTALL PLUGIN ?? SONAME ?', [name, `${name}.so`])
    },
  }
}

/** The anchor's account, known to the server by the system user of its service. */
export function anchorAccountStep({ connection, anchorUser }: Target, accounts: ObservedAccount[]): Step {
  const { user, host } = anchorAccount
  const found = accounts.find(account => account.user === user && account.host === host)
  const after = `auth_socket ${anchorUser}, ${connectionsOf.anchor} connections`
  const before =
    found &&
    `${found.plugin} ${found.clearString}, ${found.maxConnections} connections${found.locked ? ', locked' : ''}${found.policies && `, ${found.policies}`}`
  return {
    id: 'anchor-account',
    description: 'make the account of the anchor service',
    changes:
      before === after
        ? []
        : [{ item: `account ${accountText(anchorAccount)}`, before: before ?? null, after }],
    apply: async () => {
      await connection.run(
        `${found ? 'ALTER' : 'CREATE'} USER ?@? IDENTIFIED WITH auth_socket AS ? REQUIRE NONE
         WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS ? ACCOUNT UNLOCK`,
        [user, host, anchorUser, connectionsOf.anchor],
      )
      if (found) await killSessions(connection, user)
    },
  }
}

/** Accounts of the archive: made, changed, moved, and dropped once they are no longer in it. */
export function accountsStep(target: Target, wanted: DesiredAccount[], accounts: ObservedAccount[]): Step {
  const { connection, material, record } = target
  const listed = new Set(wanted.map(({ user }) => user))
  const recorded = new Set(material === null ? [] : record?.accounts.map(({ account }) => account))
  const gone = accounts.filter(({ user }) => recorded.has(user) && !listed.has(user))
  const todo = wanted.map(account => ({ account, changes: accountChanges(account, accounts) }))
  return {
    id: 'accounts',
    description: 'tie each account to its certificate, password and limits',
    changes: [
      ...todo.flatMap(({ changes }) => changes),
      ...gone.map(account => ({
        item: `account ${accountText(account)}`,
        before: 'no longer in the archive',
        after: null,
      })),
    ],
    apply: async () => {
      for (const { account, changes } of todo)
        if (changes.length > 0) await putAccount(connection, account, accounts)
      for (const account of gone) await dropAccount(connection, account)
      // at once, or an interrupted run would have to set every password again
      await writeRecord(target, wanted)
    },
  }
}

/** Accounts that nobody asked for, and what only the archive could put right. */
export function accountFindings(
  target: Target,
  wanted: DesiredAccount[],
  accounts: ObservedAccount[],
): Finding[] {
  const known = new Set([...wanted.map(({ user }) => user), anchorAccount.user, definer.user, ''])
  const recorded = new Set(
    target.material === null ? [] : target.record?.accounts.map(({ account }) => account),
  )
  const strangers = accounts.filter(
    ({ user, host }) =>
      !known.has(user) && !recorded.has(user) && !(systemAccounts.includes(user) && host === 'localhost'),
  )
  const misplaced = accounts.filter(
    ({ user, host }) => (user === anchorAccount.user || user === definer.user) && host !== 'localhost',
  )
  const unlocked = accounts.filter(({ user, locked }) => user.startsWith('mysql.') && !locked)
  const orphans =
    target.material === null
      ? wanted.filter(isFirst).filter(account => {
          const found =
            accounts.find(({ user, host }) => user === account.user && host === account.host) ??
            accounts.find(({ user }) => user === account.user)
          return found === undefined || found.stored !== account.stored
        })
      : []
  return [
    ...[...strangers, ...misplaced].map(account => ({
      item: `account ${accountText(account)}`,
      detail: 'is not in the archive: drop it unless you know who it is for',
    })),
    ...unlocked.map(account => ({ item: `account ${accountText(account)}`, detail: 'must be locked' })),
    ...orphans.map(account => ({
      item: `account ${accountText(account)}`,
      detail: 'is gone or has another password: apply the archive again (make a new one with outside_pki)',
    })),
  ]
}
