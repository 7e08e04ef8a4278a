/** Finds a real MySQL on this machine, or fetches one from Debian's packages into a cache of this project's own. */
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { delimiter, dirname, join, resolve } from 'node:path'
import { reason, ZtError } from '../core/errors.ts'
import { debianMirrors, downloadPackages } from './mysqld_apt.ts'
import { cacheFolder, cacheHint, inCache, tell, withTemp } from './mysqld_cache.ts'
import { run } from './mysqld_process.ts'

/** A MySQL server and its stock client, both of `version` (as `9.7.4-2`). */
export interface MysqlPrograms {
  mysqld: string
  mysql: string
  version: string
  from: 'MYSQLD' | 'PATH' | 'cache'
}

const oldest = [8, 4] as const
const chooseHint = 'set MYSQLD=/path/to/mysqld to a MySQL server of 8.4 or later'

/** The version of `mysqld --version`'s one line, or why that server will not do. */
export function parseServerVersion(line: string): { version: string } | { refused: string } {
  const found = /\bVer ((\d+)\.(\d+)\.\d+[\w.+~-]*)/.exec(line)
  if (!found) return { refused: 'does not print a MySQL version' }
  const [, version = '', major, minor] = found
  if (/mariadb/i.test(line)) return { refused: `is MariaDB ${version}, not MySQL` }
  if (Number(major) < oldest[0] || (Number(major) === oldest[0] && Number(minor) < oldest[1]))
    return { refused: `is MySQL ${version}, older than ${oldest.join('.')}` }
  return { version }
}

async function judge(mysqld: string): Promise<{ version: string } | { refused: string }> {
  if (!existsSync(mysqld)) return { refused: 'does not exist' }
  try {
    const { code, stdout, stderr } = await run([mysqld, '--no-defaults', '--version'])
    if (code !== 0) return { refused: `does not run: ${stderr.trim().split('\n')[0]}` }
    return parseServerVersion(stdout)
  } catch (thrown) {
    return { refused: `does not run: ${reason(thrown)}` }
  }
}

/** The stock client of a server: beside it, in its prefix, else on PATH. */
function clientOf(mysqld: string): string {
  const folder = dirname(mysqld)
  const beside = [join(folder, 'mysql'), join(dirname(folder), 'bin', 'mysql')].find(path => existsSync(path))
  const client = beside ?? Bun.which('mysql')
  if (client) return client
  throw new ZtError('MISSING_TOOL', `no mysql client beside ${mysqld}, nor on PATH`, {
    hint: 'install the mysql client of that server',
  })
}

