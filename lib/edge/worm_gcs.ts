/** A bucket under a locked retention as the store of anchors: `gs://BUCKET/PREFIX/`. Its times are Google's. */
import { equal } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { openBucket, usesStandIn } from './gcs.ts'
import type { Worm } from './worm.ts'

/** `gs://BUCKET[/PREFIX/]` in its parts. @throws BAD_INPUT */
export function parseGsUri(uri: string): { bucket: string; prefix: string } {
  const [, bucket, path = ''] =
    /^gs:\/\/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:\/([A-Za-z0-9._/-]*))?$/.exec(uri) ?? []
  if (bucket === undefined || path.includes('//') || path.startsWith('/'))
    throw new ZtError('BAD_INPUT', `worm store ${JSON.stringify(uri)}: not gs://BUCKET/PREFIX/`, {
      hint: 'for example gs://acme-anchors/anchors/',
    })
  return { bucket, prefix: path === '' || path.endsWith('/') ? path : `${path}/` }
}

export function openGcsWorm(uri: string, maxBytes: number, checkName: (name: string) => string): Worm {
  const { bucket, prefix } = parseGsUri(uri)
  const store = openBucket(bucket)
  const location = `gs://${bucket}/${prefix}`
  const get: Worm['get'] = async name => {
    const found = await store.get(prefix + checkName(name), maxBytes)
    return found && { bytes: found.bytes, receivedAt: Date.parse(found.object.timeCreated) }
  }
  return {
    location: usesStandIn() ? `${location} (STORAGE_EMULATOR_HOST, not Google)` : location,
    grade: 'off-host',
    async put(name, bytes) {
      if (await store.create(prefix + checkName(name), bytes)) return 'created'
      const there = await get(name)
      if (there && equal(there.bytes, bytes)) return 'identical'
      throw new ZtError('WORM', `worm store ${location}: ${name} is there with other content`, {
        hint: 'keep both and find out who wrote it: two anchors of one number mean a forked log',
      })
    },
    async list() {
      const names: string[] = []
      for await (const { name } of store.list(prefix)) names.push(name.slice(prefix.length))
      return names.sort()
    },
    get,
  }
}
