/**
 * The statement of an HSM about a key: signed by a partition whose certificates end in two roots, the manufacturer's and
 * Google's (Cloud KMS documentation, "Verifying attestations"). RSA-2048, PKCS#1 v1.5, SHA-256, the last 256 bytes.
 */
import { createVerify, X509Certificate } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import type { Bytes } from '../../core/bytes.ts'
import { reason, ZtError } from '../../core/errors.ts'
import type { Attestation } from '../../core/gcp/evidence.ts'
import type { Attest } from '../../core/gcp/promise.ts'

const signatureBytes = 256
const maxBytes = 1 << 20

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
  attestation: Attestation | null,
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

/** Judges attestations by roots, DER each. @throws BAD_FORMAT for what is no certificate */
export function attestBy(roots: readonly Bytes[]): Attest {
  const trusted = roots.map((der, i) => {
    try {
      return new X509Certificate(der)
    } catch (thrown) {
      throw new ZtError('BAD_FORMAT', `root ${i + 1} of the HSM: ${reason(thrown)}`)
    }
  })
  return (attestation, at) => verifyAttestation(attestation, trusted, at)
}
