/** The store that keeps anchors: objects are created once and never changed. A folder now; other kinds by their URI. */
import { closeSync, constants, fsyncSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { anchorMaxBytes } from '../core/audit/anchor.ts'
import type { Bytes } from '../core/bytes.ts'
import { equal } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { errno } from './file_error.ts'
import { createExclusive, fileError, readRegularFile } from './files.ts'
import { openGcsWorm } from './worm_gcs.ts'

export interface WormObject {
  bytes: Bytes
  /** Milliseconds since 1970: when the store says that it received the object. */
  receivedAt: number
}

export interface Worm {
  /** What people know it by. */
  readonly location: string
  /** What its word is worth: `host` where root of the database host could have written it. */
  readonly grade: 'host' | 'off-host'
  /**
   * Stores an object for good; durable on return. `identical`: these very bytes were there already.
   * @throws WORM where other bytes have that name; anything else means that the store could not be reached
   */
  put(name: string, bytes: Bytes): Promise<'created' | 'identical'>
  /** Names in order. */
  list(): Promise<string[]>
  get(name: string): Promise<WormObject | undefined>
}

const namePattern = /^[a-z0-9][a-z0-9.-]{0,99}$/

// Whoever may create objects may fill the store: a reader of them all holds no more than anchors could be.
const objectMaxBytes = anchorMaxBytes

function checkName(name: string): string {
  if (!namePattern.test(name)) throw new ZtError('BAD_INPUT', 'worm: not the name of an object')
  return name
}

function sync(path: string, flags = 0): void {
  const fd = openSync(path, constants.O_RDONLY | flags)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** A folder as a store. Its word is the host's: whoever is root there can change files and times. */
function openFolder(dir: string): Worm {
  const unreachable = (thrown: unknown): ZtError => {
    if (errno(thrown) !== 'ENOENT' && errno(thrown) !== 'ENOTDIR') return fileError(thrown, dir, 'worm store')
    // never made here: a missing mount would turn into a folder of this host
    return new ZtError('UNREACHABLE', `worm store ${dir}: no such folder`, {
      hint: 'mount or create it, then run this again',
      cause: thrown,
    })
  }
  const readable = (): void => {
    try {
      if (!statSync(dir).isDirectory()) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' })
    } catch (thrown) {
      throw unreachable(thrown)
    }
  }
  const read = (name: string): WormObject | undefined => {
    readable()
    const path = join(dir, checkName(name))
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined) return undefined
    return {
      bytes: readRegularFile(path, 'worm object', objectMaxBytes),
      receivedAt: Math.floor(stats.mtimeMs),
    }
  }
  const compare = (name: string, bytes: Bytes): 'identical' => {
    const there = read(name)
    if (!there || !equal(there.bytes, bytes))
      throw new ZtError('WORM', `worm store ${dir}: ${name} is there with other content`, {
        hint: 'keep both and find out who wrote it: two anchors of one number mean a forked log',
      })
    // whoever wrote it may have been cut off before it was on the disk
    sync(join(dir, name))
    sync(dir, constants.O_DIRECTORY)
    return 'identical'
  }
  return {
    location: dir,
    grade: 'host',
    async put(name, bytes) {
      readable()
      try {
        createExclusive(join(dir, checkName(name)), bytes, 0o444)
        return 'created'
      } catch (thrown) {
        if (!(thrown instanceof ZtError) || thrown.code !== 'CONFLICT') throw thrown
        return compare(name, bytes)
      }
    },
    async list() {
      try {
        return readdirSync(dir)
          .filter(name => namePattern.test(name))
          .sort()
      } catch (thrown) {
        throw unreachable(thrown)
      }
    },
    get: async name => read(name),
  }
}

/** The store at a path, `file://` or `gs://` URI. @throws BAD_INPUT on a kind of store that this release does not know */
export function openWorm(location: string): Worm {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(location)?.[1]
  if (scheme === undefined && location !== '') return openFolder(location)
  if (scheme === 'file') return openFolder(fileURLToPath(location))
  if (scheme === 'gs') return openGcsWorm(location, objectMaxBytes, checkName)
  throw new ZtError(
    'BAD_INPUT',
    `worm store ${JSON.stringify(location)}: not a kind of store that is known`,
    {
      hint: 'name a folder, or gs://BUCKET/PREFIX/',
    },
  )
}
