/** The settings of the server as data: one list for the option file, the running server, the drift check and README. */
import { ZtError } from './errors.ts'
import { settingList } from './settings_list.ts'

/**
 * When a setting takes effect: `dynamic` at once, `tls` at the next ALTER INSTANCE RELOAD TLS, `static` at the next start;
 * `observed` ones are only looked at, as their good value is the default and naming it does harm.
 */
export type SettingKind = 'dynamic' | 'tls' | 'static' | 'observed'

export interface Setting {
  /** As the option file spells it. */
  option: string
  value: string
  kind: SettingKind
  /** The global variable, if its name is another one; null: the option has none, so only the file can be checked. */
  variable?: string | null
  /** What the variable says, if that is another text than the value. */
  reads?: string
  /** Who asks for it: an id of CIS MySQL 8.4/9.7, of dev-sec mysql-baseline, or a section of this project's design. */
  from: string[]
  why: string
  /** Where it differs from what a baseline asks, and why that is right here. */
  exception?: string
  /** `host`: only where the host is set up too, as it needs its keyring, components or paths. */
  scope?: 'host'
  /** The component whose variable it is: unknown to a server until that is installed. */
  component?: string
}

export interface SettingInput {
  tlsDir: string
  initFile: string
  /** Addresses that mysqld listens on. */
  bindAddress: string
  /** Whether the host is set up too. */
  host?: boolean
}

// `#` begins a comment in an option file, and blanks, quotes and backslashes have rules of their own.
const plainPath = /^\/[A-Za-z0-9._/+@=:,-]*$/

/** @throws BAD_INPUT unless the path is absolute and safe in an option file. */
export function checkPath(path: string, what: string): string {
  if (plainPath.test(path) && !path.split('/').includes('..')) return path
  throw new ZtError(
    'BAD_INPUT',
    `${what} ${JSON.stringify(path)}: not an absolute path that an option file can hold`,
    {
      hint: 'use letters, digits and . _ - + @ in it, and no blanks',
    },
  )
}

/** Every setting with its value for this server. @throws BAD_INPUT on a path that an option file cannot hold */
export function settingsFor(input: SettingInput): Setting[] {
  checkPath(input.tlsDir, 'folder of certificates')
  checkPath(input.initFile, 'init file')
  if (!/^[0-9a-fA-F.:,*]+$/.test(input.bindAddress))
    throw new ZtError('BAD_INPUT', `bind address ${JSON.stringify(input.bindAddress)}: not an address`)
  return settingList(input).filter(({ scope }) => scope === undefined || input.host === true)
}

/** The text of zero-trust.cnf. */
export function formatOptionFile(settings: Setting[]): string {
  const blocks = settings
    .filter(s => s.kind !== 'observed')
    .map(s => `# ${s.why}${s.from.length > 0 ? ` (${s.from.join(', ')})` : ''}\n${s.option}=${s.value}`)
  return `# Written by vm_oneclick, which undoes changes made here: keep your own settings in another file.\n[mysqld]\n${blocks.join('\n')}\n`
}

/** Names of the global variables to ask a server for. */
export const variablesOf = (settings: Setting[]): string[] => settings.flatMap(s => variableOf(s) ?? [])

export const variableOf = (setting: Setting): string | null =>
  setting.variable === undefined ? setting.option.replaceAll('-', '_') : setting.variable

/** One spelling for what MySQL spells in several: booleans, sets in any order, NULL. */
function normal(name: string, value: string | null): string {
  const text = value ?? 'NULL'
  if (name === 'sql_mode') return text.split(',').sort().join()
  return (
    ({ '1': 'ON', '0': 'OFF', TRUE: 'ON', FALSE: 'OFF' } as Record<string, string>)[text.toUpperCase()] ??
    text
  )
}

export interface SettingDrift {
  setting: Setting
  variable: string
  /** null: the server does not know the variable. */
  before: string | null
  after: string
}

/**
 * The settings whose global variable says something else. `observed`: name → value as
 * performance_schema.global_variables has it; a name that is missing is unknown to the server.
 */
export function settingDrift(
  settings: Setting[],
  observed: ReadonlyMap<string, string | null>,
): SettingDrift[] {
  return settings.flatMap(setting => {
    const variable = variableOf(setting)
    if (variable === null) return []
    const after = setting.reads ?? setting.value
    const known = observed.has(variable)
    const before = known ? (observed.get(variable) ?? 'NULL') : null
    return known && normal(variable, before) === normal(variable, after)
      ? []
      : [{ setting, variable, before, after }]
  })
}
