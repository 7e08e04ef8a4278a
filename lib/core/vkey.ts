/** Verifier keys in text, as C2SP signed notes name them: `NAME+HEX(key id)+BASE64(type ‖ public key)` (SPEC §4.5). */
import { sha256 } from '@noble/hashes/sha2.js'
import {
  type Bytes,
  checkLength,
  concat,
  equal,
  fromBase64,
  fromHex,
  toBase64,
  toHex,
  utf8,
} from './bytes.ts'
import { ZtError } from './errors.ts'

/** The kinds a checkpoint is signed with: type byte and length of the public key. A witness has its own for Ed25519. */
const kinds = {
  ed25519: { type: 0x01, length: 32 },
  cosignature: { type: 0x04, length: 32 },
  mldsa44: { type: 0x06, length: 1312 },
} as const

export type VkeyKind = keyof typeof kinds

export interface Vkey {
  readonly name: string
  readonly kind: VkeyKind
  /** SHA-256(name ‖ 0x0A ‖ type ‖ public key), the first 4 bytes. */
  readonly keyId: Bytes
  readonly publicKey: Bytes
}

// C2SP signed-note: a name is not empty and has neither white space nor a plus.
const namePattern = /^[^\s+]{1,200}$/u

/** @throws BAD_FORMAT on a name that no note can carry, BAD_LENGTH on a key of another length */
export function makeVkey(name: string, kind: VkeyKind, publicKey: Bytes): Vkey {
  if (!namePattern.test(name)) throw new ZtError('BAD_FORMAT', 'verifier key: the name has a space or a plus')
  const { type, length } = kinds[kind]
  checkLength(publicKey, `${kind} public key`, length)
  const keyId = sha256(concat(utf8(name), Uint8Array.of(0x0a, type), publicKey)).subarray(0, 4)
  return { name, kind, keyId, publicKey }
}

export function formatVkey(key: Vkey): string {
  return `${key.name}+${toHex(key.keyId)}+${toBase64(concat(Uint8Array.of(kinds[key.kind].type), key.publicKey))}`
}

/** Inverse of formatVkey. @throws BAD_FORMAT, BAD_LENGTH; also where the key id is not that of name and key */
export function parseVkey(text: string, kind: VkeyKind, what = 'verifier key'): Vkey {
  const [, name, id, key] = /^([^+]*)\+([^+]*)\+(.*)$/.exec(text) ?? []
  if (name === undefined || id === undefined || key === undefined)
    throw new ZtError('BAD_FORMAT', `${what}: not of the form NAME+KEYID+KEY`)
  const { type, length } = kinds[kind]
  const bytes = fromBase64(key, what, 1 + length)
  if (bytes[0] !== type) throw new ZtError('BAD_FORMAT', `${what}: not of type ${type} (${kind})`)
  const vkey = makeVkey(name, kind, bytes.subarray(1))
  if (!equal(vkey.keyId, fromHex(id, what, 4)))
    throw new ZtError('BAD_FORMAT', `${what}: the key id is not that of its name and key`)
  return vkey
}
