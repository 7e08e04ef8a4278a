/** The server as root finds it by its socket: whether it is one to install on. */
import { ZtError } from '../../core/errors.ts'
import { type Connection, MysqlError, openMysql } from '../mysql.ts'

const systemDatabases = ['mysql', 'information_schema', 'performance_schema', 'sys']

const rootHint =
  'run it as root of the host (sudo): root@localhost must come in by auth_socket, without a password'

/** Root by the socket, or one plain refusal. */
export async function openRoot(socket: string): Promise<Connection> {
  try {
    const connection = await openMysql({ socket, user: 'root' })
    await connection.run("SET SESSION time_zone = '+00:00', SESSION lock_wait_timeout = 30")
    return connection
  } catch (thrown) {
    if (thrown instanceof MysqlError && thrown.code === 'DENIED')
      throw new ZtError('DENIED', `mysql ${socket}: root is not let in (${thrown.errno})`, {
        hint: rootHint,
        cause: thrown,
      })
    throw thrown
  }
}

/** The value of one SQL expression. */
export async function scalar(connection: Connection, sql: string): Promise<string> {
  const [row] = await connection.query(`SELECT ${sql} AS value`)
  return String(row?.value ?? '')
}

/** The version of a MySQL that this program can serve. @throws BAD_INPUT, REFUSED, DENIED */
export async function refuseOtherServers(connection: Connection): Promise<string> {
  const version = await scalar(connection, 'VERSION()')
  const comment = await scalar(connection, '@@version_comment')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (/mariadb/i.test(version + comment) || major < 8 || (major === 8 && minor < 4))
    throw new ZtError('BAD_INPUT', `the server is ${comment} ${version}`, { hint: 'use MySQL 8.4 or later' })
  const user = await scalar(connection, 'CURRENT_USER()')
  if (user.startsWith('skip-grants'))
    throw new ZtError('REFUSED', 'the server runs with skip-grant-tables: everybody may do everything', {
      hint: 'take skip-grant-tables out of its option files and restart it',
    })
  if (user !== 'root@localhost')
    throw new ZtError('DENIED', `the server takes root on its socket for ${user}`, { hint: rootHint })
  return version
}

/** Databases of others are refused; an empty `test` is not one. */
export async function refuseOtherDatabases(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    `SELECT s.SCHEMA_NAME AS name, (SELECT COUNT(*) FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME)
       + (SELECT COUNT(*) FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA = s.SCHEMA_NAME) AS objects
     FROM information_schema.SCHEMATA s`,
  )
  const names = rows.map(row => String(row.name))
  const others = rows
    .filter(row => !systemDatabases.includes(String(row.name)) && row.name !== 'securedb')
    .filter(row => row.name !== 'test' || Number(row.objects) > 0)
    .map(row => String(row.name))
  if (others.length > 0)
    throw new ZtError('REFUSED', `this server holds other databases: ${others.join(', ')}`, {
      hint: 'give Zero-Trust MySQL a server of its own: it changes settings and accounts for all of it',
    })
  return names
}

/** The origin of the trail in `securedb`; null where none was made yet. @throws REFUSED where that database is not ours */
export async function readOrigin(connection: Connection, databases: string[]): Promise<string | null> {
  if (!databases.includes('securedb')) return null
  const rows = await connection.query(
    "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'securedb'",
  )
  const tables = rows.map(row => String(row.name))
  if (tables.length === 0) return null
  if (!tables.includes('migrations'))
    throw new ZtError('REFUSED', 'this server holds a database securedb that is not one of ours', {
      hint: 'give Zero-Trust MySQL a server of its own',
    })
  if (!tables.includes('chain_head')) return null // a first run was interrupted
  const [row] = await connection.query('SELECT origin FROM securedb.chain_head WHERE id = 1')
  return row === undefined ? null : String(row.origin)
}
