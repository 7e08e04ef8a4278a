/**
 * An auditor's own copy of the anchors in a bucket: each object with what Google says of it. The files get Google's time
 * of creation, which the verifiers take as the receive time. Goes on where the last run stopped.
 */
import { appendFileSync, existsSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { anchorMaxBytes, anchorNumber } from '../../core/audit/anchor.ts'
import { equal } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { formatCanonical, parseCanonical } from '../../core/json.ts'
import { createExclusive, fileError, makePrivateDir, readRegularFile, writeFileAtomic } from '../files.ts'
import { type GcsObject, openBucket } from '../gcs.ts'
import { lockDir } from '../lock.ts'
import { parseGsUri } from '../worm_gcs.ts'

/** One line an object; hidden, as the folder is for anchors alone. */
export const indexName = '.objects.ndjson'

const lineSchema = z.strictObject({
  name: z.string(),
  generation: z.string(),
  created: z.string(),
  /** null: it may be deleted at any time. */
  retainedUntil: z.string().nullable(),
  size: z.string(),
  crc32c: z.string(),
})

type IndexLine = z.infer<typeof lineSchema>

export interface Fetched {
  fetched: number
  /** Already there from an earlier run. */
  known: number
  /** Objects under the prefix that are no anchors. */
  others: number
  newest: string | null
  /** The earliest end of a retention; null where some object has none. */
  retainedUntil: string | null
}

/** What earlier runs fetched. A line that a crash cut off goes, and its object is fetched again. @throws BAD_FORMAT */
function readIndex(out: string): IndexLine[] {
  const path = join(out, indexName)
  if (!existsSync(path)) return []
  const text = readFileSync(path, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole !== text) writeFileAtomic(path, whole)
  return whole
    .split('\n')
    .slice(0, -1)
    .map((line, i) => parseCanonical(line, lineSchema, `${path}, line ${i + 1}`))
}

function lineOf(object: GcsObject, name: string): IndexLine {
  if (Number.isNaN(Date.parse(object.timeCreated)))
    throw new ZtError('BAD_FORMAT', `${name}: the store gives no time of creation`)
  return {
    name,
    generation: object.generation,
    created: object.timeCreated,
    retainedUntil: object.retentionExpirationTime ?? null,
    size: object.size,
    crc32c: object.crc32c,
  }
}

function refuseReplaced(before: IndexLine, now: IndexLine): void {
  if (before.generation === now.generation && before.crc32c === now.crc32c && before.created === now.created)
    return
  throw new ZtError(
    'WORM',
    `${now.name}: was replaced: it is not the object that was fetched before (generation ${before.generation}, now ${now.generation})`,
    {
      hint: 'keep your copy: the store let somebody replace an anchor',
    },
  )
}

export interface FetchOptions {
  /** gs://BUCKET/PREFIX/ */
  from: string
  out: string
  /** Compare every object, not only those after the newest that is here. */
  all?: boolean
  onObject?(name: string, count: number): void
}

/** @throws WORM where the store contradicts itself or what was fetched; UNREACHABLE, DENIED, NOT_FOUND */
export async function fetchAnchors({ from, out, all = false, onObject }: FetchOptions): Promise<Fetched> {
  const { bucket, prefix } = parseGsUri(from)
  const store = openBucket(bucket)
  makePrivateDir(out)
  const release = lockDir(out)
  try {
    const index = new Map(readIndex(out).map(line => [line.name, line]))
    const newest = [...index.keys()].sort().at(-1)
    const result: Fetched = { fetched: 0, known: index.size, others: 0, newest: null, retainedUntil: null }
    const offset = all || newest === undefined ? undefined : prefix + newest
    for await (const object of inOrder(store.list(prefix, offset), prefix)) {
      const name = object.name.slice(prefix.length)
      if (anchorNumber(name) === undefined) {
        result.others++
        continue
      }
      const line = lineOf(object, name)
      const before = index.get(name)
      if (before !== undefined) {
        refuseReplaced(before, line)
        continue
      }
      await keep(store, object, name, out)
      appendFileSync(join(out, indexName), formatCanonical(line, true), { mode: 0o600 })
      index.set(name, line)
      result.fetched++
      onObject?.(name, result.fetched)
    }
    const kept = [...index.values()]
    const ends = kept.map(({ retainedUntil }) => retainedUntil)
    return {
      ...result,
      newest: [...index.keys()].sort().at(-1) ?? null,
      retainedUntil: ends.includes(null) ? null : (ends.toSorted().at(0) ?? null),
    }
  } finally {
    release()
  }
}

/** A list that repeats itself would never end. @throws WORM */
async function* inOrder(objects: AsyncIterable<GcsObject>, prefix: string): AsyncIterable<GcsObject> {
  let last = ''
  for await (const object of objects) {
    if (!object.name.startsWith(prefix) || object.name <= last)
      throw new ZtError('WORM', `the store lists ${JSON.stringify(object.name.slice(0, 100))} out of order`)
    last = object.name
    yield object
  }
}

async function keep(
  store: ReturnType<typeof openBucket>,
  listed: GcsObject,
  name: string,
  out: string,
): Promise<void> {
  const found = await store.get(listed.name, anchorMaxBytes)
  if (found === undefined) throw new ZtError('WORM', `${name}: is listed and not there`)
  if (found.object.generation !== listed.generation)
    throw new ZtError('WORM', `${name}: was replaced while it was fetched`)
  const path = join(out, name)
  try {
    createExclusive(path, found.bytes, 0o444)
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code !== 'CONFLICT') throw thrown
    // left by a run that was cut off, or put there by somebody
    if (!equal(readRegularFile(path, 'anchor', anchorMaxBytes), found.bytes))
      throw new ZtError('WORM', `${path}: is there with other content than the store has`, {
        hint: 'keep both and find out who wrote it',
      })
  }
  try {
    const created = new Date(found.object.timeCreated)
    utimesSync(path, created, created)
  } catch (thrown) {
    throw fileError(thrown, path)
  }
}
