import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { ZtError } from '../../lib/core/errors.ts'
import { canonicalKmsUri, formatKmsUri, kmsKeyName, parseKmsUri } from '../../lib/core/kms_uri.ts'
import { formatPkcs11Name, parsePkcs11Name, readPkcs11Uri } from '../../lib/core/pkcs11_uri.ts'

const name = 'projects/zt-demo/locations/europe-west3/keyRings/zt_ring/cryptoKeys/Tenant-A_1'

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return 'nothing was thrown'
}

test.each([
  `gcp-kms://${name}`,
  `gcp-kms-emulator://${name}`,
  'gcp-kms://projects/123456789012/locations/global/keyRings/r/cryptoKeys/k',
  'gcp-kms://projects/example.com:old-project/locations/us/keyRings/r/cryptoKeys/k',
  'pkcs11:token=acme;object=tenant-a',
  'pkcs11:token=The%20HSM;serial=3eb908bd06bafd7d;object=t%C3%A4nant%2F%3B%3F;id=%01%AB',
  'file:///var/lib/trial/key.json',
  'next-kms://anything/it:calls@a-key',
])('prints %s as it was read', text => {
  expect(formatKmsUri(parseKmsUri(text))).toBe(text)
})

test('reads the parts of a key', () => {
  const uri = parseKmsUri(`gcp-kms-emulator://${name}`)
  expect(uri).toEqual({ provider: 'gcp-kms-emulator', name })
  expect(kmsKeyName(uri)).toBe(name)
})

test.each([
  ['a bare name', name],
  ['an upper-case scheme', `GCP-KMS://${name}`],
  ['no scheme before the mark', `://${name}`],
  ['a key version', `gcp-kms://${name}/cryptoKeyVersions/1`],
  ['a trailing slash', `gcp-kms://${name}/`],
  ['a leading slash', `gcp-kms:///${name}`],
  ['a trailing newline', `gcp-kms://${name}\n`],
  ['a query', `gcp-kms://${name}?x=1`],
  ['an escaped character', `gcp-kms://${name.replace('zt_ring', 'zt%5fring')}`],
  ['a folder upwards', `gcp-kms://${name.replace('zt_ring', '..')}`],
  ['a key id of 64 characters', `gcp-kms://${name.replace('Tenant-A_1', 'k'.repeat(64))}`],
  ['a ring', 'gcp-kms://projects/zt-demo/locations/global/keyRings/r'],
  ['nothing', ''],
  ['a space in what a later release names', 'next-kms://a key'],
  ['a token without an object', 'pkcs11:token=acme'],
  ['attributes in another order', 'pkcs11:object=tenant-a;token=acme'],
  ['an escape that is not needed', 'pkcs11:token=%61cme;object=a'],
  ['an escape in lower case', 'pkcs11:token=acme;object=%c3%a4'],
  ['an id that is not escaped', 'pkcs11:token=acme;object=a;id=1'],
  ['a way to the token in a stored name', 'pkcs11:token=acme;object=a?module-path=/tmp/evil.so'],
  ['slashes before a token', 'pkcs11://token=acme;object=a'],
  ['a relative file', 'file://key.json'],
  ['a folder upwards in a file', 'file:///var/../etc/key'],
  ['a file of two spellings', 'file:///var//key'],
])('refuses %s', (_, text) => {
  expect(codeOf(() => parseKmsUri(text))).toBe('BAD_FORMAT')
})

test('does not repeat what cannot be a key in its error', () => {
  for (const text of ['hunter2-the-password', 'gcp-kms://hunter2-the-password'])
    expect(() => parseKmsUri(text)).toThrow(/^(?!.*hunter2).*what was given/)
})

test('gives a bare name to the configured provider', () => {
  expect(canonicalKmsUri(name, 'gcp-kms')).toBe(`gcp-kms://${name}`)
  expect(canonicalKmsUri(name, 'gcp-kms-emulator')).toBe(`gcp-kms-emulator://${name}`)
})

