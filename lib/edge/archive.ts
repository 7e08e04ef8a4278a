/** Archives whose bytes depend on their content alone: gzip'd ustar of regular files, sorted, owner 0, mtime 0. */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { pack } from 'tar-stream'
import type { Bytes } from '../core/bytes.ts'

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
