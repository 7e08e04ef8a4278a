/** Texts and data of mysqld's part of the host. */

/** The last folder that an option file includes: what stands there wins over all the rest. */
export const lastOptionFolder = (optionFile: string): string | null =>
  [...optionFile.matchAll(/^!includedir\s+(\S+?)\/*\s*$/gm)].at(-1)?.[1] ?? null

export const mysqldPaths = {
  unit: 'mysql.service',
  dropIn: '/etc/systemd/system/mysql.service.d/zero-trust.conf',
  optionFile: '/etc/mysql/my.cnf',
  profile: '/etc/apparmor.d/usr.sbin.mysqld',
  profileLocal: '/etc/apparmor.d/local/usr.sbin.mysqld',
  /** Read before any option, so that InnoDB finds its keys. */
  manifest: '/usr/sbin/mysqld.my',
  keyringConfig: '/usr/lib/mysql/plugin/component_keyring_file.cnf',
  keyringDir: '/var/lib/mysql-keyring',
  keyFile: '/var/lib/mysql-keyring/component_keyring_file',
  errorLog: '/var/log/mysql/error.log',
  history: '/etc/profile.d/zero-trust-mysql.sh',
} as const

export const keyringManifest = '{ "components": "file://component_keyring_file" }\n'

export const keyringConfig = `{ "path": "${mysqldPaths.keyFile}", "read_only": false }\n`

/** No statement of a person at the client, a password perhaps, is kept in a file. */
export const historyText = `# Written by vm_oneclick: the mysql client keeps no history.
export MYSQL_HISTFILE=/dev/null
`

/** Why each line of the sandbox that is weaker than systemd could make it is as it is. */
export const sandboxExceptions: readonly { setting: string; why: string }[] = [
  { setting: 'PrivateNetwork', why: 'clients come over the network' },
  { setting: 'RestrictAddressFamilies', why: 'IPv4, IPv6 and the local socket are what it serves' },
  {
    setting: 'PrivateUsers',
    why: 'auth_socket asks the kernel who a caller is: in a user namespace everybody else is nobody',
  },
  { setting: '@resources', why: 'InnoDB pins threads and spreads memory over nodes' },
  { setting: 'UMask=0077', why: 'the group adm reads the error log, as Debian has it' },
  { setting: 'RootDirectory', why: 'it is the system’s own binary, upgraded by the package' },
  { setting: 'MemoryMax', why: 'the right size is the buffer pool’s, which the administrator chooses' },
]

/**
 * The drop-in of mysql.service: what mysqld was seen to run under. The start-up check of the package runs as mysql too,
 * or it would make the key file root's, which leaves the keyring disabled.
 * @param networks that connections may come from and go to, beside this machine
 */
export const dropInText = (networks: readonly string[]): string => `# Written by vm_oneclick.
[Service]
PermissionsStartOnly=false
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LimitCORE=0
UMask=0027
ProtectSystem=strict
ReadWritePaths=/var/lib/mysql /var/lib/mysql-files /var/lib/mysql-keyring /var/log/mysql
NoExecPaths=/var/lib/mysql /var/lib/mysql-files /var/lib/mysql-keyring /var/log/mysql /tmp /var/tmp
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressDeny=any
IPAddressAllow=${['localhost', ...networks].join(' ')}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @obsolete
SystemCallErrorNumber=EPERM
`

const [begin, end] = ['# zero-trust: begin', '# zero-trust: end']

const profileBlock = `${begin}
  ${mysqldPaths.manifest} r,
  ${mysqldPaths.keyringConfig} r,
  /etc/ztmysql/tls/ r,
  /etc/ztmysql/tls/** r,
${end}
`

/** The local part of the AppArmor profile with our block, and whatever else the administrator has there. */
export function profileWithBlock(before: string): string {
  const others = before.replace(new RegExp(`${begin}\\n[\\s\\S]*?${end}\\n`, 'g'), '')
  return `${others}${others === '' || others.endsWith('\n') ? '' : '\n'}${profileBlock}`
}

export interface UnitProperties {
  needsReload: boolean
  dropIns: string[]
  /** Seconds since 1970 at which the main process started; null while it does not run. */
  startedAt: number | null
}

/** Of `systemctl show --timestamp=unix -p NeedDaemonReload,DropInPaths,ExecMainStartTimestamp,MainPID`. */
export function parseUnitProperties(text: string): UnitProperties {
  const fields = new Map(
    text.split('\n').map(line => {
      const at = line.indexOf('=')
      return [line.slice(0, at), line.slice(at + 1)] as const
    }),
  )
  const started = /^@(\d+)$/.exec(fields.get('ExecMainStartTimestamp') ?? '')?.[1]
  const runs = (fields.get('MainPID') ?? '0') !== '0'
  return {
    needsReload: fields.get('NeedDaemonReload') === 'yes',
    dropIns: (fields.get('DropInPaths') ?? '').split(' ').filter(path => path !== ''),
    startedAt: runs && started !== undefined ? Number(started) : null,
  }
}

/** The last lines of an error log that say why mysqld did not start. */
export const failureLines = (log: string): string[] =>
  log
    .split('\n')
    .filter(line => line.includes('[ERROR]'))
    .slice(-3)
    .map(line => line.replace(/^\S+\s+\d+\s+/, ''))
