/** Two jails of fail2ban: refused log-ins of sshd, and of MySQL. Texts, and what a server that has loaded them says. */
import type { Change } from '../plan.ts'
import { mysqlPort } from './firewall.ts'

export const mysqlLog = '/var/log/mysql/error.log'
export const jailPath = '/etc/fail2ban/jail.d/ztmysql.local'
export const filterPath = '/etc/fail2ban/filter.d/ztmysql.conf'

/** An hour, and twice that for each ban of the same address before it, up to a week. */
export const jailSettings = {
  /** OpenSSH 9.8 and newer hold a source off for seconds after its fourth failure or so: the ban comes with it. */
  maxretry: { sshd: 4, ztmysql: 5 },
  findtimeSeconds: 600,
  bantimeSeconds: 3600,
  maxBantimeSeconds: 604_800,
  /** Banning this machine itself would stop its own probes and nobody else. */
  ignoreip: ['127.0.0.0/8', '::1'],
} as const

export const jailNames = ['sshd', 'ztmysql'] as const
export type JailName = (typeof jailNames)[number]

/**
 * Lines of the journal that are sshd's: its unit's, or a root process of that name (a socket starts one for each
 * connection, in a unit of its own). Without _UID=0 any local user could name a program sshd and have others banned.
 */
const journalmatch = [
  '_SYSTEMD_UNIT=ssh.service',
  '_SYSTEMD_UNIT=sshd.service',
  '_COMM=sshd _UID=0',
  '_COMM=sshd-session _UID=0',
].join(' + ')

/**
 * An action of nftables works beside UFW: its table is asked first, for IPv4 and IPv6, open connections included. They
 * are reset: an unreachable port, fail2ban's default, leaves an open session waiting for ever.
 */
const common = (jail: JailName): string[] => [
  'enabled = true',
  `maxretry = ${jailSettings.maxretry[jail]}`,
  `findtime = ${jailSettings.findtimeSeconds}`,
  `bantime = ${jailSettings.bantimeSeconds}`,
  'bantime.increment = true',
  `bantime.maxtime = ${jailSettings.maxBantimeSeconds}`,
  `ignoreip = ${jailSettings.ignoreip.join(' ')}`,
  'usedns = no',
  'banaction = nftables[type=multiport, blocktype="reject with tcp reset"]',
]

const portsOf = (ports: number[]): string => (ports.length === 0 ? '22' : ports.join(','))

/** jail.d/ztmysql.local: read after every .conf and after jail.local, so that it has the last word on these two. */
export function jailText(sshPorts: number[]): string {
  return [
    '# made by vm_oneclick, which writes it anew; unban with: fail2ban-client unban ADDRESS',
    '[sshd]',
    ...common('sshd'),
    'filter = sshd',
    'backend = systemd',
    `journalmatch = ${journalmatch}`,
    `port = ${portsOf(sshPorts)}`,
    '',
    '[ztmysql]',
    ...common('ztmysql'),
    'filter = ztmysql',
    'backend = auto',
    `logpath = ${mysqlLog}`,
    `port = ${mysqlPort}`,
    '',
  ].join('\n')
}

/**
 * The line of log_error_verbosity=3. A user name is the client's own text: `x'@'9.9.9.9' (using password: YES)` must
 * not get 9.9.9.9 banned, so the address is the one at the very end of the line. Only the server's own note counts.
 */
export const failRegex =
  "^\\s*\\d+ \\[Note\\] \\[MY-010926\\] \\[Server\\] Access denied for user '.*'@'<ADDR>' \\(using password: (?:YES|NO)\\)$"

export const filterText = `# made by vm_oneclick: refused log-ins in the error log of MySQL 8.4 and newer, at log_error_verbosity=3
[Definition]
failregex = ${failRegex}
ignoreregex =
datepattern = ^%%Y-%%m-%%dT%%H:%%M:%%S\\.%%f%%z
`

/** One jail as the running server has it. */
export interface RunningJail {
  maxretry: string
  findtime: string
  bantime: string
  ignoreip: string[]
  actions: string[]
  /** Ports that its action closes. */
  port: string
  /** How many expressions make a failure. */
  expressions: number
  /** How many the files give it. */
  expressionsInFiles: number
  /** Where it looks: files, or a match of the journal. */
  watches: string
}

export interface Fail2banFacts {
  unit: { enabled: string; active: string }
  /** Jails that run, by name; those of others are not looked into. */
  jails: Record<string, RunningJail>
  names: string[]
}

/** Of sshd the filter is the distribution's, and changes with it; the rest is ours. */
function wantedJail(jail: JailName, sshPorts: number[]): Partial<Record<keyof RunningJail, string>> {
  return {
    maxretry: String(jailSettings.maxretry[jail]),
    findtime: String(jailSettings.findtimeSeconds),
    bantime: String(jailSettings.bantimeSeconds),
    ignoreip: jailSettings.ignoreip.join(' '),
    actions: 'nftables',
    ...(jail === 'ztmysql'
      ? { port: String(mysqlPort), watches: mysqlLog }
      : { port: portsOf(sshPorts), watches: journalmatch }),
  }
}

/** Texts in the quotes of Python's lists, as `fail2ban-client -d` prints them. */
const quoted = (line: string): string[] => line.match(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g) ?? []

/** How many expressions the files give a jail, from `fail2ban-client -d`. */
export function expressionsInFiles(dump: string, jail: string): number {
  const heads = [`['multi-set', '${jail}', 'addfailregex', `, `['set', '${jail}', 'addfailregex', `]
  return dump
    .split('\n')
    .filter(line => heads.some(head => line.startsWith(head)))
    .reduce((sum, line) => sum + quoted(line).length - 3, 0)
}

const said = (value: RunningJail[keyof RunningJail]): string =>
  Array.isArray(value) ? [...value].sort().join(' ') : String(value)

/** Where the running server differs: a jail that does not run, or one that was set otherwise by hand. */
export function fail2banChanges({ unit, jails }: Fail2banFacts, sshPorts: number[]): Change[] {
  const now = `${unit.enabled}, ${unit.active}`
  if (unit.enabled !== 'enabled' || unit.active !== 'active')
    return [{ item: 'unit fail2ban.service', before: now, after: 'enabled, active' }]
  return jailNames.flatMap((name): Change[] => {
    const jail = jails[name]
    if (jail === undefined) return [{ item: `jail ${name}`, before: null, after: 'watches and bans' }]
    const wanted: [string, string][] = Object.entries({
      ...wantedJail(name, sshPorts),
      expressions: String(jail.expressionsInFiles),
    })
    return wanted.flatMap(([key, after]) => {
      const before = said(jail[key as keyof RunningJail])
      return before === after ? [] : [{ item: `jail ${name} ${key}`, before, after }]
    })
  })
}

/** For the judge of evidence. */
export const fail2banFaults = (facts: Fail2banFacts, sshPorts: number[]): string[] =>
  fail2banChanges(facts, sshPorts).map(
    ({ item, before, after }) => `${item}: ${before ?? 'missing'}, should be ${after}`,
  )
