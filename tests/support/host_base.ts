/** Root file systems that test hosts stand on, made by mmdebstrap from this machine's own apt sources, kept in the cache. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debianMirrors } from '../../lib/edge/mysqld_apt.ts'
import { inCache } from '../../lib/edge/mysqld_cache.ts'
import { must } from './host_command.ts'
import { hostsFolder, otherRuns } from './host_run.ts'

export interface Recipe {
  suite: 'sid' | 'trixie'
  /** Installed in the tree. */
  include: string[]
  /** Fetched into its apt cache: hosts have no network, and install from there. */
  fetch: string[]
  /** Fetched from sid besides, into /var/cache/sid: data packages, newer than the suite's own. */
  fetchFromSid?: string[]
}

const bootable = [
  'mount',
  'systemd',
  'systemd-sysv',
  'dbus',
  'libpam-systemd',
  'udev',
  'iproute2',
  'ca-certificates',
  'procps',
  'kmod',
  'less',
  'sudo',
  'init',
  'apt',
  'tar',
  'gzip',
]

/** Debian sid with all that the installer may want within reach. */
export const sid: Recipe = {
  suite: 'sid',
  include: bootable,
  fetch: [
    'mysql-server',
    'ufw',
    'iptables',
    'nftables',
    'fail2ban',
    'python3-systemd',
    'openssh-server',
    'openssh-client',
    'rsyslog',
    'rsyslog-relp',
    'apparmor',
    'logrotate',
    'cron',
    'openssl',
    'netcat-openbsd',
    'socat',
    'unattended-upgrades',
    'systemd-timesyncd',
  ],
}

/** Debian 13: the SCAP content for it is in sid alone. */
export const trixie: Recipe = {
  suite: 'trixie',
  include: bootable,
  fetch: ['openscap-scanner', 'openssl', 'openssh-server', 'linux-base'], // by linux-base the content tells a machine
  fetchFromSid: ['ssg-base', 'ssg-debian'],
}

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const staleAfterDays = 14
const version = 1 // of how a tree is made: a new one makes new trees

const say = (line: string): void => {
  process.stderr.write(`hosts: ${line}\n`)
}

const keyOf = (recipe: Recipe): string =>
  `${recipe.suite}-${createHash('sha256')
    .update(JSON.stringify([version, recipe]))
    .digest('hex')
    .slice(0, 12)}`

const ageDays = (path: string): number => (Date.now() - statSync(path).mtimeMs) / 86_400_000

/** Shell for the new tree: fetches packages of sid, and lets apt forget that it knew sid. */
const fromSid = (source: string, packages: string[]): string => `
set -e
cp -a "$1/var/lib/apt/lists" "$1/lists.kept"
echo '${source}' > "$1/etc/apt/sources.list.d/sid.list"
chroot "$1" apt-get -q update
mkdir "$1/var/cache/sid"
chroot "$1" sh -c 'cd /var/cache/sid && apt-get -q -o APT::Sandbox::User=root download ${packages.map(name => `${name}/sid`).join(' ')}'
rm "$1/etc/apt/sources.list.d/sid.list"
rm -r "$1/var/lib/apt/lists"
mv "$1/lists.kept" "$1/var/lib/apt/lists"`

async function bootstrap(recipe: Recipe, mirror: string, tree: string): Promise<void> {
  const { suite, include, fetch, fetchFromSid = [] } = recipe
  const download = `chroot "$1" apt-get -q -y -d --no-install-recommends install ${fetch.join(' ')}`
  const signedBy = existsSync(keyring) ? `[signed-by=${keyring}] ` : ''
  const source = (of: string) => `deb ${signedBy}${mirror} ${of} main`
  const more = fetchFromSid.length > 0 ? [`--customize-hook=${fromSid(source('sid'), fetchFromSid)}`] : []
  await must(
    [
      'mmdebstrap',
      '--quiet',
      '--mode=root',
      '--variant=apt',
      `--include=${include.join(',')}`,
      '--aptopt=Acquire::Check-Valid-Until "false"',
      '--aptopt=Acquire::Retries "3"',
      '--skip=cleanup/apt', // the lists and the fetched packages are what hosts install from
      '--skip=download/empty',
      `--customize-hook=${download}`,
      ...more,
      suite,
      tree,
      source(suite),
    ],
    { env: { TMPDIR: '/tmp' } },
  )
}

/** Whether a tree can be used: there, and young, or beneath the hosts of another run, which must not lose it. */
function isGood(folder: string): boolean {
  const built = join(folder, 'built')
  return existsSync(built) && (ageDays(built) < staleAfterDays || otherRuns().length > 0)
}

/** Removes the trees of older recipes of the same suite, and what a killed build left. */
function removeOthers(folder: string, recipe: Recipe): void {
  if (otherRuns().length > 0) return // one of them may stand on it
  for (const name of readdirSync(folder))
    if (name.startsWith(`${recipe.suite}-`) && !name.startsWith(keyOf(recipe)))
      rmSync(join(folder, name), { recursive: true, force: true })
}

/**
 * The folder of a recipe's tree, `…/tree`, built where it is missing, stale or of another recipe (under a minute).
 * Beside it is room for what is made from it.
 */
export async function baseFolder(recipe: Recipe): Promise<string> {
  const bases = join(hostsFolder(), 'bases')
  const folder = join(bases, keyOf(recipe))
  if (isGood(folder)) return folder // it need not wait for a tree of another suite
  return inCache(bases, 'builds a tree for test hosts', async () => {
    if (isGood(folder)) return folder
    const [mirror] = await debianMirrors()
    if (mirror === undefined) throw new Error('apt knows no Debian mirror')
    const began = Date.now()
    say(`building a Debian ${recipe.suite} tree from ${mirror}`)
    const temp = `${folder}.part`
    rmSync(temp, { recursive: true, force: true })
    mkdirSync(temp)
    try {
      await bootstrap(recipe, mirror, join(temp, 'tree'))
      writeFileSync(join(temp, 'built'), '')
      removeOthers(bases, recipe)
      rmSync(folder, { recursive: true, force: true })
      renameSync(temp, folder)
    } finally {
      rmSync(temp, { recursive: true, force: true })
    }
    say(`built in ${((Date.now() - began) / 1000).toFixed(0)} s`)
    return folder
  })
}
