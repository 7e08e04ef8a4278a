/**
 * What an anchor process keeps on its own disk: signed anchors (`spool/`), which are never signed again, and the
 * tree's frontier (`frontier.json`), a mere cache that can be made again from event 0.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import {
  type Anchor,
  anchorHash,
  anchorMaxBytes,
  anchorName,
  anchorNumber,
  parseAnchor,
} from '../core/audit/anchor.ts'
import { parseTreeHead, type TreeHead } from '../core/audit/checkpoint.ts'
import { type Grown, nothingGrown } from '../core/audit/growth.ts'
import { Frontier } from '../core/audit/merkle.ts'
import { parseNote } from '../core/audit/note.ts'
import { type Bytes, fromHex, toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import {
  createExclusive,
  fileError,
  lockDir,
  makePrivateDir,
  readPrivateFile,
  removeFile,
  writeFileAtomic,
} from './files.ts'

/** A signed anchor as it lies in the spool or the store. */
export interface SignedAnchor {
  anchor: Anchor
  bytes: Bytes
  /** Hex SHA-256 of the bytes. */
  sha256: string
  /** What its checkpoint says. */
  head: TreeHead
}

/** @throws BAD_FORMAT where the object is no anchor, or not the one that `name` calls for */
export function readSigned(name: string, bytes: Bytes): SignedAnchor {
  const anchor = parseAnchor(bytes, name)
  if (anchorName(anchor.number) !== name)
    throw new ZtError('BAD_FORMAT', `${name}: holds anchor ${anchor.number}`)
  const head = parseTreeHead(parseNote(anchor.checkpoint, name).text, name)
  return { anchor, bytes, sha256: anchorHash(bytes), head }
}

const hex32 = z.string().regex(/^[0-9a-f]{64}$/)
const cacheSchema = z.strictObject({
  v: z.literal(1),
  origin: z.string(),
  size: z.int().positive(),
  leaf: hex32,
  nodes: z.array(hex32),
})

export class AnchorState {
  readonly dir: string
  readonly #spool: string
  readonly #cache: string

  /** @throws PERMISSION where others could write there */
  constructor(dir: string) {
    this.dir = dir
    this.#spool = join(dir, 'spool')
    this.#cache = join(dir, 'frontier.json')
    makePrivateDir(dir)
    makePrivateDir(this.#spool)
  }

  /** @throws LOCKED */
  lock(): () => void {
    return lockDir(this.dir)
  }

  /** Numbers in the spool, in order. */
  #numbers(): number[] {
    try {
      return readdirSync(this.#spool)
        .map(anchorNumber)
        .filter(number => number !== undefined)
        .sort((a, b) => a - b)
    } catch (thrown) {
      throw fileError(thrown, this.#spool, 'spool')
    }
  }

  /** The signed anchors that are still here, in order: those that the store lacks, and the latest. */
  spooled(): SignedAnchor[] {
    return this.#numbers().map(number => {
      const name = anchorName(number)
      return readSigned(
        name,
        readPrivateFile(join(this.#spool, name), 'spooled anchor').subarray(0, anchorMaxBytes),
      )
    })
  }

  /** Keeps a signed anchor, on the disk on return. @throws CONFLICT where one of its number is there */
  keep(signed: SignedAnchor): void {
    createExclusive(join(this.#spool, anchorName(signed.anchor.number)), signed.bytes)
  }

  /** Drops the anchors before `number`, which the store has accepted. */
  prune(number: number): void {
    for (const old of this.#numbers()) if (old < number) removeFile(join(this.#spool, anchorName(old)))
  }

  /** The cached frontier; an empty one where there is none, or none of this log. */
  cached(origin: string): Grown {
    try {
      const cache = parseCanonical(readPrivateFile(this.#cache, 'frontier'), cacheSchema, 'frontier', {
        newline: true,
      })
      if (cache.origin !== origin) return nothingGrown()
      const nodes = cache.nodes.map(node => fromHex(node, 'node', 32))
      return { frontier: new Frontier(cache.size, nodes), leaf: fromHex(cache.leaf, 'leaf', 32) }
    } catch (thrown) {
      // only a cache: what it held is made again and held against the last anchor's root
      if (thrown instanceof ZtError && ['NOT_FOUND', 'BAD_FORMAT', 'BAD_LENGTH'].includes(thrown.code))
        return nothingGrown()
      throw thrown
    }
  }

  cache(origin: string, { frontier, leaf }: Grown): void {
    if (leaf === undefined) return
    const nodes = frontier.nodes.map(toHex)
    const value = { v: 1, origin, size: frontier.size, leaf: toHex(leaf), nodes }
    writeFileAtomic(this.#cache, formatCanonical(value, true))
  }
}
