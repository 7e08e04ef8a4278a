/**
 * Changes many files of a folder as one: all of them are staged, a rename commits, then they are put in place.
 * Whatever ends the process in between, the next run finds either nothing to do or the rest to do.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Bytes } from '../../core/bytes.ts'
import { formatCanonical, parseCanonical } from '../../core/json.ts'
import { fileError, removeFile } from '../files.ts'

const staged = '.staged'
const committed = '.committed'

const planSchema = z.strictObject({
  v: z.literal(1),
  /** Paths under the folder, in the order in which they are put in place. */
  files: z.array(z.string()),
  removed: z.array(z.string()),
})

function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function stage(dir: string, files: ReadonlyMap<string, Bytes>, removed: readonly string[]): void {
  const stage = join(dir, staged)
  mkdirSync(stage, { mode: 0o700 })
  const write = (name: string, bytes: Bytes | string) => {
    writeFileSync(join(stage, name), bytes, { mode: 0o600, flag: 'wx' })
    sync(join(stage, name))
  }
  for (const [i, bytes] of [...files.values()].entries()) write(String(i), bytes)
  write('plan.json', formatCanonical({ v: 1, files: [...files.keys()], removed }, true))
  sync(stage)
}

function putInPlace(dir: string): void {
  const from = join(dir, committed)
  const plan = parseCanonical(readFileSync(join(from, 'plan.json')), planSchema, committed, { newline: true })
  for (const [i, path] of plan.files.entries()) {
    mkdirSync(join(dir, dirname(path)), { recursive: true, mode: 0o700 })
    // missing: put in place by the run that was cut
    if (existsSync(join(from, String(i)))) renameSync(join(from, String(i)), join(dir, path))
  }
  for (const path of plan.removed) removeFile(join(dir, path))
  for (const folder of new Set(plan.files.map(path => dirname(path)))) sync(join(dir, folder))
  sync(dir)
  rmSync(from, { recursive: true })
}

/** Ends what a run that was cut had begun. Wants the folder's lock. */
export function recover(dir: string): void {
  try {
    if (existsSync(join(dir, committed))) putInPlace(dir)
    rmSync(join(dir, staged), { recursive: true, force: true })
  } catch (thrown) {
    throw fileError(thrown, dir)
  }
}

/**
 * Writes `files` (mode 0600, folders 0700), the last of the map last, and removes others. Wants the folder's lock.
 * It never yields to the event loop, so Ctrl-C comes before or after it.
 * @throws as fileError, and then nothing has changed
 */
export function commit(
  dir: string,
  files: ReadonlyMap<string, Bytes>,
  removed: readonly string[] = [],
): void {
  try {
    stage(dir, files, removed)
    renameSync(join(dir, staged), join(dir, committed))
    sync(dir)
  } catch (thrown) {
    rmSync(join(dir, staged), { recursive: true, force: true })
    throw fileError(thrown, dir)
  }
  recover(dir)
}