function cached(folder: string): MysqlPrograms | undefined {
  if (!existsSync(folder)) return undefined
  const versions = readdirSync(folder).filter(name => existsSync(join(folder, name, 'bin', 'mysqld')))
  const version = versions
    .filter(name => !name.startsWith('.'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1)
  if (version === undefined) return undefined
  const bin = join(folder, version, 'bin')
  return { mysqld: join(bin, 'mysqld'), mysql: join(bin, 'mysql'), version, from: 'cache' }
}

async function search(): Promise<MysqlPrograms> {
  if (process.env.MYSQLD) {
    const named = resolve(process.env.MYSQLD)
    const verdict = await judge(named)
    if ('version' in verdict)
      return { mysqld: named, mysql: clientOf(named), version: verdict.version, from: 'MYSQLD' }
    throw new ZtError('MISSING_TOOL', `MYSQLD=${named}: ${verdict.refused}`, {
      hint: `${chooseHint}, or unset it to have one found or fetched`,
    })
  }
  const skipped: string[] = []
  for (const folder of new Set((process.env.PATH ?? '').split(delimiter))) {
    const mysqld = resolve(folder, 'mysqld')
    if (!existsSync(mysqld)) continue
    const verdict = await judge(mysqld)
    if ('version' in verdict)
      return { mysqld, mysql: clientOf(mysqld), version: verdict.version, from: 'PATH' }
    skipped.push(`${mysqld} ${verdict.refused}`)
  }
  const folder = join(cacheFolder(), 'mysql')
  const there = cached(folder)
  if (there) return there
  for (const line of skipped) tell(`${line}: skipped`)
  try {
    return await fetchInto(folder)
  } catch (thrown) {
    const why = [...skipped, reason(thrown)].join('; ')
    throw new ZtError('MISSING_TOOL', `no MySQL server to be had: ${why}`, {
      hint:
        thrown instanceof ZtError && thrown.hint === cacheHint
          ? `${cacheHint}, or ${chooseHint}`
          : chooseHint,
      cause: thrown,
    })
  }
}

let found: { key: string; programs: Promise<MysqlPrograms> } | undefined

/**
 * A MySQL server of 8.4 or later: `MYSQLD`, else `mysqld` on PATH, else the cache, else fetched into the cache.
 * @throws MISSING_TOOL with every reason, and a hint that names MYSQLD
 */
export function findMysql(): Promise<MysqlPrograms> {
  const key = JSON.stringify([process.env.MYSQLD, process.env.PATH, cacheFolder()])
  if (found?.key !== key) {
    const programs = search()
    found = { key, programs }
    programs.catch(() => {
      found = undefined // the next caller may have better luck
    })
  }
  return found.programs
}

/** The stock `mysql` client that belongs to the server found: a command to append arguments to. */
export async function mysqlClientCommand(): Promise<string[]> {
  return [(await findMysql()).mysql]
}

const fetchInto = (folder: string): Promise<MysqlPrograms> =>
  inCache(folder, 'fetches MySQL', async () => {
    const there = cached(folder) // fetched by whom we waited for
    return there ?? withTemp(folder, temp => fetchPrefix(folder, temp))
  })

async function fetchPrefix(folder: string, temp: string): Promise<MysqlPrograms> {
  const began = Date.now()
  const debs = await downloadPackages(
    await debianMirrors(),
    ['mysql-server-core', 'mysql-client-core'],
    join(temp, 'apt'),
    tell,
  )
  const prefix = join(temp, 'prefix')
  mkdirSync(prefix)
  tell(`unpacking ${debs.length} packages`)
  for (const deb of debs) {
    const { code, stderr } = await run(['dpkg', '-x', deb, prefix])
    if (code !== 0) throw new ZtError('IO', `cannot unpack ${deb}: ${stderr.trim()}`)
  }
  for (const name of ['doc', 'man', 'locale'])
    rmSync(join(prefix, 'usr', 'share', name), { recursive: true, force: true })
  await writeWrappers(prefix)
  const verdict = await judge(join(prefix, 'bin', 'mysqld'))
  if ('refused' in verdict) throw new ZtError('MISSING_TOOL', `Debian's mysqld ${verdict.refused}`)
  const home = join(folder, verdict.version)
  chmodSync(prefix, 0o755)
  renameSync(prefix, home)
  tell(`MySQL ${verdict.version} is ready in ${home} (${Math.round((Date.now() - began) / 1000)} s)`)
  const bin = join(home, 'bin')
  return {
    mysqld: join(bin, 'mysqld'),
    mysql: join(bin, 'mysql'),
    version: verdict.version,
    from: 'cache',
  }
}

/** `bin/*` of a prefix: each starts a program by the prefix's own loader, as this system's C library may be older. */
async function writeWrappers(prefix: string): Promise<void> {
  const usrLib = join(prefix, 'usr', 'lib')
  const triplet = readdirSync(usrLib).find(name => existsSync(join(usrLib, name, 'libc.so.6')))
  const loaderIn = (folder: string) => readdirSync(folder).find(name => /^ld-linux.*\.so\.\d+$/.test(name))
  if (triplet === undefined) throw new ZtError('IO', 'the packages hold no C library')
  const inTriplet = loaderIn(join(usrLib, triplet))
  const loader = inTriplet ? `${triplet}/${inTriplet}` : loaderIn(usrLib)
  if (loader === undefined) throw new ZtError('IO', 'the packages hold no loader')
  const wrapper = (program: string, after = '') => `#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$here/usr/lib/${loader}" --library-path "$here/usr/lib/${triplet}" "$here/usr/${program}" "$@"${after}
`
  const serverPaths =
    ' \\\n  --basedir="$here/usr" --lc-messages-dir="$here/usr/share/mysql" --plugin-dir="$here/usr/lib/mysql/plugin"'
  const bin = join(prefix, 'bin')
  mkdirSync(bin, { mode: 0o755 })
  const programs = { mysqld: wrapper('sbin/mysqld', serverPaths) } as Record<string, string>
  for (const name of ['mysql', 'mysqladmin', 'mysqldump', 'mysqlbinlog'])
    programs[name] = wrapper(`bin/${name}`)
  for (const [name, text] of Object.entries(programs)) await writeFile(join(bin, name), text, { mode: 0o755 })
}
