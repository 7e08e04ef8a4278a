/** A backup file: written whole or not at all, read line by line, each section and the whole held against its digest. */
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { Readable } from 'node:stream'
import { createGunzip, createGzip } from 'node:zlib'
import { fromUtf8 } from '../../core/bytes.ts'
import { reason, ZtError } from '../../core/errors.ts'
import {
  type BackupHeader,
  type BackupSection,
  type BackupValue,
  formatBackupClosing,
  formatBackupEnd,
  formatBackupHeader,
  formatBackupRow,
  formatBackupSection,
  parseBackupClosing,
  parseBackupEnd,
  parseBackupHeader,
  parseBackupRow,
  parseBackupSection,
} from '../../core/host/backup.ts'
import { fileError, openOutput } from '../files.ts'

/** Longer than any row, routine or certificate; a hostile file must not fill the memory. */
const lineMaxBytes = 8 << 20

export interface BackupWriter {
  section(
    section: BackupSection,
    rows: AsyncIterable<BackupValue[]> | Iterable<BackupValue[]>,
  ): Promise<number>
  /** Puts the file in place. @returns SHA-256 of it, hex. @throws CONFLICT where one of its name is there */
  commit(): Promise<string>
  /** Removes what was written; harmless after commit. */
  abort(): void
}

/** @param path of a new file, of mode 0600 */
export async function writeBackup(
  path: string,
  header: Omit<BackupHeader, 'v' | 'kind'>,
): Promise<BackupWriter> {
  const output = openOutput(path)
  const gzip = createGzip({ level: 6 })
  const file = createHash('sha256')
  const all = createHash('sha256')
  let failure: unknown
  gzip.on('data', (chunk: Buffer) => {
    try {
      file.update(chunk)
      output.write(chunk)
    } catch (thrown) {
      failure ??= thrown // the disk is full: said at the next line
    }
  })
  let sections = 0
  let lines = 0
  const write = async (text: string): Promise<void> => {
    if (failure !== undefined) throw failure
    all.update(text)
    lines++
    if (!gzip.write(text)) await once(gzip, 'drain')
  }
  await write(formatBackupHeader(header))
  return {
    async section(section, rows) {
      const digest = createHash('sha256')
      const put = async (text: string) => {
        digest.update(text)
        await write(text)
      }
      await put(formatBackupSection(section))
      let count = 0
      for await (const row of rows) {
        await put(formatBackupRow(row))
        count++
      }
      await write(formatBackupEnd({ end: section.section, lines: count, sha256: digest.digest('hex') }))
      sections++
      return count
    },
    async commit() {
      const sha256 = all.copy().digest('hex')
      await write(formatBackupClosing({ sections, lines, sha256 }))
      gzip.end()
      await once(gzip, 'end')
      if (failure !== undefined) throw failure
      output.commit({ replace: false })
      return file.digest('hex')
    },
    abort() {
      gzip.destroy()
      output.abort()
    },
  }
}

/** What holds accounts' hashes must be private to this user or root, and no link. @throws PERMISSION, BAD_INPUT */
function openPrivate(path: string): number {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (thrown) {
    throw fileError(thrown, path, 'backup')
  }
  const stats = fstatSync(fd)
  const me = process.geteuid?.() ?? stats.uid
  const caller = me === 0 ? Number(process.env.SUDO_UID ?? 0) : me
  const refuse = (code: 'PERMISSION' | 'BAD_INPUT', text: string, hint: string): never => {
    closeSync(fd)
    throw new ZtError(code, `backup ${path}: ${text}`, { hint })
  }
  if (!stats.isFile()) refuse('BAD_INPUT', 'not a regular file', 'name a backup file')
  if (![0, me, caller].includes(stats.uid))
    refuse(
      'PERMISSION',
      `belongs to another user (uid ${stats.uid})`,
      `make it yours: chown "$(id -un)" ${path}`,
    )
  if ((stats.mode & 0o077) !== 0)
    refuse(
      'PERMISSION',
      `mode ${(stats.mode & 0o7777).toString(8)} lets others in`,
      `close it: chmod 600 ${path}`,
    )
  return fd
}

/** The file from its beginning, whatever was read of it before. */
function* chunksOf(fd: number, file: Hash): Generator<Buffer> {
  for (let at = 0; ; ) {
    const chunk = Buffer.alloc(1 << 16)
    const n = readSync(fd, chunk, 0, chunk.length, at)
    if (n === 0) return
    at += n
    file.update(chunk.subarray(0, n))
    yield chunk.subarray(0, n)
  }
}

