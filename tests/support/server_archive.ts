/** Server archives made by hand, so that each can be wrong in one way. The PKI's own are in tests/support/pki.ts. */
import { chmodSync, writeFileSync } from 'node:fs'
import { formatAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import { type Bytes, random, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { formatPkiServer } from '../../lib/core/pki_server.ts'
import { formatTime } from '../../lib/core/time.ts'
import { packArchive } from '../../lib/edge/archive.ts'
import {
  type Authority,
  issueClient,
  issueCrl,
  issueServer,
  makeAuthority,
} from '../../lib/edge/pki/certificates.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'

const day = 86_400

export interface ArchiveWishes {
  origin?: string
  serverName?: string
  /** Names in the server certificate. */
  names?: string[]
  /** Days between now and the making of the server certificate (90 days) and the CRL (30 days). */
  madeDaysAgo?: number
  crlMadeDaysAgo?: number
  /** A client's certificate in place of the server's. */
  clientCertificate?: boolean
  /** The key of another certificate. */
  otherKey?: boolean
  /** ca.pem of a CA that signed nothing here. */
  otherCa?: boolean
  /** A CRL of a CA that signed nothing here. */
  otherCrl?: boolean
  /** The CRL revokes the server. */
  revoked?: boolean
  /** The issuer that accounts are bound to. */
  issuer?: string
}

export interface MadeArchive {
  files: Map<string, Bytes>
  ca: Authority
  origin: string
  passwords: string[]
}

const authority = async (): Promise<Authority> =>
  await makeAuthority(await makeKey('P-384'), {
    now: (Date.now() - 400 * day * 1000) * 1000,
    seconds: 3650 * day,
  })

/** The files of an archive that is good but for what was wished. */
export async function makeServerFiles(wishes: ArchiveWishes = {}): Promise<MadeArchive> {
  const origin = wishes.origin ?? `ztmysql.local/${toHex(random(8))}`
  const ago = (days = 0) => (Date.now() - days * day * 1000) * 1000
  const [ca, stranger] = await Promise.all([authority(), authority()])
  const [key, otherKey, clientKey] = await Promise.all([makeKey('P-256'), makeKey('P-256'), makeKey('P-256')])
  const validity = { now: ago(wishes.madeDaysAgo), seconds: 90 * day }
  const subject = { role: 'auditor' as const, account: 'auditor', tenant: null }
  const server = wishes.clientCertificate
    ? await issueClient(ca, subject, key.spki, validity)
    : await issueServer(ca, wishes.names ?? ['db.example', '127.0.0.1'], key.spki, validity)
  const client = await issueClient(ca, subject, clientKey.spki, validity)
  const crl = await issueCrl(
    wishes.otherCrl ? stranger : ca,
    1,
    wishes.revoked
      ? [{ serial: server.serial, revokedAt: formatTime(Math.floor(Date.now() / 1000) * 1e6) }]
      : [],
    { now: ago(wishes.crlMadeDaysAgo), seconds: 30 * day },
  )
  const password = toBase64(random(24)).replaceAll('+', '-').replaceAll('/', '_')
  const account = {
    account: 'auditor',
    role: 'auditor' as const,
    tenant: null,
    subject: client.subject,
    issuer: wishes.issuer ?? client.issuer,
    password,
  }
  const serverJson = formatPkiServer({
    origin,
    serverName: wishes.serverName ?? 'db.example',
    accounts: [account],
  })
  const anchorKey = formatAnchorKey({ name: origin, ed25519: random(32), mldsa44: random(32) })
  const pem = (text: string) => utf8(text)
  return {
    ca,
    origin,
    passwords: [password],
    files: new Map([
      ['server.json', pem(serverJson)],
      ['server-cert.pem', pem(formatPem('CERTIFICATE', server.der))],
      ['server-key.pem', pem(formatPem('PRIVATE KEY', (wishes.otherKey ? otherKey : key).pkcs8))],
      ['ca.pem', pem(formatPem('CERTIFICATE', (wishes.otherCa ? stranger : ca).certificate.der))],
      ['crl.pem', pem(formatPem('X509 CRL', crl))],
      ['anchor_key.json', pem(anchorKey)],
    ]),
  }
}

/** Packs files as outside_pki does, and writes them to `path`. */
export async function writeArchive(
  path: string,
  files: ReadonlyMap<string, Bytes>,
  mode = 0o600,
): Promise<string> {
  writeFileSync(path, await packArchive(files, 0o600))
  chmodSync(path, mode)
  return path
}
