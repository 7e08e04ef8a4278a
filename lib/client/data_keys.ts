/** The tenant's data keys: fetched, judged by the issuer's signature, opened and cached. */
import { type Bytes, equal, random, timeUuid, toHex, uuidBytes } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { blindIndex, normalise } from '../core/envelope/blind_index.ts'
import { type DataKeyRecord, dataKeyFromRow, openDataKey } from '../core/envelope/data_key.ts'
import { dekCommit, issuerOf, issuerPublicKey, signIssue, verifyIssue } from '../core/envelope/issuer.ts'
import { kemFingerprint, kemPublicKey } from '../core/envelope/kem.ts'
import { blindPurpose, type KeyName, recordPurpose } from '../core/envelope/key_name.ts'
import type { Plain } from '../core/envelope/plain.ts'
import { wrapKey } from '../core/envelope/wrap.ts'
import { reason, ZtError } from '../core/errors.ts'
import { rowFromDatabase } from '../core/rows.ts'
import type { TableDefinition } from '../core/tables.ts'
import type { TrustedTenant } from '../core/trust.ts'
import { statusName } from '../edge/kms_call.ts'
import { KeyCache } from './key_cache.ts'
import type { TenantKms } from './kms.ts'
import type { Session } from './session.ts'

export interface DataKeyOptions {
  readonly tenant: TrustedTenant
  readonly def: TableDefinition
  readonly session: Session
  readonly kms: TenantKms
  /** d ‖ z, 64 bytes: needed for what is wrapped in the hybrid suite. */
  readonly kemSeeds?: readonly Bytes[]
  /** Told of planted keys that were passed over. */
  readonly warn: (line: string) => void
  readonly cache?: KeyCache
}

export interface DataKeys {
  /** Ids of genuine active keys of a purpose; others are warned of. */
  activeIds(purpose: string): Promise<string[]>
  /** The key to seal under; the caller wipes it. @throws NOT_FOUND, PLANTED_KEY, and as openDataKey */
  active(purpose: string, bytes: number): Promise<{ id: string; key: Bytes }>
  /** A DEK to read with, retired ones included; the caller wipes it. @throws as active */
  forReading(id: string, bytes: number): Promise<Bytes>
  /** Every genuine key of a blind index, active or retired, as a rotation leaves them; the caller wipes them. */
  searching(purpose: string): Promise<Bytes[]>
  /** Whether the tenant's issuer signed it for its purpose; a planted one is warned of. */
  isGenuine(record: DataKeyRecord): boolean
  /** The key of a genuine record, past the cache; the caller wipes it. @throws as openDataKey */
  openRecord(record: DataKeyRecord): Promise<Bytes>
  /** The blind index that a row of this plaintext has now; undefined where the value is absent. @throws as active */
  indexOf(def: TableDefinition, column: string, plain: Plain): Promise<Bytes | undefined>
  /** The database took the key for retired: ask again before the next seal. */
  forget(purpose: string): void
  close(): void
}

/** Above any honest number of active keys of one purpose; each costs a verification. */
const maxActive = 16

