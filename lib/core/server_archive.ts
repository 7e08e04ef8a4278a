/** The files of pki_server.tar.gz: what the workstation hands to the database host (SPEC §6.2). */
import { parseAnchorKey } from './audit/anchor_key.ts'
import { type Bytes, fromUtf8 } from './bytes.ts'
import { ZtError } from './errors.ts'
import { type Order, parseOrder } from './order.ts'
import { type PkiServerAccount, parsePkiServer } from './pki_server.ts'
import type { TableDefinition } from './tables.ts'

export interface SignedOrder {
  /** File name, for messages. */
  name: string
  definition: TableDefinition
  order: Order
}

export interface ServerArchive {
  origin: string
  serverName: string
  accounts: PkiServerAccount[]
  /** PEM texts. */
  certificate: string
  key: string
  ca: string
  crl: string
  /** Bytes of anchor_key.json. */
  anchorKey: Bytes
  orders: SignedOrder[]
}

const fixed = ['server.json', 'server-cert.pem', 'server-key.pem', 'ca.pem', 'crl.pem', 'anchor_key.json']
const orderName = /^orders\/[0-9]{6}\.json$/

/** Bounds, as nothing in an archive is trusted yet: bytes of the file, unpacked, of one file in it. */
export const archiveLimits = { unpackedBytes: 64 << 20, fileBytes: 1 << 20 }

const hint = 'make the archive with outside_pki of this release'

function refuseReserved(accounts: PkiServerAccount[], what: string): void {
  const reserved = accounts.find(({ account }) => ['root', 'anchor', 'api_definer'].includes(account))
  if (reserved !== undefined)
    throw new ZtError('BAD_FORMAT', `${what}: ${reserved.account} is an account of the server's own`, {
      hint,
    })
}

/**
 * @param files the archive's, by name
 * @throws BAD_FORMAT, NEWER_FORMAT. Says nothing of certificates, signatures or dates.
 */
export function readServerFiles(
  files: ReadonlyMap<string, Bytes>,
  definitions: Iterable<TableDefinition>,
  what: string,
): ServerArchive {
  for (const [name, bytes] of files) {
    if (!fixed.includes(name) && !orderName.test(name))
      throw new ZtError('BAD_FORMAT', `${what}: ${JSON.stringify(name)} does not belong in it`, { hint })
    if (bytes.length > archiveLimits.fileBytes)
      throw new ZtError('BAD_FORMAT', `${what}: ${name} is larger than ${archiveLimits.fileBytes} bytes`, {
        hint,
      })
  }
  const need = (name: string): Bytes => {
    const bytes = files.get(name)
    if (bytes === undefined) throw new ZtError('BAD_FORMAT', `${what}: ${name} is missing`, { hint })
    return bytes
  }
  const text = (name: string): string => fromUtf8(need(name), `${what}: ${name}`)
  const { origin, serverName, accounts } = parsePkiServer(need('server.json'), `${what}: server.json`)
  refuseReserved(accounts, `${what}: server.json`)
  const anchorKey = need('anchor_key.json')
  if (parseAnchorKey(anchorKey, `${what}: anchor_key.json`).name !== origin)
    throw new ZtError('BAD_FORMAT', `${what}: anchor_key.json belongs to another log than ${origin}`, {
      hint,
    })
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
    orders: [...files]
      .filter(([name]) => orderName.test(name))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, bytes]) => readSignedOrder(all, bytes, origin, name)),
  }
}

/**
 * One signed order for the log of `origin`. Its signature is for the verifier, who has the trust folder.
 * @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH
 */
export function readSignedOrder(
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
