/** A reader of ustar archives that takes plain regular files and nothing else (POSIX.1-2017 pax, "ustar Interchange Format"). */
import { type Bytes, equal, fromUtf8 } from './bytes.ts'
import { ZtError } from './errors.ts'

export interface TarFile {
  name: string
  mode: number
  bytes: Bytes
}

export interface TarLimits {
  /** Files at most. */
  files: number
  /** Bytes of one file at most. */
  fileBytes: number
  /** Whether a name may be there. */
  allows(name: string): boolean
}

const block = 512

const bad = (what: string, problem: string): ZtError =>
  new ZtError('BAD_FORMAT', `${what}: ${problem}`, { hint: 'take the archive again from where it was made' })

/** A NUL-ended text field; what follows the first NUL must be NUL too. */
function text(header: Bytes, offset: number, length: number, what: string): string {
  const field = header.subarray(offset, offset + length)
  const end = field.indexOf(0)
  const used = end === -1 ? field : field.subarray(0, end)
  if (end !== -1 && field.subarray(end).some(byte => byte !== 0))
    throw bad(what, 'a header field goes on behind its end')
  return fromUtf8(used, what)
}

/** An octal field: digits, then one or more of blank and NUL. Base-256 numbers are refused. */
function octal(header: Bytes, offset: number, length: number, what: string): number {
  const raw = fromUtf8(header.subarray(offset, offset + length), what)
  const digits = /^([0-7]+)[ \0]+$/.exec(raw)?.[1]
  if (digits === undefined) throw bad(what, 'a number in a header is not octal')
  return Number.parseInt(digits, 8)
}

function checksum(header: Bytes): number {
  return header.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 0x20 : byte), 0)
}

const ustar = Uint8Array.of(0x75, 0x73, 0x74, 0x61, 0x72, 0, 0x30, 0x30) // "ustar" NUL "00"

function parseHeader(header: Bytes, what: string): { name: string; mode: number; size: number } {
  if (!equal(header.subarray(257, 265), ustar)) throw bad(what, 'not a ustar archive, or cut')
  if (octal(header, 148, 8, what) !== checksum(header)) throw bad(what, 'the checksum of a header is wrong')
  const name = text(header, 0, 100, what)
  const type = header[156]
  // links, devices and folders could make a file appear elsewhere; extension headers could rename the next one
  if (type !== 0x30) throw bad(what, `${JSON.stringify(name)} is not a regular file`)
  if (text(header, 157, 100, what) !== '') throw bad(what, `${JSON.stringify(name)} names a link target`)
  if (text(header, 345, 155, what) !== '') throw bad(what, `${JSON.stringify(name)} has a path prefix`)
  return { name, mode: octal(header, 100, 8, what), size: octal(header, 124, 12, what) }
}

/** The files of an archive in order, each name once. `what` names it in errors. @throws BAD_FORMAT */
export function parseUstar(tar: Bytes, what: string, limits: TarLimits): TarFile[] {
  const files = new Map<string, TarFile>()
  let at = 0
  for (;;) {
    const header = tar.subarray(at, at + block)
    if (header.length < block) throw bad(what, 'it is cut')
    if (header.every(byte => byte === 0)) break
    const { name, mode, size } = parseHeader(header, what)
    if (!limits.allows(name)) throw bad(what, `${JSON.stringify(name)} does not belong in it`)
    if (files.has(name)) throw bad(what, `${name} is in it twice`)
    if (size > limits.fileBytes) throw bad(what, `${name} is larger than ${limits.fileBytes} bytes`)
    if (files.size === limits.files) throw bad(what, `more than ${limits.files} files`)
    const end = at + block + size
    const padded = at + block + Math.ceil(size / block) * block
    if (padded > tar.length) throw bad(what, 'it is cut')
    if (tar.subarray(end, padded).some(byte => byte !== 0)) throw bad(what, `bytes behind the end of ${name}`)
    files.set(name, { name, mode, bytes: tar.slice(at + block, end) })
    at = padded
  }
  const rest = tar.subarray(at)
  if (rest.length < 2 * block || rest.length % block !== 0) throw bad(what, 'it is cut')
  if (rest.some(byte => byte !== 0)) throw bad(what, 'bytes behind its end')
  return [...files.values()]
}
