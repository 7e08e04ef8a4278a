/** Makes the files of a trust folder (SPEC §6.4). */
import { p384 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, toBase64, toHex, utf8 } from './bytes.ts'
import { formatCanonical } from './json.ts'
import { formatPem } from './pem.ts'
import { manifestMessage, parseTrust, type Trust, type TrustedCertificate } from './trust.ts'
import { certificatePath } from './trust_files.ts'
import { formatVkey } from './vkey.ts'
import { readCertificate } from './x509.ts'

/** What a trust folder is made from. */
export interface TrustContent
  extends Pick<Trust, 'serial' | 'time' | 'origin' | 'logKeys' | 'tenants' | 'witnesses' | 'hsmRoots'> {
  /** DER. */
  readonly ca: readonly Bytes[]
  readonly crl: readonly Bytes[]
  readonly certificates: readonly (Pick<TrustedCertificate, 'account' | 'role' | 'tenant' | 'revokedAt'> & {
    der: Bytes
  })[]
}

const json = (value: unknown): Bytes => utf8(formatCanonical(value, true))

function contentFiles(content: TrustContent): Map<string, Bytes> {
  const files = new Map<string, Bytes>()
  const certificates = content.certificates.map(({ account, role, tenant, revokedAt, der }) => {
    const { signer, serial, subject, notBefore, notAfter } = readCertificate(der, account)
    const path = certificatePath(account, serial)
    files.set(path, utf8(formatPem('CERTIFICATE', der)))
    return { account, role, tenant, signer, serial, subject, notBefore, notAfter, revokedAt, path }
  })
  const keys = content.logKeys.map(({ ed25519, mldsa44, from, until }) => ({
    ed25519: formatVkey(ed25519),
    mldsa44: formatVkey(mldsa44),
    from,
    until,
  }))
  const tenants = content.tenants.map(({ id, label, fixture, issuers, kems, kmsKeys }) => ({
    id,
    label,
    fixture,
    issuers: issuers.map(toBase64),
    kems: kems.map(toBase64),
    kmsKeys,
  }))
  if (content.hsmRoots)
    files.set('hsm-roots.pem', utf8(content.hsmRoots.map(der => formatPem('CERTIFICATE', der)).join('')))
  if (content.witnesses)
    files.set(
      'witnesses.json',
      json({
        v: 1,
        quorum: content.witnesses.quorum,
        witnesses: content.witnesses.keys.map(({ key, from, until }) => ({
          key: formatVkey(key),
          from,
          until,
        })),
      }),
    )
  return files
    .set('ca.pem', utf8(content.ca.map(der => formatPem('CERTIFICATE', der)).join('')))
    .set('crl.pem', utf8(content.crl.map(der => formatPem('X509 CRL', der)).join('')))
    .set('log.json', json({ v: 1, origin: content.origin, keys }))
    .set('tenants.json', json({ v: 1, tenants }))
    .set('accounts.json', json({ v: 1, certificates }))
}

/**
 * The files of a trust folder. Inverse of parseTrust, which it passes before it is returned.
 * @param secretKeys of the CAs, 48 bytes each, in the order of `content.ca`
 */
export function buildTrust(content: TrustContent, secretKeys: readonly Bytes[]): Map<string, Bytes> {
  const files = contentFiles(content)
  const listed = [...files].map(([path, bytes]) => ({
    path,
    size: bytes.length,
    sha256: toHex(sha256(bytes)),
  }))
  listed.sort((a, b) => (a.path < b.path ? -1 : 1))
  const { serial, time } = content
  const manifest = json({ v: 1, kind: 'ztmysql-trust', serial, time, files: listed })
  const lines = secretKeys.map(key => toBase64(p384.sign(manifestMessage(manifest), key, { lowS: true })))
  files.set('manifest.json', manifest).set('manifest.sig', utf8(lines.map(line => `${line}\n`).join('')))
  parseTrust(files)
  return files
}
