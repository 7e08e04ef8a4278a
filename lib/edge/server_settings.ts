/** Settings of the running server: what they say, what changes at once, what waits for the next start. */
import type { Change, Finding } from '../core/plan.ts'
import { type Setting, type SettingDrift, settingDrift, variablesOf } from '../core/settings.ts'
import type { Connection } from './mysql.ts'

/** name → value of the global variables that the settings name. X Protocol, which has none, is asked of its plugin. */
export async function observeSettings(
  connection: Connection,
  settings: Setting[],
): Promise<Map<string, string | null>> {
  const names = variablesOf(settings)
  const rows = await connection.query(
    `SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.global_variables
     WHERE VARIABLE_NAME IN (${names.map(() => '?').join()})`,
    names,
  )
  const [mysqlx] = await connection.query(
    "SELECT COUNT(*) AS n FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'mysqlx' AND PLUGIN_STATUS = 'ACTIVE'",
  )
  return new Map([
    ...rows.map((row): [string, string | null] => [
      String(row.name),
      row.value === null ? null : String(row.value),
    ]),
    ['mysqlx', Number(mysqlx?.n) > 0 ? 'ON' : 'OFF'],
  ])
}

export interface SettingPlan {
  /** Set at once by SET GLOBAL. */
  dynamic: SettingDrift[]
  /** Set by SET GLOBAL, in force after ALTER INSTANCE RELOAD TLS. */
  tls: SettingDrift[]
  restart: Change[]
  findings: Finding[]
}

export const driftChange = ({ variable, before, after }: SettingDrift): Change => ({
  item: variable,
  before,
  after,
})

export async function planSettings(connection: Connection, settings: Setting[]): Promise<SettingPlan> {
  const drift = settingDrift(settings, await observeSettings(connection, settings))
  const unknown = drift.filter(d => d.before === null && d.setting.component === undefined)
  const known = drift.filter(d => !unknown.includes(d))
  const of = (kind: Setting['kind']) => known.filter(d => d.setting.kind === kind)
  return {
    dynamic: of('dynamic'),
    tls: of('tls'),
    restart: of('static').map(driftChange),
    findings: [
      ...unknown.map(d => ({
        item: d.variable,
        detail: 'this server has no such setting: use MySQL 8.4 or later',
      })),
      ...of('observed').map(d => ({
        item: d.variable,
        detail: `is ${d.before}, should be ${d.after || 'empty'}: take it out of the file that sets it, then restart mysqld`,
      })),
    ],
  }
}

/** SET GLOBAL takes numbers as numbers alone. The name is one of our list, never a stranger's. */
export async function setGlobal(connection: Connection, { variable, after }: SettingDrift): Promise<void> {
  const value = /^(?:0|[1-9][0-9]*)$/.test(after) ? Number(after) : after
  await connection.run(`SET GLOBAL ${variable} = ?`, [value])
}

/** name → value of what somebody set with SET PERSIST: it would win over our file at the next start. */
export async function observePersisted(connection: Connection): Promise<Map<string, string>> {
  const rows = await connection.query(
    'SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.persisted_variables',
  )
  return new Map(rows.map(row => [String(row.name), String(row.value)]))
}

/** Persisted values that stand against our file are taken back; others are only named. */
export function planPersisted(
  persisted: ReadonlyMap<string, string>,
  settings: Setting[],
): { changes: Change[]; findings: Finding[] } {
  const ours = new Set(variablesOf(settings))
  const all = [...persisted]
  return {
    changes: all
      .filter(([name]) => ours.has(name))
      .map(([name, value]) => ({ item: `persisted ${name}`, before: value, after: null })),
    findings: all
      .filter(([name]) => !ours.has(name))
      .map(([name, value]) => ({
        item: `persisted ${name}`,
        detail: `SET PERSIST left it at ${value}: RESET PERSIST ${name}, or move it to an option file of your own`,
      })),
  }
}

export async function resetPersisted(connection: Connection, name: string): Promise<void> {
  await connection.run('RESET PERSIST IF EXISTS ??', [name])
}
