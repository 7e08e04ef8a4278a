/** What root can do who knows the schema: the two attacks that the demo shows being named. */
import { uuidBytes } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { openMysql } from '../mysql.ts'
import type { Mysqld } from '../mysqld.ts'

/**
 * Edits the role of the first row with the table's triggers out of the way; edits that of the second one and queues
 * an event in the application's name that fits it, with the signature of the row's last write.
 * Returns what a verifier must say: code and row.
 */
export async function tamper(
  server: Mysqld,
  [first = '', second = '']: string[],
): Promise<[code: string, id: string][]> {
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

    // with its triggers back, an UPDATE by hand makes an event that fits; root gives it an id and an old signature
    const forged = await root.run(
      "UPDATE users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
      [uuidBytes(second)],
    )
    if (forged.affectedRows !== 1) throw new ZtError('INTERNAL', `no row ${second} to forge`)
    await root.call('seal_due')
    return [
      ['ROW_EDITED', first],
      ['SIG_BAD', second],
    ]
  } finally {
    await root.close()
  }
}
