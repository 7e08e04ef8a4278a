/** server.json of pki_server.tar.gz: what the installer needs to know of accounts (SPEC §6.2). */
import { z } from 'zod'
import type { Bytes } from './bytes.ts'
import { ZtError } from './errors.ts'
import { formatCanonical, parseCanonical } from './json.ts'
import { accountText, hasTenant, originText, roles, uuidText } from './trust_files.ts'

const dn = z.string().regex(/^(?:\/[A-Za-z]+=[\x20-\x7e]+)+$/, 'not a one-line name')

const accountSchema = z
  .strictObject({
    account: accountText,
    /** Roles that have an account in MySQL: administrators sign on the workstation. */
    role: z.enum(roles).exclude(['administrator']),
    tenant: uuidText.nullable(),
    /** One-line names of certificate and CA, for REQUIRE SUBJECT and ISSUER. */
    subject: dn,
    issuer: dn,
    password: z.string().regex(/^[\x21-\x7e]{20,128}$/, 'not a random password'),
  })
  .refine(account => hasTenant(account.role) === (account.tenant !== null), 'role and tenant do not agree')

const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-pki-server'),
  origin: originText,
  serverName: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/),
  accounts: z
    .array(accountSchema)
    .refine(list => new Set(list.map(a => a.account)).size === list.length, 'an account is in it twice'),
})

export type PkiServerAccount = z.output<typeof accountSchema>
export type PkiServer = Omit<z.output<typeof schema>, 'v' | 'kind'>

const inOrder = ({ account, role, tenant, subject, issuer, password }: PkiServerAccount) => ({
  account,
  role,
  tenant,
  subject,
  issuer,
  password,
})

export function formatPkiServer({ origin, serverName, accounts }: PkiServer): string {
  return formatCanonical(
    { v: 1, kind: 'ztmysql-pki-server', origin, serverName, accounts: accounts.map(inOrder) },
    true,
  )
}

/** @throws BAD_FORMAT, NEWER_FORMAT; no message repeats what the file says, which may be a password */
export function parsePkiServer(source: Bytes | string, what = 'server.json'): PkiServer {
  try {
    const { origin, serverName, accounts } = parseCanonical(source, schema, what, { newline: true })
    return { origin, serverName, accounts }
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NEWER_FORMAT') throw thrown
    throw new ZtError('BAD_FORMAT', `${what}: not as this release writes it`, {
      hint: 'make the archive with outside_pki of this release',
    })
  }
}
