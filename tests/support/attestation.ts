/** Attestations of an HSM in the form that Cloud KMS gives them, under roots made here: the real ones were never met. */
import { createSign, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Attestation } from '../../lib/core/gcp/evidence.ts'

const dir = mkdtempSync(join(tmpdir(), 'zt-attest-'))
export const read = (name: string): string => readFileSync(join(dir, name), 'utf8')

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
export function makeHsm(): void {
  for (const key of ['maker', 'google', 'card', 'partition', 'stranger'])
    openssl('genrsa', '-out', `${key}.key`, '2048')
  certify('maker', 'maker', null, { ca: true })
  certify('google', 'google', null, { ca: true })
  certify('stranger', 'stranger', null, { ca: true })
  certify('card', 'card', 'maker', { ca: true })
  certify('partition', 'partition', 'card')
  certify('google-partition', 'partition', 'google')
  certify('forged', 'partition', 'stranger')
}

export const removeHsm = (): void => rmSync(dir, { recursive: true, force: true })

export const roots = () => ['maker.pem', 'google.pem'].map(name => new X509Certificate(read(name)))

export function statement(key = 'partition', text = 'attributes of the key, as the HSM says'): string {
  const data = Buffer.from(text)
  const signature = createSign('sha256')
    .update(data)
    .sign(read(`${key}.key`))
  return gzipSync(Buffer.concat([data, signature])).toString('base64')
}

/** @param text what the HSM says of the key: each key has its own */
export const whole = (
  text?: string,
): Attestation & { certChains: NonNullable<Attestation['certChains']> } => ({
  format: 'CAVIUM_V2_COMPRESSED',
  content: statement('partition', text),
  certChains: {
    caviumCerts: [read('partition.pem'), read('card.pem')],
    googleCardCerts: [],
    googlePartitionCerts: [read('google-partition.pem')],
  },
})
