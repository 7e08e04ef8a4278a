/** Attestations of an HSM in the form that Cloud KMS gives them, under roots made here: the real ones were never met. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createSign, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Attestation } from '../../lib/core/gcp/evidence.ts'
import { verifyAttestation } from '../../lib/edge/gcp/attestation.ts'

setDefaultTimeout(120_000) // RSA keys on a busy machine

const dir = mkdtempSync(join(tmpdir(), 'zt-attest-'))
const now = Date.now() + 60_000 // after the certificates were made
const read = (name: string): string => readFileSync(join(dir, name), 'utf8')

function openssl(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args], { cwd: dir })
  if (exitCode !== 0) throw new Error(stderr.toString())
}

/** A certificate for the key of `of`, by `by`, or by itself. */
function certify(name: string, of: string, by: string | null, { ca = false, days = '2' } = {}): void {
  writeFileSync(
    join(dir, 'ext'),
    ca ? 'basicConstraints=critical,CA:TRUE\n' : 'basicConstraints=critical,CA:FALSE\n',
  )
  openssl('req', '-new', '-key', `${of}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`)
  const issuer =
    by === null ? ['-signkey', `${of}.key`] : ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial']
  openssl(
    'x509',
    '-req',
    '-in',
    `${name}.csr`,
    ...issuer,
    '-days',
    days,
    '-extfile',
    'ext',
    '-out',
    `${name}.pem`,
  )
}

/** The manufacturer's root certifies the card, which certifies the partition; Google's does the same beside it. */
beforeAll(() => {
  for (const key of ['maker', 'google', 'card', 'partition', 'stranger'])
    openssl('genrsa', '-out', `${key}.key`, '2048')
  certify('maker', 'maker', null, { ca: true })
  certify('google', 'google', null, { ca: true })
  certify('stranger', 'stranger', null, { ca: true })
  certify('card', 'card', 'maker', { ca: true })
  certify('partition', 'partition', 'card')
  certify('google-partition', 'partition', 'google')
  certify('forged', 'partition', 'stranger')
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const roots = () => ['maker.pem', 'google.pem'].map(name => new X509Certificate(read(name)))

function statement(key = 'partition', text = 'attributes of the key, as the HSM says'): string {
  const data = Buffer.from(text)
  const signature = createSign('sha256')
    .update(data)
    .sign(read(`${key}.key`))
  return gzipSync(Buffer.concat([data, signature])).toString('base64')
}

const whole = (): Attestation & { certChains: NonNullable<Attestation['certChains']> } => ({
  format: 'CAVIUM_V2_COMPRESSED',
  content: statement(),
  certChains: {
    caviumCerts: [read('partition.pem'), read('card.pem')],
    googleCardCerts: [],
    googlePartitionCerts: [read('google-partition.pem')],
  },
})

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
