/**
 * The statement of an HSM about a key: signed by a partition whose certificates end in two roots, the manufacturer's and
 * Google's (Cloud KMS documentation, "Verifying attestations"). RSA-2048, PKCS#1 v1.5, SHA-256, the last 256 bytes.
 */
import { createVerify, X509Certificate } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'

const signatureBytes = 256
const maxBytes = 1 << 20

export const attestationSchema = z.object({
  format: z.string(),
  content: z.string(),
  certChains: z
    .object({
      caviumCerts: z.array(z.string()).default([]),
      googleCardCerts: z.array(z.string()).default([]),
      googlePartitionCerts: z.array(z.string()).default([]),
    })
    .optional(),
})

export type Attestation = z.infer<typeof attestationSchema>

function signs(certificate: X509Certificate, statement: Buffer): boolean {
  const verify = createVerify('sha256').update(statement.subarray(0, -signatureBytes))
  return verify.verify(certificate.publicKey, statement.subarray(-signatureBytes))
}

const inForce = ({ validFrom, validTo }: X509Certificate, at: number): boolean =>
  Date.parse(validFrom) <= at && at <= Date.parse(validTo)

const issued = (by: X509Certificate, certificate: X509Certificate): boolean =>
  certificate.checkIssued(by) && certificate.verify(by.publicKey)

/** Whether a path leads from the certificate over others of the chain to a root; each is used once. */
function reaches(
  certificate: X509Certificate,
  others: X509Certificate[],
  roots: X509Certificate[],
  at: number,
): boolean {
  if (!inForce(certificate, at)) return false
  if (roots.some(root => inForce(root, at) && issued(root, certificate))) return true
  return others.some(
    next =>
      next.ca &&
      issued(next, certificate) &&
      reaches(
        next,
        others.filter(each => each !== next),
        roots,
        at,
      ),
  )
}

/** @param at milliseconds since 1970: when certificates must be in force */
export function verifyAttestation(
  attestation: Attestation | undefined,
  roots: X509Certificate[],
  at: number,
): 'verified' | 'missing' | 'bad' {
  if (attestation?.certChains === undefined) return 'missing'
  const { caviumCerts, googleCardCerts, googlePartitionCerts } = attestation.certChains
  try {
    const packed = Buffer.from(attestation.content, 'base64')
    const statement = gunzipSync(packed, { maxOutputLength: maxBytes })
    if (statement.length <= signatureBytes) return 'bad'
    const chains = [caviumCerts, [...googlePartitionCerts, ...googleCardCerts]].map(pems =>
      pems.map(pem => new X509Certificate(pem)),
    )
    const holds = chains.every(chain =>
      chain.some(
        leaf =>
          signs(leaf, statement) &&
          reaches(
            leaf,
            chain.filter(each => each !== leaf),
            roots,
            at,
          ),
      ),
    )
    return holds ? 'verified' : 'bad'
  } catch {
    return 'bad' // no gzip, no certificate: whatever it is, it proves nothing
  }
}
