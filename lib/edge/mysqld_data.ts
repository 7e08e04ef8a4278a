/** Data directories: initialised once for each version and user, copied for each server. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { removeFile } from './file_error.ts'
import { cacheFolder, inCache, withTemp } from './mysqld_cache.ts'
import type { MysqlPrograms } from './mysqld_fetch.ts'
import { run } from './mysqld_process.ts'

/** Plugins that a server loads at start where its plugin folder has them. */
const wantedPlugins = ['auth_socket', 'mysql_no_login']

/** Smaller files than the defaults make, so that a copy is quick. */
export const smallFiles = ['innodb_redo_log_capacity=32M']

export interface DataTemplate {
  dataDir: string
  /** Of auth_socket and mysql_no_login those that this server has. */
  plugins: string[]
}

/** The name of this process's user, by `id`, as the runtime may not know it; undefined for a uid without a name. */
async function userName(): Promise<string | undefined> {
  const { code, stdout } = await run(['id', '-un'])
  const name = stdout.trim()
  return code === 0 && /^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/.test(name) ? name : undefined
}

async function pluginsOf(mysqld: string): Promise<string[]> {
  const { stdout } = await run([mysqld, '--no-defaults', '--verbose', '--help'])
  const folder = /^plugin-dir\s+(\S.*)$/m.exec(stdout)?.[1]?.trim()
  if (folder === undefined || !existsSync(folder)) return []
  const files = readdirSync(folder)
  return wantedPlugins.filter(name => files.includes(`${name}.so`))
}

/**
 * The initialised data directory of a version, made on first use. In it root@localhost comes in over the socket alone
 * and without a password: by auth_socket (the operating system's root, or the user who runs the server) where that
 * plugin exists, else with an empty password behind a socket that lies in a folder of mode 0700.
 */
export async function dataTemplate(programs: MysqlPrograms): Promise<DataTemplate> {
  const user = await userName()
  const key = createHash('sha256')
    .update(JSON.stringify([1, programs.mysqld, user ?? null, smallFiles]))
    .digest('hex')
    .slice(0, 12)
  const folder = join(cacheFolder(), 'mysql-data')
  const home = join(folder, `${programs.version}-${key}`)
  if (!existsSync(home)) await makeTemplate(programs, user, folder, home)
  const plugins = readFileSync(join(home, 'plugins'), 'utf8').split('\n').filter(Boolean)
  return { dataDir: join(home, 'data'), plugins }
}

const makeTemplate = (
  programs: MysqlPrograms,
  user: string | undefined,
  folder: string,
  home: string,
): Promise<void> =>
  inCache(folder, 'initialises a data directory', async () => {
    if (existsSync(home)) return // made by whom we waited for
    await withTemp(folder, async temp => {
      const plugins = await pluginsOf(programs.mysqld)
      await initialise(programs.mysqld, temp, plugins.includes('auth_socket') ? user : undefined)
      writeFileSync(join(temp, 'plugins'), plugins.map(name => `${name}\n`).join(''))
      renameSync(temp, home)
    })
  })

async function initialise(mysqld: string, folder: string, socketUser: string | undefined): Promise<void> {
  const dataDir = join(folder, 'data')
  mkdirSync(dataDir, { mode: 0o700 })
  const initFile = join(folder, 'init.sql')
  writeFileSync(
    initFile,
    socketUser === undefined
      ? 'SELECT 1;\n'
      : // plugins are not loaded yet, so ALTER USER … IDENTIFIED WITH would be refused
        `UPDATE mysql.user SET plugin='auth_socket', authentication_string='${socketUser}' WHERE user='root';\n`,
  )
  const { code, stdout, stderr } = await run([
    mysqld,
    '--no-defaults',
    '--initialize-insecure',
    `--datadir=${dataDir}`,
    `--init-file=${initFile}`,
    '--skip-log-bin',
    '--innodb-doublewrite=OFF',
    ...smallFiles.map(option => `--${option}`),
    ...(process.geteuid?.() === 0 ? ['--user=root'] : []),
  ])
  if (code !== 0) throw mysqldFailed(`${mysqld} cannot initialise a data directory`, `${stderr}${stdout}`)
  removeFile(initFile)
  removeFile(join(dataDir, 'auto.cnf')) // each copy makes a UUID of its own
}

/** MYSQL, with what the server said of its failure. */
export function mysqldFailed(message: string, log: string): ZtError {
  const lines = log.trim().split('\n')
  const errors = lines.filter(line => line.includes('[ERROR]'))
  const tail = (errors.length > 0 ? errors : lines).slice(-5).map(line => line.trim())
  return new ZtError('MYSQL', `${message}: ${tail.join(' | ')}`, {
    hint: 'the last lines of its error log say why; where AppArmor confines mysqld, set MYSQLD to another copy',
  })
}

/** Copies the template into `folder/data`, sharing blocks where the file system can. */
export async function copyData(template: DataTemplate, folder: string): Promise<string> {
  const dataDir = join(folder, 'data')
  const { code, stderr } = await run(['cp', '-a', '--reflink=auto', template.dataDir, dataDir])
  if (code !== 0)
    throw new ZtError(
      /No space left/.test(stderr) ? 'DISK_FULL' : 'IO',
      `cannot copy the data directory: ${stderr.trim()}`,
      {
        hint: 'a server needs about 150 MB: free some space, or set TMPDIR to a folder with more',
      },
    )
  return dataDir
}
