/** Reads X.509 certificates and CRLs (RFC 5280). What was read is data: nothing here says that it is trusted. */
import { p384 } from '@noble/curves/nist.js'
import { type Bytes, concat, equal, fromHex, toHex } from './bytes.ts'
import { type DistinguishedName, oneLine } from './dn.ts'
import { reason, ZtError } from './errors.ts'
import { signerOf } from './signature.ts'
import { formatTime } from './time.ts'
import { x509 } from './x509_library.ts'

class Certificate extends x509.X509Certificate {
  get parts() {
    return this.asn
  }
}

class Crl extends x509.X509Crl {
  get parts() {
    return this.asn
  }
}

/** What a CA signed, as it stands in the file. */
export interface Signed {
  readonly der: Bytes
  /** The bytes that the signature covers. */
  readonly signedBytes: Bytes
  /** ECDSA-Sig-Value in DER. */
  readonly signature: Bytes
  readonly algorithm: string
  /** One-line form, as MySQL prints it. */
  readonly issuer: string
}

export interface CertificateInfo extends Signed {
  /** Lower-case hex. */
  readonly serial: string
  readonly subject: string
  readonly notBefore: string
  readonly notAfter: string
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Bytes
  /** Hex of SHA-256 of the SPKI (SPEC §2). */
  readonly signer: string
  readonly isCa: boolean
  /** DNS names and IP addresses of its subjectAltName. */
  readonly names: readonly string[]
}

export interface CrlInfo extends Signed {
  readonly thisUpdate: string
  readonly nextUpdate: string
  readonly entries: readonly { serial: string; revokedAt: string }[]
}

function read<T>(what: string, act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (cause instanceof ZtError) throw cause
    throw new ZtError('BAD_FORMAT', `${what}: ${reason(cause)}`, { cause })
  }
}

const bytesOf = (buffer: ArrayBuffer | undefined): Bytes => {
  if (buffer === undefined) throw new ZtError('INTERNAL', 'the X.509 library kept no signed bytes')
  return new Uint8Array(buffer)
}
const timeOf = (date: Date): string => formatTime(date.getTime() * 1000)
const nameOf = (
  name: Iterable<Iterable<{ type: string; value: { toString(): string } }>>,
): DistinguishedName =>
  [...name].map(rdn => [...rdn].map(({ type, value }) => ({ oid: type, value: value.toString() })))

/** @throws BAD_FORMAT */
export function readCertificate(der: Bytes, what: string): CertificateInfo {
  return read(what, () => {
    const certificate = new Certificate(new Uint8Array(der))
    const { tbsCertificate, tbsCertificateRaw, signatureAlgorithm, signatureValue } = certificate.parts
    const spki = bytesOf(certificate.publicKey.rawData)
    return {
      der,
      signedBytes: bytesOf(tbsCertificateRaw),
      signature: bytesOf(signatureValue),
      algorithm: signatureAlgorithm.algorithm,
      issuer: oneLine(nameOf(tbsCertificate.issuer)),
      serial: certificate.serialNumber.toLowerCase(),
      subject: oneLine(nameOf(tbsCertificate.subject)),
      notBefore: timeOf(certificate.notBefore),
      notAfter: timeOf(certificate.notAfter),
      spki,
      signer: toHex(signerOf(spki)),
      isCa: certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true,
      names:
        certificate
          .getExtension(x509.SubjectAlternativeNameExtension)
          ?.names.items.flatMap(({ type, value }) => (type === 'dns' || type === 'ip' ? [value] : [])) ?? [],
    }
  })
}

/** @throws BAD_FORMAT, also where it has no next update */
export function readCrl(der: Bytes, what: string): CrlInfo {
  return read(what, () => {
    const crl = new Crl(new Uint8Array(der))
    const { tbsCertList, tbsCertListRaw, signatureAlgorithm, signature } = crl.parts
    if (crl.nextUpdate === undefined) throw new ZtError('BAD_FORMAT', `${what}: names no next update`)
    return {
      der,
      signedBytes: bytesOf(tbsCertListRaw),
      signature: bytesOf(signature),
      algorithm: signatureAlgorithm.algorithm,
      issuer: oneLine(nameOf(tbsCertList.issuer)),
      thisUpdate: timeOf(crl.thisUpdate),
      nextUpdate: timeOf(crl.nextUpdate),
      entries: crl.entries.map(entry => ({
        serial: entry.serialNumber.toLowerCase(),
        revokedAt: timeOf(entry.revocationDate),
      })),
    }
  })
}

// The only SubjectPublicKeyInfo of a named curve with an uncompressed point (RFC 5480 §2).
const p256Header = fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'P-256 header')
const p384Header = fromHex('3076301006072a8648ce3d020106052b81040022036200', 'P-384 header')

function pointOf(spki: Bytes, header: Bytes, length: number, curve: string, what: string): Bytes {
  const point = spki.subarray(header.length)
  if (!equal(spki.subarray(0, header.length), header) || point.length !== length || point[0] !== 4)
    throw new ZtError('BAD_FORMAT', `${what}: its key is not an uncompressed ${curve} point`)
  return point
}

/** The SEC1 point of a P-256 SPKI, 65 bytes. @throws BAD_FORMAT */
export const p256Point = (spki: Bytes, what: string): Bytes => pointOf(spki, p256Header, 65, 'P-256', what)
/** The SEC1 point of a P-384 SPKI, 97 bytes. @throws BAD_FORMAT */
export const p384Point = (spki: Bytes, what: string): Bytes => pointOf(spki, p384Header, 97, 'P-384', what)
/** DER SubjectPublicKeyInfo of an uncompressed P-256 point. */
export const p256Spki = (point: Bytes): Bytes => concat(p256Header, point)

const ecdsaWithSha384 = '1.2.840.10045.4.3.3'

/** Whether the P-384 key `caPoint` (97 bytes) signed a certificate or CRL with ECDSA and SHA-384. */
export function isSignedBy(signed: Signed, caPoint: Bytes): boolean {
  if (signed.algorithm !== ecdsaWithSha384) return false
  try {
    return p384.verify(signed.signature, signed.signedBytes, caPoint, { format: 'der', lowS: false })
  } catch {
    return false // noble throws on a malformed signature or point: not a signature
  }
}
