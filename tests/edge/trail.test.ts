import { describe, expect, test } from 'bun:test'
import type { Row } from '../../lib/core/tables.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { eventsFrom, unlessIdle } from '../../lib/edge/trail.ts'

/** A server that answers every query with `count` events of `size` bytes; says how many were taken from it. */
function serverWith(count: number, size: number): { connection: Connection; taken: () => number } {
  let taken = 0
  async function* stream(): AsyncGenerator<Row> {
    for (; taken < count; taken++) yield { seq: taken, payload: new Uint8Array(size) }
  }
  return { connection: { stream } as unknown as Connection, taken: () => taken }
}

test('events come in batches of a thousand', async () => {
  const { connection } = serverWith(2500, 300)
  const sizes: number[] = []
  for await (const batch of eventsFrom(connection, 0)) sizes.push(batch.length)
  expect(sizes).toEqual([1000, 1000, 500])
})

test('a view of huge rows in the place of the trail does not fill the memory: batches are bounded in bytes', async () => {
  const { connection, taken } = serverWith(100_000, 4 << 20)
  const events = eventsFrom(connection, 0)
  const { value } = await events.next()
  expect(value?.length).toBe(2)
  expect(taken()).toBeLessThanOrEqual(3)
  await events.return(undefined)
})

describe('a server that stands still', () => {
  test('is left, with the connection, once it is idle for too long', async () => {
    let destroyed = false
    async function* asleep(): AsyncGenerator<number> {
      yield 1
      await new Promise<void>(() => undefined)
    }
    const connection = {
      destroy: () => {
        destroyed = true
      },
    }
    const seen: number[] = []
    const reading = (async () => {
      for await (const n of unlessIdle(connection, asleep(), 0.05)) seen.push(n)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'UNREACHABLE' })
    expect([seen, destroyed]).toEqual([[1], true])
  })
})
