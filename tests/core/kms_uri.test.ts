import { expect, test } from 'bun:test'
import { ZtError } from '../../lib/core/errors.ts'
import { canonicalKmsUri, formatKmsUri, kmsKeyName, parseKmsUri } from '../../lib/core/kms_uri.ts'

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
])('prints %s as it was read', text => {
  expect(formatKmsUri(parseKmsUri(text))).toBe(text)
})

test('reads the parts of a key', () => {
  const uri = parseKmsUri(`gcp-kms-emulator://${name}`)
  expect(uri).toEqual({
    provider: 'gcp-kms-emulator',
    project: 'zt-demo',
    location: 'europe-west3',
    keyRing: 'zt_ring',
    key: 'Tenant-A_1',
  })
  expect(kmsKeyName(uri)).toBe(name)
})

test.each([
  ['a bare name', name],
  ['another scheme', `aws-kms://${name}`],
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
