/** pki.json: what the workstation knows of its PKI. Holds the accounts' initial passwords, so it is private (0600). */
import { z } from 'zod'
import type { Bytes } from './bytes.ts'
import { ZtError } from './errors.ts'
import { formatCanonical, parseCanonical } from './json.ts'
import {
  accountText,
  count,
  labelText,
  originText,
  roles,
  serialText,
  timeText,
  uuidText,
} from './trust_files.ts'

/** A certificate of the server, or of an account, ever issued. */
const issued = {
  serial: serialText,
  /** Serial of the CA that issued it. */
  authority: serialText,
  notAfter: timeText,
  revokedAt: timeText.nullable(),
}

const tenantSchema = z.strictObject({
  id: uuidText,
  label: labelText,
  fixture: z.boolean(),
  /** Version of the row in `tenants` after the last order, and whether that row is retired. */
  version: z.int().positive(),
  retired: z.boolean(),
  issuers: z.array(z.string()).min(1),
  kems: z.array(z.string()),
  kmsKeys: z.array(z.string()),
})

const accountSchema = z.strictObject({
  account: accountText,
  role: z.enum(roles),
  tenant: uuidText.nullable(),
  /** Null for administrators, who have no account in MySQL. */
  password: z.string().nullable(),
  /** Serial of its current certificate. */
  serial: serialText,
  /** Version of the row in `tenant_grant` after the last order; null without a tenant. */
  grant: z.int().positive().nullable(),
  retired: z.boolean(),
})

const stateSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-pki'),
  origin: originText,
  created: timeText,
  /** Names and addresses in the server's certificate; clients are pointed to `host`. */
  serverNames: z.array(z.string()).min(1),
  host: z.string(),
  port: z.int().min(1).max(65535),
  /** Where the database host unpacks pki_probes.tar.gz. */
  probesDir: z.string(),
  trustSerial: count,
  crlNumber: count,
  crlNextUpdate: timeText,
  orders: count,
  /** The CA that signs, and at a rollover the one before it. */
  authorities: z
    .array(z.strictObject({ serial: serialText, sha256: z.string(), notAfter: timeText }))
    .min(1)
    .max(2),
  servers: z.array(z.strictObject(issued)).min(1),
  tenants: z.array(tenantSchema),
  accounts: z.array(accountSchema),
  certificates: z.array(
    z.strictObject({ account: accountText, role: z.enum(roles), tenant: uuidText.nullable(), ...issued }),
  ),
  log: z.array(
    z.strictObject({
      ed25519: z.string(),
      mldsa44: z.string(),
      from: z.int().positive(),
      until: count.nullable(),
    }),
  ),
})

export type PkiState = z.output<typeof stateSchema>
export type PkiTenant = z.output<typeof tenantSchema>
export type PkiAccount = z.output<typeof accountSchema>
export type PkiCertificate = PkiState['certificates'][number]

export const formatPkiState = (state: PkiState): string => formatCanonical(state, true)

/** @throws BAD_FORMAT, NEWER_FORMAT; no message repeats what the file says, which may be a password */
export function parsePkiState(source: Bytes, what: string): PkiState {
  try {
    return parseCanonical(source, stateSchema, what, { newline: true, maxBytes: maxStateBytes })
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NEWER_FORMAT') throw thrown
    throw new ZtError('BAD_FORMAT', `${what}: damaged, or not written by outside_pki`, {
      hint: 'put the folder back from a backup; nothing was changed',
    })
  }
}

export const maxStateBytes = 16 << 20

/** @throws NOT_FOUND */
export function tenantOf(state: PkiState, label: string): PkiTenant {
  const tenant = state.tenants.find(t => t.label === label)
  if (tenant === undefined)
    throw new ZtError('NOT_FOUND', `tenant ${label}: unknown`, {
      hint: `known: ${state.tenants.map(t => t.label).join(', ') || 'none'}; make one with \`outside_pki tenant add\``,
    })
  return tenant
}

/** @throws NOT_FOUND */
export function accountOf(state: PkiState, name: string): PkiAccount {
  const account = state.accounts.find(a => a.account === name)
  if (account === undefined)
    throw new ZtError('NOT_FOUND', `account ${name}: unknown`, {
      hint: `known: ${state.accounts.map(a => a.account).join(', ') || 'none'}; make one with \`outside_pki issue\``,
    })
  return account
}

/** The certificate that an account uses now. */
export function currentCertificate(state: PkiState, account: PkiAccount): PkiCertificate {
  const found = state.certificates.find(c => c.serial === account.serial)
  if (found === undefined) throw new ZtError('BAD_FORMAT', `pki.json: ${account.account} has no certificate`)
  return found
}

export const isInForce = (
  certificate: { notAfter: string; revokedAt: string | null },
  time: string,
): boolean => certificate.revokedAt === null && time < certificate.notAfter

/** The folder that holds an account's files. */
export function folderOf({ role }: Pick<PkiAccount, 'role'>): 'clients' | 'probes' | 'administrators' {
  if (role === 'administrator') return 'administrators'
  return role === 'probe' || role === 'probe_auditor' ? 'probes' : 'clients'
}
