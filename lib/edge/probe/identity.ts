/** The probe certificates in CLIENTS_DIR. No real client's key has any business on the host. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex, fromUtf8 } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { type ClientConfig, parseClientConfig } from '../../core/mycnf.ts'
import { parsePem } from '../../core/pem.ts'
import { p256Secret } from '../../core/pkcs8.ts'
import { readCertificate } from '../../core/x509.ts'
import { readPrivateFile, readRegularFile } from '../files.ts'

export interface ProbeIdentity {
  account: string
  tenant: string
  /** Path of the option file. */
  defaultsFile: string
  config: ClientConfig
  /** 32 bytes. */
  signer: Uint8Array
  secretKey: Uint8Array
}

const probeRoles = ['probe', 'probe_auditor']
const pemMaxBytes = 1 << 20

/** One relative distinguished name of a one-line subject (SPEC §2). */
const nameIn = (subject: string, type: string): string | undefined =>
  new RegExp(`/${type}=([^/]*)`).exec(subject)?.[1]

/** @throws REFUSED if the folder holds a certificate of anybody but a probe */
export function refuseRealClients(dir: string): void {
  for (const file of list(dir).filter(name => name.endsWith('-cert.pem'))) {
    const pem = fromUtf8(readRegularFile(join(dir, file), 'certificate', pemMaxBytes), file)
    const { subject } = readCertificate(parsePem(pem, 'CERTIFICATE', file), file)
    if (!probeRoles.includes(nameIn(subject, 'OU') ?? ''))
      throw new ZtError('REFUSED', `${join(dir, file)}: belongs to ${nameIn(subject, 'CN')}, a real client`, {
        hint: 'the host may hold probe certificates only: remove it, and use a folder made by outside_pki probes',
      })
  }
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir).sort()
  } catch (cause) {
    throw new ZtError('NOT_FOUND', `${dir}: no such folder of probe certificates`, {
      cause,
      hint: 'set CLIENTS_DIR, or unpack pki_probes.tar.gz made by outside_pki probes',
    })
  }
}

/** @throws NOT_FOUND, PERMISSION, BAD_FORMAT, REFUSED where the certificate has expired */
export function readProbeIdentity(dir: string, account: string): ProbeIdentity {
  const defaultsFile = join(dir, `${account}.cnf`)
  const config = parseClientConfig(
    fromUtf8(readPrivateFile(defaultsFile, 'option file'), defaultsFile),
    defaultsFile,
  )
  const { sslCert = '', sslKey = '' } = config
  const certificate = readCertificate(
    parsePem(fromUtf8(readRegularFile(sslCert, 'certificate', pemMaxBytes), sslCert), 'CERTIFICATE', sslCert),
    sslCert,
  )
  if (Date.now() > Date.parse(certificate.notAfter))
    throw new ZtError('REFUSED', `${sslCert}: expired at ${certificate.notAfter}`, {
      hint: 'make fresh ones on the workstation: outside_pki probes',
    })
  return {
    account,
    tenant: nameIn(certificate.subject, 'UID') ?? '',
    defaultsFile,
    config,
    signer: fromHex(certificate.signer, 'signer', 32),
    secretKey: p256Secret(fromUtf8(readPrivateFile(sslKey, 'key'), sslKey), sslKey),
  }
}
