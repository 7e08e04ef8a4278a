/** Starting mysqld on a folder that holds its my.cnf and its data, and waiting until it answers. */
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { MysqlError, openMysql } from './mysql.ts'
import { mysqldFailed } from './mysqld_data.ts'

const startSeconds = 120

export interface LaunchPlace {
  mysqld: string
  folder: string
  socket: string
}

/** True once the server answers, be it with a refusal; false while nobody listens, or it is shutting down (1053). */
async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false
  try {
    await (await openMysql({ socket, user: 'root' })).close()
    return true
  } catch (thrown) {
    if (thrown instanceof MysqlError) return thrown.errno !== 1053
    if (thrown instanceof ZtError && thrown.code === 'UNREACHABLE') return false
    throw thrown
  }
}

/**
 * Starts mysqld by FOLDER/my.cnf; `spawned` is told of the process at once, so that its owner can end it whatever comes.
 * @throws MYSQL with the error log's last words
 */
export async function launchMysqld(
  { mysqld, folder, socket }: LaunchPlace,
  spawned: (child: Bun.Subprocess) => void,
): Promise<void> {
  const dataDir = join(folder, 'data')
  const errorLog = join(folder, 'error.log')
  writeFileSync(errorLog, '', { flag: 'a', mode: 0o600 })
  const logged = readFileSync(errorLog).length
  const log = () => readFileSync(errorLog).subarray(logged).toString()
  const out = openSync(errorLog, 'a')
  let child: Bun.Subprocess
  try {
    child = Bun.spawn([mysqld, `--defaults-file=${join(folder, 'my.cnf')}`, `--datadir=${dataDir}`], {
      cwd: dataDir, // by which the watchdog knows it
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin', TZ: 'UTC', LC_ALL: 'C' },
      stdin: 'ignore',
      stdout: out,
      stderr: out,
      detached: true, // a Ctrl-C in the terminal is for its owner, who ends it
    })
  } finally {
    closeSync(out)
  }
  child.unref()
  spawned(child)
  for (const end = Date.now() + startSeconds * 1000; !(await answers(socket)); await Bun.sleep(15)) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw mysqldFailed('the server did not start', log())
    if (Date.now() > end) throw mysqldFailed(`the server did not answer within ${startSeconds} s`, log())
  }
}
