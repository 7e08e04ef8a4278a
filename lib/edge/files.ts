/** Files: whole or absent, private by default, and never through a link that somebody else planted. */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { errno, fileError, removeFile } from './file_error.ts'

export { fileError, removeFile } from './file_error.ts'
export { lockDir } from './lock.ts'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants

/** Larger than any key, certificate or configuration that a person keeps in a file. */
const privateFileMaxBytes = 1 << 20

function syncFolder(path: string): void {
  const fd = openSync(path, O_RDONLY | O_DIRECTORY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** For root a rename would put a file in the place of /dev/null, or of the link /dev/stdout, for everybody. */
function refuseSpecial(path: string): void {
  let stats: Stats | undefined
  try {
    stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats?.isSymbolicLink()) {
      const toProcess = readlinkSync(path).startsWith('/proc/')
      stats = toProcess ? undefined : statSync(path, { throwIfNoEntry: false })
      if (!toProcess && !stats) return // a dangling link is replaced
    } else if (!stats) return
  } catch (thrown) {
    throw fileError(thrown, path)
  }
  if (stats?.isFile() || stats?.isDirectory()) return // a folder is told by what is tried next
  throw new ZtError('BAD_INPUT', `${path}: not a regular file`, { hint: 'name a regular file, or a new one' })
}

/** An output in the making: bytes go to a hidden temporary file beside `path`, which appears whole on commit. */
export interface OutputFile {
  write(bytes: Bytes | string): void
  /** Flushes to the disk and puts the file in place; with `replace: false` an existing file is a CONFLICT. */
  commit(options?: { replace?: boolean }): void
  /** Removes the temporary file; harmless after commit, so it fits a `finally`. */
  abort(): void
}

/**
 * Opens an output for `path`. What is not committed is removed by abort, and by Ctrl-C. With `owner` it is theirs before
 * it has a name that they know.
 * @throws as fileError; BAD_INPUT where a device, a pipe or the like has that name
 */
export function openOutput(
  path: string,
  mode = 0o600,
  owner?: { readonly uid: number; readonly gid: number },
): OutputFile {
  refuseSpecial(path)
  const folder = dirname(path)
  const temp = join(folder, `.zt-${randomBytes(9).toString('hex')}.tmp`)
  let fd: number
  try {
    fd = openSync(temp, 'wx', mode)
  } catch (thrown) {
    throw fileError(thrown, path)
  }
  let open = true
  const abort = () => {
    if (!open) return
    open = false
    forget()
    closeSync(fd)
    removeFile(temp)
  }
  const forget = onExit(abort)
  const guarded = (act: () => void) => {
    try {
      act()
    } catch (thrown) {
      abort()
      throw fileError(thrown, path)
    }
  }
  if (owner !== undefined) guarded(() => fchownSync(fd, owner.uid, owner.gid))
  guarded(() => fchmodSync(fd, mode)) // the umask may have taken bits that were asked for
  return {
    write: bytes => guarded(() => writeAll(fd, typeof bytes === 'string' ? Buffer.from(bytes) : bytes)),
    commit: ({ replace = true } = {}) =>
      guarded(() => {
        fsyncSync(fd)
        if (replace) renameSync(temp, path)
        else {
          linkSync(temp, path) // unlike rename, link fails where a file exists
          unlinkSync(temp)
        }
        open = false
        forget()
        closeSync(fd)
        syncFolder(folder)
      }),
    abort,
  }
}

function writeAll(fd: number, bytes: Bytes): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
}

/** Writes a file whole or not at all, replacing what was there. @throws as fileError */
export function writeFileAtomic(
  path: string,
  bytes: Bytes | string,
  mode = 0o600,
  owner?: { readonly uid: number; readonly gid: number },
): void {
  const output = openOutput(path, mode, owner)
  output.write(bytes)
  output.commit()
}

/** Writes a new file whole or not at all. @throws CONFLICT where anything has that name already; else as fileError */
export function createExclusive(path: string, bytes: Bytes | string, mode = 0o600): void {
  const output = openOutput(path, mode)
  output.write(bytes)
  output.commit({ replace: false })
}

const describe = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')

/** A file of this process's user or of root; under sudo also one of the person who called it. */
function trustedOwner(uid: number): boolean {
  const me = process.geteuid?.() ?? uid
  const caller = me === 0 && /^\d+$/.test(process.env.SUDO_UID ?? '') ? Number(process.env.SUDO_UID) : me
  return uid === me || uid === 0 || uid === caller
}