async function* linesOf(fd: number, what: string, file: Hash): AsyncGenerator<string> {
  const raw = Readable.from(chunksOf(fd, file), { objectMode: false })
  const gunzip = createGunzip()
  raw.on('error', thrown => gunzip.destroy(thrown))
  raw.pipe(gunzip)
  let parts: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      let start = 0
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        parts.push(chunk.subarray(start, end + 1))
        yield fromUtf8(Buffer.concat(parts), what)
        parts = []
        length = 0
        start = end + 1
      }
      const rest = chunk.subarray(start)
      if (rest.length > 0) parts.push(Buffer.from(rest))
      length += rest.length
      if (length > lineMaxBytes) throw new ZtError('BAD_FORMAT', `${what}: a line is too long`)
    }
  } catch (thrown) {
    if (thrown instanceof ZtError) throw thrown
    throw new ZtError('BAD_FORMAT', `${what}: cut or damaged (${reason(thrown)})`, {
      cause: thrown,
      hint: 'take another copy of it',
    })
  } finally {
    raw.destroy()
    gunzip.destroy()
  }
  if (length > 0)
    throw new ZtError('BAD_FORMAT', `${what}: cut or damaged`, { hint: 'take another copy of it' })
}

export interface ReadSection {
  section: BackupSection
  /** To be read to its end before the next section is asked for. */
  rows: AsyncGenerator<BackupValue[]>
}

export interface ReadBackup {
  header: BackupHeader
  sections(): AsyncGenerator<ReadSection>
  /** SHA-256 of the file, hex; known once every section was read. */
  sha256(): string
}

const damaged = (what: string, part: string): ZtError =>
  new ZtError('BAD_FORMAT', `${what}: ${part} is not what it was when the backup was made`, {
    hint: 'take another copy of it',
  })

/** Runs `use` on an open backup. @throws BAD_FORMAT, also while it is read, NEWER_FORMAT, PERMISSION, NOT_FOUND */
export async function withBackup<T>(
  path: string,
  use: (open: () => Promise<ReadBackup>) => Promise<T>,
): Promise<T> {
  const what = `backup ${path}`
  const fd = openPrivate(path)
  const open = async (): Promise<ReadBackup> => {
    const file = createHash('sha256')
    const all = createHash('sha256')
    const lines = linesOf(fd, what, file)
    let n = 0
    const next = async (): Promise<string> => {
      const { value, done } = await lines.next()
      if (done)
        throw new ZtError('BAD_FORMAT', `${what}: cut after line ${n}`, { hint: 'take another copy of it' })
      n++
      return value
    }
    const first = await next()
    all.update(first)
    const header = parseBackupHeader(first, what)
    let sha256: string | undefined
    async function* rowsOf(section: BackupSection, line: string): AsyncGenerator<BackupValue[]> {
      const digest = createHash('sha256').update(line)
      for (let count = 0; ; count++) {
        const row = await next()
        all.update(row)
        if (row.startsWith('{')) {
          const end = parseBackupEnd(row, `${what}:${n}`)
          if (end.end !== section.section || end.lines !== count || end.sha256 !== digest.digest('hex'))
            throw damaged(what, section.section)
          return
        }
        digest.update(row)
        yield parseBackupRow(row, section.columns, `${what}:${n}`)
      }
    }
    async function* sections(): AsyncGenerator<ReadSection> {
      for (let count = 0; ; count++) {
        const line = await next()
        if (line.startsWith('{"closing":')) {
          const closing = parseBackupClosing(line, `${what}:${n}`)
          if (closing.sections !== count || closing.lines !== n - 1 || closing.sha256 !== all.digest('hex'))
            throw damaged(what, 'it')
          if (!(await lines.next()).done) throw new ZtError('BAD_FORMAT', `${what}: goes on after its end`)
          sha256 = file.digest('hex')
          return
        }
        all.update(line)
        const section = parseBackupSection(line, `${what}:${n}`)
        const rows = rowsOf(section, line)
        yield { section, rows }
        for await (const _ of rows); // what was passed over is still part of the whole
      }
    }
    return {
      header,
      sections,
      sha256: () => {
        if (sha256 === undefined) throw new ZtError('INTERNAL', 'the backup was not read to its end')
        return sha256
      },
    }
  }
  try {
    return await use(open)
  } finally {
    closeSync(fd)
  }
}

export interface CheckedBackup {
  header: BackupHeader
  sha256: string
  /** Rows of each section. */
  sections: Map<string, number>
}

/** Reads all of it and compares every digest. */
export async function checkBackup(open: () => Promise<ReadBackup>): Promise<CheckedBackup> {
  const backup = await open()
  const sections = new Map<string, number>()
  for await (const { section, rows } of backup.sections()) {
    let count = 0
    for await (const _ of rows) count++
    sections.set(section.section, count)
  }
  return { header: backup.header, sha256: backup.sha256(), sections }
}
