/** What root can do who knows the schema: the two attacks that the demo shows being named. */
import { uuidBytes } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { openMysql } from '../mysql.ts'
import type { Mysqld } from '../mysqld.ts'

/** What the verifier must say of an attack: the code, and a text that names the place. */
export interface Attacked {
  code: string
  about: string
}

/**
 * Edits the role of the first row with the table's triggers out of the way; then edits the second one so that a
 * matching event is made in the application's name, with the signature of the row's last write.
 */
export async function tamper(
  server: Mysqld,
  [first = '', second = '']: readonly string[],
): Promise<Attacked[]> {
  const root = await openMysql({ socket: server.socket, user: 'root', database: 'securedb' })
  try {
    const triggers = await root.query(
      "SELECT trigger_name AS name FROM information_schema.triggers WHERE event_object_schema = 'securedb' AND event_object_table = 'users'",
    )
    const definitions: string[] = []
    for (const { name } of triggers) {
      const [shown] = await root.query(`SHOW CREATE TRIGGER securedb.${name}`)
      definitions.push(String(shown?.['SQL Original Statement']))
      await root.run(`DROP TRIGGER securedb.${name}`)
    }
    await root.run("UPDATE users SET role = 'admin' WHERE id = ?", [uuidBytes(first)])
    for (const definition of definitions) await root.run(definition)

    const forged = await root.run(
      "UPDATE users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
      [uuidBytes(second)],
    )
    if (forged.affectedRows !== 1) throw new ZtError('INTERNAL', `no row ${second} to forge`)
    await root.call('seal_due')
    return [
      { code: 'ROW_EDITED', about: `users ${first}` },
      { code: 'SIG_BAD', about: `update of users ${second}` },
    ]
  } finally {
    await root.close()
  }
}
