import { dlopen } from 'bun:ffi'
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { fileError, removeFile } from './file_error.ts'

const LOCK_EX_NB = 2 | 4
const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants

const libraries =
  process.platform === 'darwin'
    ? ['libSystem.B.dylib']
    : ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']

let flock: ((fd: number, operation: number) => number) | undefined

function tryLock(fd: number): boolean {
  const failures: unknown[] = []
  for (const library of flock ? [] : libraries)
    try {
      flock ??= dlopen(library, { flock: { args: ['i32', 'i32'], returns: 'i32' } }).symbols.flock
    } catch (thrown) {
      failures.push(thrown) // another C library's name
    }
  if (!flock) throw new ZtError('INTERNAL', 'this system has no flock', { cause: failures[0] })
  return flock(fd, LOCK_EX_NB) === 0
}

const sameFile = (fd: number, path: string): boolean => {
  const there = statSync(path, { throwIfNoEntry: false })
  const here = fstatSync(fd)
  return there?.ino === here.ino && there.dev === here.dev
}

/**
 * Takes the one lock of a folder (`path/.lock`, which names the holder's pid) and returns its release.
 * The kernel's flock carries it, so whatever ends the holder, kill -9 and power cuts included, frees it.
 * @throws LOCKED naming the pid of the holder
 */
export function lockDir(path: string): () => void {
  const file = join(path, '.lock')
  for (;;) {
    let fd: number
    try {
      fd = openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
    } catch (thrown) {
      throw fileError(thrown, path, 'lock of')
    }
    if (!tryLock(fd)) {
      closeSync(fd)
      throw lockedBy(file, path)
    }
    if (!sameFile(fd, file)) {
      closeSync(fd) // its holder let go and removed it between our open and our lock
      continue
    }
    const release = releaser(fd, file)
    try {
      ftruncateSync(fd)
      writeSync(fd, `${process.pid}\n`, 0)
    } catch (thrown) {
      release()
      throw fileError(thrown, path, 'lock of')
    }
    return release
  }
}

function releaser(fd: number, file: string): () => void {
  let held = true
  const release = () => {
    if (!held) return
    held = false
    forget()
    removeFile(file)
    closeSync(fd)
  }
  const forget = onExit(release)
  return release
}

function lockedBy(file: string, path: string): ZtError {
  let pid = ''
  try {
    pid = readFileSync(file, 'utf8').trim()
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(thrown, file) // let go just now
  }
  const holder = /^\d+$/.test(pid) ? `process ${pid}` : 'another process'
  return new ZtError('LOCKED', `${path}: in use by ${holder}`, {
    hint: 'wait until it has finished, then run this again',
  })
}
