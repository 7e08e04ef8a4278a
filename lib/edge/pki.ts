/** A whole PKI for the standard story: a tenant with its application, an auditor, an administrator, probes. */
import { isAbsolute, resolve } from 'node:path'
import { formatAnchorKey } from '../core/audit/anchor_key.ts'
import { publicKeys } from '../core/audit/checkpoint.ts'
import { random, toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { PkiState } from '../core/pki_state.ts'
import { formatTime } from '../core/time.ts'
import { formatVkey } from '../core/vkey.ts'
import { issueAccount, renewAccount } from './pki/accounts.ts'
import { addAuthority } from './pki/authorities.ts'
import { type Draft, put } from './pki/draft.ts'
import { beginPki, type ChangeOptions, type Outcome } from './pki/folder.ts'
import { checkServerNames, renewServer } from './pki/server.ts'
import { addTenant } from './pki/tenants.ts'
import { checkNewPassphrase } from './prompt.ts'

export { changePki, isPki, type Outcome, readPki, requirePki, rewritePki } from './pki/folder.ts'

export interface NewTenant {
  label: string
  /** The application's account. */
  account: string
  kmsKeys?: readonly string[]
}

export interface NewPki extends ChangeOptions {
  /** Host name or `ztmysql.local`: the first part of the log's origin. */
  originHost?: string
  /** DNS names and addresses of the server; 127.0.0.1 and localhost always join them. */
  serverNames?: readonly string[]
  /** Where clients connect; the first server name by default. */
  host?: string
  port?: number
  probesDir?: string
  tenants?: readonly NewTenant[]
}

export const defaults = {
  tenant: 'tenant-a',
  account: 'app_user',
  port: 3306,
  probesDir: '/etc/ztmysql/probes',
} as const

/** Fixture tenants and the accounts that probe the database in their name. */
const fixtures = [
  { label: 'probe-a', account: 'probe_a' },
  { label: 'probe-b', account: 'probe_b' },
] as const

function makeAnchorKey(draft: Draft): void {
  const key = { name: draft.state.origin, ed25519: random(32), mldsa44: random(32) }
  const { ed25519, mldsa44 } = publicKeys(key)
  put(draft, 'server/anchor_key.json', formatAnchorKey(key))
  draft.state.log.push({ ed25519: formatVkey(ed25519), mldsa44: formatVkey(mldsa44), from: 1, until: null })
  draft.changes.push(`log ${draft.state.origin}: anchor keys, Ed25519 and ML-DSA-44`)
}

/** Fresh 24-hour certificates for every probe. */
export async function issueProbes(draft: Draft): Promise<void> {
  for (const { label, account } of fixtures) {
    await addTenant(draft, label, { fixture: true })
    await issueAccount(draft, account, { role: 'probe', tenant: label })
  }
  await issueAccount(draft, 'probe_auditor', { role: 'probe_auditor' })
}

/**
 * Makes a PKI folder. @param options.passphrase guards CA, administrator's and issuers' keys, at least 12 characters
 * @throws CONFLICT where the folder holds anything, BAD_INPUT, LOCKED, PERMISSION, DISK_FULL
 */
export async function createPki(dir: string, options: NewPki): Promise<Outcome> {
  checkNewPassphrase(options.passphrase)
  const { originHost = 'ztmysql.local', probesDir = defaults.probesDir } = options
  if (!/^[a-z0-9][a-z0-9.-]{0,100}$/.test(originHost))
    throw new ZtError(
      'BAD_INPUT',
      `--origin-host: ${JSON.stringify(originHost)} is no host name in lower case`,
      {
        hint: 'for example example.org',
      },
    )
  if (!isAbsolute(probesDir))
    throw new ZtError('BAD_INPUT', `--probes-dir: ${JSON.stringify(probesDir)} is not absolute`, {
      hint: `for example ${defaults.probesDir}`,
    })
  const serverNames = checkServerNames([
    ...(options.serverNames ?? []),
    ...(options.host === undefined ? [] : [options.host]),
  ])
  const now = options.now ?? Date.now()
  const state: PkiState = {
    v: 1,
    kind: 'ztmysql-pki',
    origin: `${originHost}/${toHex(random(8))}`,
    created: formatTime(Math.floor(now / 1000) * 1e6),
    serverNames,
    host: options.host ?? serverNames[0] ?? '127.0.0.1',
    port: options.port ?? defaults.port,
    probesDir,
    trustSerial: 0,
    crlNumber: 0,
    crlNextUpdate: formatTime(0),
    orders: 0,
    authorities: [],
    servers: [],
    tenants: [],
    accounts: [],
    certificates: [],
    log: [],
  }
  return await beginPki(resolve(dir), { ...options, now }, state, async draft => {
    await addAuthority(draft)
    makeAnchorKey(draft)
    await renewServer(draft)
    await issueAccount(draft, 'administrator', { role: 'administrator' })
    for (const tenant of options.tenants ?? [{ label: defaults.tenant, account: defaults.account }]) {
      await addTenant(draft, tenant.label, { kmsKeys: tenant.kmsKeys ?? [] })
      await issueAccount(draft, tenant.account, { role: 'app', tenant: tenant.label })
    }
    await issueAccount(draft, 'auditor', { role: 'auditor' })
    await issueProbes(draft)
  })
}

/** New keys and certificates for every probe, as they hold for a day only. */
export async function renewProbes(draft: Draft): Promise<void> {
  for (const { account, role, retired } of draft.state.accounts)
    if (!retired && (role === 'probe' || role === 'probe_auditor')) await renewAccount(draft, account)
}

/** New keys and certificates for the server and every account, under the CA that signs now. */
export async function renewAll(draft: Draft): Promise<void> {
  await renewServer(draft)
  for (const { account, retired } of draft.state.accounts) if (!retired) await renewAccount(draft, account)
}
