/**
 * systemd units of the host layer, as data: what runs, how it is fenced in, and why a fence is missing. Where a fence is
 * missing the unit says why itself, so that whoever reads it on the host needs nothing else.
 */

export interface Directive {
  name: string
  value: string
}

/** A fence that a unit does without. */
export interface Exception {
  /** As systemd.exec(5) names it. */
  directive: string
  reason: string
}

export interface Unit {
  name: string
  description: string
  unit?: Directive[]
  /** [Service] or [Timer]. */
  body: Directive[]
  exceptions?: Exception[]
  install?: Directive[]
}

export const binaryPath = '/usr/local/sbin/vm_oneclick'
export const shipFolder = '/var/log/ztmysql'

/** Order kept; the reasons of the exceptions stand as comments before the directives. */
export function formatUnit({
  name,
  description,
  unit = [],
  body,
  exceptions = [],
  install = [],
}: Unit): string {
  const lines = (directives: Directive[]) => directives.map(({ name, value }) => `${name}=${value}`)
  return `${[
    '# written by vm_oneclick; a change here and a drop-in are drift',
    '[Unit]',
    `Description=${description}`,
    ...lines(unit),
    '',
    name.endsWith('.timer') ? '[Timer]' : '[Service]',
    ...exceptions.map(({ directive, reason }) => `# without ${directive}: ${reason}`),
    ...lines(body),
    ...(install.length > 0 ? ['', '[Install]', ...lines(install)] : []),
  ].join('\n')}\n`
}

const list = (given: Record<string, string>): Directive[] =>
  Object.entries(given).map(([name, value]) => ({ name, value }))

/** A path or value in a unit file: `%` begins a specifier, a space separates. */
const escapeValue = (text: string): string => text.replaceAll('%', '%%').replaceAll(' ', '\\x20')

/** What every service of ours does without. */
const fences = {
  NoNewPrivileges: 'yes',
  ProtectSystem: 'strict',
  PrivateTmp: 'yes',
  ProtectClock: 'yes',
  ProtectHostname: 'yes',
  ProtectKernelLogs: 'yes',
  ProtectControlGroups: 'yes',
  LockPersonality: 'yes',
  RestrictNamespaces: 'yes',
  RestrictRealtime: 'yes',
  RestrictSUIDSGID: 'yes',
  SystemCallArchitectures: 'native',
  KeyringMode: 'private',
  UMask: '0077',
}

const jit: Exception = {
  directive: 'MemoryDenyWriteExecute=',
  reason: 'the JavaScript engine compiles at run time and needs memory that it writes and then executes',
}

export const anchorExceptions: Exception[] = [
  jit,
  {
    directive: 'RootDirectory=',
    reason:
      'the binary, the socket of mysqld and the store are at paths of the host; all is read-only but three folders',
  },
  {
    directive: 'DeviceAllow= (char-rtc)',
    reason:
      'ProtectClock= itself lets the clock of the machine be read; PrivateDevices= shows no such device',
  },
]

const local: Exception = {
  directive: 'RestrictAddressFamilies=~AF_UNIX',
  reason:
    'mysqld and the system log are reached over unix sockets; every other family is refused, and there is no network',
}

const remote: Exception = {
  directive: 'PrivateNetwork=, IPAddressDeny=, RestrictAddressFamilies=~AF_INET',
  reason:
    'the store is reached over the network, under names whose addresses change; mysqld over a unix socket',
}

/** The folder of a store that is one, null for a store that is reached over the network. */
export function storeFolder(worm: string): string | null {
  if (worm.startsWith('file://')) return worm.slice('file://'.length)
  return /^[a-z][a-z0-9+.-]*:\/\//.test(worm) ? null : worm
}

export interface AnchorPlaces {
  user: string
  /** State folder: keys, spool, frontier. */
  state: string
  /** The store: a folder, or the URI of one that is reached over the network. */
  worm: string
  /** Whether lines for the log host are written. */
  ships: boolean
}

/** Anchors once; the timer calls it. It has no capability, no network but for a store there, and its own folders alone. */
export function anchorService({ user, state, worm, ships }: AnchorPlaces): Unit {
  const folder = storeFolder(worm)
  const folders = [state, ...(folder === null ? [] : [folder]), ...(ships ? [shipFolder] : [])]
  const writable = folders.map(path => `-${escapeValue(path)}`)
  const network: Record<string, string> =
    folder === null
      ? { RestrictAddressFamilies: 'AF_UNIX AF_INET AF_INET6' }
      : { PrivateNetwork: 'yes', IPAddressDeny: 'any', RestrictAddressFamilies: 'AF_UNIX' }
  const environment = [
    `ANCHOR_STATE=${escapeValue(state)}`,
    `WORM_DIR=${escapeValue(worm)}`,
    ...(ships ? [`ANCHOR_SHIP=${shipFolder}`] : []),
  ]
  return {
    name: 'ztmysql-anchor.service',
    description: 'Anchor of the audit trail',
    unit: list({
      // who starts it by hand some times in a row must not keep the timer from it
      StartLimitIntervalSec: '0',
      After: `mysql.service systemd-journald.socket${folder === null ? ' network-online.target' : ''}`,
    }),
    exceptions: [...anchorExceptions, folder === null ? remote : local],
    body: list({
      Type: 'oneshot',
      User: user,
      Group: user,
      Environment: environment.join(' '),
      ExecStart: `${binaryPath} anchor run`,
      // below the limit of the gate: a store that hangs must be seen before it closes
      TimeoutStartSec: '240',
      ...fences,
      ReadWritePaths: writable.join(' '),
      ProtectHome: 'yes',
      PrivateDevices: 'yes',
      DevicePolicy: 'closed',
      ...network,
      PrivateUsers: 'yes',
      PrivateIPC: 'yes',
      ProtectKernelModules: 'yes',
      ProtectKernelTunables: 'yes',
      ProtectProc: 'invisible',
      ProcSubset: 'pid',
      RemoveIPC: 'yes',
      CapabilityBoundingSet: '',
      AmbientCapabilities: '',
      SystemCallFilter: '@system-service',
      SystemCallErrorNumber: 'EPERM',
      MemoryMax: '512M',
      TasksMax: '64',
    }).flatMap(each =>
      // a second list takes away from the first
      each.name === 'SystemCallFilter' ? [each, { ...each, value: '~@privileged @resources' }] : [each],
    ),
  }
}

export const anchorTimer: Unit = {
  name: 'ztmysql-anchor.timer',
  description: 'Anchor of the audit trail, every minute',
  body: list({
    OnCalendar: 'minutely',
    AccuracySec: '1s',
    RandomizedDelaySec: '0',
    Persistent: 'true',
  }),
  install: list({ WantedBy: 'timers.target' }),
}

/** What looks at the host as root must see it as it is. */
export const watchExceptions: Exception[] = [
  jit,
  {
    directive: 'User=',
    reason: 'it compares files, rules and settings that root alone may read',
  },
  {
    directive:
      'PrivateNetwork=, PrivateUsers=, PrivateDevices=, ProtectProc=, ProtectKernelTunables=, ProtectKernelModules=',
    reason:
      'it observes the firewall, the accounts, the kernel and the processes of this host, not of a stand-in',
  },
  {
    directive: 'CapabilityBoundingSet=, SystemCallFilter=',
    reason:
      'it runs the tools of the host (ufw, fail2ban-client, systemctl), and what each of them needs is theirs to say',
  },
]

const metricsFolders = '/var/lib/ztmysql /var/lib/prometheus'

function watching(name: string, description: string, command: string, seconds: number): Unit {
  return {
    name,
    description,
    unit: list({ After: 'mysql.service' }),
    exceptions: watchExceptions,
    body: list({
      Type: 'oneshot',
      ExecStart: `${binaryPath} ${command}`,
      TimeoutStartSec: String(seconds),
      ...fences,
      ReadWritePaths: `/run ${metricsFolders
        .split(' ')
        .map(path => `-${path}`)
        .join(' ')}`,
      ProtectHome: 'read-only',
      RestrictAddressFamilies: 'AF_UNIX AF_INET AF_INET6 AF_NETLINK',
      MemoryMax: '1G',
    }),
  }
}

export const watchService = watching('ztmysql-check.service', 'Drift of the zero-trust host', 'watch', 600)
export const metricsService = watching(
  'ztmysql-metrics.service',
  'Metrics of the zero-trust host',
  'metrics',
  50,
)

export const watchTimer: Unit = {
  name: 'ztmysql-check.timer',
  description: 'Drift of the zero-trust host, every hour',
  body: list({ OnActiveSec: '5min', OnCalendar: 'hourly', RandomizedDelaySec: '5min', Persistent: 'true' }),
  install: list({ WantedBy: 'timers.target' }),
}

export const metricsTimer: Unit = {
  name: 'ztmysql-metrics.timer',
  description: 'Metrics of the zero-trust host, every minute',
  // half a minute after the anchor, whose result it tells
  body: list({ OnCalendar: '*:*:30', AccuracySec: '1s' }),
  install: list({ WantedBy: 'timers.target' }),
}

/** Every fence that is missing and why, as the rows of a table in docs/operations.md. */
export function exceptionsMarkdown(): string {
  const rows = (what: string, exceptions: Exception[]) =>
    exceptions.map(({ directive, reason }) => `| ${what} | \`${directive}\` | ${reason} |`)
  return [
    ...rows('the anchor', anchorExceptions),
    ...rows('the anchor, its store a folder', [local]),
    ...rows('the anchor, its store in the network', [remote]),
    ...rows('drift and metrics', watchExceptions),
  ].join('\n')
}

/** All units, in the order in which they are written. */
export const unitsOf = (places: AnchorPlaces): Unit[] => [
  anchorService(places),
  anchorTimer,
  watchService,
  watchTimer,
  metricsService,
  metricsTimer,
]

export const timers = [anchorTimer, watchTimer, metricsTimer].map(({ name }) => name)

/** `→ Overall exposure level for UNIT: 0.2 SAFE :-}` of systemd-analyze security; null where there is no such line. */
export function parseExposure(text: string): { score: number; verdict: string } | null {
  const [, score, verdict] = /exposure level for \S+: ([0-9]+\.[0-9]) ([A-Z]+)/.exec(text) ?? []
  return score === undefined || verdict === undefined ? null : { score: Number(score), verdict }
}
