/** A folder of certificates changes as a whole. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exchangePaths } from '../../lib/edge/host/exchange.ts'
import { swapFolder } from '../../lib/edge/host/tls_swap.ts'

let top: string
const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const dir = () => ({ path: join(top, 'tls'), mode: 0o750, ...me })
const file = (name: string, bytes: string) => ({ path: join(top, 'tls', name), mode: 0o600, ...me, bytes })
const read = (name: string) => readFileSync(join(top, 'tls', name), 'utf8')

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'zt-swap-'))
})
afterEach(() => rmSync(top, { recursive: true, force: true }))

describe('a folder of certificates', () => {
  const old = () => [file('key', 'old key'), file('cert', 'old cert')]
  const next = () => [file('key', 'new key'), file('cert', 'new cert')]

  test('is made where there is none', () => {
    swapFolder(dir(), old()).done()
    expect([read('key'), read('cert'), lstatSync(dir().path).mode & 0o777]).toEqual([
      'old key',
      'old cert',
      0o750,
    ])
  })

  test('is replaced by another folder, which carries what is not ours', () => {
    swapFolder(dir(), old()).done()
    writeFileSync(join(top, 'tls', 'other.pem'), 'of somebody else')
    const inode = lstatSync(dir().path).ino
    const swap = swapFolder(dir(), next())
    expect([read('key'), read('cert'), read('other.pem')]).toEqual([
      'new key',
      'new cert',
      'of somebody else',
    ])
    expect(lstatSync(dir().path).ino).not.toBe(inode) // no file was replaced alone
    swap.done()
    expect(readdirSync(top)).toEqual(['tls'])
  })

  test('comes back whole', () => {
    swapFolder(dir(), old()).done()
    const inode = lstatSync(dir().path).ino
    swapFolder(dir(), next()).undo()
    expect([read('key'), read('cert'), lstatSync(dir().path).ino]).toEqual(['old key', 'old cert', inode])
    expect(readdirSync(top)).toEqual(['tls'])
  })

  test('is written file by file where something else is in it, and comes back all the same', () => {
    swapFolder(dir(), old()).done()
    mkdirSync(join(top, 'tls', 'folder'))
    const swap = swapFolder(dir(), next())
    expect([read('key'), read('cert')]).toEqual(['new key', 'new cert'])
    swap.undo()
    expect([read('key'), read('cert'), readdirSync(top)]).toEqual(['old key', 'old cert', ['tls']])
  })

  test('of a run that was killed leaves no old key behind the next one', () => {
    swapFolder(dir(), old()).done()
    swapFolder(dir(), next()) // killed here
    expect(readdirSync(top)).toHaveLength(2)
    swapFolder(dir(), next()).done()
    expect(readdirSync(top)).toEqual(['tls'])
  })
})

test('two paths are exchanged, or nothing happens', () => {
  writeFileSync(join(top, 'a'), 'A')
  expect(exchangePaths(join(top, 'a'), join(top, 'none'))).toBe(false)
  writeFileSync(join(top, 'b'), 'B')
  expect(exchangePaths(join(top, 'a'), join(top, 'b'))).toBe(true)
  expect(readFileSync(join(top, 'a'), 'utf8')).toBe('B')
})