test('never moves a key with a scheme to the other provider', () => {
  expect(canonicalKmsUri(`gcp-kms://${name}`, 'gcp-kms')).toBe(`gcp-kms://${name}`)
  expect(codeOf(() => canonicalKmsUri(`gcp-kms://${name}`, 'gcp-kms-emulator'))).toBe('REFUSED')
  expect(codeOf(() => canonicalKmsUri(`gcp-kms-emulator://${name}`, 'gcp-kms'))).toBe('REFUSED')
})

describe('a pkcs11 URI as a person types it', () => {
  const read = (text: string) => readPkcs11Uri(text.slice('pkcs11:'.length))

  test('is stored in one order and spelling, without the way to the token', () => {
    const typed =
      'pkcs11:type=secret-key;object=t%c3%a4nant;id=%01%ab;token=The%20HSM?pin-source=file:/etc/pin&module-path=/usr/lib/x.so'
    expect(canonicalKmsUri(typed, 'gcp-kms')).toBe('pkcs11:token=The%20HSM;object=t%C3%A4nant;id=%01%AB')
    expect(read(typed).access).toEqual({ modulePath: '/usr/lib/x.so', pinFile: '/etc/pin' })
    expect(read('pkcs11:token=a;object=b?pin-source=file:///etc/pin').access).toEqual({ pinFile: '/etc/pin' })
  })

  test('has no PIN in it, and its error does not repeat it', () => {
    for (const typed of [
      'pkcs11:token=a;object=b?pin-value=hunter2',
      'pkcs11:token=a;object=b;pin-value=hunter2',
      'pkcs11:token=a;object=b?module-path=/x.so&hunter2',
      'pkcs11:token=hunter2 and more;object=b',
    ])
      expect(() => canonicalKmsUri(typed, 'gcp-kms')).toThrow(/^(?!.*hunter2).*pkcs11 URI/)
  })

  test.each([
    ['a command that says the PIN', 'pkcs11:token=a;object=b?pin-source=|cat', /must be percent-encoded/],
    ['a command, escaped', 'pkcs11:token=a;object=b?pin-source=%7Ccat', /pin-source: expected the absolute/],
    ['a relative module', 'pkcs11:token=a;object=b?module-path=x.so', /module-path: expected the absolute/],
    ['a module by name', 'pkcs11:token=a;object=b?module-name=x', /unknown attribute module-name/],
    ['an attribute that stands there twice', 'pkcs11:token=a;token=b;object=b', /token stands there twice/],
    ['an attribute that is not known', 'pkcs11:token=a;object=b;slot-id=1', /unknown attribute slot-id/],
    ['a private key', 'pkcs11:token=a;object=b;type=private', /only secret-key/],
    [
      'a token label of 33 bytes',
      `pkcs11:token=${'a'.repeat(33)};object=b`,
      /token: expected 1 to 32 bytes, got 33/,
    ],
    ['an empty id', 'pkcs11:token=a;object=b;id=', /id: expected 1 to 32 bytes, got 0/],
    ['what is not UTF-8', 'pkcs11:token=%ff;object=b', /not valid UTF-8/],
    ['a line end', 'pkcs11:token=%0a;object=b', /control character/],
  ])('is refused with %s', (_, typed, message) => {
    expect(codeOf(() => canonicalKmsUri(typed, 'gcp-kms'))).toBe('BAD_FORMAT')
    expect(() => canonicalKmsUri(typed, 'gcp-kms')).toThrow(message)
  })

  test('prints as it was read whatever token, object and id are', () => {
    const text = (maxBytes: number) =>
      fc
        .string({ unit: 'binary', minLength: 1, maxLength: maxBytes })
        .filter(s => s.isWellFormed() && !/\p{Cc}/u.test(s) && new TextEncoder().encode(s).length <= maxBytes)
    fc.assert(
      fc.property(text(32), text(64), fc.uint8Array({ minLength: 1, maxLength: 32 }), (token, object, id) => {
        const stored = formatPkcs11Name({ token, object, id })
        expect(parsePkcs11Name(stored)).toEqual({ token, object, id })
        expect(formatKmsUri(parseKmsUri(`pkcs11:${stored}`))).toBe(`pkcs11:${stored}`)
      }),
    )
  })
})
