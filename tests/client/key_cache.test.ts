import { expect, test } from 'bun:test'
import { KeyCache } from '../../lib/client/key_cache.ts'
import { random } from '../../lib/core/bytes.ts'

const bounds = { maxAgeSeconds: 10, maxUses: 3, maxBytes: 100, maxKeys: 2 }

test('gives copies that do not touch what it keeps', () => {
  const cache = new KeyCache(bounds)
  const key = random(32)
  cache.put('a', key)
  cache.take('a', 1)?.fill(0)
  expect(cache.take('a', 1)).toEqual(key)
})

test('forgets a key once its age, uses or bytes are spent', () => {
  let now = 0
  const cache = new KeyCache(bounds, () => now)
  cache.put('a', random(32))
  now = 10_000
  expect(cache.take('a', 1)).toBeDefined()
  now = 10_001
  expect(cache.take('a', 1)).toBeUndefined()
  cache.put('a', random(32))
  for (let i = 0; i < 3; i++) expect(cache.take('a', 1)).toBeDefined()
  expect(cache.take('a', 1)).toBeUndefined()
  cache.put('a', random(32))
  expect(cache.take('a', 100)).toBeDefined()
  expect(cache.take('a', 1)).toBeUndefined()
  now = 0
  expect(cache.take('a', 1)).toBeUndefined()
})

test('keeps no more keys than it may, the oldest going first', () => {
  const cache = new KeyCache(bounds)
  for (const id of ['a', 'b', 'c']) cache.put(id, random(32))
  expect([cache.take('a', 1), cache.take('b', 1), cache.take('c', 1)].map(key => key !== undefined)).toEqual([
    false,
    true,
    true,
  ])
  cache.put('c', random(32))
  expect(cache.take('b', 1)).toBeDefined()
  cache.clear()
  expect(cache.take('b', 1)).toBeUndefined()
})

test('keeps nothing that comes after it was closed', () => {
  const cache = new KeyCache()
  cache.put('a', new Uint8Array(32))
  cache.close()
  cache.put('b', new Uint8Array(32))
  expect([cache.take('a', 0), cache.take('b', 0)]).toEqual([undefined, undefined])
})
