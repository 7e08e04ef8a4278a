// Not found by `bun test`, whose pattern its name does not match: a test names it, to interrupt it in the middle.
import { expect, test } from 'bun:test'
import { sharedServer } from './mysql.ts'

test('waits to be interrupted', async () => {
  const { dir, pid } = await sharedServer()
  console.log(JSON.stringify({ dir, pid }))
  await Bun.sleep(600_000)
  expect.unreachable('nobody interrupted it')
}, 700_000)
