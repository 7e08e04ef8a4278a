/** What is missing of the packages, installed by apt and nothing else touched. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import {
  isRecentMysql,
  type MysqlSource,
  mysqlPackageOf,
  mysqlServerPackages,
  otherServerPackages,
  parseCandidate,
  parseInstalled,
  parseMysqlSource,
  refuseOldCandidate,
  wantedPackages,
} from '../../core/host/packages.ts'
import type { Ended } from '../child.ts'
import { oracleStep, refuseWithoutOracle } from './oracle.ts'
import type { Setup } from './setup.ts'
import type { Layer } from './steps.ts'
import { ask, must } from './system.ts'

export interface InstalledPackages {
  all: Map<string, string>
  /** The server's package and version; null where there is none. */
  mysql: { name: string; version: string } | null
}

const hasKernel = (feature: 'apparmor'): boolean => existsSync(`/sys/kernel/security/${feature}`)

export async function installedPackages(): Promise<InstalledPackages> {
  const names = [
    ...mysqlServerPackages,
    ...otherServerPackages,
    ...wantedPackages.flatMap(({ name, or }) => [name, ...or]),
  ]
  const format = [
    '-W',
    '-f',
    `${['Package', 'db:Status-Status', 'Version'].map(field => `\${${field}}`).join(' ')}\n`,
  ]
  // exit 1: some of them are not known to dpkg
  const all = parseInstalled((await ask('dpkg-query', ...format, ...names)).stdout)
  const name = mysqlServerPackages.find(each => all.has(each))
  return { all, mysql: name === undefined ? null : { name, version: all.get(name) ?? '' } }
}

/** What would be installed, or why it cannot be; nothing is changed. @throws REFUSED */
export async function refuseUnfitPackages(setup: Setup): Promise<void> {
  const { distribution, wanted } = setup
  const { all, mysql } = await installedPackages()
  const other = otherServerPackages.find(name => all.has(name))
  if (other !== undefined)
    throw new ZtError('REFUSED', `${other} is installed here`, {
      hint: 'give Zero-Trust MySQL a host of its own: it never touches the databases of others',
    })
  if (mysql !== null) {
    if (isRecentMysql(mysql.version)) return
    throw new ZtError('REFUSED', `${mysql.name} ${mysql.version} is installed here: 8.4 or newer is needed`, {
      hint: 'upgrade it first, or give Zero-Trust MySQL a host of its own',
    })
  }
  const source = parseMysqlSource(wanted.mysqlSource)
  if (source.kind === 'installed')
    throw new ZtError('NOT_FOUND', 'MySQL is not installed, and --mysql-source installed installs none', {
      hint: 'install MySQL 8.4 or newer, or give another --mysql-source',
    })
  if (source.kind === 'folder') debsIn(source.path)
  if (source.kind === 'oracle') refuseWithoutOracle(setup)
  if (source.kind === 'distro') refuseOldCandidate(distribution, await candidateOf('mysql-server'))
}

const candidateOf = async (name: string): Promise<string | null> =>
  parseCandidate(await must('env', 'LC_ALL=C', 'apt-cache', 'policy', name))

function debsIn(path: string): string[] {
  const found = existsSync(path) ? readdirSync(path).filter(name => name.endsWith('.deb')) : []
  if (!found.some(name => mysqlServerPackages.some(each => name.startsWith(`${each}_`))))
    throw new ZtError('NOT_FOUND', `${path}: holds no .deb of a MySQL server`, {
      hint: 'put mysql-server_VERSION_ARCH.deb and what it needs there',
    })
  return found.sort().map(name => join(path, name))
}

/** Whatever asks for it. */
function missingPackages(
  { all, mysql }: InstalledPackages,
  source: MysqlSource,
  logHost: string | null,
): string[] {
  const rest = wantedPackages.filter(
    ({ name, or, kernel, logHost: ships = false }) =>
      ![name, ...or].some(each => all.has(each)) &&
      (kernel === undefined || hasKernel(kernel)) &&
      (!ships || logHost !== null),
  )
  return [...(mysql === null ? [mysqlPackageOf(source)] : []), ...rest.map(({ name }) => name)]
}

const apt = [
  'DEBIAN_FRONTEND=noninteractive',
  'LC_ALL=C',
  'NEEDRESTART_SUSPEND=1',
  'apt-get',
  '-q',
  '-y',
  '-o',
  'DPkg::Lock::Timeout=300',
  '-o',
  'Dpkg::Options::=--force-confold',
]

/** What apt complains of, without its progress. */
function complaints({ exitCode, stdout, stderr }: Ended): string {
  const lines = `${stdout}\n${stderr}`
    .split('\n')
    .filter(line => /^(?:E: |dpkg: error|Errors were)/.test(line))
  return `apt-get: exit ${exitCode}: ${lines.slice(0, 3).join(' | ')}`
}

/**
 * From the cache of apt where everything is in it, so that no network is needed; else as apt finds it.
 * @param local whether some are files, which apt's own user may not be able to reach
 */
async function aptInstall(names: string[], local: boolean): Promise<void> {
  const asRoot = local ? ['-o', 'APT::Sandbox::User=root'] : []
  // What a run left that was killed in the middle: apt refuses all work before dpkg has gone on. Where dpkg cannot, a
  // package may wait for one that was not unpacked yet: that is for apt, which is asked for it next.
  await ask('env', ...apt.slice(0, 3), 'dpkg', '--force-confold', '--configure', '-a')
  const install = [...apt, ...asRoot, 'install', '--fix-broken', '--no-install-recommends']
  const cached = await ask('env', ...install, '--no-download', ...names) // fails before it unpacks anything
  if (cached.exitCode === 0) return
  const updated = await ask('env', ...apt, 'update')
  const installed = await ask('env', ...install, ...names) // what it has may do where the update failed
  if (installed.exitCode === 0) return
  throw new ZtError(
    'IO',
    [updated, installed]
      .filter(({ exitCode }) => exitCode !== 0)
      .map(complaints)
      .join('; '),
    {
      hint: 'see that this host reaches the mirror of its apt sources, or put the packages into /var/cache/apt/archives',
    },
  )
}

export async function packagesLayer(setup: Setup): Promise<Layer> {
  const { wanted, journal } = setup
  const source = parseMysqlSource(wanted.mysqlSource)
  const missing = missingPackages(await installedPackages(), source, wanted.logHost)
  const step = {
    id: 'packages',
    description: 'install what is missing, without recommended packages',
    changes: missing.map(name => ({
      item: `package ${name}`,
      before: null,
      after: `from ${originOf(name, source)}`,
    })),
    apply: async () => {
      for (const name of missing) journal.keep({ kind: 'package', name, before: null })
      const names = missing.filter(name => !isServer(name) || source.kind !== 'folder')
      const files = source.kind === 'folder' && missing.some(isServer) ? debsIn(source.path) : []
      await aptInstall([...names, ...files], files.length > 0)
    },
  }
  const adds = source.kind === 'oracle' && missing.some(isServer)
  return { steps: [...(adds ? [oracleStep(setup)] : []), step], findings: [] }
}

const isServer = (name: string): boolean => mysqlServerPackages.some(each => each === name)

const originOf = (name: string, source: MysqlSource): string => {
  if (!isServer(name) || source.kind === 'distro') return 'the distribution'
  return source.kind === 'folder' ? source.path : 'Oracle'
}
