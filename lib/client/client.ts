/** The client library: seals, signs, writes, keeps the receipt; reads, checks, opens. Over any table definition. */
import { type Bytes, equal, newUuid, random } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { kemFingerprint, kemPublicKey } from '../core/envelope/kem.ts'
import { blindPurpose, recordPurpose } from '../core/envelope/key_name.ts'
import { checkPlain, type Plain } from '../core/envelope/plain.ts'
import { sealRow } from '../core/envelope/row.ts'
import { newDataKeyRow } from '../core/envelope/sealed_record.ts'
import { ZtError } from '../core/errors.ts'
import { columnsOf, type Row, saltLength, type TableDefinition } from '../core/tables.ts'
import type { Trust } from '../core/trust.ts'
import type { Kms } from '../edge/kms.ts'
import { MysqlError, type MysqlOptions } from '../edge/mysql.ts'
import { type DataKeys, makeDataKey, type NewDataKey, openDataKeys } from './data_keys.ts'
import type { Identity } from './identity.ts'
import { type TenantKms, tenantKms } from './kms.ts'
import { batchLimit, type Write } from './pending.ts'
import { type Found, type Known, openReader, type Reader, sizeOf } from './reader.ts'
import { openReceipts, type Receipts } from './receipts.ts'
import { activeKeys, type RotationParts, type RotationRequest, runRotation } from './rotate.ts'
import { openSession, type Session } from './session.ts'
import { runShred, type ShredRequest } from './shred.ts'
import { openWriter, type Writer, type Written } from './writer.ts'

export type { Found, Known } from './reader.ts'
export type { Written } from './writer.ts'

export interface ClientOptions {
  /** Where to connect, or a connection of one's own with the tenant set. */
  readonly mysql: MysqlOptions | Session
  readonly trust: Trust
  readonly identity: Identity
  /** Every protected table, by name. */
  readonly definitions: ReadonlyMap<string, TableDefinition>
  readonly receiptsDir: string
  /** Canonical URIs beside those of the trust folder; new keys are wrapped under the first of all. */
  readonly kmsKeys?: readonly string[]
  readonly openKms: (key: string) => Promise<Kms>
  /** Private ML-KEM key of the tenant, 64 bytes. */
  readonly kemSeed?: Bytes | undefined
  /** Its earlier ones, while data keys are still wrapped for them. */
  readonly earlierKemSeeds?: readonly Bytes[]
  readonly warn?: (line: string) => void
}

export interface Client {
  /** @throws BAD_INPUT (which member), PLANTED_KEY, NOT_FOUND (no data key), and what KMS, MySQL and the disk throw */
  create(table: string, plain: unknown): Promise<Written>
  /** Many rows, 500 a call; each call is all or nothing, and those before it stand. @throws as create */
  createMany(table: string, plains: readonly unknown[]): Promise<Written[]>
  /** Rows whose ids and event ids the caller chose, at most 500, all or none; the receipts in one file. @throws as create */
  createBatch(
    table: string,
    items: readonly { id: string; event: string; plain: unknown }[],
  ): Promise<Written[]>
  /** Which of at most 500 keys the database has. @throws as read */
  lookUp(table: string, ids: readonly string[]): Promise<Map<string, Known>>
  /** Replaces every member of a live row. @throws as create, CONFLICT where somebody was quicker */
  update(table: string, id: string, plain: unknown): Promise<Written>
  /** Destroys a row's record key, cells, salt and blind indexes; its tombstone and its history stay, and so do backups. */
  erase(table: string, id: string): Promise<Written>
  /** @throws NOT_FOUND, STALE_ROW, BAD_MAC, DECRYPT_FAILED, PLANTED_KEY */
  read(table: string, id: string): Promise<Plain>
  /** The same with the row as it is stored. @throws as read */
  readRow(table: string, id: string): Promise<{ row: Row; found: Found }>
  /** The payload of the receipt of a row as it is, where one is kept here. */
  receiptOf(table: string, row: Row): Bytes | undefined
  /** Live rows whose sealed columns equal these texts, by blind index (SPEC §3.6). @throws BAD_INPUT, and as read */
  find(table: string, wanted: Readonly<Record<string, string>>): AsyncIterable<Found>
  /** Every live row, in constant memory. @throws as read: nothing after the row that does not open */
  all(table: string): AsyncIterable<Found>
  /** Ids of the genuine active data keys of a purpose; planted ones are warned of. */
  activeDataKeys(purpose: string): Promise<string[]>
  createDataKey(key: NewDataKey): Promise<Written>
  retireDataKey(id: string): Promise<Written>
  /** Rotates what is asked for and what needs it; run again after a kill, it goes on. @param make the issuer's seed */
  rotate(request: RotationRequest, make: Bytes | undefined): Promise<void>
  /** Renews every key and destroys the old versions at the KMS (docs/keys.md). @param make the issuer's seed */
  shredEpoch(request: ShredRequest, make: Bytes | undefined): ReturnType<typeof runShred>
  /** Opens every active data key that this client's ML-KEM keys are for, past the cache. @throws as read */
  checkKeys(): Promise<{ opened: number; others: number }>
  /** Writes whose receipt never came. */
  pending(): Write[]
  /** Calls of many writes whose receipts never came. */
  pendingBatches(): Write[][]
  /** Sends such a call again, as it was. */
  resendBatch(writes: readonly Write[]): Promise<Written[]>
  /** Sends one again, as it was. */
  resend(write: Write): Promise<Written>
  close(): Promise<void>
}

