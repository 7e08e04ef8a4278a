/** What a trust folder says (SPEC §6.4), file by file. Only trust.ts calls this, after it checked the signature. */
import { type Bytes, fromBase64, fromUtf8, toHex } from './bytes.ts'
import { clientName, oneLine } from './dn.ts'
import { ZtError } from './errors.ts'
import { parseCanonical } from './json.ts'
import { formatKmsUri, parseKmsUri } from './kms_uri.ts'
import { parsePem, parsePems } from './pem.ts'
import * as schema from './trust_files.ts'
import { parseVkey, type Vkey } from './vkey.ts'
import { type CertificateInfo, type CrlInfo, p256Point, readCertificate } from './x509.ts'

export interface TrustedTenant {
  readonly id: string
  readonly label: string
  readonly fixture: boolean
  /** ML-DSA-65 public keys, 1,952 bytes each. */
  readonly issuers: readonly Bytes[]
  /** ML-KEM-768 public keys, 1,184 bytes each. */
  readonly kems: readonly Bytes[]
  readonly kmsKeys: readonly string[]
}

export interface TrustedCertificate {
  readonly account: string
  readonly role: schema.Role
  readonly tenant: string | null
  /** Hex of SHA-256 of the SPKI; no two certificates share one. */
  readonly signer: string
  readonly serial: string
  readonly subject: string
  readonly issuer: string
  readonly notBefore: string
  readonly notAfter: string
  readonly revokedAt: string | null
  /** SEC1 point, 65 bytes. */
  readonly publicKey: Bytes
  readonly der: Bytes
}

export interface TrustedLogKey {
  readonly ed25519: Vkey
  readonly mldsa44: Vkey
  /** Anchor numbers, both included; null: still in use. */
  readonly from: number
  readonly until: number | null
}

export interface TrustedWitnesses {
  /** How many of those in force must have cosigned. */
  readonly quorum: number
  readonly keys: readonly {
    /** Ed25519 cosignature/v1 (0x04) or ML-DSA-44 (0x06). */
    readonly key: Vkey
    /** Anchor numbers, both included; null: still in use. */
    readonly from: number
    readonly until: number | null
  }[]
}

export interface Trust {
  readonly serial: number
  readonly time: string
  readonly origin: string
  /** The CA's certificate; at a rollover the new one and then the old one. */
  readonly ca: readonly CertificateInfo[]
  /** A CRL of each CA, in the same order. */
  readonly crl: readonly CrlInfo[]
  readonly logKeys: readonly TrustedLogKey[]
  /** Absent: nobody is asked to cosign. */
  readonly witnesses?: TrustedWitnesses
  /** DER: the roots of an HSM's manufacturer and of Google. Absent: no attestation is believed. */
  readonly hsmRoots?: readonly Bytes[]
  readonly tenants: readonly TrustedTenant[]
  readonly certificates: readonly TrustedCertificate[]
}

/** Path in the folder → bytes. */
export type TrustFiles = ReadonlyMap<string, Bytes>

export const wrong = (message: string, hint = 'fetch the trust folder again from whoever keeps the CA') =>
  new ZtError('VERIFY_FAILED', `trust folder: ${message}`, { hint })

export const need = (files: TrustFiles, path: string): Bytes => {
  const bytes = files.get(path)
  if (bytes === undefined)
    throw new ZtError('NOT_FOUND', `trust folder: has no ${path}`, {
      hint: 'name the trust/ folder that outside_pki made',
    })
  return bytes
}

export function readLog(bytes: Bytes): { origin: string; logKeys: TrustedLogKey[] } {
  const log = parseCanonical(bytes, schema.logSchema, 'log.json', { newline: true })
  const logKeys = log.keys.map(key => ({
    ...key,
    ed25519: parseVkey(key.ed25519, 'ed25519', 'log.json'),
    mldsa44: parseVkey(key.mldsa44, 'mldsa44', 'log.json'),
  }))
  for (const key of logKeys)
    if (key.ed25519.name !== log.origin || key.mldsa44.name !== log.origin)
      throw wrong('log.json holds keys of another log')
  return { origin: log.origin, logKeys }
}

