/** Accounts and the server: issue, renew, revoke. */
import { fromUtf8, random, toBase64 } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { formatPem } from '../../core/pem.ts'
import {
  accountOf,
  currentCertificate,
  folderOf,
  isInForce,
  type PkiAccount,
  tenantOf,
} from '../../core/pki_state.ts'
import type { Role } from '../../core/trust.ts'
import { accountPattern, certificatePath, hasTenant } from '../../core/trust_files.ts'
import { readRegularFile } from '../files.ts'
import { daySeconds, issueClient, readRequest } from './certificates.ts'
import {
  administratorKeyPath,
  authorityOf,
  certificateAt,
  type Draft,
  definitions,
  order,
  pemOf,
  put,
  remove,
  timeOf,
} from './draft.ts'
import { encryptKey, makeKey } from './keys.ts'

export const defaultDays = 90
const maxDays = 825
/** How long the certificates of probes hold: they lie on the host that they test. */
const probeDays = 1

export interface IssueOptions {
  /** PKCS#10 request: the key stays where it was made. */
  csr?: string | undefined
  days?: number | undefined
}

/** Random, and of every class that a password policy may ask for. */
export function newPassword(): string {
  for (;;) {
    const text = toBase64(random(24)).replaceAll('+', '-').replaceAll('/', '_')
    if (/[A-Z]/.test(text) && /[a-z]/.test(text) && /[0-9]/.test(text) && /[-_]/.test(text)) return text
  }
}

export function secondsOf(role: Role | 'server', days: number | undefined): number {
  const isProbe = role === 'probe' || role === 'probe_auditor'
  const most = isProbe ? probeDays : maxDays
  const chosen = days ?? (isProbe ? probeDays : defaultDays)
  if (!Number.isInteger(chosen) || chosen < 1 || chosen > most)
    throw new ZtError('BAD_INPUT', `--days: expected 1 to ${most} for ${role}, got ${chosen}`, {
      hint: 'choose a number in that range',
    })
  return chosen * daySeconds
}

/** A key and certificate for an account that is in the state, written to its folder and to trust/. */
async function certify(draft: Draft, account: PkiAccount, { csr, days }: IssueOptions): Promise<void> {
  const { account: name, role, tenant } = account
  const pair = csr === undefined ? await makeKey('P-256') : undefined
  const requested = csr === undefined ? '' : fromUtf8(readRegularFile(csr, 'request', 1 << 16), csr)
  const spki = pair?.spki ?? (await readRequest(requested, csr ?? ''))
  const ca = authorityOf(draft)
  const validity = { now: draft.now, seconds: secondsOf(role, days) }
  const certificate = await issueClient(ca, { role, account: name, tenant }, spki, validity)
  refuseKnownKey(draft, certificate.signer)

  const pem = pemOf(certificate)
  const keyPath =
    role === 'administrator' ? administratorKeyPath(name) : `${folderOf(account)}/${name}-key.pem`
  put(draft, `${folderOf(account)}/${name}-cert.pem`, pem)
  put(draft, `trust/${certificatePath(name, certificate.serial)}`, pem)
  if (pair === undefined) remove(draft, keyPath)
  else if (role === 'administrator') put(draft, keyPath, encryptKey(pair.pkcs8, draft.passphrase))
  else put(draft, keyPath, formatPem('PRIVATE KEY', pair.pkcs8))
  if (pair !== undefined && role === 'administrator') draft.signers.set(name, pair)

  account.serial = certificate.serial
  draft.state.certificates.push({
    account: name,
    role,
    tenant,
    serial: certificate.serial,
    authority: ca.certificate.serial,
    notAfter: certificate.notAfter,
    revokedAt: null,
  })
  draft.changes.push(
    `certificate of ${name} (${role}), until ${certificate.notAfter.slice(0, 10)}, serial ${certificate.serial}`,
  )
}

/** One key for two certificates would leave open which account signed. */
function refuseKnownKey(draft: Draft, signer: string): void {
  const known = draft.state.certificates.find(
    c => certificateAt(draft, `trust/${certificatePath(c.account, c.serial)}`).signer === signer,
  )
  if (known !== undefined)
    throw new ZtError(
      'REFUSED',
      `the request is for a key that has a certificate already (${known.account})`,
      {
        hint: 'make a new key for every certificate',
      },
    )
}

