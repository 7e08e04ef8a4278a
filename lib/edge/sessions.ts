/** Sessions of an account, ended by root. */
import { ZtError } from '../core/errors.ts'
import { type Connection, MysqlError } from './mysql.ts'

const noSuchThread = 1094

async function sessionsOf(connection: Connection, user: string): Promise<number[]> {
  const rows = await connection.query('SELECT ID AS id FROM performance_schema.processlist WHERE USER = ?', [
    user,
  ])
  return rows.map(row => Number(row.id))
}

/** Ends a session; one that has ended by itself is no error. */
export async function killSession(connection: Connection, id: number): Promise<void> {
  try {
    await connection.run('KILL ?', [id])
  } catch (thrown) {
    if (!(thrown instanceof MysqlError) || thrown.errno !== noSuchThread) throw thrown
  }
}

/**
 * Kills every session of a user name and waits until the server has none: a statement under way may take a moment to
 * notice. Returns how many there were.
 */
export async function killSessions(connection: Connection, user: string, seconds = 10): Promise<number> {
  const killed = new Set<number>()
  for (const end = Date.now() + seconds * 1000; ; await Bun.sleep(20)) {
    const ids = await sessionsOf(connection, user)
    if (ids.length === 0) return killed.size
    if (Date.now() > end)
      throw new ZtError('MYSQL', `account ${user}: ${ids.length} sessions do not end`, {
        hint: 'see SHOW PROCESSLIST',
      })
    for (const id of ids.filter(each => !killed.has(each))) {
      await killSession(connection, id)
      killed.add(id)
    }
  }
}
