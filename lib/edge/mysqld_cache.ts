/** The cache folder of development servers, changed by one process at a time. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { fileError } from './file_error.ts'
import { lockDir } from './lock.ts'

/** Progress: goes to stderr. */
export const tell = (line: string): void => {
  process.stderr.write(`mysql: ${line}\n`)
}

/** The cache folder: `ZT_CACHE`, else `.cache` in the repository, which git ignores. */
export function cacheFolder(): string {
  return process.env.ZT_CACHE || join(dirname(dirname(import.meta.dirname)), '.cache')
}

export const cacheHint = 'set ZT_CACHE to a folder of yours with a gigabyte to spare'

/** Runs what changes a folder of the cache, alone: waits while another process does, and makes the folder first. */
export async function inCache<T>(folder: string, what: string, act: () => Promise<T>): Promise<T> {
  let release: () => void
  try {
    mkdirSync(folder, { recursive: true })
    release = await waitForLock(folder, what)
  } catch (thrown) {
    const error = fileError(thrown, folder, 'cache')
    throw new ZtError(error.code, error.message, { hint: cacheHint, cause: thrown })
  }
  try {
    return await act()
  } finally {
    release()
  }
}

async function waitForLock(folder: string, what: string): Promise<() => void> {
  for (let told = false; ; told = true) {
    try {
      return lockDir(folder)
    } catch (thrown) {
      if (!(thrown instanceof ZtError) || thrown.code !== 'LOCKED') throw thrown
      if (!told) tell(`waiting for another process that ${what}`)
      await Bun.sleep(200)
    }
  }
}

/** A temporary folder inside `folder` for the holder of its lock; removed at the end, those of killed runs before. */
export async function withTemp<T>(folder: string, act: (temp: string) => Promise<T>): Promise<T> {
  for (const name of readdirSync(folder))
    if (name.startsWith('.temp-')) rmSync(join(folder, name), { recursive: true })
  const temp = mkdtempSync(join(folder, '.temp-'))
  const remove = () => rmSync(temp, { recursive: true, force: true })
  const forget = onExit(remove)
  try {
    return await act(temp)
  } finally {
    forget()
    remove()
  }
}
