/** Whether this machine can boot test hosts, and if not, why not and what to do. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { reason } from '../../lib/core/errors.ts'
import { safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { debianMirrors } from '../../lib/edge/mysqld_apt.ts'
import { call } from './host_command.ts'
import { hostsFolder } from './host_run.ts'

/** The tools, and the Debian package of each. */
export const hostTools: Record<string, string> = {
  'systemd-nspawn': 'systemd-container',
  mmdebstrap: 'mmdebstrap',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  gpg: 'gnupg',
  'dpkg-deb': 'dpkg',
  tar: 'tar',
}

/** What a boot does first: a network namespace, control groups of version 2, an overlay on the cache's disk. */
const rehearsal = `
set -eu
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
test -e /sys/fs/cgroup/cgroup.procs
mount -t overlay overlay -o "lowerdir=$1/low,upperdir=$1/up,workdir=$1/work" "$1/root"
mkdir "$1/root/made"
`

async function rehearse(): Promise<string | undefined> {
  mkdirSync(hostsFolder(), { recursive: true })
  const folder = mkdtempSync(join(hostsFolder(), '.try-'))
  const sweep = () => rmSync(folder, { recursive: true, force: true })
  const forget = onExit(sweep)
  try {
    for (const name of ['low', 'up', 'work', 'root']) mkdirSync(join(folder, name))
    const { exitCode, stderr } = await call(['unshare', '-m', '-n', 'bash', '-c', rehearsal, 'try', folder])
    return exitCode === 0 ? undefined : `namespaces, control groups or overlays are refused: ${stderr.trim()}`
  } finally {
    forget()
    sweep()
  }
}

/** Undefined where hosts can be booted; else one line that says why not. */
export async function hostsSupported(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  if (process.geteuid?.() !== 0) return 'needs root: run it with sudo'
  if (!existsSync('/proc/self/ns/net')) return 'this kernel has no namespaces'
  if (/[:,\\\s]/.test(hostsFolder()))
    return `an overlay takes no path with a colon, comma or blank: ${hostsFolder()}`
  const missing = Object.entries(hostTools).filter(([tool]) => Bun.which(tool, { PATH: safePath() }) === null)
  if (missing.length > 0)
    return `missing tools: apt-get install ${[...new Set(missing.map(([, pack]) => pack))].join(' ')}`
  try {
    await debianMirrors()
  } catch (thrown) {
    return reason(thrown)
  }
  return rehearse()
}

if (import.meta.main) {
  const why = await hostsSupported()
  if (why !== undefined) console.log(why)
  process.exit(why === undefined ? 0 : 3)
}
