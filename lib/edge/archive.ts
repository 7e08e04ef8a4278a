/** Archives whose bytes depend on their content alone: gzip'd ustar of regular files, sorted, owner 0, mtime 0. */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { extract, pack } from 'tar-stream'
import type { Bytes } from '../core/bytes.ts'
import { reason, ZtError } from '../core/errors.ts'

/** @param mode of every file: 0600 for secrets, 0644 for evidence */
export async function packArchive(files: ReadonlyMap<string, Bytes>, mode: number): Promise<Bytes> {
  const archive = pack()
  const chunks: Bytes[] = []
  const collect = async () => {
    for await (const chunk of archive) if (chunk instanceof Uint8Array) chunks.push(chunk)
  }
  const collected = collect()
  for (const [name, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
    archive.entry({ name, mode, uid: 0, gid: 0, mtime: new Date(0), type: 'file' }, Buffer.from(bytes))
  archive.finalize()
  await collected
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

/**
 * The files of an archive, by name. Its names and sizes are a stranger's: only regular files under plain relative
 * names that `allows` knows are taken, none twice, and no more than `maxBytes` after decompression.
 * @throws BAD_FORMAT
 */
export async function unpackArchive(
  zipped: Bytes,
  what: string,
  maxBytes: number,
  allows: (name: string) => boolean = () => true,
): Promise<Map<string, Bytes>> {
  const most = Math.min(maxBytes, Math.max(freeBytes, zipped.length * maxRatio))
  const bad = (why: string, cause?: unknown) =>
    new ZtError('BAD_FORMAT', `${what}: ${why}`, { hint: 'it may be cut or damaged: copy it again', cause })
  let tar: Buffer
  try {
    tar = await promisify(gunzip)(zipped, { maxOutputLength: most })
  } catch (thrown) {
    throw bad(`not a gzip archive of at most ${most} bytes`, thrown)
  }
  // tar-stream takes an archive that ends early for a short one
  if (tar.length % 512 !== 0 || tar.length < 1024 || tar.subarray(-1024).some(byte => byte !== 0))
    throw bad('does not end as a tar archive does')
  return await readTar(tar, allows, bad)
}

async function readTar(
  tar: Buffer,
  allows: (name: string) => boolean,
  bad: (why: string, cause?: unknown) => ZtError,
): Promise<Map<string, Bytes>> {
  const files = new Map<string, Bytes>()
  const reader = extract()
  const done = new Promise<void>((resolve, reject) => {
    reader.on('entry', ({ name, type }, stream, next) => {
      if (type !== 'file' || !namePattern.test(name) || files.has(name)) {
        reject(bad('holds something else than regular files with plain names'))
        return
      }
      if (!allows(name) || files.size === maxEntries) {
        reject(bad(`${name} does not belong in it`))
        return
      }
      const chunks: Bytes[] = []
      stream.on('data', chunk => {
        if (chunk instanceof Uint8Array) chunks.push(chunk)
      })
      stream.on('end', () => {
        files.set(name, new Uint8Array(Buffer.concat(chunks)))
        next()
      })
    })
    reader.on('finish', resolve)
    reader.on('error', thrown => reject(bad(reason(thrown), thrown)))
  })
  reader.end(tar)
  await done
  return files
}
