import { expect, test } from 'bun:test'
import { utf8 } from '../../lib/core/bytes.ts'
import { crc32c } from '../../lib/core/crc32c.ts'

const ramp = Uint8Array.from({ length: 32 }, (_, i) => i)

test.each([
  ['nothing', new Uint8Array(), 0],
  ['the check value of the CRC catalogues', utf8('123456789'), 0xe3069283],
  ['32 bytes of zeros (RFC 3720 B.4)', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ones (RFC 3720 B.4)', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['32 incrementing bytes (RFC 3720 B.4)', ramp, 0x46dd794e],
  ['32 decrementing bytes (RFC 3720 B.4)', ramp.toReversed(), 0x113fdb5c],
])('gives the published CRC32C of %s', (_, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected)
})

test('changes with every single bit', () => {
  const seen = new Set([crc32c(ramp)])
  for (let bit = 0; bit < 256; bit++) {
    const changed = Uint8Array.from(ramp)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    seen.add(crc32c(changed))
  }
  expect(seen.size).toBe(257)
})
