/** Attestations of an HSM in the form that Cloud KMS gives them, under roots made here: the real ones were never met. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { X509Certificate } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { verifyAttestation } from '../../lib/edge/gcp/attestation.ts'
import { makeHsm, read, removeHsm, roots, statement, whole } from '../support/attestation.ts'

setDefaultTimeout(120_000) // RSA keys on a busy machine

const now = Date.now() + 60_000 // after the certificates were made

beforeAll(makeHsm)
afterAll(removeHsm)

describe('an attestation', () => {
  test('verifies where both chains end in the roots, in any order', () => {
    expect(verifyAttestation(whole(), roots(), now)).toBe('verified')
    const turned = whole()
    turned.certChains.caviumCerts.reverse()
    expect(verifyAttestation(turned, roots().reverse(), now)).toBe('verified')
  })

  test('is missing where there is none', () => {
    expect(verifyAttestation(null, roots(), now)).toBe('missing')
    expect(verifyAttestation({ format: '', content: '' }, roots(), now)).toBe('missing')
  })

  type Bend = (attestation: ReturnType<typeof whole>) => unknown
  test.each<[string, Bend]>([
    ['another text', a => Object.assign(a, { content: statement('partition').replace(/^(.{40})./, '$1A') })],
    ['another key', a => Object.assign(a, { content: statement('card') })],
    ['no gzip', a => Object.assign(a, { content: Buffer.from('x'.repeat(400)).toString('base64') })],
    [
      'nothing but a signature',
      a => Object.assign(a, { content: gzipSync(Buffer.alloc(256)).toString('base64') }),
    ],
    ['no chain of the manufacturer', a => Object.assign(a.certChains, { caviumCerts: [] })],
    ['no chain of Google', a => Object.assign(a.certChains, { googlePartitionCerts: [] })],
    ['a link that is missing', a => a.certChains.caviumCerts.pop()],
    [
      'a chain of a stranger',
      a => Object.assign(a.certChains, { googlePartitionCerts: [read('forged.pem')] }),
    ],
    [
      'a root of its own',
      a => Object.assign(a.certChains, { googlePartitionCerts: [read('forged.pem'), read('stranger.pem')] }),
    ],
    ['no certificate', a => Object.assign(a.certChains, { caviumCerts: ['x'] })],
  ])('with %s proves nothing', (_, bend) => {
    const bent = whole()
    bend(bent)
    expect(verifyAttestation(bent, roots(), now)).toBe('bad')
  })

  test('proves nothing under other roots, one of the two, or certificates that are not in force', () => {
    expect(verifyAttestation(whole(), [new X509Certificate(read('stranger.pem'))], now)).toBe('bad')
    expect(verifyAttestation(whole(), roots().slice(0, 1), now)).toBe('bad')
    expect(verifyAttestation(whole(), [], now)).toBe('bad')
    expect(verifyAttestation(whole(), roots(), now + 5 * 86_400_000)).toBe('bad')
  })
})
