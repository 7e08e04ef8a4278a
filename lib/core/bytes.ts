/** Bytes, text and identifiers: strict in, canonical out. */
import { equalBytes } from '@noble/ciphers/utils.js'
import { concatBytes, randomBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { base64, hex } from '@scure/base'
import { ZtError } from './errors.ts'

export type Bytes = Uint8Array

export const concat = concatBytes
/** UTF-8 bytes of a text. */
export const utf8 = utf8ToBytes
/** Bytes from the platform's random source, which throws when it fails. */
export const random = randomBytes
/** Equality in time that depends on the length alone. */
export const equal = equalBytes

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text from UTF-8. @throws BAD_FORMAT on invalid UTF-8. */
export function fromUtf8(bytes: Bytes, what: string): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `${what}: not valid UTF-8`, { cause })
  }
}

export const toHex = (bytes: Bytes): string => hex.encode(bytes)
export const toBase64 = (bytes: Bytes): string => base64.encode(bytes)

/** Bytes from lower-case hex of exactly `length` bytes. @throws BAD_FORMAT */
export function fromHex(text: string, what: string, length?: number): Bytes {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new ZtError('BAD_FORMAT', `${what}: not lower-case hex`)
  return checkLength(hex.decode(text), what, length)
}

/** Bytes from canonical base64 (RFC 4648 §4, padded). @throws BAD_FORMAT */
export function fromBase64(text: string, what: string, length?: number): Bytes {
  let bytes: Bytes
  try {
    bytes = base64.decode(text)
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `${what}: not base64`, { cause })
  }
  if (base64.encode(bytes) !== text) throw new ZtError('BAD_FORMAT', `${what}: base64 is not canonical`)
  return checkLength(bytes, what, length)
}

/** @throws BAD_LENGTH unless `bytes` has exactly `length` bytes (no check where it is undefined). */
export function checkLength(bytes: Bytes, what: string, length?: number): Bytes {
  if (length !== undefined && bytes.length !== length)
    throw new ZtError('BAD_LENGTH', `${what}: expected ${length} bytes, got ${bytes.length}`)
  return bytes
}

/** n as 8 bytes, big endian; 0 ≤ n < 2^64. */
export function u64(n: number | bigint): Bytes {
  const value = BigInt(n)
  if (value < 0n || value >= 1n << 64n) throw new ZtError('BAD_LENGTH', `u64: ${value} is out of range`)
  const out = new Uint8Array(8)
  new DataView(out.buffer).setBigUint64(0, value)
  return out
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export const isUuid = (text: string): boolean => uuidPattern.test(text)

/** 16 bytes from a canonical lower-case UUID. @throws BAD_FORMAT */
export function uuidBytes(text: string, what = 'uuid'): Bytes {
  if (!isUuid(text)) throw new ZtError('BAD_FORMAT', `${what}: not a canonical lower-case UUID`)
  return hex.decode(text.replaceAll('-', ''))
}

/** Canonical lower-case UUID from 16 bytes. */
export function uuidText(bytes: Bytes, what = 'uuid'): string {
  const h = hex.encode(checkLength(bytes, what, 16))
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`
}

/** A random UUID, version 4 (RFC 9562 §5.4). */
export function newUuid(): string {
  const b = random(16)
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x40
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80
  return uuidText(b)
}

/** A UUID that sorts by its time, version 7 (RFC 9562 §5.7). @param millis since 1970-01-01 */
export function timeUuid(millis: number): string {
  const b = random(16)
  b.set(u64(millis).subarray(2), 0)
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x70
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80
  return uuidText(b)
}
