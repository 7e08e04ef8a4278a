/** The little DER (X.690) that no library in use writes: PBES2 of a private key, the number of a CRL. */
import { type Bytes, concat } from './bytes.ts'

function header(tag: number, length: number): Bytes {
  if (length < 0x80) return Uint8Array.of(tag, length)
  if (length < 0x100) return Uint8Array.of(tag, 0x81, length)
  return Uint8Array.of(tag, 0x82, length >> 8, length & 0xff)
}

const tlv = (tag: number, ...parts: Bytes[]): Bytes => {
  const content = concat(...parts)
  return concat(header(tag, content.length), content)
}

export const derSequence = (...parts: Bytes[]): Bytes => tlv(0x30, ...parts)
export const derOctets = (bytes: Bytes): Bytes => tlv(0x04, bytes)
export const derNull = (): Bytes => tlv(0x05)

/** @param value 0 ≤ value < 2^53 */
export function derInteger(value: number): Bytes {
  const hex = value.toString(16)
  const bytes = Uint8Array.from(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'))
  return tlv(0x02, (bytes[0] ?? 0) & 0x80 ? concat(Uint8Array.of(0), bytes) : bytes)
}

/** @param text dotted decimal, the first arc below 3 */
export function derOid(text: string): Bytes {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  return tlv(0x06, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)))
}

function base128(arc: number): number[] {
  const digits = [arc & 0x7f]
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    digits.unshift(0x80 | (rest & 0x7f))
  return digits
}
