import { expect, test } from 'bun:test'
import { random, toHex } from '../../lib/core/bytes.ts'
import { formatVkey, makeVkey, parseVkey } from '../../lib/core/vkey.ts'
import { refusal } from '../support/trust.ts'

// The public verifier key of the Go checksum database (https://sum.golang.org), in the Go command's source.
const published = 'sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8'

test('a published key parses, with its key id, and prints the same', () => {
  const key = parseVkey(published, 'ed25519')
  expect([key.name, toHex(key.keyId)]).toEqual(['sum.golang.org', '033de0ae'])
  expect(formatVkey(key)).toBe(published)
})

test('an ML-DSA-44 key goes round', () => {
  const key = makeVkey('ztmysql.local/0', 'mldsa44', random(1312))
  expect(parseVkey(formatVkey(key), 'mldsa44')).toEqual(key)
  expect(refusal(() => parseVkey(formatVkey(key), 'ed25519')).code).toBe('BAD_LENGTH')
})

test.each([
  ['another key id', published.replace('+033de0ae', '+033de0af'), 'BAD_FORMAT'],
  ['another name', published.replace('sum.', 'sun.'), 'BAD_FORMAT'],
  ['another type', published.replace('+Ac4z', '+As4z'), 'BAD_FORMAT'],
  ['a key id in capitals', published.replace('033de0ae', '033DE0AE'), 'BAD_FORMAT'],
  ['a missing part', 'sum.golang.org+033de0ae', 'BAD_FORMAT'],
  ['trailing text', `${published}\n`, 'BAD_FORMAT'],
  ['a short key', published.slice(0, -4), 'BAD_LENGTH'],
])('%s is refused', (_, text, code) => {
  expect(refusal(() => parseVkey(text, 'ed25519')).code).toBe(code as never)
})

test('a name that no note can carry is refused', () => {
  for (const name of ['', 'a b', 'a+b', 'a\nb'])
    expect(refusal(() => makeVkey(name, 'ed25519', random(32))).code).toBe('BAD_FORMAT')
})
