/** A change of the PKI in the making: the next state, the files that it writes, and a line for each thing that it does. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import grants from '../../../sql/tables/tenant_grant.json' with { type: 'json' }
import tenants from '../../../sql/tables/tenants.json' with { type: 'json' }
import { type Bytes, fromUtf8, random, toHex, utf8 } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { formatOrder, type OrderAction, signOrder } from '../../core/order.ts'
import { formatPem, parsePem } from '../../core/pem.ts'
import { currentCertificate, isInForce, type PkiState } from '../../core/pki_state.ts'
import { type Row, type TableDefinition, tableSchema } from '../../core/tables.ts'
import { formatTime } from '../../core/time.ts'
import { certificatePath } from '../../core/trust_files.ts'
import { type CertificateInfo, readCertificate } from '../../core/x509.ts'
import { fileError } from '../files.ts'
import type { Authority } from './certificates.ts'
import { decryptKey, type SigningKey } from './keys.ts'

/** The tables that administrators write. */
export const definitions = { tenants: tableSchema.parse(tenants), tenant_grant: tableSchema.parse(grants) }

export interface Draft {
  /** The PKI folder, absolute. */
  readonly dir: string
  readonly passphrase: string
  /** Microseconds since 1970. */
  readonly now: number
  readonly state: PkiState
  /** Unlocked, in the order of `state.authorities`. */
  readonly authorities: Authority[]
  /** Path under the folder → bytes. */
  readonly files: Map<string, Bytes>
  readonly removed: Set<string>
  /** What it does, a line each; none: nothing changes. */
  readonly changes: string[]
  /** Administrators' keys that were needed, unlocked. */
  readonly signers: Map<string, SigningKey>
  /** A revocation or a new CA asks for a new CRL. */
  crlIsStale: boolean
}

export const timeOf = (draft: Draft): string => formatTime(Math.floor(draft.now / 1e6) * 1e6)

export function put(draft: Draft, path: string, content: Bytes | string): void {
  draft.removed.delete(path)
  draft.files.set(path, typeof content === 'string' ? utf8(content) : content)
}

export function remove(draft: Draft, path: string): void {
  draft.files.delete(path)
  draft.removed.add(path)
}

/** What the folder will hold at `path`. @throws as fileError */
export function get(draft: Draft, path: string): Bytes {
  const bytes = draft.files.get(path)
  if (bytes !== undefined) return bytes
  try {
    return new Uint8Array(readFileSync(join(draft.dir, path)))
  } catch (thrown) {
    throw fileError(thrown, join(draft.dir, path))
  }
}

export const pemOf = (certificate: CertificateInfo): string => formatPem('CERTIFICATE', certificate.der)

export function certificateAt(draft: Draft, path: string): CertificateInfo {
  return readCertificate(parsePem(fromUtf8(get(draft, path), path), 'CERTIFICATE', path), path)
}

/** The CA that signs now. */
export function authorityOf(draft: Draft): Authority {
  const [authority] = draft.authorities
  if (authority === undefined) throw new ZtError('INTERNAL', 'no CA is unlocked')
  return authority
}

/** Keeps a private key encrypted in the folder. */
export const administratorKeyPath = (account: string): string => `administrators/${account}-key.pem`

/** An administrator whose certificate is in force, with its key. @throws REFUSED, BAD_PASSPHRASE */
async function administrator(draft: Draft): Promise<{ key: SigningKey; signer: Bytes }> {
  const account = draft.state.accounts.find(
    a => a.role === 'administrator' && isInForce(currentCertificate(draft.state, a), timeOf(draft)),
  )
  if (account === undefined)
    throw new ZtError('REFUSED', 'no administrator has a certificate in force to sign the order with', {
      hint: 'outside_pki renew administrator',
    })
  const path = administratorKeyPath(account.account)
  const known = draft.signers.get(account.account)
  const key = known ?? (await decryptKey(fromUtf8(get(draft, path), path), draft.passphrase, 'P-256', path))
  draft.signers.set(account.account, key)
  const { signer } = certificateAt(draft, `trust/${certificatePath(account.account, account.serial)}`)
  return { key, signer: Uint8Array.from(Buffer.from(signer, 'hex')) }
}

/** Signs the next order. `row` lacks state, wrap version and salt, which follow from the action. */
export async function order(
  draft: Draft,
  def: TableDefinition,
  action: OrderAction,
  row: Row,
): Promise<void> {
  const { key, signer } = await administrator(draft)
  const state = def.states[action === 'retire' ? 1 : 0]
  const full = { ...row, wrap_version: 1, state, salt: random(16) }
  const signed = signOrder(def, full, action, { origin: draft.state.origin, secretKey: key.scalar, signer })
  draft.state.orders += 1
  const path = `server/orders/${String(draft.state.orders).padStart(6, '0')}.json`
  put(draft, path, formatOrder(def, signed))
  draft.changes.push(
    `order ${path.slice(7)}: ${action} ${def.table}, signed by ${toHex(signer).slice(0, 16)}`,
  )
}
