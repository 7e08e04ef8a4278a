/** Who this client is: the key that signs its writes, and what the trust folder says of the certificate over it. */
import { p256 } from '@noble/curves/nist.js'
import { type Bytes, toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { parsePem } from '../core/pem.ts'
import { p256Secret } from '../core/pkcs8.ts'
import { signerOf } from '../core/signature.ts'
import { formatTime } from '../core/time.ts'
import type { Trust, TrustedCertificate, TrustedTenant } from '../core/trust.ts'
import { p256Spki, readCertificate } from '../core/x509.ts'

export interface Identity {
  readonly account: string
  readonly tenant: TrustedTenant
  /** SHA-256 of the SPKI, 32 bytes. */
  readonly signer: Bytes
  /** P-256 scalar, 32 bytes. */
  readonly secretKey: Bytes
}

export interface IdentityFiles {
  /** PEM texts, and the paths that errors name. */
  certificate: string
  certificatePath: string
  key: string
  keyPath: string
}

/**
 * The identity in a certificate and its key, judged by the trust folder.
 * @param nowMicros since 1970-01-01
 * @throws BAD_FORMAT, BAD_INPUT (the key is not the certificate's), REFUSED (unknown, revoked, expired, of another role)
 */
export function readIdentity(trust: Trust, files: IdentityFiles, nowMicros: number): Identity {
  const secretKey = p256Secret(files.key, files.keyPath)
  const spki = p256Spki(p256.getPublicKey(secretKey, false))
  const certificate = readCertificate(
    parsePem(files.certificate, 'CERTIFICATE', files.certificatePath),
    files.certificatePath,
  )
  const signer = signerOf(spki)
  if (certificate.signer !== toHex(signer))
    throw new ZtError('BAD_INPUT', `${files.keyPath}: is not the key of ${files.certificatePath}`, {
      hint: 'put the two files that outside_pki issued together beside each other',
    })
  const known = trust.certificates.find(entry => entry.signer === certificate.signer)
  if (known === undefined)
    throw new ZtError(
      'REFUSED',
      `${files.certificatePath}: the trust folder does not know this certificate`,
      {
        hint: 'fetch the trust folder again: nobody would believe what this certificate signs',
      },
    )
  return { account: known.account, tenant: tenantOf(trust, known, nowMicros), signer, secretKey }
}

function tenantOf(trust: Trust, known: TrustedCertificate, nowMicros: number): TrustedTenant {
  const refuse = (why: string, hint: string) =>
    new ZtError('REFUSED', `the certificate of ${known.account} ${why}`, { hint })
  const tenant = trust.tenants.find(entry => entry.id === known.tenant)
  if (tenant === undefined)
    throw refuse(
      `has role ${known.role} and belongs to no tenant`,
      'use the certificate of a tenant’s account',
    )
  const renew = 'ask for a new one: outside_pki renew'
  if (known.revokedAt !== null) throw refuse(`was revoked at ${known.revokedAt}`, renew)
  const now = formatTime(nowMicros)
  if (now >= known.notAfter) throw refuse(`expired at ${known.notAfter}`, renew)
  if (now < known.notBefore) throw refuse(`is not valid before ${known.notBefore}`, 'check the clock')
  return tenant
}

/** A tenant of the trust folder by UUID or label. @throws NOT_FOUND */
export function findTenant(trust: Trust, name: string): TrustedTenant {
  const tenant = trust.tenants.find(entry => entry.id === name || entry.label === name)
  if (tenant !== undefined) return tenant
  throw new ZtError('NOT_FOUND', 'the trust folder has no such tenant', {
    hint: `known: ${trust.tenants.map(entry => entry.label).join(', ') || 'none'}`,
  })
}
