/** The commands of pq_envelope_cli: from options to one line of JSON. Loaded only when a command runs. */
import { join } from 'node:path'
import { tableDefinitions } from '../../sql/index.ts'
import { blindPurpose, recordPurpose } from '../core/envelope/key_name.ts'
import { ZtError } from '../core/errors.ts'
import { lockDir, makePrivateDir } from '../edge/files.ts'
import { openKms, resolveKmsKey, withKeyAccess } from '../edge/kms.ts'
import { readPassphrase } from '../edge/prompt.ts'
import { readTrust } from '../edge/trust.ts'
import type { Client, Found } from './client.ts'
import { type ClientFiles, openClientFiles, readIssuerSeed, readKemPublicKey, readKemSeed } from './files.ts'
import { findTenant } from './identity.ts'
import { formatPlain, parseInput, readInput } from './input.ts'
import { makeKemPair } from './keygen.ts'
import { checkSealing, openSealedRecord, readSealedRecord, sealRecord } from './record.ts'
import type { Written } from './writer.ts'

export interface KmsFlags {
  allowRemoteEmulator?: boolean
  pkcs11Module?: string
  pinFile?: string
}

export interface ClientFlags extends KmsFlags {
  kem?: string[]
  defaultsFile?: string
  account: string
  clientsDir: string
  trust: string
  caSha256?: string
  receipts: string
  kmsKey?: string
  tenant?: string
  table: string
}

export type Warn = (line: string) => void

export const kmsOptions = (flags: KmsFlags, warn: Warn) => ({
  allowRemoteEmulator: flags.allowRemoteEmulator === true,
  pkcs11Module: flags.pkcs11Module,
  pinFile: flags.pinFile,
  warn,
})

/** Runs `use` with a client, and closes it. */
export async function withClient<T>(
  flags: ClientFlags,
  warn: Warn,
  use: (open: ReturnType<typeof openClientFiles>) => Promise<T>,
  more: Pick<ClientFiles, 'kmsVersion' | 'kemSeeds'> = {},
): Promise<T> {
  const opened = openClientFiles({
    ...more,
    defaultsFile: flags.defaultsFile ?? join(flags.clientsDir, `${flags.account}.cnf`),
    trustDir: flags.trust,
    caSha256: flags.caSha256,
    receiptsDir: flags.receipts,
    kmsKey: flags.kmsKey,
    kemFile: flags.kem,
    tenant: flags.tenant,
    kms: kmsOptions(flags, warn),
    warn,
  })
  try {
    return await use(opened)
  } finally {
    await opened.client.close()
  }
}

const written = ({ id, event, receipt }: Written): string => JSON.stringify({ id, event, receipt })

/** One line for a record, or for each of an array. */
export async function create(flags: ClientFlags & { input: string }, warn: Warn): Promise<string[]> {
  const plain = parseInput(await readInput(flags.input), flags.input)
  return withClient(flags, warn, async ({ client }) =>
    Array.isArray(plain)
      ? (await client.createMany(flags.table, plain)).map(written)
      : [written(await client.create(flags.table, plain))],
  )
}

export async function update(
  id: string,
  flags: ClientFlags & { input: string },
  warn: Warn,
): Promise<string> {
  const plain = parseInput(await readInput(flags.input), flags.input)
  return withClient(flags, warn, async ({ client }) => written(await client.update(flags.table, id, plain)))
}

export function read(id: string, flags: ClientFlags, warn: Warn): Promise<string> {
  return withClient(flags, warn, async ({ client }) => formatPlain(await client.read(flags.table, id)))
}

export const foundLine = ({ id, plain }: Found): string => formatPlain({ id, ...plain })

/** Every live row, one line each, as it is read. */
export function readAll(flags: ClientFlags, print: (line: string) => void, warn: Warn): Promise<void> {
  return withClient(flags, warn, async ({ client }) => {
    for await (const found of client.all(flags.table)) print(foundLine(found))
  })
}

export interface FindFlags extends ClientFlags {
  email?: string
  phone?: string
  name?: string
  input?: string
}

