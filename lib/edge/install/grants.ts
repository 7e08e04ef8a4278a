/** The step that gives each account the rights of its role, and no more. */
import { type Privilege, privilegeDrift, privilegesOf } from '../../core/grants.ts'
import type { Finding, Step } from '../../core/plan.ts'
import { type AccountName, accountText, type ObservedAccount } from '../accounts.ts'
import type { Connection } from '../mysql.ts'
import { killSessions } from '../sessions.ts'
import type { Target } from './target.ts'

async function privilegesFound(connection: Connection, { user, host }: AccountName): Promise<Privilege[]> {
  const rows = await connection.query('SHOW GRANTS FOR ?@?', [user, host])
  return rows.flatMap(row => privilegesOf(String(Object.values(row)[0])))
}

export interface Granted extends AccountName {
  hosts: readonly string[]
  privileges: Privilege[]
}

/** Privileges exactly as the role has them: what is missing is granted, what is more is revoked. */
export async function grantsStep(
  { connection }: Target,
  wanted: Granted[],
  accounts: ObservedAccount[],
): Promise<{ step: Step; findings: Finding[] }> {
  const all = await Promise.all(
    wanted.map(async account => {
      // an account that is still to be made or moved brings what it has under its present host
      const found = accounts.find(({ user, host }) => user === account.user && host === account.host)
      const moves = account.host === account.hosts[0]
      const elsewhere = accounts.find(
        ({ user, host }) => user === account.user && !account.hosts.includes(host),
      )
      const now = found ?? (moves ? elsewhere : undefined)
      const has = now === undefined ? [] : await privilegesFound(connection, now)
      return { account, ...privilegeDrift(account.privileges, has) }
    }),
  )
  // a statement that came back whole: a role or a proxy
  const foreign = (privilege: Privilege) => /^GRANT (?!OPTION ON )/.test(privilege)
  const todo = all.map(each => ({ ...each, extra: each.extra.filter(privilege => !foreign(privilege)) }))
  const findings = all.flatMap(({ account, extra }) =>
    extra
      .filter(foreign)
      .map(detail => ({ item: `account ${accountText(account)}`, detail: `take back: ${detail}` })),
  )
  const step = {
    id: 'grants',
    description: 'grant each account what its role may do, and nothing else',
    changes: todo.flatMap(({ account, missing, extra }) => [
      ...missing.map(after => ({ item: `grant to ${accountText(account)}`, before: null, after })),
      ...extra.map(before => ({ item: `grant to ${accountText(account)}`, before, after: null })),
    ]),
    apply: async () => {
      for (const { account, missing, extra } of todo) {
        const { user, host } = account
        for (const privilege of extra) await connection.run(`REVOKE ${privilege} FROM ?@?`, [user, host])
        for (const privilege of missing) await connection.run(`GRANT ${privilege} TO ?@?`, [user, host])
        if (extra.length > 0) await killSessions(connection, user)
      }
    },
  }
  return { step, findings }
}
