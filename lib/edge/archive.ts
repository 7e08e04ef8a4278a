/** Archives whose bytes depend on their content alone: gzip'd ustar of regular files, sorted, owner 0, mtime 0. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { crc32, createGunzip, gzip } from 'node:zlib'
import { extract, pack } from 'tar-stream'
import type { Bytes } from '../core/bytes.ts'
import { reason, ZtError } from '../core/errors.ts'

/** The tar archive of these files, piece by piece. */
async function tarOf(
  files: ReadonlyMap<string, Bytes>,
  mode: number,
  take: (chunk: Bytes) => void,
): Promise<void> {
  const archive = pack()
  const collect = async () => {
    for await (const chunk of archive) if (chunk instanceof Uint8Array) take(chunk)
  }
  const collected = collect()
  for (const [name, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
    archive.entry(
      { name, mode, uid: 0, gid: 0, mtime: new Date(0), type: 'file' },
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    )
  archive.finalize()
  await collected
}

/** @param mode of every file: 0600 for secrets, 0644 for evidence */
export async function packArchive(files: ReadonlyMap<string, Bytes>, mode: number): Promise<Bytes> {
  const chunks: Bytes[] = []
  await tarOf(files, mode, chunk => void chunks.push(chunk))
  const zipped = new Uint8Array(await promisify(gzip)(Buffer.concat(chunks), { level: 9 }))
  zipped.fill(0, 4, 8) // MTIME
  zipped[9] = 255 // OS: unknown, whichever system packed it
  return zipped
}

const namePattern = /^(?:[A-Za-z0-9_][A-Za-z0-9._-]*\/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]*$/

/** Text of hashes and ciphertext in base64 shrinks to a third; what shrinks much more was made to grow. */
const maxRatio = 20
const freeBytes = 4 << 20
const maxEntries = 20_000
const feedBytes = 1 << 18
/** Two blocks of zeros, with which a tar archive ends. */
const endBytes = 1024

/**
 * The files of an archive, by name. Its names and sizes are a stranger's: only regular files under plain relative
 * names that `allows` knows are taken, none twice, and no more than `maxBytes` after decompression. It is read as it
 * unfolds, so that nothing is unpacked behind the first entry that is refused. With `mode` it must be, unzipped, the very
 * bytes that packArchive makes of its files: then no other reader can see another archive in it.
 * @throws BAD_FORMAT
 */
export async function unpackArchive(
  zipped: Bytes,
  what: string,
  maxBytes: number,
  allows: (name: string, size: number) => boolean = () => true,
  mode?: number,
): Promise<Map<string, Bytes>> {
  const bad = (why: string, cause?: unknown) =>
    new ZtError('BAD_FORMAT', `${what}: ${why}`, { hint: 'it may be cut or damaged: copy it again', cause })
  const most = Math.min(maxBytes, Math.max(freeBytes, zipped.length * maxRatio))
  const tar = new TarReader(most, allows, bad)
  let size = 0
  let end: Bytes = new Uint8Array(0)
  const seen = createHash('sha256')
  let crc = 0
  try {
    const unzipped = Readable.from(pieces(zipped)).pipe(createGunzip())
    // pipe() hands on no error; the source has none, as it is in memory
    for await (const chunk of unzipped as AsyncIterable<Bytes>) {
      size += chunk.length
      if (size > most) throw bad(`not a gzip archive of at most ${most} bytes`)
      seen.update(chunk)
      crc = crc32(chunk, crc)
      end = new Uint8Array(Buffer.concat([end, chunk.subarray(-endBytes)]).subarray(-endBytes))
      await tar.write(chunk)
    }
  } catch (thrown) {
    throw thrown instanceof ZtError ? thrown : bad(`not a gzip archive of at most ${most} bytes`, thrown)
  }
  // tar-stream takes an archive that ends early for a short one
  if (size % 512 !== 0 || size < endBytes || end.some(byte => byte !== 0))
    throw bad('does not end as a tar archive does')
  const files = await tar.end()
  if (mode === undefined) return files
  // RFC 1952: a member ends with the CRC and the length of what it holds; another member or anything else behind it would not
  const trailer = new DataView(zipped.buffer, zipped.byteOffset + zipped.length - 8)
  if (trailer.getUint32(0, true) !== crc || trailer.getUint32(4, true) !== size)
    throw bad('something stands behind it')
  const again = createHash('sha256')
  await tarOf(files, mode, chunk => void again.update(chunk))
  if (!again.digest().equals(seen.digest())) throw bad('is not written as this program writes it')
  return files
}

function* pieces(bytes: Bytes): Generator<Bytes> {
  for (let start = 0; start < bytes.length; start += feedBytes) yield bytes.subarray(start, start + feedBytes)
}

/** Takes a tar archive piece by piece. */
class TarReader {
  readonly #files = new Map<string, Bytes>()
  readonly #reader = extract()
  readonly #done: Promise<void>
  #failed: unknown

  constructor(
    most: number,
    allows: (name: string, size: number) => boolean,
    bad: (why: string, cause?: unknown) => ZtError,
  ) {
    const files = this.#files
    this.#done = new Promise((resolve, reject) => {
      this.#reader.on('entry', ({ name, type, size = 0 }, stream, next) => {
        // an archive that ends within an entry is told by the entry, also by one that was refused
        stream.on('error', thrown => reject(bad(reason(thrown), thrown)))
        if (type !== 'file' || !namePattern.test(name) || files.has(name))
          return reject(bad('holds something else than regular files with plain names'))
        if (!allows(name, size) || files.size === maxEntries || size > most)
          return reject(bad(`${name}, ${size} bytes, does not belong in it`))
        const bytes = new Uint8Array(size)
        let filled = 0
        stream.on('data', chunk => {
          if (!(chunk instanceof Uint8Array)) return
          bytes.set(chunk, filled)
          filled += chunk.length
        })
        stream.on('end', () => {
          files.set(name, bytes)
          next()
        })
      })
      this.#reader.on('finish', resolve)
      this.#reader.on('error', thrown => reject(bad(reason(thrown), thrown)))
    })
    this.#done.catch(thrown => {
      this.#failed = thrown
    })
  }

  /** @throws once an entry was refused */
  async write(chunk: Bytes): Promise<void> {
    const reader = this.#reader
    if (!reader.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)))
      await Promise.race([new Promise<void>(resolve => reader.once('drain', () => resolve())), this.#done])
    if (this.#failed !== undefined) throw this.#failed
  }

  async end(): Promise<Map<string, Bytes>> {
    this.#reader.end(Buffer.alloc(0))
    await this.#done
    return this.#files
  }
}
