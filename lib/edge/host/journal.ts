/**
 * What the host was like before this program changed it, kept once for each thing, so that `rollback` can restore it.
 * A folder of root's: `journal.json`, and the bytes of replaced files under their SHA-256.
 */
import { existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'
import { formatCanonical, parseCanonical } from '../../core/json.ts'
import { removeFile } from '../file_error.ts'
import { readPrivateFile, writeFileAtomic } from '../files.ts'
import { putFile, sha256Hex } from '../owned_files.ts'

const file = z.strictObject({
  kind: z.literal('file'),
  name: z.string(),
  /** null: nothing had that name. */
  before: z.strictObject({ sha256: z.string(), mode: z.int(), uid: z.int(), gid: z.int() }).nullable(),
})
const unit = z.strictObject({
  kind: z.literal('unit'),
  name: z.string(),
  before: z.strictObject({ enabled: z.string(), active: z.string() }),
})
/** What was made or put in place where nothing was: a package, a system user, a firewall's state. */
const state = z.strictObject({
  kind: z.enum(['package', 'user', 'setting']),
  name: z.string(),
  before: z.string().nullable(),
})

const entrySchema = z.discriminatedUnion('kind', [file, unit, state])
const journalSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-journal'),
  entries: z.array(entrySchema),
})

export type JournalEntry = z.infer<typeof entrySchema>

const maxBytes = 16 << 20

/** One journal; opened anew by each run. */
export class Journal {
  readonly dir: string

  constructor(dir = '/var/lib/ztmysql/originals') {
    this.dir = dir
  }

  #path(name = 'journal.json'): string {
    return join(this.dir, name)
  }

  /** In the order in which things were first touched. @throws BAD_FORMAT, PERMISSION */
  entries(): JournalEntry[] {
    if (!existsSync(this.#path())) return []
    const source = readPrivateFile(this.#path(), 'journal of the installer', maxBytes)
    return parseCanonical(source, journalSchema, this.#path(), { maxBytes, newline: true }).entries
  }

  /** Keeps an entry unless one of its kind and name is there: the first look is the original. */
  keep(entry: JournalEntry): void {
    const entries = this.entries()
    if (entries.some(({ kind, name }) => kind === entry.kind && name === entry.name)) return
    this.#write([...entries, entry])
  }

  /** Keeps what is at a path, or that nothing is. @throws PERMISSION where a link is */
  keepFile(path: string): void {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) {
      this.keep({ kind: 'file', name: path, before: null })
      return
    }
    if (!stats.isFile()) throw new ZtError('BAD_INPUT', `${path}: not a regular file`)
    if (this.entries().some(({ kind, name }) => kind === 'file' && name === path)) return
    const bytes = readFileSync(path)
    const sha256 = sha256Hex(bytes)
    mkdirSync(this.dir, { recursive: true, mode: 0o700 })
    writeFileAtomic(this.#path(sha256), bytes)
    const before = { sha256, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid }
    this.keep({ kind: 'file', name: path, before })
  }

  /** Puts a file back as it was, or away where there was none. */
  restoreFile(entry: Extract<JournalEntry, { kind: 'file' }>): void {
    if (entry.before === null) {
      removeFile(entry.name)
      return
    }
    const { sha256, ...owned } = entry.before
    const bytes = readPrivateFile(this.#path(sha256), 'original', maxBytes)
    if (sha256Hex(bytes) !== sha256)
      throw new ZtError('BAD_FORMAT', `${this.#path(sha256)}: not what was kept of ${entry.name}`)
    putFile({ path: entry.name, ...owned, bytes })
  }

  /** Forgets an entry that was restored. */
  forget(entry: JournalEntry): void {
    this.#write(this.entries().filter(({ kind, name }) => kind !== entry.kind || name !== entry.name))
  }

  #write(entries: JournalEntry[]): void {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 })
    writeFileAtomic(this.#path(), formatCanonical({ v: 1, kind: 'ztmysql-journal', entries }, true))
  }
}
