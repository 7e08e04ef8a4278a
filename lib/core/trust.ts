/**
 * The trust folder (SPEC §6.4): everything that a verifier believes beforehand. It stands on one pinned CA
 * certificate, whose key signs a manifest of every other file; nothing is read before that signature was checked.
 */
import { p384 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { z } from 'zod'
import { type Bytes, fromBase64, fromHex, fromUtf8, toHex } from './bytes.ts'
import { ZtError } from './errors.ts'
import { parseCanonical } from './json.ts'
import { lp } from './lp.ts'
import { parsePems } from './pem.ts'
import {
  need,
  readAccounts,
  readHsmRoots,
  readLog,
  readTenants,
  readWitnesses,
  type Trust,
  type TrustedCertificate,
  type TrustFiles,
  wrong,
} from './trust_content.ts'
import { manifestSchema } from './trust_files.ts'
import {
  type CertificateInfo,
  type CrlInfo,
  isSignedBy,
  p384Point,
  readCertificate,
  readCrl,
} from './x509.ts'

export type {
  Trust,
  TrustedCertificate,
  TrustedLogKey,
  TrustedTenant,
  TrustedWitnesses,
  TrustFiles,
} from './trust_content.ts'
export type { Role } from './trust_files.ts'

/** What the CA signs of a manifest. */
export const manifestMessage = (manifest: Bytes): Bytes => lp('ztmysql/v1/trust', manifest)

/** The CA certificates, one of which is the pinned one. */
function readAuthorities(pem: Bytes, pin: string | undefined): CertificateInfo[] {
  const ders = parsePems(fromUtf8(pem, 'ca.pem'), 'CERTIFICATE', 'ca.pem')
  if (ders.length > 2) throw wrong(`ca.pem holds ${ders.length} certificates, at most 2`)
  // before any of it is parsed: whoever made the folder may have made the CA too
  if (pin !== undefined && !ders.some(der => toHex(sha256(der)) === toHex(fromHex(pin, 'pin of the CA', 32))))
    throw wrong('its CA is not the pinned one', 'compare --ca-sha256 with what `outside_pki list` prints')
  return ders.map(der => {
    const ca = readCertificate(der, 'ca.pem')
    if (!ca.isCa || !isSignedBy(ca, p384Point(ca.spki, 'ca.pem')))
      throw wrong('ca.pem is not a self-signed CA')
    return ca
  })
}

/** Every CA signs: so the pin holds at a rollover, whichever of the two it names. */
function checkManifestSignature(manifest: Bytes, sig: Bytes, cas: readonly CertificateInfo[]): void {
  const lines = fromUtf8(sig, 'manifest.sig').split('\n')
  const message = manifestMessage(manifest)
  const valid =
    lines.length === cas.length + 1 &&
    lines.at(-1) === '' &&
    cas.every((ca, i) => isSignedCompact(message, fromBase64(lines[i] ?? '', 'manifest.sig', 96), ca))
  if (!valid)
    throw new ZtError('BAD_SIGNATURE', 'trust folder: the CA did not sign manifest.json', {
      hint: 'fetch the trust folder again from whoever keeps the CA',
    })
}

function isSignedCompact(message: Bytes, signature: Bytes, ca: CertificateInfo): boolean {
  try {
    return p384.verify(signature, message, p384Point(ca.spki, 'ca.pem'), { lowS: true })
  } catch {
    return false // noble throws on r or s out of range: not a signature
  }
}

function checkFiles(files: TrustFiles, listed: z.output<typeof manifestSchema>['files']): void {
  const names = listed.map(file => file.path)
  const sorted = [...new Set(names)].sort()
  if (names.some((name, i) => name !== sorted[i])) throw wrong('manifest.json is not sorted by path')
  const unlisted = [...files.keys()].find(
    path => path !== 'manifest.json' && path !== 'manifest.sig' && !names.includes(path),
  )
  if (unlisted !== undefined) throw wrong(`${unlisted} is not in the manifest`)
  for (const { path, size, sha256: digest } of listed) {
    const bytes = need(files, path)
    if (bytes.length !== size || toHex(sha256(bytes)) !== digest)
      throw wrong(`${path} is not what the CA signed`)
  }
}

function readCrls(pem: Bytes, cas: readonly CertificateInfo[]): CrlInfo[] {
  const crls = parsePems(fromUtf8(pem, 'crl.pem'), 'X509 CRL', 'crl.pem').map(der => readCrl(der, 'crl.pem'))
  const signed = crls.length === cas.length && cas.every((ca, i) => isCrlOf(crls[i], ca))
  if (!signed) throw wrong('crl.pem is not signed by the CA')
  return crls
}

const isCrlOf = (crl: CrlInfo | undefined, ca: CertificateInfo): boolean =>
  crl !== undefined && crl.issuer === ca.subject && isSignedBy(crl, p384Point(ca.spki, 'ca.pem'))

/** A revocation that only one of CRL and accounts.json knows would let server and verifier disagree. */
function checkRevocations(certificates: readonly TrustedCertificate[], crls: readonly CrlInfo[]): void {
  const revoked = new Map(
    crls.flatMap(crl => crl.entries.map(e => [`${crl.issuer} ${e.serial}`, e.revokedAt])),
  )
  const issuers = new Set(crls.map(crl => crl.issuer))
  for (const certificate of certificates) {
    const { issuer } = certificate
    if (!issuers.has(issuer)) continue // of a CA that has been rolled over: no CRL is left
    if ((revoked.get(`${issuer} ${certificate.serial}`) ?? null) !== certificate.revokedAt)
      throw wrong(
        `CRL and accounts.json disagree on certificate ${certificate.serial} of ${certificate.account}`,
      )
  }
}

/**
 * Everything that a trust folder says, once its CA is the pinned one and signed every byte of it.
 * @param options.caSha256 hex SHA-256 of the CA certificate's DER, got by another way than the folder
 * @throws NOT_FOUND, VERIFY_FAILED, BAD_SIGNATURE, BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH
 */
export function parseTrust(files: TrustFiles, options: { caSha256?: string | undefined } = {}): Trust {
  const manifestBytes = need(files, 'manifest.json')
  const ca = readAuthorities(need(files, 'ca.pem'), options.caSha256)
  checkManifestSignature(manifestBytes, need(files, 'manifest.sig'), ca)
  const manifest = parseCanonical(manifestBytes, manifestSchema, 'manifest.json', { newline: true })
  checkFiles(files, manifest.files)
  const tenants = readTenants(need(files, 'tenants.json'))
  const certificates = readAccounts(files, tenants)
  const fixed = ['accounts.json', 'ca.pem', 'crl.pem', 'log.json', 'tenants.json']
  const witnesses = files.get('witnesses.json')
  const roots = files.get('hsm-roots.pem')
  const optional = (witnesses ? 1 : 0) + (roots ? 1 : 0)
  if (manifest.files.length !== fixed.length + certificates.length + optional)
    throw wrong('it holds a file of no known use')
  const crl = readCrls(need(files, 'crl.pem'), ca)
  checkRevocations(certificates, crl)
  const log = readLog(need(files, 'log.json'))
  return {
    serial: manifest.serial,
    time: manifest.time,
    ...log,
    ...(roots ? { hsmRoots: readHsmRoots(roots) } : {}),
    ...(witnesses ? { witnesses: readWitnesses(witnesses, log.origin) } : {}),
    ca,
    crl,
    tenants,
    certificates,
  }
}
