/** The key file of component_keyring_file: made once, empty, as mysql's own; never written by this program again. */
import { chmodSync, chownSync, existsSync, lstatSync, statSync } from 'node:fs'
import { mysqldPaths } from '../../core/host/mysqld.ts'
import type { Change, Finding, Step } from '../../core/plan.ts'
import { createExclusive } from '../files.ts'
import { openRoot } from '../install/server.ts'
import { findUser, installDefaults } from '../install/target.ts'
import { putDir } from '../owned_files.ts'

/** As performance_schema says: Active, Disabled; `none` where no keyring is loaded or no server answers. */
export async function keyringStatus(): Promise<string> {
  if (!existsSync(installDefaults.socket)) return 'none'
  const connection = await openRoot(installDefaults.socket)
  try {
    const [row] = await connection.query(
      "SELECT STATUS_VALUE AS value FROM performance_schema.keyring_component_status WHERE STATUS_KEY = 'Component_status'",
    )
    return String(row?.value ?? 'none')
  } finally {
    await connection.close()
  }
}

function describe(path: string): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return null
  return `${(stats.mode & 0o7777).toString(8).padStart(4, '0')} ${stats.uid}:${stats.gid}`
}

export async function keyringStep(): Promise<{ step: Step; findings: Finding[] }> {
  const { keyringDir, keyFile, manifest } = mysqldPaths
  const mysql = await findUser('mysql')
  const owner = mysql === null ? 'mysql:mysql' : `${mysql.uid}:${mysql.gid}`
  // An empty one in its place would start a server that cannot read its tables.
  const isLost = existsSync(manifest) && !existsSync(keyFile)
  const wanted = [
    { path: keyringDir, after: `0700 ${owner}` },
    ...(isLost ? [] : [{ path: keyFile, after: `0600 ${owner}` }]),
  ]
  const changes: Change[] = wanted
    .map(({ path, after }) => ({ item: path, before: describe(path), after }))
    .filter(({ before, after }) => before !== after)
  const step = {
    id: 'keyring',
    description: 'make the file of the keys that encrypt tables and logs at rest',
    changes,
    apply: async () => {
      const { uid, gid } = (await findUser('mysql')) ?? statSync('/var/lib/mysql')
      putDir({ path: keyringDir, mode: 0o700, uid, gid })
      if (!existsSync(keyFile)) createExclusive(keyFile, '')
      chownSync(keyFile, uid, gid)
      chmodSync(keyFile, 0o600)
    },
  }
  const detail =
    'is gone: what mysqld has open stays readable until it ends; put the backup of it back before any restart'
  return { step, findings: isLost ? [{ item: keyFile, detail }] : [] }
}
