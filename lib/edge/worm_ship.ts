/**
 * A store whose objects are also appended, as lines, to files that rsyslog reads and sends to a log host. An object counts
 * as stored only once its line is on this disk too; what the log host has of it is for the log host to say.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { anchorNumber, formatAnchorSyslog } from '../core/audit/anchor.ts'
import { parseAnchorSyslog } from '../core/audit/anchor_log.ts'
import type { Bytes } from '../core/bytes.ts'
import { fileError, removeFile } from './files.ts'
import type { Worm } from './worm.ts'

/** How often a line is sent again, with the ones after it. */
const repeats = 2
/** About 16 MB a file, and 200 of them hold the anchors of 138 days. */
const linesAFile = 1000
const filesKept = 200
const tailBytes = 65_536

const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW, O_RDONLY, O_DIRECTORY } = constants

const fileName = (number: number): string =>
  `anchors-${String(Math.floor(number / linesAFile)).padStart(7, '0')}.log`

function syncDir(dir: string): void {
  const fd = openSync(dir, O_RDONLY | O_DIRECTORY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function tailOf(fd: number): string {
  const { size } = fstatSync(fd)
  const bytes = Buffer.alloc(Math.min(size, tailBytes))
  const length = readSync(fd, bytes, 0, bytes.length, size - bytes.length)
  return bytes.subarray(0, length).toString('latin1')
}

/** Of the file before the one of `number`. */
function tailBefore(dir: string, number: number): string {
  const path = join(dir, fileName(Math.max(0, number - linesAFile)))
  if (number < linesAFile || !existsSync(path)) return ''
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW)
  try {
    return tailOf(fd)
  } finally {
    closeSync(fd)
  }
}

/** The number in the last whole line, 0 where there is none. */
function lastNumber(tail: string): number {
  const whole = tail.slice(0, tail.lastIndexOf('\n') + 1)
  const line = whole.trimEnd().split('\n').at(-1) ?? ''
  return Number(/ number="([0-9]+)"/.exec(line)?.[1] ?? 0)
}

/**
 * The newest whole lines before this one, to be sent again with it. librelp keeps what was sent and not acknowledged in
 * memory alone: where rsyslog restarts while the log host is away, that one line (windowSize=1) is gone for good.
 */
function recent(tail: string, number: number): string[] {
  const lines = new Map<number, string>()
  for (const line of tail.slice(0, tail.lastIndexOf('\n') + 1).split('\n'))
    if (line !== '') {
      const found = numberOf(line)
      if (found !== undefined && found < number) lines.set(found, line)
    }
  return [...lines]
    .sort(([a], [b]) => a - b)
    .slice(-repeats)
    .map(([, line]) => line)
}

/** Of a whole line of anchor_head; half a line stays where it is. */
function numberOf(line: string): number | undefined {
  try {
    return parseAnchorSyslog(line).anchor.number
  } catch {
    return undefined // a run that was cut off left it
  }
}

/** Appends the line of an anchor unless it is there; on the disk on return. */
function append(dir: string, number: number, bytes: Bytes): void {
  const path = join(dir, fileName(number))
  let fd: number | undefined
  try {
    fd = openSync(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0o640)
    const tail = tailOf(fd)
    if (lastNumber(tail) < number) {
      // a run that was cut off left half a line: it stays by itself
      const cut = tail !== '' && !tail.endsWith('\n') ? '\n' : ''
      const line = formatAnchorSyslog(bytes, { host: hostname(), pid: process.pid })
      const before = tail === '' ? tailBefore(dir, number) : tail
      const all = [...recent(before, number), line]
      writeSync(fd, Buffer.from(`${cut}${all.join('\n')}\n`))
    }
    fsyncSync(fd)
    if (tail === '') syncDir(dir)
  } catch (thrown) {
    throw fileError(thrown, path, 'lines for the log host')
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

function prune(dir: string): void {
  const files = readdirSync(dir)
    .filter(name => /^anchors-[0-9]{7}\.log$/.test(name))
    .sort()
  for (const old of files.slice(0, -filesKept)) removeFile(join(dir, old))
}

/** @param dir the folder that rsyslog watches */
export function shipping(store: Worm, dir: string): Worm {
  return {
    ...store,
    async put(name, bytes) {
      const stored = await store.put(name, bytes)
      const number = anchorNumber(name)
      if (number !== undefined) {
        append(dir, number, bytes)
        prune(dir)
      }
      return stored
    },
  }
}
