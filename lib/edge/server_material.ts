/** Reads pki_server.tar.gz and judges it before anything on the host is touched. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { ZtError } from '../core/errors.ts'
import { parsePem, parsePems } from '../core/pem.ts'
import { archiveLimits, readServerFiles, type ServerArchive } from '../core/server_archive.ts'
import type { TableDefinition } from '../core/tables.ts'
import { formatTime } from '../core/time.ts'
import {
  type CertificateInfo,
  isSignedBy,
  p384Point,
  readCertificate,
  readCrl,
  type Signed,
} from '../core/x509.ts'
import { unpackArchive } from './archive.ts'
import { readPrivateFile } from './files.ts'

const freshHint = 'make a new archive on the workstation with outside_pki and copy it here'

/** @throws as readPrivateFile; BAD_FORMAT where it is cut, or not such an archive */
export async function readServerArchive(
  path: string,
  definitions: Iterable<TableDefinition>,
): Promise<ServerArchive> {
  const packed = readPrivateFile(path, 'archive')
  const what = `archive ${path}`
  return readServerFiles(await unpackArchive(packed, what, archiveLimits.unpackedBytes), definitions, what)
}

/** What the archive says about its certificates, once it was found good. */
export interface Material {
  archive: ServerArchive
  server: CertificateInfo
  /** SHA-256 of the DER of each CA certificate, the current one first; hex. */
  caSha256: string[]
  crlNextUpdate: string
  /** Serials that the CRLs revoke, lower-case hex. */
  revoked: string[]
}

function inForce(what: string, from: string, until: string, now: string): void {
  if (now < from)
    throw new ZtError('BAD_INPUT', `${what}: not valid before ${from}`, {
      hint: 'check the clock of this host',
    })
  if (now >= until) throw new ZtError('BAD_INPUT', `${what}: expired on ${until}`, { hint: freshHint })
}

function signerAmong(cas: CertificateInfo[], signed: Signed, what: string): CertificateInfo {
  const ca = cas.find(
    ({ subject, spki }) => subject === signed.issuer && isSignedBy(signed, p384Point(spki, 'ca.pem')),
  )
  if (ca === undefined)
    throw new ZtError('BAD_INPUT', `${what}: not signed by the CA in ca.pem`, { hint: freshHint })
  return ca
}

function keyMatches(archive: ServerArchive): boolean {
  try {
    return new X509Certificate(archive.certificate).checkPrivateKey(createPrivateKey(archive.key))
  } catch {
    return false // OpenSSL's message may quote the key; that it is none says enough
  }
}

function namesServer(archive: ServerArchive): boolean {
  const certificate = new X509Certificate(archive.certificate)
  const { serverName } = archive
  // checkIP throws on what is no address
  return (
    (isIP(serverName) === 0 ? certificate.checkHost(serverName) : certificate.checkIP(serverName)) !==
    undefined
  )
}

const serverAuth = '1.3.6.1.5.5.7.3.1'

/**
 * Checks chain, key, names, dates, revocation and, where given, the pin of the CA.
 * @param pin SHA-256 of the DER of the CA certificate, hex
 * @throws BAD_INPUT naming what is wrong; REFUSED where the CA is not the pinned one
 */
export function checkMaterial(archive: ServerArchive, options: { pin?: string; now?: Date } = {}): Material {
  const now = formatTime((options.now ?? new Date()).getTime() * 1000)
  const ders = parsePems(archive.ca, 'CERTIFICATE', 'ca.pem')
  const caSha256 = ders.map(der => createHash('sha256').update(der).digest('hex'))
  if (options.pin !== undefined && !caSha256.includes(options.pin.toLowerCase().replaceAll(':', '')))
    throw new ZtError('REFUSED', `ca.pem: its SHA-256 is ${caSha256[0]}, not the pinned one`, {
      hint: 'compare with what outside_pki printed; if they differ, the archive is not yours',
    })
  const cas = ders.map(der => readCertificate(der, 'ca.pem'))
  const plain = cas.find(ca => !ca.isCa)
  if (plain !== undefined)
    throw new ZtError('BAD_INPUT', `ca.pem: ${plain.subject} is not a CA`, { hint: freshHint })

  const server = readCertificate(
    parsePem(archive.certificate, 'CERTIFICATE', 'server-cert.pem'),
    'server-cert.pem',
  )
  const issuer = signerAmong(cas, server, 'server-cert.pem')
  inForce('ca.pem', issuer.notBefore, issuer.notAfter, now)
  inForce('server-cert.pem', server.notBefore, server.notAfter, now)
  if (server.isCa || !(new X509Certificate(archive.certificate).keyUsage ?? []).includes(serverAuth))
    throw new ZtError('BAD_INPUT', 'server-cert.pem: not a server certificate', { hint: freshHint })
  if (!keyMatches(archive))
    throw new ZtError('BAD_INPUT', 'server-key.pem: not the key of server-cert.pem', { hint: freshHint })
  if (!namesServer(archive))
    throw new ZtError('BAD_INPUT', `server-cert.pem: does not name ${archive.serverName}`, {
      hint: freshHint,
    })

  const crls = parsePems(archive.crl, 'X509 CRL', 'crl.pem').map(der => readCrl(der, 'crl.pem'))
  for (const crl of crls) {
    const ca = signerAmong(cas, crl, 'crl.pem')
    inForce('crl.pem', crl.thisUpdate, crl.nextUpdate, now)
    if (ca === issuer && crl.entries.some(entry => entry.serial === server.serial))
      throw new ZtError('BAD_INPUT', 'server-cert.pem: revoked by crl.pem', { hint: freshHint })
  }
  if (!crls.some(crl => crl.issuer === issuer.subject))
    throw new ZtError('BAD_INPUT', 'crl.pem: not of the CA that signed server-cert.pem', { hint: freshHint })
  for (const { account, issuer: name } of archive.accounts)
    if (!cas.some(ca => ca.subject === name))
      throw new ZtError(
        'BAD_INPUT',
        `server.json: account ${account} is bound to the issuer ${name}, not in ca.pem`,
        {
          hint: freshHint,
        },
      )
  const crlNextUpdate = crls.map(crl => crl.nextUpdate).sort()[0] ?? ''
  const revoked = crls.flatMap(crl => crl.entries.map(entry => entry.serial))
  return { archive, server, caSha256, crlNextUpdate, revoked }
}
