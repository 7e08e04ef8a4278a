import { afterEach, beforeEach, expect, test } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../lib/core/bytes.ts'
import { commit, recover } from '../../lib/edge/pki/transaction.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-transaction-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const read = (path: string) => readFileSync(join(dir, path), 'utf8')
const next = new Map([
  ['a/one', utf8('1')],
  ['two', utf8('2')],
])

test('writes private files and folders, removes others, leaves nothing behind', () => {
  writeFileSync(join(dir, 'old'), 'x')
  commit(dir, next, ['old'])
  expect(readdirSync(dir).sort()).toEqual(['a', 'two'])
  expect([read('a/one'), read('two')]).toEqual(['1', '2'])
  expect([statSync(join(dir, 'a')).mode & 0o777, statSync(join(dir, 'a/one')).mode & 0o777]).toEqual([
    0o700, 0o600,
  ])
})

test('a run that was cut before it committed leaves all as it was', () => {
  writeFileSync(join(dir, 'two'), 'old')
  mkdirSync(join(dir, '.staged'))
  writeFileSync(join(dir, '.staged/0'), 'new')
  recover(dir)
  expect(readdirSync(dir)).toEqual(['two'])
  expect(read('two')).toBe('old')
})

/** Kills a process in the middle of putting files in place, after `renames` of them. */
function cutAfter(renames: number): void {
  const script = `
    const fs = require('node:fs')
    const { mock } = require('bun:test')
    let left = ${renames + 1}
    const real = fs.renameSync
    mock.module('node:fs', () => ({ ...fs, renameSync: (a, b) => { if (left-- === 0) process.kill(process.pid, 'SIGKILL'); real(a, b) } }))
    const { commit } = require(${JSON.stringify(join(import.meta.dir, '../../lib/edge/pki/transaction.ts'))})
    commit(${JSON.stringify(dir)}, new Map([['a/one', Buffer.from('1')], ['two', Buffer.from('2')]]), ['old'])`
  const file = join(dir, 'script.test.ts')
  writeFileSync(file, script)
  const child = Bun.spawnSync([process.execPath, 'test', file], { cwd: dir })
  rmSync(file)
  expect(child.signalCode).toBe('SIGKILL')
}

test.each([0, 1])('a run that was killed after %i of its files is ended by the next', renames => {
  writeFileSync(join(dir, 'old'), 'x')
  writeFileSync(join(dir, 'two'), 'old')
  cutAfter(renames)
  expect(existsSync(join(dir, '.committed'))).toBe(true)
  expect(existsSync(join(dir, 'a/one'))).toBe(renames === 1)
  expect(read('two')).toBe('old')
  recover(dir)
  expect(readdirSync(dir).sort()).toEqual(['a', 'two'])
  expect([read('a/one'), read('two')]).toEqual(['1', '2'])
  recover(dir)
  expect(readdirSync(dir).sort()).toEqual(['a', 'two'])
})

test('a disk that is full while staging changes nothing', () => {
  writeFileSync(join(dir, 'two'), 'old')
  const script = join(dir, '..', `${dir.split('/').at(-1)}.ts`)
  writeFileSync(
    script,
    `const { commit } = require(${JSON.stringify(join(import.meta.dir, '../../lib/edge/pki/transaction.ts'))})
    try { commit(${JSON.stringify(dir)}, new Map([['two', Buffer.from('2')], ['big', Buffer.alloc(1 << 22)]])) }
    catch (e) { console.log(e.code) }`,
  )
  // a file-size limit of 1 MiB stands for the full disk
  const child = Bun.spawnSync([
    'bash',
    '-c',
    `trap '' XFSZ; ulimit -f 1024; exec "$0" "$1"`,
    process.execPath,
    script,
  ])
  rmSync(script)
  expect(child.stdout.toString().trim()).toBe('DISK_FULL')
  expect(readdirSync(dir)).toEqual(['two'])
  expect(read('two')).toBe('old')
})