export function openDataKeys(options: DataKeyOptions): DataKeys {
  const { tenant, def, session, kms, warn } = options
  const cache = options.cache ?? new KeyCache()
  const view = def.view ?? def.table
  const current = new Map<string, { id: string; since: number }>()

  /** Retired keys that never open again. */
  const dead = new Set<string>()
  const retiredKeys = new Set<string>()
  const flights = new Map<string, Promise<void>>()

  /** What `take` finds; else one of all who ask at once makes it, and a failure is everybody's. */
  const shared = async <T>(name: string, take: () => T | undefined, make: () => Promise<T>): Promise<T> => {
    for (;;) {
      const taken = take()
      if (taken !== undefined) return taken
      const running = flights.get(name)
      if (running !== undefined) {
        await running
        continue
      }
      const made = make()
      const landed = made.then(() => undefined).finally(() => flights.delete(name))
      flights.set(name, landed)
      landed.catch(() => undefined) // whoever made it throws it below
      return made
    }
  }

  const fetch = async (where: string, param: string | Uint8Array): Promise<DataKeyRecord[]> => {
    const rows = await session.query(`SELECT * FROM ${view} WHERE ${where} LIMIT ${maxActive}`, [param])
    return rows.map(stored => {
      const row = rowFromDatabase(def, stored)
      const record = dataKeyFromRow(row)
      if (row.state === def.states[1]) retiredKeys.add(record.id)
      return record
    })
  }

  const judge = (record: DataKeyRecord, purpose: string): void => {
    if (record.tenant !== tenant.id)
      throw new ZtError('PLANTED_KEY', `data key ${record.id}: belongs to another tenant`)
    const { issuer, issuerSig } = record
    if (issuer === null || issuerSig === null)
      throw new ZtError('PLANTED_KEY', `data key ${record.id}: nobody signed it`)
    verifyIssue({ ...record, issuer, issuerSig }, purpose, tenant.issuers)
  }

  const open = (record: DataKeyRecord, bytes: number): Promise<Bytes> =>
    shared(
      `open ${record.id}`,
      () => cache.take(record.id, bytes),
      async () => {
        const secret = await kms.decrypt(record, record)
        try {
          const key = openDataKey(record, secret, seedFor(record, options.kemSeeds ?? []))
          cache.put(record.id, key)
          return key
        } finally {
          wipe(secret)
        }
      },
    )

  const genuine = async (purpose: string, orThrow: boolean, retired = false): Promise<DataKeyRecord[]> => {
    const which = retired ? '' : "state = 'active' AND "
    const found = await fetch(`${which}purpose = ? ORDER BY state, id`, purpose)
    const planted: ZtError[] = []
    const kept = found.filter(record => {
      try {
        judge(record, purpose)
        return true
      } catch (thrown) {
        if (!(thrown instanceof ZtError) || thrown.code !== 'PLANTED_KEY') throw thrown
        planted.push(thrown)
        return false
      }
    })
    const [first] = planted
    if (orThrow && first !== undefined && kept.length === 0) throw first
    for (const error of planted) warn(`warning: ${reason(error)}`)
    return kept
  }

  const keys: DataKeys = {
    activeIds: async purpose => (await genuine(purpose, false)).map(record => record.id),
    active: (purpose, bytes) =>
      shared(
        `active ${purpose}`,
        () => {
          const known = current.get(purpose)
          if (known === undefined || performance.now() - known.since > 60_000) return undefined
          const key = cache.take(known.id, bytes)
          return key === undefined ? undefined : { id: known.id, key }
        },
        async () => {
          const record = newestFirst(await genuine(purpose, true))[0]
          if (record === undefined)
            throw new ZtError('NOT_FOUND', `no active data key for ${purpose} of tenant ${tenant.label}`, {
              hint: 'make it on the workstation: pq_envelope_cli tenant-key',
            })
          if (record.suite === 'kms' && tenant.kems.length > 0)
            warn(
              `warning: data key ${record.id} is wrapped by the KMS alone, though tenant ${tenant.label} has an ML-KEM key: make a hybrid one with tenant-key --pq`,
            )
          const key = await open(record, bytes)
          current.set(purpose, { id: record.id, since: performance.now() })
          return { id: record.id, key }
        },
      ),
    forReading: (id, bytes) =>
      shared(
        `read ${id}`,
        () => cache.take(id, bytes),
        async () => {
          const [record] = await fetch('id = ?', uuidBytes(id, 'dek_id'))
          if (record === undefined || record.id !== id)
            throw new ZtError('NOT_FOUND', `data key ${id}: the database does not have it`, {
              hint: 'the row that names it cannot be opened: run chain_verify',
            })
          // A key that only the database vouches for could open a row that an attacker sealed.
          judge(record, recordPurpose)
          return open(record, bytes)
        },
      ),
    searching: async purpose => {
      const keys: Bytes[] = []
      try {
        for (const record of await genuine(purpose, true, true)) {
          if (dead.has(record.id)) continue
          try {
            keys.push(await open(record, 0))
          } catch (thrown) {
            // Of a retired key nothing is left to find once its epoch was shredded; an active one must open.
            if (retiredKeys.has(record.id) && isShredded(thrown)) dead.add(record.id)
            else throw thrown
          }
        }
        return keys
      } catch (thrown) {
        wipe(...keys)
        throw thrown
      }
    },
    isGenuine: record => {
      try {
        judge(record, record.purpose)
        return true
      } catch (thrown) {
        if (!(thrown instanceof ZtError) || thrown.code !== 'PLANTED_KEY') throw thrown
        warn(`warning: ${reason(thrown)}`)
        return false
      }
    },
    openRecord: async record => {
      const secret = await kms.decrypt(record, record)
      try {
        return openDataKey(record, secret, seedFor(record, options.kemSeeds ?? []))
      } finally {
        wipe(secret)
      }
    },
    indexOf: async (table, name, plain) => {
      const column = table.columns.find(known => known.name === name)
      if (column?.kind !== 'blind') throw new ZtError('BAD_INPUT', `${table.table}.${name}: no blind index`)
      const text = plain[column.of]
      if (typeof text !== 'string') return undefined
      const { key } = await keys.active(blindPurpose(table.table, column.of), text.length)
      try {
        const place = { tenant: tenant.id, table: table.table, column: column.of }
        return blindIndex(key, place, normalise(column.normalise, text, column.of))
      } finally {
        wipe(key)
      }
    },
    forget: purpose => void current.delete(purpose),
    close: () => cache.close(),
  }
  return keys
}