/** Gives a new account, or one that was retired, a certificate, and signs its grant. */
export async function issueAccount(
  draft: Draft,
  account: string,
  as: { role: Role; tenant?: string | undefined },
  options: IssueOptions = {},
): Promise<void> {
  const { state } = draft
  if (!accountPattern.test(account))
    throw new ZtError(
      'BAD_INPUT',
      `account ${JSON.stringify(account)}: expected a-z, then up to 31 of a-z 0-9 _`,
      {
        hint: 'for example acme_app',
      },
    )
  if (account === 'server')
    throw new ZtError('BAD_INPUT', 'account server: is the name of the server itself', {
      hint: 'choose another name',
    })
  const tenant = tenantFor(draft, as)
  const known = state.accounts.find(a => a.account === account)
  if (known !== undefined && (known.role !== as.role || known.tenant !== tenant))
    throw new ZtError(
      'CONFLICT',
      `account ${account}: exists, as ${known.role} of ${labelOf(draft, known)}`,
      {
        hint: 'an account keeps its role and tenant for good: choose another name',
      },
    )
  if (known !== undefined && !known.retired) {
    const current = currentCertificate(state, known)
    if (isInForce(current, timeOf(draft))) return // it has what was asked for
    throw new ZtError('CONFLICT', `account ${account}: exists; its certificate is no longer in force`, {
      hint: `outside_pki renew ${account}`,
    })
  }
  const entry: PkiAccount = known ?? {
    account,
    role: as.role,
    tenant,
    password: as.role === 'administrator' ? null : newPassword(),
    serial: '',
    grant: null,
    retired: false,
  }
  if (known === undefined) state.accounts.push(entry)
  entry.retired = false
  await certify(draft, entry, options)
  if (tenant !== null) await grant(draft, entry)
}

function labelOf(draft: Draft, account: PkiAccount): string {
  const tenant = draft.state.tenants.find(t => t.id === account.tenant)
  return tenant === undefined ? 'no tenant' : `tenant ${tenant.label}`
}

function tenantFor(draft: Draft, as: { role: Role; tenant?: string | undefined }): string | null {
  if (hasTenant(as.role) !== (as.tenant !== undefined))
    throw new ZtError(
      'USAGE',
      `role ${as.role}: ${hasTenant(as.role) ? 'wants a tenant' : 'has no tenant'}`,
      {
        hint: 'outside_pki issue NAME --tenant LABEL, or --role auditor',
      },
    )
  if (as.tenant === undefined) return null
  const tenant = tenantOf(draft.state, as.tenant)
  if (tenant.retired)
    throw new ZtError('REFUSED', `tenant ${tenant.label}: is retired`, {
      hint: 'a retired tenant stays retired',
    })
  if (tenant.fixture !== (as.role === 'probe'))
    throw new ZtError(
      'REFUSED',
      `tenant ${tenant.label}: ${tenant.fixture ? 'is a fixture for probes' : 'is no fixture'}`,
      {
        hint: 'applications belong to tenants of your own',
      },
    )
  return tenant.id
}

async function grant(draft: Draft, account: PkiAccount): Promise<void> {
  const version = (account.grant ?? 0) + 1
  const row = { tenant_id: account.tenant, account: account.account, version }
  await order(draft, definitions.tenant_grant, version === 1 ? 'create' : 'update', row)
  account.grant = version
}

/** Takes the account's right to its tenant, for good or until it is issued again. */
export async function retireAccount(draft: Draft, account: PkiAccount): Promise<void> {
  if (account.retired) return
  if (account.grant !== null) {
    const version = account.grant + 1
    await order(draft, definitions.tenant_grant, 'retire', {
      tenant_id: account.tenant,
      account: account.account,
      version,
    })
    account.grant = version
  }
  account.retired = true
  for (const file of ['cert.pem', 'key.pem', 'ca.pem'])
    remove(draft, `${folderOf(account)}/${account.account}-${file}`)
  remove(draft, `${folderOf(account)}/${account.account}.cnf`)
  draft.changes.push(`account ${account.account}: retired`)
}

/** A new key, serial and subject for an account: once the server knows it, the one before no longer opens it. */
export async function renewAccount(draft: Draft, name: string, options: IssueOptions = {}): Promise<void> {
  const account = accountOf(draft.state, name)
  if (account.retired)
    throw new ZtError('REFUSED', `account ${name}: is retired`, {
      hint: `issue it again: outside_pki issue ${name}`,
    })
  await certify(draft, account, options)
}