/** Nothing is connected before something needs it. @throws PERMISSION, BAD_INPUT on a loose receipts folder */
export function openClient(options: ClientOptions): Client {
  return new TenantClient(options)
}

class TenantClient implements Client {
  readonly #options: ClientOptions
  readonly #session: Session
  readonly #kms: TenantKms
  readonly #keys: DataKeys
  readonly #receipts: Receipts
  readonly #reader: Reader
  readonly #writer: Writer

  constructor(options: ClientOptions) {
    const { tenant } = options.identity
    const warn = options.warn ?? (() => undefined)
    this.#options = options
    this.#receipts = openReceipts(options.receiptsDir, options.trust.origin)
    this.#session = 'ready' in options.mysql ? options.mysql : openSession(options.mysql, tenant.id)
    this.#writer = openWriter(options.identity, options.trust.origin, this.#session, this.#receipts)
    this.#kms = tenantKms([...new Set([...(options.kmsKeys ?? []), ...tenant.kmsKeys])], options.openKms)
    this.#keys = openDataKeys({
      tenant,
      def: this.#def('data_keys'),
      session: this.#session,
      kms: this.#kms,
      kemSeeds: [...(options.kemSeed ? [options.kemSeed] : []), ...(options.earlierKemSeeds ?? [])],
      warn,
    })
    this.#reader = openReader({
      tenant: tenant.id,
      session: this.#session,
      keys: this.#keys,
      receipts: this.#receipts,
      warn,
    })
  }

  async create(table: string, plain: unknown): Promise<Written> {
    const def = this.#def(table)
    const id = newUuid()
    return this.#sealing(async () => this.#writer.write(def, 'create', await this.#seal(def, id, 1, plain)))
  }

  async createMany(table: string, plains: readonly unknown[]): Promise<Written[]> {
    const def = this.#def(table)
    for (const plain of plains) checkPlain(def, plain) // none is written where one is wrong
    const written: Written[] = []
    for (let i = 0; i < plains.length; i += batchLimit) {
      const batch = plains.slice(i, i + batchLimit).map(plain => ({ id: newUuid(), plain }))
      const sent = await this.#sealing(async () => {
        const rows: Row[] = []
        for (const { id, plain } of batch) rows.push(await this.#seal(def, id, 1, plain))
        return this.#writer.writeMany(def, rows)
      })
      written.push(...sent)
    }
    return written
  }

  async createBatch(
    table: string,
    items: readonly { id: string; event: string; plain: unknown }[],
  ): Promise<Written[]> {
    const def = this.#def(table)
    return this.#sealing(async () => {
      const rows: Row[] = []
      for (const { id, plain } of items) rows.push(await this.#seal(def, id, 1, plain))
      return this.#writer.writeBatch(
        def,
        'create',
        rows,
        items.map(({ event }) => event),
      )
    })
  }

  lookUp(table: string, ids: readonly string[]): Promise<Map<string, Known>> {
    return this.#reader.lookUp(this.#def(table), ids)
  }

  async update(table: string, id: string, plain: unknown): Promise<Written> {
    const def = this.#def(table)
    const old = await this.#reader.fetchLive(def, id)
    return this.#sealing(async () =>
      this.#writer.write(def, 'update', await this.#seal(def, id, Number(old.version) + 1, plain)),
    )
  }

  async erase(table: string, id: string): Promise<Written> {
    const def = this.#def(table)
    const old = await this.#reader.fetchLive(def, id)
    const empty = Object.fromEntries(columnsOf(def).map(column => [column.name, null]))
    const row = {
      ...empty,
      tenant_id: this.#tenantId,
      [def.key.name]: id,
      version: Number(old.version) + 1,
      wrap_version: 1,
      state: def.states[1],
    }
    return this.#writer.write(def, 'erase', row)
  }

  async read(table: string, id: string): Promise<Plain> {
    const def = this.#def(table)
    return (await this.#reader.open(def, await this.#reader.fetchLive(def, id))).plain
  }

  async readRow(table: string, id: string): Promise<{ row: Row; found: Found }> {
    const def = this.#def(table)
    const row = await this.#reader.fetchLive(def, id)
    return { row, found: await this.#reader.open(def, row) }
  }

  receiptOf(table: string, row: Row): Bytes | undefined {
    return this.#receipts.payloadOf(this.#def(table), row)
  }

  find(table: string, wanted: Readonly<Record<string, string>>): AsyncIterable<Found> {
    return this.#reader.find(this.#def(table), wanted)
  }

  async *all(table: string): AsyncGenerator<Found> {
    const def = this.#def(table)
    for await (const rows of this.#reader.pages(def))
      for (const row of rows) yield await this.#reader.open(def, row)
  }

  activeDataKeys(purpose: string): Promise<string[]> {
    return this.#keys.activeIds(purpose)
  }

  async createDataKey(key: NewDataKey): Promise<Written> {
    const record = await makeDataKey(this.#options.identity.tenant, this.#kms, key, this.#options.kemSeed)
    return this.#writer.write(this.#def('data_keys'), 'create', newDataKeyRow(record))
  }

  async retireDataKey(id: string): Promise<Written> {
    const def = this.#def('data_keys')
    const old = await this.#reader.fetchLive(def, id)
    const row = {
      ...old,
      version: Number(old.version) + 1,
      wrap_version: 1,
      state: def.states[1],
      salt: random(saltLength),
    }
    return this.#writer.write(def, 'retire', row)
  }

  rotate(request: RotationRequest, make: Bytes | undefined): Promise<void> {
    return runRotation(this.#rotationParts(make), request)
  }

  shredEpoch(request: ShredRequest, make: Bytes | undefined): ReturnType<typeof runShred> {
    return runShred(this.#rotationParts(make), request)
  }

  async checkKeys(): Promise<{ opened: number; others: number }> {
    const { kemSeed, earlierKemSeeds = [] } = this.#options
    const own = [...(kemSeed ? [kemSeed] : []), ...earlierKemSeeds].map(seed =>
      kemFingerprint(kemPublicKey(seed)),
    )
    let [opened, others] = [0, 0]
    for (const { record } of await activeKeys(this.#rotationParts(undefined))) {
      const { kemFingerprint: wanted } = record
      if (wanted === null || !own.some(known => equal(known, wanted))) {
        others += 1
        continue
      }
      wipe(await this.#keys.openRecord(record))
      opened += 1
    }
    return { opened, others }
  }

  #rotationParts(make: Bytes | undefined): RotationParts {
    const { identity, definitions } = this.#options
    return {
      tenant: identity.tenant,
      definitions,
      session: this.#session,
      keys: this.#keys,
      kms: this.#kms,
      reader: this.#reader,
      writer: this.#writer,
      update: (def: TableDefinition, { id, version, plain }: Found) =>
        this.#sealing(async () =>
          this.#writer.write(def, 'update', await this.#seal(def, id, version + 1, plain)),
        ),
      createDataKey: (purpose: string, hybrid: boolean) => {
        if (make === undefined) throw new ZtError('USAGE', `a new key for ${purpose} needs the issuer`)
        return this.createDataKey({ issuerSeed: make, purpose, hybrid })
      },
      retireDataKey: (id: string) => this.retireDataKey(id),
    }
  }

  pending(): Write[] {
    return this.#receipts.pending(this.#options.definitions)
  }

  pendingBatches(): Write[][] {
    return this.#receipts.pendingMany(this.#options.definitions)
  }

  async resendBatch(writes: readonly Write[]): Promise<Written[]> {
    for (const write of writes) this.#requireOwn(write)
    return this.#writer.sendBatch(writes)
  }

  async resend(write: Write): Promise<Written> {
    this.#requireOwn(write)
    return this.#writer.send(write)
  }

  #requireOwn(write: Write): void {
    if (write.origin !== this.#options.trust.origin || write.row.tenant_id !== this.#tenantId)
      throw new ZtError('REFUSED', `pending write ${write.event}: is of another log or tenant`, {
        hint: 'send it with the trust folder and the account that it was made with',
      })
  }

  /** Once more where the data key was retired since it was looked up: a rotation goes on while others write. */
  async #sealing<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (thrown) {
      if (!(thrown instanceof MysqlError) || thrown.sqlState !== '45W07') throw thrown
      this.#keys.forget(recordPurpose)
      return act()
    }
  }

  async close(): Promise<void> {
    this.#keys.close()
    await Promise.all([this.#session.close(), this.#kms.close()])
  }

  get #tenantId(): string {
    return this.#options.identity.tenant.id
  }

  #def(table: string): TableDefinition {
    const def = this.#options.definitions.get(table)
    if (def === undefined || def.writer !== 'client')
      throw new ZtError('BAD_INPUT', `${table}: is not a table that clients write`)
    return def
  }

  async #seal(def: TableDefinition, key: string, version: number, input: unknown): Promise<Row> {
    const plain = checkPlain(def, input) // before any call: a bad value costs nobody anything
    const bytes = sizeOf(plain)
    const { id: dekId, key: dek } = await this.#keys.active(recordPurpose, bytes)
    const blind = new Map<string, Bytes>()
    try {
      for (const column of def.columns) {
        if (column.kind !== 'blind' || plain[column.of] === null) continue
        const { key: blindKey } = await this.#keys.active(blindPurpose(def.table, column.of), bytes)
        blind.set(column.of, blindKey)
      }
      return sealRow(def, { dekId, dek, blind }, { tenant: this.#tenantId, key, version }, plain)
    } finally {
      wipe(dek, ...blind.values())
    }
  }
}
