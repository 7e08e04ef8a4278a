/**
 * A signed apt repository of the packages that a recipe fetched, as a vendor would publish it, and its web server on
 * the LAN: what `--mysql-source` installs from where hosts have no other network.
 */
import { createHash } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { inCache } from '../../lib/edge/mysqld_cache.ts'
import { baseFolder, sid } from './host_base.ts'
import { must } from './host_command.ts'
import { type Place, router } from './host_lan.ts'
import type { TestHost } from './hosts.ts'

export interface Repository {
  /** Holds pool/, dists/local/ and key.gpg, the signer's public key as apt takes it. */
  folder: string
  keyFile: string
  /** The signer's OpenPGP fingerprint, 40 hex digits. */
  fingerprint: string
}

const hashes = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

async function stanza(pool: string, name: string): Promise<string> {
  const path = join(pool, name)
  const control = (await must(['dpkg-deb', '-f', path])).trimEnd()
  return `${control}\nFilename: pool/${name}\nSize: ${statSync(path).size}\nSHA256: ${hashes(readFileSync(path))}\n`
}

async function writeIndex(folder: string, suite: string): Promise<void> {
  const pool = join(folder, 'pool')
  const names = readdirSync(pool).toSorted()
  const stanzas: string[] = []
  for (const name of names) stanzas.push(await stanza(pool, name))
  const packages = Buffer.from(stanzas.join('\n'))
  const architecture = (await must(['dpkg', '--print-architecture'])).trim()
  const index = `main/binary-${architecture}/Packages`
  const dist = join(folder, 'dists', suite)
  mkdirSync(join(dist, 'main', `binary-${architecture}`), { recursive: true })
  writeFileSync(join(dist, index), packages)
  const release = [
    'Origin: local',
    `Suite: ${suite}`,
    `Codename: ${suite}`,
    `Date: ${new Date().toUTCString()}`,
    `Architectures: ${architecture}`,
    'Components: main',
    'SHA256:',
    ` ${hashes(packages)} ${packages.length} ${index}`,
  ]
  writeFileSync(join(dist, 'Release'), `${release.join('\n')}\n`)
}

/** Signs dists/SUITE with a key made for this repository alone, and forgets the key. */
async function sign(folder: string, suite: string): Promise<string> {
  const home = join(folder, 'gnupg')
  mkdirSync(home, { mode: 0o700 })
  const gpg = (...args: string[]) => must(['gpg', '--homedir', home, '--batch', '--quiet', ...args])
  try {
    await gpg('--passphrase', '', '--quick-generate-key', 'Local Test Repository', 'ed25519', 'sign', '1y')
    const dist = join(folder, 'dists', suite)
    await gpg('--output', join(dist, 'InRelease'), '--clearsign', join(dist, 'Release'))
    await gpg('--output', join(dist, 'Release.gpg'), '--armor', '--detach-sign', join(dist, 'Release'))
    await gpg('--output', join(folder, 'key.gpg'), '--export')
    const listing = await gpg('--with-colons', '--list-keys')
    const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listing)?.[1]
    if (fingerprint === undefined) throw new Error(`gpg lists no fingerprint: ${listing}`)
    return fingerprint
  } finally {
    await must(['gpgconf', '--homedir', home, '--kill', 'all'])
    rmSync(home, { recursive: true, force: true })
  }
}

/** The repository of sid's fetched packages, made once for each tree (two seconds). */
export async function repository(suite = 'local'): Promise<Repository> {
  const base = await baseFolder(sid)
  const folder = join(base, 'repository')
  return inCache(base, 'makes a repository', async () => {
    const file = join(folder, 'fingerprint')
    if (!existsSync(file)) {
      const temp = join(base, 'repository.part')
      rmSync(temp, { recursive: true, force: true })
      mkdirSync(join(temp, 'pool'), { recursive: true })
      const archives = join(base, 'tree/var/cache/apt/archives')
      for (const name of readdirSync(archives).filter(each => each.endsWith('.deb')))
        linkSync(join(archives, name), join(temp, 'pool', name.replaceAll('%3a', '~')))
      await writeIndex(temp, suite)
      writeFileSync(join(temp, 'fingerprint'), await sign(temp, suite))
      renameSync(temp, folder)
    }
    return { folder, keyFile: join(folder, 'key.gpg'), fingerprint: readFileSync(file, 'utf8') }
  })
}

const server = `
const { folder, hostname } = JSON.parse(process.argv[1])
const server = Bun.serve({ hostname, port: 80, idleTimeout: 255, fetch: async request => {
  const file = Bun.file(folder + decodeURIComponent(new URL(request.url).pathname))
  return await file.exists() ? new Response(file) : new Response('no such file', { status: 404 })
} })
console.log(server.port)
`

/** Serves a repository at http://10.77.0.1/ until the run ends or the returned function is called. */
export async function serve({ folder }: Repository, from: Place): Promise<() => Promise<void>> {
  const settings = JSON.stringify({ folder, hostname: router })
  const child = Bun.spawn(
    [
      'ip',
      'netns',
      'exec',
      from.namespace,
      'setpriv',
      '--pdeathsig',
      'KILL',
      process.execPath,
      '-e',
      server,
      settings,
    ],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', env: { PATH: safePath() } },
  )
  const stop = async () => {
    child.kill('SIGKILL')
    await child.exited
  }
  onExit(stop)
  const { value } = await child.stdout.getReader().read()
  if (value === undefined) throw new Error(`the web server ended: ${await new Response(child.stderr).text()}`)
  return stop
}

/** Has a host's apt know this repository alone, and no package but what is installed: as on the day of its delivery. */
export async function useOnly(host: TestHost, { keyFile }: Repository, suite = 'local'): Promise<void> {
  await host.mustSh(
    'rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /etc/apt/sources.list /etc/apt/sources.list.d/*',
  )
  await host.write('/etc/apt/keyrings/local.gpg', readFileSync(keyFile))
  const source = `deb [signed-by=/etc/apt/keyrings/local.gpg] http://${router}/ ${suite} main\n`
  await host.write('/etc/apt/sources.list.d/local.list', source)
  // Bun's server closes where apt asks for the next file before it has the last one
  await host.write('/etc/apt/apt.conf.d/local', 'Acquire::http::Pipeline-Depth "0";\n')
}