function refuseStrangers(stats: Stats, path: string, what: string): void {
  if (!trustedOwner(stats.uid))
    throw new ZtError('PERMISSION', `${what} ${path}: belongs to another user (uid ${stats.uid})`, {
      hint: `make it yours: chown "$(id -un)" ${path}`,
    })
}

function refuseLoose(stats: Stats, path: string, what: string, wanted: string): void {
  if ((stats.mode & 0o077) !== 0)
    throw new ZtError('PERMISSION', `${what} ${path}: mode ${describe(stats.mode)} lets others in`, {
      hint: `close it: chmod ${wanted} ${path}`,
    })
}

/**
 * Makes a folder of mode 0700 (its parents by the umask), or accepts the one that is there.
 * @throws PERMISSION where it is a link, another user's, or open to group or others
 */
export function makePrivateDir(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    mkdirSync(path, { mode: 0o700 })
    return
  } catch (thrown) {
    if (errno(thrown) !== 'EEXIST') throw fileError(thrown, path)
  }
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) throw fileError({ code: 'ELOOP' }, path, 'folder')
  if (!stats.isDirectory()) throw new ZtError('BAD_INPUT', `${path}: is a file, not a folder`)
  refuseStrangers(stats, path, 'folder')
  refuseLoose(stats, path, 'folder', '700')
}

/** Everything up to `maxBytes` from a regular file opened with `flags`; `check` judges it before a byte is read. */
function readChecked(
  path: string,
  what: string,
  maxBytes: number,
  flags: number,
  check?: (stats: Stats) => void,
): Buffer<ArrayBuffer> {
  let fd: number | undefined
  try {
    fd = openSync(path, flags | O_NONBLOCK) // a planted FIFO must not hang us
    const stats = fstatSync(fd)
    if (stats.isDirectory()) throw fileError({ code: 'EISDIR' }, path, what)
    if (!stats.isFile())
      throw new ZtError('BAD_INPUT', `${what} ${path}: not a regular file`, { hint: 'name a regular file' })
    check?.(stats)
    const bytes = Buffer.alloc(Math.min(stats.size, maxBytes) + 1)
    let length = 0
    for (let n = -1; n !== 0 && length < bytes.length; length += n)
      n = readSync(fd, bytes, length, bytes.length - length, null)
    if (length > stats.size) throw new ZtError('IO', `${what} ${path}: grew while it was read`)
    if (length > maxBytes || stats.size > maxBytes)
      throw new ZtError('BAD_INPUT', `${what} ${path}: larger than ${maxBytes} bytes`, {
        hint: 'check that it is the right file',
      })
    return bytes.subarray(0, length)
  } catch (thrown) {
    throw fileError(thrown, path, what)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/**
 * A secret from a file that nobody else could have read or replaced: no link, a regular file of this user or root
 * (under sudo also of its caller), no permission for group or others, at most 1 MiB unless told otherwise.
 * `what` names it in errors.
 */
export function readPrivateFile(
  path: string,
  what: string,
  maxBytes: number = privateFileMaxBytes,
): Buffer<ArrayBuffer> {
  return readChecked(path, what, maxBytes, O_RDONLY | O_NOFOLLOW, stats => {
    refuseStrangers(stats, path, what)
    refuseLoose(stats, path, what, '600')
  })
}

/** The bytes of a regular file of at most `maxBytes`; links are followed. `what` names it in errors. */
export function readRegularFile(path: string, what: string, maxBytes: number): Buffer<ArrayBuffer> {
  return readChecked(path, what, maxBytes, O_RDONLY)
}

/** What an open descriptor holds, up to 64 KiB: a pipe or a here-string of whoever started us. @throws as fileError */
export function readDescriptor(fd: number, what: string): Buffer<ArrayBuffer> {
  const buffer = Buffer.alloc(1 << 16)
  let filled = 0
  try {
    for (let n = 1; n > 0 && filled < buffer.length; filled += n)
      n = readSync(fd, buffer, filled, buffer.length - filled, null)
  } catch (thrown) {
    throw fileError(thrown, `descriptor ${fd}`, what)
  }
  return buffer.subarray(0, filled)
}
