/** Modes and owners of what the distribution put in place: closed to others, its contents left alone. */
import { chmodSync, chownSync, existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { mysqldPaths } from '../../core/host/mysqld.ts'
import type { Change, Step } from '../../core/plan.ts'
import { findUser } from '../install/target.ts'
import type { Owner } from '../owned_files.ts'
import type { Setup } from './setup.ts'

interface Wanted extends Owner {
  path: string
  mode: number
}

const text = (mode: number, { uid, gid }: Owner): string =>
  `${(mode & 0o7777).toString(8).padStart(4, '0')} ${uid}:${gid}`

/**
 * Option files: root's, read by mysqld, by nobody else (dev-sec conf-07, conf-08). Ordinary users' clients pass an option
 * file by that they may not read.
 */
function wantedModes(confDir: string, mysql: Owner): Wanted[] {
  const owner = { uid: 0, gid: mysql.gid }
  const folders = ['/etc/mysql/conf.d', confDir].filter(existsSync)
  const files = folders.flatMap(folder =>
    readdirSync(folder)
      .filter(name => name.endsWith('.cnf'))
      .map(name => join(folder, name)),
  )
  return [
    ...folders.map(path => ({ path, mode: 0o750, ...owner })),
    ...[realpathSync(mysqldPaths.optionFile), ...files].map(path => ({ path, mode: 0o640, ...owner })),
    { path: '/var/lib/mysql', mode: 0o700, ...mysql },
  ]
}

export async function modesStep({ wanted, journal }: Setup): Promise<Step> {
  const mysql = await findUser('mysql')
  const all = mysql === null || !existsSync(mysqldPaths.optionFile) ? [] : wantedModes(wanted.confDir, mysql)
  const differing = all.flatMap(each => {
    const stats = lstatSync(each.path)
    const [before, after] = [text(stats.mode, stats), text(each.mode, each)]
    return before === after || stats.isSymbolicLink() ? [] : [{ each, before, after }]
  })
  const changes: Change[] =
    mysql === null
      ? [{ item: mysqldPaths.optionFile, before: null, after: '0640 root:mysql' }]
      : differing.map(({ each, before, after }) => ({ item: each.path, before, after }))
  return {
    id: 'modes',
    description: "close the distribution's option files and the data folder to others",
    changes,
    apply: async () => {
      for (const { each, before } of differing) {
        journal.keep({ kind: 'setting', name: `mode ${each.path}`, before })
        chownSync(each.path, each.uid, each.gid)
        chmodSync(each.path, each.mode)
      }
    },
  }
}