/** Its version of the KMS key is destroyed or out of use, or its ML-KEM key was given up. */
const isShredded = (thrown: unknown): boolean =>
  thrown instanceof ZtError &&
  (thrown.code === 'REFUSED' || (thrown.code === 'KMS' && statusName(thrown.cause) === 'FAILED_PRECONDITION'))

/** The private key that a wrap was made for; where none is, the first, whose error says so. */
function seedFor(record: DataKeyRecord, seeds: readonly Bytes[]): Bytes | undefined {
  const { kemFingerprint: wanted } = record
  if (wanted === null || seeds.length < 2) return seeds[0]
  return seeds.find(seed => equal(kemFingerprint(kemPublicKey(seed)), wanted)) ?? seeds[0]
}

/**
 * The keys of a purpose, the one to seal under first: the hybrid before the KMS alone, then the newest (SPEC §3.1). While
 * a rotation runs there are two, and every writer must choose the same.
 */
export function newestFirst(keys: readonly DataKeyRecord[]): DataKeyRecord[] {
  const rank = (key: DataKeyRecord) => `${key.suite === 'kms' ? 0 : 1}${keyAge(key.id)}`
  return keys.toSorted((a, b) => (rank(a) < rank(b) ? 1 : -1))
}

/** Sorts a UUID of version 7 by its time, after every one of version 4. */
const keyAge = (id: string): string => (id[14] === '7' ? `1${id}` : `0${id}`)

export interface NewDataKey {
  readonly purpose: string
  /** Of the tenant's issuer, 32 bytes. */
  readonly issuerSeed: Bytes
  /** Wraps for the tenant's ML-KEM key too. */
  readonly hybrid: boolean
}

/** The record of a fresh data key, wrapped and signed. @throws REFUSED (issuer or KEM key not the tenant's), as Kms.encrypt */
export async function makeDataKey(
  tenant: TrustedTenant,
  kms: TenantKms,
  { purpose, issuerSeed, hybrid }: NewDataKey,
  kemSeed?: Bytes,
): Promise<DataKeyRecord> {
  const issuer = issuerOf(issuerPublicKey(issuerSeed))
  if (!tenant.issuers.some(known => toHex(issuerOf(known)) === toHex(issuer)))
    throw new ZtError('REFUSED', `the issuer key is not one of tenant ${tenant.label}`, {
      hint: 'use the issuer file of this tenant, or fetch the trust folder again',
    })
  const kem = hybrid ? { publicKey: kemKeyOf(tenant, kemSeed), holder: 'file' } : undefined
  const name: KeyName = { tenant: tenant.id, id: timeUuid(Date.now()), purpose }
  const leg = await kms.encrypt(hybrid ? 'kms+ml-kem-768' : 'kms', name)
  const key = random(32)
  try {
    const commit = dekCommit(name, key)
    return {
      ...name,
      ...wrapKey(name, key, leg, kem),
      dekCommit: commit,
      issuer,
      issuerSig: signIssue(issuerSeed, name, commit),
    }
  } finally {
    wipe(key, leg.secret)
  }
}

/** The public key to wrap for: the tenant's newest in the trust folder, which a given private key must belong to. */
export function kemKeyOf(tenant: TrustedTenant, kemSeed?: Bytes): Bytes {
  const newest = tenant.kems.at(-1)
  const own = kemSeed === undefined ? undefined : kemPublicKey(kemSeed)
  if (own === undefined) {
    if (newest !== undefined) return newest
    throw new ZtError('NOT_FOUND', `the trust folder has no ML-KEM key of tenant ${tenant.label}`, {
      hint: 'make one with `pq_envelope_cli keygen` and hand its .pub file to `outside_pki tenant kem`',
    })
  }
  const mine = toHex(kemFingerprint(own))
  if (tenant.kems.length > 0 && !tenant.kems.some(known => toHex(kemFingerprint(known)) === mine))
    throw new ZtError('REFUSED', `the ML-KEM key is not one of tenant ${tenant.label} in the trust folder`, {
      hint: 'name this tenant’s key file with --kem',
    })
  return own
}