/** What to search for, by sealed column. */
async function wantedOf(flags: FindFlags, warn: Warn): Promise<Record<string, string>> {
  const given = (['email', 'phone', 'name'] as const).filter(kind => flags[kind] !== undefined)
  if (given.length > 0 === (flags.input !== undefined))
    throw new ZtError('USAGE', 'say what to search for: --email, --phone, --name, or --input', {
      hint: 'for example --input - with {"email":"ada@example.org"} on stdin',
    })
  if (flags.input !== undefined) {
    const wanted = parseInput(await readInput(flags.input), flags.input)
    if (
      typeof wanted !== 'object' ||
      wanted === null ||
      Object.values(wanted).some(v => typeof v !== 'string')
    )
      throw new ZtError('BAD_INPUT', 'the search: expected an object of texts', {
        hint: 'for example {"email":"ada@example.org"}',
      })
    return wanted as Record<string, string>
  }
  warn('warning: arguments are visible to everybody on this machine and in shell histories: use --input')
  const columns = tableDefinitions.get(flags.table)?.columns ?? []
  return Object.fromEntries(
    given.map(kind => {
      const blind = columns.find(column => column.kind === 'blind' && column.normalise === kind)
      if (blind?.kind !== 'blind')
        throw new ZtError('BAD_INPUT', `${flags.table}: has no blind index over a ${kind}`, {
          hint: 'search by what the table has an index for: see sql/tables',
        })
      return [blind.of, flags[kind] ?? '']
    }),
  )
}

/** The rows that are equal, one line each. */
export async function find(flags: FindFlags, print: (line: string) => void, warn: Warn): Promise<void> {
  const wanted = await wantedOf(flags, warn)
  await withClient(flags, warn, async ({ client }) => {
    let hits = 0
    for await (const found of client.find(flags.table, wanted)) {
      hits += 1
      print(foundLine(found))
    }
    if (hits === 0) warn('no live row of this tenant has that')
  })
}

export async function erase(id: string, flags: ClientFlags & { yes?: boolean }, warn: Warn): Promise<string> {
  if (flags.yes !== true)
    throw new ZtError('USAGE', `${flags.table} ${id}: would be erased for ever, its keys with it`, {
      hint: 'nothing was changed: add --yes to do it',
    })
  return withClient(flags, warn, async ({ client }) => written(await client.erase(flags.table, id)))
}

/** Sends every write whose receipt never came again; one line each. */
export function resend(flags: ClientFlags, warn: Warn): Promise<string[]> {
  return withClient(flags, warn, async ({ client }) => {
    const lines: string[] = []
    for (const write of client.pending()) lines.push(written(await client.resend(write)))
    for (const writes of client.pendingBatches())
      lines.push(...(await client.resendBatch(writes)).map(written))
    return lines
  })
}

/** Every purpose that a client of these tables seals or searches under. */
export const allPurposes = (): string[] => [
  recordPurpose,
  ...[...tableDefinitions.values()].flatMap(def =>
    def.columns.flatMap(column => (column.kind === 'blind' ? [blindPurpose(def.table, column.of)] : [])),
  ),
]

export interface TenantKeyFlags extends ClientFlags {
  issuer?: string
  passphraseFile?: string
  purpose?: string[]
  pq?: boolean
}

/** Makes the tenant's data keys that are missing; one line for each purpose. @throws LOCKED */
export function tenantKey(flags: TenantKeyFlags, warn: Warn): Promise<string[]> {
  return withClient(flags, warn, async opened => {
    makePrivateDir(flags.receipts)
    // two runs at once would each make a key of a purpose, and rows be found by one of the two alone
    const release = lockDir(flags.receipts)
    try {
      return await ensureKeys(opened, flags)
    } finally {
      release()
    }
  })
}

