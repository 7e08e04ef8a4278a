/** What the emulator remembers: one JSON document, strict both ways. */
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'

export const rights = ['encrypt', 'decrypt', 'admin'] as const
export type Right = (typeof rights)[number]

const time = z.iso.datetime()
const base64 = z.base64()

const version = z.strictObject({
  number: z.int().min(1),
  state: z.enum(['ENABLED', 'DISABLED', 'DESTROY_SCHEDULED', 'DESTROYED']),
  createTime: time,
  /** When the material goes (scheduled), or went (destroyed). */
  destroyTime: time.nullable(),
  /** AES-256 key: 32 bytes; null once destroyed. */
  material: base64.length(44).nullable(),
})

const cryptoKey = z.strictObject({
  createTime: time,
  /** What its creator asked for. It is software whatever this says. */
  askedProtection: z.enum(['SOFTWARE', 'HSM']),
  /** Seconds between DestroyCryptoKeyVersion and the end of the material. */
  destroySeconds: z.int().min(0),
  primary: z.int().min(1).nullable(),
  versions: z.array(version),
})

const identity = z.strictObject({
  /** SHA-256 of the bearer token, which is 256 random bits. */
  tokenHash: z.string().regex(/^[0-9a-f]{64}$/),
  /** A resource's rights hold for everything below it. */
  grants: z.record(z.string(), z.array(z.enum(rights))),
})

const schema = z.strictObject({
  format: z.literal('zt-kms-emulator/1'),
  keyRings: z.record(z.string(), z.strictObject({ createTime: time })),
  cryptoKeys: z.record(z.string(), cryptoKey),
  identities: z.record(z.string(), identity),
})

export type KeyVersion = z.infer<typeof version>
export type CryptoKey = z.infer<typeof cryptoKey>
export type Identity = z.infer<typeof identity>
export type State = z.infer<typeof schema>

export const emptyState = (): State => ({
  format: 'zt-kms-emulator/1',
  keyRings: {},
  cryptoKeys: {},
  identities: {},
})

export function formatState(state: State): string {
  return `${JSON.stringify(state, null, 2)}\n`
}

/** @throws BAD_FORMAT naming the first place that is wrong, never its value */
export function parseState(text: string, path: string): State {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // The parser's own message would repeat a piece of the file, which holds keys.
    throw new ZtError('BAD_FORMAT', `kms emulator state ${path}: not JSON`)
  }
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const where = result.error.issues[0]?.path.join('.') || 'the document'
  throw new ZtError('BAD_FORMAT', `kms emulator state ${path}: ${where} is not as expected`)
}
