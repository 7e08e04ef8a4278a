/** Tenants: add, retire, and what the trust folder says of their keys. */
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { fromBase64, fromUtf8, newUuid, random, toBase64, utf8 } from '../../core/bytes.ts'
import { issuerPublicKey } from '../../core/envelope/issuer.ts'
import { formatIssuerFile } from '../../core/envelope/key_files.ts'
import { sealFile } from '../../core/envelope/sealed_file.ts'
import { ZtError } from '../../core/errors.ts'
import { canonicalKmsUri } from '../../core/kms_uri.ts'
import { type PkiTenant, tenantOf } from '../../core/pki_state.ts'
import { labelPattern } from '../../core/trust_files.ts'
import { readRegularFile } from '../files.ts'
import { requireKnownProvider } from '../kms.ts'
import { retireAccount } from './accounts.ts'
import { type Draft, definitions, order, put } from './draft.ts'
import { revoke } from './revocations.ts'

const issuerSeedLength = 32

export const issuerName = (label: string): string => `${label}-issuer.json`

/** A tenant with its key issuer; the same call again changes nothing. */
export async function addTenant(
  draft: Draft,
  label: string,
  { kmsKeys = [], fixture = false }: { kmsKeys?: readonly string[]; fixture?: boolean } = {},
): Promise<void> {
  if (!labelPattern.test(label))
    throw new ZtError(
      'BAD_INPUT',
      `tenant ${JSON.stringify(label)}: expected a-z, then up to 39 of a-z 0-9 -`,
      {
        hint: 'for example acme',
      },
    )
  const uris = kmsKeys.map(canonical)
  const known = draft.state.tenants.find(t => t.label === label)
  if (known !== undefined) {
    if (!known.retired && uris.every(uri => known.kmsKeys.includes(uri))) return
    throw new ZtError('CONFLICT', `tenant ${label}: exists${known.retired ? ' and is retired' : ''}`, {
      hint: known.retired
        ? 'choose another label'
        : `to add a KMS key: outside_pki tenant kms-key ${label} URI`,
    })
  }
  const id = newUuid()
  const seed = random(issuerSeedLength)
  const name = issuerName(label)
  const sealed = sealFile(name, utf8(formatIssuerFile({ tenant: id, seed })), draft.passphrase)
  put(draft, `issuers/${name}`, sealed)
  draft.state.tenants.push({
    id,
    label,
    fixture,
    version: 1,
    retired: false,
    issuers: [toBase64(issuerPublicKey(seed))],
    kems: [],
    kmsKeys: uris,
  })
  seed.fill(0)
  draft.changes.push(`tenant ${label}: ${id}`)
  await order(draft, definitions.tenants, 'create', { tenant_id: id, version: 1, label })
}

/** A token's URI may come in any spelling; a bare name of Google's would not say which provider it means. */
const canonical = (uri: string): string =>
  requireKnownProvider(uri.startsWith('pkcs11:') ? canonicalKmsUri(uri, 'gcp-kms') : uri)

function active(draft: Draft, label: string): PkiTenant {
  const tenant = tenantOf(draft.state, label)
  if (tenant.retired)
    throw new ZtError('REFUSED', `tenant ${label}: is retired`, { hint: 'a retired tenant stays retired' })
  return tenant
}

/** Ends a tenant for good: its accounts' grants and certificates, then the tenant itself. */
export async function retireTenant(draft: Draft, label: string): Promise<void> {
  const tenant = tenantOf(draft.state, label)
  if (tenant.retired) return
  if (tenant.fixture)
    throw new ZtError('REFUSED', `tenant ${label}: is a fixture, which the probes need`, { hint: 'leave it' })
  for (const account of draft.state.accounts.filter(a => a.tenant === tenant.id)) {
    await retireAccount(draft, account)
    await revoke(draft, account.account)
  }
  tenant.version += 1
  tenant.retired = true
  draft.changes.push(`tenant ${label}: retired`)
  await order(draft, definitions.tenants, 'retire', { tenant_id: tenant.id, version: tenant.version, label })
}

export function addKmsKey(draft: Draft, label: string, uri: string): void {
  const tenant = active(draft, label)
  const key = canonical(uri)
  if (tenant.kmsKeys.includes(key)) return
  const other = draft.state.tenants.find(t => t !== tenant && t.kmsKeys.includes(key))
  if (other !== undefined)
    throw new ZtError('REFUSED', `${key}: is the key of tenant ${other.label}`, {
      hint: 'give each tenant a KMS key of its own: with a shared one, keys do not separate them',
    })
  tenant.kmsKeys.push(key)
  draft.changes.push(`tenant ${label}: KMS key ${key}`)
}

/** @param path file with the base64 of an ML-KEM-768 public key (1,184 bytes) and LF */
export function addKem(draft: Draft, label: string, path: string): void {
  const tenant = active(draft, label)
  const text = fromUtf8(readRegularFile(path, 'public key', 4096), path).replace(/\n$/, '')
  const key = fromBase64(text, `public key ${path}`, 1184)
  try {
    ml_kem768.encapsulate(key)
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `public key ${path}: not of ML-KEM-768 (FIPS 203 §7.2)`, {
      hint: 'name the file that `pq_envelope_cli keygen` printed the public key to',
      cause,
    })
  }
  if (tenant.kems.includes(toBase64(key))) return
  tenant.kems.push(toBase64(key))
  draft.changes.push(`tenant ${label}: ML-KEM-768 public key`)
}
