/** Packages that the layers of the host stand on, as data; and what dpkg and apt say of them. */
import { ZtError } from '../errors.ts'
import type { Distribution } from './distribution.ts'

export interface WantedPackage {
  name: string
  /** Others that serve as well: where one of them is installed, nothing is added. */
  or: readonly string[]
  why: string
  /** Only where the kernel has it. */
  kernel?: 'apparmor'
  /** Only where anchors go to a log host. */
  logHost?: true
}

export const wantedPackages: readonly WantedPackage[] = [
  { name: 'ufw', or: [], why: 'the firewall' },
  { name: 'fail2ban', or: [], why: 'bans sources of refused log-ins' },
  { name: 'nftables', or: [], why: 'fail2ban bans with it' },
  { name: 'python3-systemd', or: [], why: 'fail2ban reads the journal with it' },
  { name: 'rsyslog', or: [], why: 'ships the heads of the trail to another host' },
  { name: 'rsyslog-relp', or: [], why: 'sends them until the other host has acknowledged', logHost: true },
  { name: 'unattended-upgrades', or: [], why: 'security upgrades of the system' },
  {
    name: 'systemd-timesyncd',
    or: ['chrony', 'ntpsec', 'openntpd', 'ntp'],
    why: 'the gate and the anchors go by the clock',
  },
  { name: 'apparmor', or: [], why: 'confines mysqld', kernel: 'apparmor' },
]

/** Server packages, by whoever makes them; the first that is installed is the server. */
export const mysqlServerPackages = [
  'mysql-server',
  'mysql-community-server',
  'mysql-commercial-server',
] as const

export const otherServerPackages = ['mariadb-server', 'percona-server-server'] as const

export type MysqlSource =
  | { kind: 'distro' | 'oracle' | 'installed' }
  /** A folder of .deb files, all of which are installed. */
  | { kind: 'folder'; path: string }

/** @throws USAGE */
export function parseMysqlSource(text: string): MysqlSource {
  if (text === 'distro' || text === 'oracle' || text === 'installed') return { kind: text }
  if (text.startsWith('/')) return { kind: 'folder', path: text }
  throw new ZtError('USAGE', `--mysql-source ${JSON.stringify(text)}: not a source`, {
    hint: 'give distro, oracle, installed, or the absolute path of a folder with .deb files',
  })
}

export const mysqlPackageOf = (source: MysqlSource): string =>
  source.kind === 'oracle' ? 'mysql-community-server' : 'mysql-server'

/** `name status version` lines of dpkg-query → name → version of what is installed. */
export function parseInstalled(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap(line => {
      const [name, status, version] = line.split(' ')
      return name && version && status === 'installed' ? [[name, version] as const] : []
    }),
  )
}

/** The version that apt would install, of `apt-cache policy NAME`; null for none. */
export function parseCandidate(text: string): string | null {
  const candidate = /^\s*Candidate: (\S+)/m.exec(text)?.[1]
  return candidate === undefined || candidate === '(none)' ? null : candidate
}

/** Whether a Debian version (`9.7.4-2`, `1:8.4.3-1`) is MySQL 8.4 or newer. */
export function isRecentMysql(version: string): boolean {
  const [major = 0, minor = 0] = version
    .replace(/^[0-9]+:/, '')
    .split('.')
    .map(Number)
  return major > 8 || (major === 8 && minor >= 4)
}

/** What people can do where the distribution has no MySQL that will do. */
export const sourceChoices =
  "--mysql-source oracle (Oracle's apt repository; not tested here), --mysql-source DIR (a folder of .deb files), or install MySQL 8.4 or newer by yourself and give --mysql-source installed"

/**
 * Where the distribution has it and apt does not know it, apt's lists are those of an image that never had any: the
 * installation fetches them.
 * @throws REFUSED where apt has no MySQL that will do
 */
export function refuseOldCandidate(distribution: Distribution, candidate: string | null): void {
  if (candidate === null ? distribution.hasMysql : isRecentMysql(candidate)) return
  const has = candidate === null ? 'no MySQL' : `MySQL ${candidate}, which is too old`
  throw new ZtError('REFUSED', `apt has ${has} for ${distribution.name}: 8.4 or newer is needed`, {
    hint: sourceChoices,
  })
}
