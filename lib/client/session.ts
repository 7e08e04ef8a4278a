/** One connection with the tenant set, opened when something first needs it and again when it broke. */
import { ZtError } from '../core/errors.ts'
import type { Row } from '../core/tables.ts'
import { type Connection, MysqlError, type MysqlOptions, openMysql, type Parameter } from '../edge/mysql.ts'

/**
 * A statement whose connection is lost is sent once more over a new one: every statement of this library gives the
 * same answer twice (SPEC §5.4).
 */
export interface Session {
  /** Connects, if need be. @throws as openMysql; DENIED where the tenant is not granted */
  ready(): Promise<void>
  query(sql: string, params?: readonly Parameter[]): Promise<Row[]>
  call(procedure: string, params: readonly Parameter[]): Promise<Row[][]>
  close(): Promise<void>
}

/** Server shutdown in progress; the client was idle for too long. */
const goodbyes = new Set([1053, 4031])

/** Whether nobody knows what became of the statement. */
export function isLost(thrown: unknown): boolean {
  if (!(thrown instanceof ZtError)) return false
  if (thrown instanceof MysqlError) return goodbyes.has(thrown.errno)
  return thrown.code === 'UNREACHABLE' || (thrown.cause as { fatal?: unknown } | undefined)?.fatal === true
}

export function openSession(mysql: MysqlOptions, tenant: string): Session {
  let connection: Connection | undefined

  const connect = async (): Promise<Connection> => {
    const opened = await openMysql({ ...mysql, database: 'securedb' })
    try {
      await opened.call('security_set_tenant', [tenant])
    } catch (thrown) {
      opened.destroy()
      throw thrown
    }
    return opened
  }

  const send = async <T>(use: (connection: Connection) => Promise<T>, again = true): Promise<T> => {
    connection ??= await connect()
    try {
      return await use(connection)
    } catch (thrown) {
      if (!isLost(thrown)) throw thrown
      connection.destroy()
      connection = undefined
      if (!again) throw thrown
      return send(use, false)
    }
  }

  return {
    ready: () => send(async () => undefined),
    query: (sql, params = []) => send(open => open.query(sql, params)),
    call: (procedure, params) => send(open => open.call(procedure, params)),
    close: async () => {
      const last = connection
      connection = undefined
      await last?.close()
    },
  }
}
