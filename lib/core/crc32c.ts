import { type Bytes, toBase64 } from './bytes.ts'

/** The Castagnoli polynomial 0x1EDC6F41 with its bits reversed (RFC 3720 §12.1). */
const polynomial = 0x82f63b78

const table = new Uint32Array(256)
for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
  table[byte] = crc
}

/** CRC-32C of bytes, 0 ≤ crc < 2^32 (RFC 3720 §12.1, appendix B.4): finds accidents, stops no attacker. */
export function crc32c(bytes: Bytes): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0)
  return (crc ^ 0xffffffff) >>> 0
}

/** The checksum as Cloud Storage writes it: base64 of the big-endian CRC-32C. */
export function gcsChecksum(bytes: Bytes): string {
  const crc = new Uint8Array(4)
  new DataView(crc.buffer).setUint32(0, crc32c(bytes))
  return toBase64(crc)
}
