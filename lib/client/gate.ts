/** Waits where the database refuses writes for a while: the gate is closed, or this tenant has too much unsealed. */
import { ZtError } from '../core/errors.ts'
import { MysqlError } from '../edge/mysql.ts'

const gates = new Set(['45G01', '45G02', '45G03'])

export const isGate = (thrown: unknown): thrown is MysqlError =>
  thrown instanceof MysqlError && gates.has(thrown.sqlState)

export interface Patience {
  /** How long the gate may stay closed before its own error is thrown. */
  readonly seconds: number
  /** Told once of each wait. */
  readonly warn: (line: string) => void
  readonly sleep?: (millis: number) => Promise<void>
}

/** Runs `act` again while the gate refuses it, after 0.1 s and then twice as long each time, 5 s at most. */
export async function throughGate<T>(act: () => Promise<T>, patience: Patience): Promise<T> {
  const sleep = patience.sleep ?? Bun.sleep
  let waited = 0
  for (let delay = 100; ; delay = Math.min(2 * delay, 5_000)) {
    try {
      return await act()
    } catch (thrown) {
      if (!isGate(thrown)) throw thrown
      if (waited >= patience.seconds * 1000)
        throw new ZtError(thrown.code, `${thrown.message}; waited ${patience.seconds} s`, {
          cause: thrown,
          ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
        })
      if (waited === 0) patience.warn(`waiting: ${thrown.message}`)
      await sleep(delay)
      waited += delay
    }
  }
}
