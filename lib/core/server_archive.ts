/** pki_server.tar.gz, unpacked in memory: what the workstation hands to the database host (SPEC §6.2). */
import { z } from 'zod'
import { parseAnchorKey } from './audit/anchor_key.ts'
import type { Bytes } from './bytes.ts'
import { fromUtf8 } from './bytes.ts'
import { ZtError } from './errors.ts'
import { parseCanonical } from './json.ts'
import { type Order, parseOrder } from './order.ts'
import type { TableDefinition } from './tables.ts'
import { accountText, hasTenant, originText, roles, uuidText } from './trust_files.ts'
import { parseUstar } from './ustar.ts'

/** Roles that have an account in MySQL: administrators sign on the workstation. */
export type ServerRole = 'app' | 'auditor' | 'probe' | 'probe_auditor'

export interface ServerAccount {
  account: string
  role: ServerRole
  tenant: string | null
  /** One-line DN, as MySQL compares it. */
  subject: string
  issuer: string
  password: string
}

export interface SignedOrder {
  /** File name, for messages. */
  name: string
  definition: TableDefinition
  order: Order
}

export interface ServerArchive {
  origin: string
  serverName: string
  accounts: ServerAccount[]
  /** PEM texts. */
  certificate: string
  key: string
  ca: string
  crl: string
  /** Bytes of anchor_key.json. */
  anchorKey: Bytes
  orders: SignedOrder[]
}

const dn = z.string().regex(/^(?:\/[A-Za-z]+=[\x20-\x7e]+)+$/, 'not a one-line name')

const serverSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-pki-server'),
  origin: originText,
  serverName: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/),
  accounts: z.array(
    z.strictObject({
      account: accountText,
      role: z.enum(roles).exclude(['administrator']),
      tenant: uuidText.nullable(),
      subject: dn,
      issuer: dn,
      password: z.string().regex(/^[\x21-\x7e]{20,128}$/, 'not a random password'),
    }),
  ),
})

const fixed = [
  'server.json',
  'server-cert.pem',
  'server-key.pem',
  'ca.pem',
  'crl.pem',
  'anchor_key.json',
] as const
const orderName = /^orders\/[0-9]{6}\.json$/

/** Bounds before anything in the archive is trusted: its size unpacked, one file, how many. */
export const archiveLimits = { packedBytes: 1 << 20, bytes: 64 << 20, fileBytes: 1 << 20, files: 50_000 }

const isFixed = (name: string): boolean => (fixed as readonly string[]).includes(name)

/** @throws BAD_FORMAT, NEWER_FORMAT; no message repeats what a file of the archive says, which may be a secret */
function parseServer(bytes: Bytes, what: string): z.infer<typeof serverSchema> {
  try {
    return parseCanonical(bytes, serverSchema, what, { maxBytes: archiveLimits.fileBytes, newline: true })
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NEWER_FORMAT') throw thrown
    throw new ZtError('BAD_FORMAT', `${what}: not as this release writes it`, {
      hint: 'make the archive with outside_pki of this release',
    })
  }
}

function checkAccounts(accounts: ServerAccount[], what: string): void {
  const names = new Set<string>()
  for (const { account, role, tenant } of accounts) {
    if (names.has(account)) throw new ZtError('BAD_FORMAT', `${what}: account ${account} is in it twice`)
    if (hasTenant(role) !== (tenant !== null))
      throw new ZtError(
        'BAD_FORMAT',
        `${what}: account ${account}: ${role} ${tenant === null ? 'lacks' : 'has'} a tenant`,
      )
    names.add(account)
  }
}

/**
 * @param tar the archive without its gzip layer
 * @throws BAD_FORMAT, NEWER_FORMAT. Says nothing of certificates, signatures or dates.
 */
export function parseServerArchive(
  tar: Bytes,
  definitions: Iterable<TableDefinition>,
  what: string,
): ServerArchive {
  const files = parseUstar(tar, what, {
    files: archiveLimits.files,
    fileBytes: archiveLimits.fileBytes,
    allows: name => isFixed(name) || orderName.test(name),
  })
  const byName = new Map(files.map(file => [file.name, file.bytes]))
  const need = (name: (typeof fixed)[number]): Bytes => {
    const bytes = byName.get(name)
    if (bytes === undefined) throw new ZtError('BAD_FORMAT', `${what}: ${name} is missing`)
    return bytes
  }
  const text = (name: (typeof fixed)[number]): string => fromUtf8(need(name), `${what}: ${name}`)
  const loose = files.find(file => file.mode !== 0o600)
  if (loose !== undefined)
    throw new ZtError('BAD_FORMAT', `${what}: ${loose.name} has mode ${loose.mode.toString(8)}, not 600`)
  const { origin, serverName, accounts } = parseServer(need('server.json'), `${what}: server.json`)
  checkAccounts(accounts, `${what}: server.json`)
  const anchorKey = need('anchor_key.json')
  if (parseAnchorKey(anchorKey, `${what}: anchor_key.json`).name !== origin)
    throw new ZtError('BAD_FORMAT', `${what}: anchor_key.json belongs to another log than ${origin}`)
  const all = [...definitions]
  return {
    origin,
    serverName,
    accounts,
    certificate: text('server-cert.pem'),
    key: text('server-key.pem'),
    ca: text('ca.pem'),
    crl: text('crl.pem'),
    anchorKey,
    orders: files
      .filter(file => orderName.test(file.name))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(file => parseSignedOrder(all, file.bytes, origin, file.name)),
  }
}

/** One signed order for the log of `origin`. @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export function parseSignedOrder(
  definitions: Iterable<TableDefinition>,
  source: Bytes,
  origin: string,
  name: string,
): SignedOrder {
  const { definition, order } = parseOrder(definitions, source, name)
  if (order.origin !== origin)
    throw new ZtError('BAD_FORMAT', `${name}: is for the log ${order.origin}, not ${origin}`, {
      hint: 'take the order of this deployment',
    })
  return { name, definition, order }
}