async function ensureKeys(
  { client, identity }: ReturnType<typeof openClientFiles>,
  flags: TenantKeyFlags,
): Promise<string[]> {
  const found = new Map<string, string[]>()
  for (const purpose of flags.purpose ?? allPurposes())
    found.set(purpose, await client.activeDataKeys(purpose))
  const missing = [...found.values()].some(ids => ids.length === 0)
  const issuer = flags.issuer ?? join('issuers', `${identity.tenant.label}-issuer.json`)
  const prompt = `Passphrase of ${issuer}`
  const seed = missing
    ? readIssuerSeed(issuer, await readPassphrase({ file: flags.passphraseFile, prompt }), identity.tenant)
    : undefined
  try {
    const lines: string[] = []
    for (const [purpose, ids] of found)
      lines.push(await ensureKey(client, purpose, ids, seed, flags.pq === true))
    return lines
  } finally {
    seed?.fill(0)
  }
}

async function ensureKey(
  client: Client,
  purpose: string,
  [active]: string[],
  issuerSeed: Uint8Array | undefined,
  hybrid: boolean,
): Promise<string> {
  if (active !== undefined || issuerSeed === undefined)
    return JSON.stringify({ purpose, id: active, made: false })
  const { id, event, receipt } = await client.createDataKey({ purpose, issuerSeed, hybrid })
  return JSON.stringify({ purpose, id, made: true, event, receipt })
}

export async function keygen(flags: {
  tenant: string
  out: string
  trust: string
  caSha256?: string
  passphraseFile?: string
}): Promise<string> {
  const tenant = findTenant(readTrust(flags.trust, { caSha256: flags.caSha256 }), flags.tenant)
  const passphrase = await readPassphrase({
    file: flags.passphraseFile,
    prompt: 'New passphrase of the recovery copy',
    isNew: true,
  })
  return JSON.stringify({ tenant: tenant.id, ...makeKemPair(tenant.id, flags.out, passphrase) })
}

export interface SealFlags extends KmsFlags {
  kem?: string
  table: string
  input?: string
  pq?: boolean
}

/** The sealed JSON of a record under a fresh data key (SPEC §3.7), without its LF. */
export async function seal(
  keyName: string,
  tenant: string,
  person: Record<string, string | undefined>,
  flags: SealFlags,
  warn: Warn,
): Promise<string> {
  const given = Object.values(person).some(value => value !== undefined)
  if (given === (flags.input !== undefined))
    throw new ZtError('USAGE', 'give either --input, or full name, role and email', {
      hint: 'arguments are visible to everybody on this machine: prefer --input FILE or --input -',
    })
  if (given)
    warn('warning: arguments are visible to everybody on this machine and in shell histories: use --input')
  if ((flags.pq === true) !== (flags.kem !== undefined))
    throw new ZtError('USAGE', '--pq and --kem go together', {
      hint: 'name the tenant’s ML-KEM key (private file or .pub) with --kem',
    })
  const plain = flags.input === undefined ? person : parseInput(await readInput(flags.input), flags.input)
  checkSealing(tableDefinitions, flags.table, tenant, plain)
  const kmsKey = resolveKmsKey(keyName, kmsOptions(flags, warn))
  const kemPublicKey = flags.kem === undefined ? undefined : readKemPublicKey(flags.kem, tenant)
  const kms = await openKms(kmsKey, withKeyAccess(kmsOptions(flags, warn), keyName))
  try {
    const text = await sealRecord(tableDefinitions, flags.table, tenant, plain, { kms, kmsKey, kemPublicKey })
    return text.trimEnd()
  } finally {
    await kms.close()
  }
}

/** Opens a sealed record. */
export async function open(flags: KmsFlags & { kem?: string; input: string }, warn: Warn): Promise<string> {
  const record = readSealedRecord(tableDefinitions, await readInput(flags.input))
  const { tenant, kmsKey } = record.dataKey
  const seed = flags.kem === undefined ? undefined : readKemSeed(flags.kem, { id: tenant, label: tenant })
  const kms = await openKms(kmsKey, kmsOptions(flags, warn))
  try {
    return formatPlain(await openSealedRecord(record, kms, seed))
  } finally {
    await kms.close()
    seed?.fill(0)
  }
}
