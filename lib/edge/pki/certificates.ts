/** Makes certificates and CRLs (RFC 5280), all through @peculiar/x509. */
import { isIP } from 'node:net'
import type { Extension, Name, Pkcs10CertificateRequest } from '@peculiar/x509'
import { type Bytes, random, toHex } from '../../core/bytes.ts'
import { derInteger } from '../../core/der.ts'
import { clientName, type DistinguishedName, organisation } from '../../core/dn.ts'
import { ZtError } from '../../core/errors.ts'
import { parsePem } from '../../core/pem.ts'
import { formatTime, parseTime } from '../../core/time.ts'
import type { Role } from '../../core/trust.ts'
import { type CertificateInfo, p256Point, readCertificate } from '../../core/x509.ts'
import { x509 } from '../../core/x509_library.ts'
import type { NewKey, SigningKey } from './keys.ts'

export interface Authority extends SigningKey {
  readonly certificate: CertificateInfo
}

/** When certificates begin and end. */
export interface Validity {
  /** Microseconds since 1970. */
  readonly now: number
  readonly seconds: number
}

/** The clock of whoever checks may be behind ours. */
const backdateSeconds = 300
export const daySeconds = 86_400

const dateOf = (microseconds: number): Date => new Date(Math.floor(microseconds / 1e6) * 1000)
const startOf = ({ now }: Validity): Date => dateOf(now - backdateSeconds * 1e6)
const endOf = ({ now, seconds }: Validity): Date => dateOf(now + seconds * 1e6)

/** 16 random bytes, the first 0x40 to 0x7f: a positive INTEGER whose hex always has 32 digits. */
export function newSerial(): string {
  const bytes = random(16)
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x3f)
  return toHex(bytes)
}

// RFC 5280 asks for UTF8String, X.520 for PrintableString in serialNumber.
function nameOf(name: DistinguishedName): Name {
  return new x509.Name(
    name.map(rdn =>
      Object.fromEntries(
        rdn.map(({ oid, value }) => [
          oid,
          [oid === '2.5.4.5' ? { printableString: value } : { utf8String: value }],
        ]),
      ),
    ),
  )
}

const ecdsa = (hash: 'SHA-256' | 'SHA-384') => ({ name: 'ECDSA', hash })

const { KeyUsageFlags } = x509

/** A self-signed CA, P-384. Its subject carries its serial, so that no two CAs share a name. */
export async function makeAuthority(pair: NewKey, validity: Validity): Promise<Authority> {
  const serialNumber = newSerial()
  const publicKey = new x509.PublicKey(new Uint8Array(pair.spki))
  const name = nameOf([
    [{ oid: '2.5.4.10', value: organisation }],
    [{ oid: '2.5.4.11', value: 'ca' }],
    [{ oid: '2.5.4.3', value: `${organisation} CA` }],
    [{ oid: '2.5.4.5', value: serialNumber }],
  ])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber,
    subject: name,
    issuer: name,
    notBefore: startOf(validity),
    notAfter: endOf(validity),
    publicKey,
    signingKey: pair.key,
    signingAlgorithm: ecdsa('SHA-384'),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(publicKey),
    ],
  })
  return {
    key: pair.key,
    scalar: pair.scalar,
    certificate: readCertificate(new Uint8Array(certificate.rawData), 'CA'),
  }
}

async function issue(
  ca: Authority,
  serialNumber: string,
  subject: DistinguishedName,
  spki: Bytes,
  validity: Validity,
  extensions: Extension[],
): Promise<CertificateInfo> {
  const issuer = new x509.X509Certificate(new Uint8Array(ca.certificate.der))
  if (formatTime(endOf(validity).getTime() * 1000) > ca.certificate.notAfter)
    throw new ZtError(
      'BAD_INPUT',
      `the certificate would outlive its CA, which ends ${ca.certificate.notAfter}`,
      {
        hint: 'choose fewer --days, or begin a new CA with `outside_pki rollover`',
      },
    )
  const publicKey = new x509.PublicKey(new Uint8Array(spki))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber,
    subject: nameOf(subject),
    issuer: issuer.subjectName,
    notBefore: startOf(validity),
    notAfter: endOf(validity),
    publicKey,
    signingKey: ca.key,
    signingAlgorithm: ecdsa('SHA-384'),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return readCertificate(new Uint8Array(certificate.rawData), 'certificate')
}

export function issueClient(
  ca: Authority,
  subject: { role: Role; account: string; tenant: string | null },
  spki: Bytes,
  validity: Validity,
): Promise<CertificateInfo> {
  const serial = newSerial()
  const name = clientName(subject.role, subject.account, subject.tenant, serial)
  const usage = new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])
  return issue(ca, serial, name, spki, validity, [usage])
}

/** @param names DNS names and IP addresses by which clients reach the server */
export function issueServer(
  ca: Authority,
  names: readonly string[],
  spki: Bytes,
  validity: Validity,
  usage: 'serverAuth' | 'clientAuth' = 'serverAuth',
): Promise<CertificateInfo> {
  const serial = newSerial()
  const alternatives = names.map(value => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }))
  return issue(
    ca,
    serial,
    clientName('server', (names[0] ?? '').slice(0, 64), null, serial),
    spki,
    validity,
    [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]]),
      new x509.SubjectAlternativeNameExtension(alternatives),
    ],
  )
}

/** A version 2 CRL of one CA, in DER. */
export async function issueCrl(
  ca: Authority,
  number: number,
  revoked: readonly { serial: string; revokedAt: string }[],
  validity: Validity,
): Promise<Bytes> {
  const issuer = new x509.X509Certificate(new Uint8Array(ca.certificate.der))
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate: startOf(validity),
    nextUpdate: endOf(validity),
    signingKey: ca.key,
    signingAlgorithm: ecdsa('SHA-384'),
    entries: revoked.map(({ serial, revokedAt }) => ({
      serialNumber: serial,
      revocationDate: dateOf(parseTime(revokedAt, 'revokedAt')),
    })),
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new x509.Extension('2.5.29.20', false, new Uint8Array(derInteger(number))),
    ],
  })
  return new Uint8Array(crl.rawData)
}

/** The P-256 SPKI of a certificate request that its key signed; all else that it asks for is ignored. @throws BAD_INPUT */
export async function readRequest(pem: string, what: string): Promise<Bytes> {
  let request: Pkcs10CertificateRequest
  try {
    const der = parsePem(pem, 'CERTIFICATE REQUEST', what)
    request = new x509.Pkcs10CertificateRequest(new Uint8Array(der))
    const spki = new Uint8Array(request.publicKey.rawData)
    p256Point(spki, what)
    if (await request.verify()) return spki
  } catch (cause) {
    throw new ZtError('BAD_INPUT', `${what}: not a PKCS#10 request in PEM for a P-256 key`, {
      hint: 'openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout NAME-key.pem -subj /CN=x -out NAME.csr',
      cause,
    })
  }
  throw new ZtError('BAD_INPUT', `${what}: its signature does not verify`, { hint: 'make the request again' })
}
