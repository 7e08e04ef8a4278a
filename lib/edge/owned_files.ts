/** Files of the host with an owner and a mode: what is there, what should be, and putting it there whole. */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { structuredPatch } from 'diff'
import { ZtError } from '../core/errors.ts'
import type { Change } from '../core/plan.ts'
import { printable } from '../core/printable.ts'
import { removeFile } from './file_error.ts'
import { fileError, readRegularFile, writeFileAtomic } from './files.ts'

export interface Owner {
  uid: number
  gid: number
}

export interface OwnedFile extends Owner {
  path: string
  mode: number
  bytes: Uint8Array | string
}

export interface OwnedDir extends Owner {
  path: string
  mode: number
}

const maxBytes = 4 << 20

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')

export const sha256Hex = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex')

const line = (mode: number, { uid, gid }: Owner, digest: string | null): string =>
  `${octal(mode)} ${uid}:${gid}${digest === null ? '' : ` sha256:${digest.slice(0, 16)}`}`

/** `0600 0:0 sha256:…` of what is at a path, null for nothing. @throws PERMISSION on a link, BAD_INPUT on what is no file */
export function describeFile(path: string): string | null {
  try {
    const stats = lstatSync(path)
    if (stats.isSymbolicLink()) throw fileError({ code: 'ELOOP' }, path)
    return line(stats.mode, stats, sha256Hex(readRegularFile(path, 'file', maxBytes)))
  } catch (thrown) {
    const error = fileError(thrown, path)
    if (error.code === 'NOT_FOUND') return null
    throw error
  }
}

function describeDir(path: string): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return null
  if (stats.isSymbolicLink()) throw fileError({ code: 'ELOOP' }, path, 'folder')
  if (!stats.isDirectory()) throw new ZtError('BAD_INPUT', `${path}: is a file, not a folder`)
  return line(stats.mode, stats, null)
}

/** The same line for what should be there. */
export const describeOwned = (file: { mode: number; owner: string; sha256: string }): string =>
  `${octal(file.mode)} ${file.owner} sha256:${file.sha256.slice(0, 16)}`

export function fileChange(file: OwnedFile): Change[] {
  const before = describeFile(file.path)
  const after = line(file.mode, file, sha256Hex(file.bytes))
  if (before === after) return []
  const diff = openDiff(file, before !== null)
  return [{ item: file.path, before, after, ...(diff.length === 0 ? {} : { diff }) }]
}

const everybodyReads = (mode: number): boolean => (mode & 0o004) !== 0

/** What comes and goes, line by line; nothing of a file that may hold a secret, now or then, and nothing of what is no text. */
function openDiff({ path, mode, bytes }: OwnedFile, there: boolean): string[] {
  if (!everybodyReads(mode) || (there && !everybodyReads(lstatSync(path).mode))) return []
  const [old, wanted] = [there ? textOf(readFileSync(path)) : '', textOf(bytes)]
  return old === null || wanted === null ? [] : unifiedDiff(old, wanted)
}

const maxDiffBytes = 64 << 10

/** null for what is no UTF-8, or too long to be read by a person. */
function textOf(bytes: Uint8Array | string): string | null {
  if (bytes.length > maxDiffBytes) return null
  if (typeof bytes === 'string') return bytes
  return isUtf8(bytes) ? new TextDecoder().decode(bytes) : null
}

const unifiedDiff = (old: string, wanted: string): string[] =>
  structuredPatch('', '', old, wanted, '', '', { context: 2 }).hunks.flatMap(hunk => [
    `@@ -${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@`,
    ...hunk.lines.map(text => printable(text.replaceAll('\t', '  '))),
  ])

export function dirChange(dir: OwnedDir): Change[] {
  const before = describeDir(dir.path)
  const after = line(dir.mode, dir, null)
  return before === after ? [] : [{ item: dir.path, before, after }]
}

/** Makes a folder, or gives the one that is there its owner and mode. */
export function putDir({ path, mode, uid, gid }: OwnedDir): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 }) // the owner must be able to walk there
    mkdirSync(path, { recursive: true, mode: 0o700 })
    chownSync(path, uid, gid)
    chmodSync(path, mode)
  } catch (thrown) {
    throw fileError(thrown, path, 'folder')
  }
}

/**
 * Puts a file in place whole. Owner and mode are set on the open file, never by its name: the folder may be the owner's,
 * who could put a link there.
 */
export function putFile({ path, mode, uid, gid, bytes }: OwnedFile): void {
  writeFileAtomic(path, bytes, mode, { uid, gid })
}

/** Keeps what is at the paths of files; the function returned puts it back, or takes away what was not there. */
export function snapshotFiles(files: OwnedFile[]): () => void {
  const before = files.map(file => {
    if (!existsSync(file.path)) return () => removeFile(file.path)
    const { uid, gid, mode } = lstatSync(file.path)
    const bytes = readFileSync(file.path)
    return () => putFile({ path: file.path, uid, gid, mode: mode & 0o7777, bytes })
  })
  return () => {
    for (const restore of before) restore()
  }
}

/** The owner of a path. @throws as fileError */
export function ownerOf(path: string): Owner {
  try {
    const { uid, gid } = lstatSync(path)
    return { uid, gid }
  } catch (thrown) {
    throw fileError(thrown, path)
  }
}

/**
 * Every folder above a path is root's or this user's, and nobody else may write there: or what we put there could be
 * replaced. @throws PERMISSION
 */
export function refuseSharedParent(path: string): void {
  const me = process.geteuid?.() ?? 0
  for (let at = dirname(path); ; at = dirname(at)) {
    const stats = lstatSync(at, { throwIfNoEntry: false })
    const sticky = stats !== undefined && (stats.mode & 0o1000) !== 0
    if (stats !== undefined && (stats.mode & 0o022) !== 0 && !sticky)
      throw new ZtError('PERMISSION', `${at}: others may write there`, {
        hint: `close it: chmod go-w ${at}`,
      })
    if (stats !== undefined && stats.uid !== 0 && stats.uid !== me)
      throw new ZtError('PERMISSION', `${at}: belongs to another user (uid ${stats.uid})`, {
        hint: 'choose a folder of root',
      })
    if (at === dirname(at)) return
  }
}
