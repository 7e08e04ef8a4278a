/**
 * A folder of certificates is replaced whole: a mysqld that starts at any moment finds key and certificate of one set,
 * also where this program is killed half way.
 */
import { randomBytes } from 'node:crypto'
import { linkSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import {
  dirChange,
  fileChange,
  type OwnedDir,
  type OwnedFile,
  putDir,
  putFile,
  snapshotFiles,
} from '../owned_files.ts'
import { exchangePaths } from './exchange.ts'

export interface Swap {
  /** Puts the old files back. */
  undo(): void
  /** Lets the old files go. */
  done(): void
}

const marker = '.old-'

const siblingsOf = (path: string): string[] =>
  readdirSync(dirname(path))
    .filter(name => name.startsWith(`.${basename(path)}${marker}`))
    .map(name => join(dirname(path), name))

/** What an earlier run that was killed left beside the folder: the old key is in it. */
export function sweepSwaps(path: string): void {
  if (lstatSync(dirname(path), { throwIfNoEntry: false })?.isDirectory())
    for (const left of siblingsOf(path)) rmSync(left, { recursive: true, force: true })
}

function oneByOne(dir: OwnedDir, files: OwnedFile[]): Swap {
  if (dirChange(dir).length > 0) putDir(dir)
  const undo = snapshotFiles(files)
  for (const file of files) if (fileChange(file).length > 0) putFile(file)
  return { undo, done: () => undefined }
}

/** Files of the folder that are not ours go along under their names. False where something else is in it. */
function carryOthers(dir: OwnedDir, beside: string, files: OwnedFile[]): boolean {
  const ours = new Set(files.map(file => basename(file.path)))
  const others = readdirSync(dir.path, { withFileTypes: true }).filter(entry => !ours.has(entry.name))
  if (others.some(entry => !entry.isFile())) return false
  for (const { name } of others) linkSync(join(dir.path, name), join(beside, name))
  return true
}

/** @param files all of them directly in the folder */
export function swapFolder(dir: OwnedDir, files: OwnedFile[]): Swap {
  sweepSwaps(dir.path)
  if (lstatSync(dir.path, { throwIfNoEntry: false })?.isDirectory() !== true) return oneByOne(dir, files)
  const beside = join(dirname(dir.path), `.${basename(dir.path)}${marker}${randomBytes(6).toString('hex')}`)
  const drop = () => rmSync(beside, { recursive: true, force: true })
  try {
    putDir({ ...dir, path: beside })
    for (const file of files) putFile({ ...file, path: join(beside, basename(file.path)) })
    if (!carryOthers(dir, beside, files) || !exchangePaths(beside, dir.path)) {
      drop()
      return oneByOne(dir, files) // a mount point, or a file system that cannot
    }
  } catch (thrown) {
    drop()
    throw thrown
  }
  return {
    undo: () => {
      exchangePaths(beside, dir.path)
      drop()
    },
    done: drop,
  }
}
