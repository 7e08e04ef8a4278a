/**
 * Objects of a bucket over Cloud Storage's JSON interface: create-only puts, gets and lists, with checksums both ways.
 * STORAGE_EMULATOR_HOST selects a stand-in on this machine, as Google's own clients have it.
 */
import { z } from 'zod'
import type { Bytes } from '../core/bytes.ts'
import { gcsChecksum } from '../core/crc32c.ts'
import { reason, ZtError } from '../core/errors.ts'
import { accessTokens } from './google_auth.ts'
import { readToken } from './kms_config.ts'

const google = 'https://storage.googleapis.com'
const scope = 'https://www.googleapis.com/auth/devstorage.read_write'
const deadlineMs = 15_000
const tries = 4

const objectSchema = z.object({
  name: z.string(),
  generation: z.string(),
  size: z.string(),
  timeCreated: z.string(),
  crc32c: z.string(),
  retentionExpirationTime: z.string().optional(),
})

/** What Google says of an object. */
export type GcsObject = z.infer<typeof objectSchema>

const pageSchema = z.object({
  items: z.array(objectSchema).default([]),
  nextPageToken: z.string().optional(),
})

export interface Bucket {
  readonly bucket: string
  /** @returns undefined where an object of that name is there already, or may not be replaced */
  create(name: string, bytes: Bytes): Promise<GcsObject | undefined>
  /** @throws WORM where the bytes are not those of the checksum */
  get(name: string, maxBytes: number): Promise<{ object: GcsObject; bytes: Bytes } | undefined>
  /** In the order of their names, page by page. */
  list(prefix: string, from?: string): AsyncIterable<GcsObject>
}

interface Endpoint {
  base: string
  token(): Promise<string>
}

function standIn(host: string, env: NodeJS.ProcessEnv): Endpoint {
  const url = URL.parse(host.includes('://') ? host : `http://${host}`)
  const names = ['127.0.0.1', '[::1]', 'localhost']
  if (url === null || url.protocol !== 'http:' || !names.includes(url.hostname))
    throw new ZtError('BAD_INPUT', 'STORAGE_EMULATOR_HOST: not an address of this machine', {
      hint: 'unset it to use Google Cloud Storage',
    })
  const file = env.STORAGE_EMULATOR_TOKEN_FILE
  return { base: url.origin, token: async () => (file === undefined ? 'none' : readToken(file)) }
}

const real = async (): Promise<Endpoint> => ({ base: google, token: await accessTokens(scope) })

/** Whether the environment selects a stand-in, which every use says. */
export const usesStandIn = (env: NodeJS.ProcessEnv = process.env): boolean =>
  (env.STORAGE_EMULATOR_HOST ?? '') !== ''

const transient = new Set([408, 429, 500, 502, 503, 504])

/** @throws BAD_INPUT where the environment names a stand-in elsewhere */
export function openBucket(bucket: string, env: NodeJS.ProcessEnv = process.env): Bucket {
  const host = env.STORAGE_EMULATOR_HOST ?? ''
  let opened: Promise<Endpoint> | undefined
  const endpoint = (): Promise<Endpoint> => {
    opened ??= host === '' ? real() : Promise.resolve(standIn(host, env))
    return opened
  }
  if (host !== '') standIn(host, env) // a wrong one is told at once

  async function once(path: string, init: RequestInit): Promise<Response> {
    const { base, token } = await endpoint()
    const headers = { ...init.headers, authorization: `Bearer ${await token()}` }
    try {
      return await fetch(`${base}${path}`, {
        ...init,
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(deadlineMs),
      })
    } catch (cause) {
      throw new ZtError('UNREACHABLE', `Cloud Storage, bucket ${bucket}: ${reason(cause)}`, { cause })
    }
  }

  /** Answers that pass by themselves are asked for again, later each time. */
  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    for (let attempt = 1, wait = 250; ; attempt++, wait *= 3) {
      try {
        const response = await once(path, init)
        if (attempt === tries || !transient.has(response.status)) return response
        await response.body?.cancel()
      } catch (thrown) {
        if (attempt === tries || !(thrown instanceof ZtError) || thrown.code !== 'UNREACHABLE') throw thrown
      }
      await Bun.sleep(wait)
    }
  }

  const at = `/storage/v1/b/${encodeURIComponent(bucket)}/o`

  async function metadata(name: string): Promise<GcsObject | undefined> {
    const response = await send(`${at}/${encodeURIComponent(name)}`)
    if (response.status === 404) return undefined
    return read(await expectOk(response, `get ${name}`), objectSchema, name)
  }

  async function expectOk(response: Response, what: string): Promise<Response> {
    if (response.ok) return response
    throw refused(response.status, `Cloud Storage, bucket ${bucket}: ${what}: ${await wordsOf(response)}`)
  }

  return {
    bucket,
    async create(name, bytes) {
      const query = new URLSearchParams({ uploadType: 'media', name, ifGenerationMatch: '0' })
      const response = await send(`/upload${at}?${query}`, {
        method: 'POST',
        body: new Uint8Array(bytes),
        headers: {
          'content-type': 'application/octet-stream',
          'x-goog-hash': `crc32c=${gcsChecksum(bytes)}`,
        },
      })
      // 412: it is there. 403: perhaps too, as a host that may not delete is told so for an object under retention.
      if (response.status === 412 || (response.status === 403 && (await metadata(name)) !== undefined))
        return undefined
      return read(await expectOk(response, `put ${name}`), objectSchema, name)
    },
    async get(name, maxBytes) {
      const object = await metadata(name)
      if (object === undefined) return undefined
      if (Number(object.size) > maxBytes)
        throw new ZtError('WORM', `gs://${bucket}/${name}: ${object.size} bytes, more than any anchor has`)
      const query = new URLSearchParams({ alt: 'media', generation: object.generation })
      const response = await expectOk(await send(`${at}/${encodeURIComponent(name)}?${query}`), `get ${name}`)
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (gcsChecksum(bytes) !== object.crc32c || bytes.length !== Number(object.size))
        throw new ZtError('WORM', `gs://${bucket}/${name}: its bytes are not those of its checksum`, {
          hint: 'fetch it again; if it stays, the store lies',
        })
      return { object, bytes }
    },
    async *list(prefix, from) {
      let pageToken: string | undefined
      do {
        const query = new URLSearchParams({
          prefix,
          ...(from ? { startOffset: from } : {}),
          ...(pageToken ? { pageToken } : {}),
        })
        const response = await expectOk(await send(`${at}?${query}`), 'list')
        const page = await read(response, pageSchema, 'list')
        yield* page.items
        pageToken = page.nextPageToken
      } while (pageToken !== undefined)
    },
  }
}

async function read<S extends z.ZodType>(response: Response, schema: S, what: string): Promise<z.output<S>> {
  const parsed = schema.safeParse(await response.json().catch(() => null)) // no JSON is told as any other wrong answer
  if (parsed.success) return parsed.data
  throw new ZtError('BAD_FORMAT', `Cloud Storage: ${what}: answered something else than its interface says`)
}

/** Google's message, or the status. */
async function wordsOf(response: Response): Promise<string> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } }
    if (typeof error?.message === 'string') return error.message.slice(0, 300)
  } catch {
    // no JSON: the status says it
  }
  return `status ${response.status}`
}

function refused(status: number, message: string): ZtError {
  if (status === 401 || status === 403)
    return new ZtError('DENIED', message, {
      hint: 'check the rights of the account: outside_gcp_setup verify',
    })
  if (status === 404) return new ZtError('NOT_FOUND', message, { hint: 'check the name of the bucket' })
  return new ZtError('UNREACHABLE', message)
}
