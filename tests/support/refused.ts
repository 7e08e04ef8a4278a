import { expect } from 'bun:test'
import { MysqlError } from '../../lib/edge/mysql.ts'

/** The server refused with exactly this error: `1644 45T01` for one of our routines', `1142` for one of its own. */
export async function refused(attempt: Promise<unknown>, error: string): Promise<void> {
  const thrown = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(thrown instanceof MysqlError)) throw thrown ?? new Error(`was not refused; expected ${error}`)
  expect(error.includes(' ') ? `${thrown.errno} ${thrown.sqlState}` : String(thrown.errno)).toBe(error)
}
