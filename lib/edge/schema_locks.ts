/** DDL against sessions that sit in a transaction: a tenant who idles on a view would hold an upgrade up for ever. */
import { ZtError } from '../core/errors.ts'
import { type Connection, MysqlError } from './mysql.ts'
import { killSession } from './sessions.ts'

const lockWaitTimeout = 1205
const tries = 5

interface Holder {
  id: number
  user: string
}

/** Sessions of accounts that hold a metadata lock on the database; not this one, and none of root or the server. */
async function holders(connection: Connection): Promise<Holder[]> {
  const rows = await connection.query(
    `SELECT DISTINCT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user
     FROM performance_schema.metadata_locks l
     JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
     WHERE l.OBJECT_SCHEMA = 'securedb' AND l.LOCK_STATUS = 'GRANTED' AND t.TYPE = 'FOREGROUND'
       AND t.PROCESSLIST_ID <> CONNECTION_ID() AND t.PROCESSLIST_USER NOT IN ('root', 'event_scheduler')`,
  )
  return rows.map(row => ({ id: Number(row.id), user: String(row.user) }))
}

/**
 * Runs a statement that needs objects of the database for itself; where it waited in vain it ends the sessions that hold
 * them, whose writes are whole or not there, and tries again. @throws LOCKED, naming who holds them
 */
export async function runAlone(connection: Connection, sql: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await connection.run(sql)
      return
    } catch (thrown) {
      if (!(thrown instanceof MysqlError) || thrown.errno !== lockWaitTimeout) throw thrown
      const found = await holders(connection)
      if (attempt === tries) throw held(found, thrown)
      for (const { id } of found) await killSession(connection, id)
    }
  }
}

function held(found: Holder[], cause: unknown): ZtError {
  const users = [...new Set(found.map(({ user }) => user))].join(', ') || 'a session that is not listed'
  return new ZtError('LOCKED', `the schema is held by sessions that come back: ${users}`, {
    hint: `stop these applications, or lock the accounts (ALTER USER … ACCOUNT LOCK), and run it again`,
    cause,
  })
}