/** As many as a person would fetch by hand. */
const mostRoots = 20

export function readHsmRoots(bytes: Bytes): Bytes[] {
  const roots = parsePems(fromUtf8(bytes, 'hsm-roots.pem'), 'CERTIFICATE', 'hsm-roots.pem')
  if (roots.length > mostRoots)
    throw wrong(`hsm-roots.pem holds ${roots.length} certificates, at most ${mostRoots}`)
  return roots
}

/** A key without white space in its name; type 0x04 is 33 bytes, 0x06 1,313. */
const witnessKey = (text: string): Vkey =>
  parseVkey(text, text.length < 400 ? 'cosignature' : 'mldsa44', 'witnesses.json')

export function readWitnesses(bytes: Bytes, origin: string): TrustedWitnesses {
  const { quorum, witnesses } = parseCanonical(bytes, schema.witnessesSchema, 'witnesses.json', {
    newline: true,
  })
  const keys = witnesses.map(({ key, ...range }) => ({ key: witnessKey(key), ...range }))
  if (keys.some(({ key }) => key.name === origin)) throw wrong('witnesses.json names the log itself')
  if (new Set(keys.map(({ key }) => toHex(key.publicKey))).size !== keys.length)
    throw wrong('witnesses.json names one key twice')
  if (quorum > new Set(keys.map(({ key }) => key.name)).size)
    throw wrong('witnesses.json asks for more cosignatures than it names witnesses')
  return { quorum, keys }
}

export function readTenants(bytes: Bytes): TrustedTenant[] {
  const { tenants } = parseCanonical(bytes, schema.tenantsSchema, 'tenants.json', { newline: true })
  for (const name of ['id', 'label'] as const)
    if (new Set(tenants.map(tenant => tenant[name])).size !== tenants.length)
      throw wrong(`tenants.json: two tenants have one ${name}`)
  return tenants.map(tenant => ({
    ...tenant,
    issuers: tenant.issuers.map(key => fromBase64(key, `issuer of ${tenant.label}`, 1952)),
    kems: tenant.kems.map(key => fromBase64(key, `ML-KEM key of ${tenant.label}`, 1184)),
    kmsKeys: tenant.kmsKeys.map(uri => formatKmsUri(parseKmsUri(uri))),
  }))
}

export function readAccounts(files: TrustFiles, tenants: readonly TrustedTenant[]): TrustedCertificate[] {
  const { certificates } = parseCanonical(
    need(files, 'accounts.json'),
    schema.accountsSchema,
    'accounts.json',
    {
      newline: true,
    },
  )
  const ids = new Set(tenants.map(tenant => tenant.id))
  const seen = new Set<string>()
  return certificates.map(({ path, ...entry }) => {
    if (
      path !== schema.certificatePath(entry.account, entry.serial) ||
      seen.has(path) ||
      seen.has(entry.signer)
    )
      throw wrong(`accounts.json: ${path} is misnamed, or its key or path is listed twice`)
    seen.add(path).add(entry.signer)
    const pem = fromUtf8(need(files, path), path)
    const info = readCertificate(parsePem(pem, 'CERTIFICATE', path), path)
    const subject = oneLine(clientName(entry.role, entry.account, entry.tenant, entry.serial))
    const same = (['signer', 'serial', 'subject', 'notBefore', 'notAfter'] as const).every(
      k => info[k] === entry[k],
    )
    if (!same || info.subject !== subject || info.isCa)
      throw wrong(`accounts.json does not say what ${path} says`)
    if (schema.hasTenant(entry.role) !== (entry.tenant !== null) || (entry.tenant && !ids.has(entry.tenant)))
      throw wrong(`accounts.json: ${entry.account} is not of a tenant as its role ${entry.role} asks`)
    return { ...entry, publicKey: p256Point(info.spki, path), issuer: info.issuer, der: info.der }
  })
}
