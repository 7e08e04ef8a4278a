/**
 * A database that keeps rows in memory and answers as SPEC §5.4 says, or as an attacker or a bad network would. It
 * stands for what the client library distrusts; the library is tested on the real one in tests/cli/envelope.test.ts.
 */

import type { Session } from '../../lib/client/session.ts'
import { formatEvent } from '../../lib/core/audit/event.ts'
import { fromUtf8, newUuid, toBase64, toHex, uuidBytes, uuidText } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { columnsOf, type Row, type TableDefinition } from '../../lib/core/tables.ts'
import type { Parameter } from '../../lib/edge/mysql.ts'
import { MysqlError } from '../../lib/edge/mysql.ts'

type Action = 'create' | 'update' | 'erase' | 'retire'

export class FakeDatabase implements Session {
  /** Rows by table and key; a test may change them behind the client's back. */
  readonly rows = new Map<string, Row>()
  readonly receipts = new Map<string, string>()
  readonly calls: string[] = []
  account = 'app_user'
  /** Changes the payload before it is returned. */
  tamper: (payload: string) => string = payload => payload
  /** `lost`: the write is done and its answer never arrives. `refused`: a routine raises 45G02. `down`: not reachable. */
  fault: 'lost' | 'refused' | 'down' | undefined
  readonly #definitions: ReadonlyMap<string, TableDefinition>
  readonly #tenant: string

  constructor(definitions: ReadonlyMap<string, TableDefinition>, tenant: string) {
    this.#definitions = definitions
    this.#tenant = tenant
  }

  copy(): FakeDatabase {
    const copy = new FakeDatabase(this.#definitions, this.#tenant)
    for (const [place, row] of this.rows) copy.rows.set(place, { ...row })
    return copy
  }

  async ready(): Promise<void> {
    if (this.fault === 'down') throw new ZtError('UNREACHABLE', 'mysql: not there')
  }

  async close(): Promise<void> {
    this.calls.push('close')
  }

  /** The row of a table under a key, for tests that change it. */
  row(table: string, key: string): Row {
    const row = this.rows.get(`${table} ${key}`)
    if (row === undefined) throw new Error(`no row ${key} in ${table}`)
    return row
  }

  async query(sql: string, [param]: readonly Parameter[] = []): Promise<Row[]> {
    await this.ready()
    const view = /FROM (\w+)/.exec(sql)?.[1]
    const def = [...this.#definitions.values()].find(d => d.view === view)
    if (def === undefined) throw new Error(`fake: ${sql}`)
    const wanted = param instanceof Uint8Array ? uuidText(param) : param
    const found = [...this.rows.entries()].filter(([place]) => place.startsWith(`${def.table} `))
    const by = sql.includes('purpose = ?')
      ? (row: Row) => row.purpose === wanted && row.state === 'active'
      : (row: Row) => row[def.key.name] === wanted
    return found
      .map(([, row]) => row)
      .filter(by)
      .map(row => this.#stored(def, row))
  }

  #stored(def: TableDefinition, row: Row): Row {
    const cells = columnsOf(def).map(({ name, type }) => {
      const value = row[name] ?? null
      return [name, type === 'uuid' && typeof value === 'string' ? uuidBytes(value) : value]
    })
    return Object.fromEntries(cells)
  }

  async call(procedure: string, params: readonly Parameter[]): Promise<Row[][]> {
    await this.ready()
    this.calls.push(procedure)
    if (this.fault === 'refused')
      throw new MysqlError(1644, '45G02', 'REFUSED', 'mysql: writes are closed (1644, 45G02)')
    if (typeof params[0] === 'string' && params[0].startsWith('[')) return this.#batch(procedure, params[0])
    const event = uuidText(params.at(-3) as Uint8Array)
    const payload = this.receipts.get(event) ?? this.#write(procedure, params, event)
    this.receipts.set(event, payload)
    if (this.fault === 'lost') {
      this.fault = undefined
      throw new ZtError('UNREACHABLE', 'mysql: connection lost')
    }
    return [[{ receipt: this.tamper(payload) }]]
  }

  /** The batch form: the same writes, one by one, their payloads in another order. */
  async #batch(procedure: string, json: string): Promise<Row[][]> {
    const def = [...this.#definitions.values()].find(d => d.procedures.createMany === procedure)
    if (def?.procedures.create === undefined) throw new Error(`fake: no procedure ${procedure}`)
    const columns = columnsOf(def).filter(c => c.name !== 'tenant_id' && c.name !== 'state')
    const bytes = (text: unknown) => new Uint8Array(Buffer.from(String(text), 'base64'))
    const payloads: unknown[] = []
    for (const row of JSON.parse(json) as Record<string, string | number | null>[]) {
      const params = columns.map(({ name, type }) => {
        const value = row[name] ?? null
        if (value === null) return null
        return type === 'bytes' ? bytes(value) : type === 'uuid' ? uuidBytes(String(value)) : value
      })
      const event = [uuidBytes(String(row.evt_id)), bytes(row.evt_sig), bytes(row.evt_key)]
      payloads.unshift((await this.call(def.procedures.create, [...params, ...event]))[0]?.[0]?.receipt)
    }
    return [[{ receipts: JSON.stringify(payloads) }]]
  }

  #write(procedure: string, params: readonly Parameter[], event: string): string {
    for (const def of this.#definitions.values())
      for (const action of ['create', 'update', 'erase', 'retire'] as Action[])
        if (def.procedures[action] === procedure) return this.#apply(def, action, params, event)
    throw new Error(`fake: no procedure ${procedure}`)
  }

  #apply(def: TableDefinition, action: Action, params: readonly Parameter[], event: string): string {
    const names =
      action === 'erase'
        ? [def.key.name, 'version']
        : action === 'retire'
          ? [def.key.name, 'version', 'salt']
          : columnsOf(def)
              .map(c => c.name)
              .filter(name => name !== 'tenant_id' && name !== 'state')
    if (names.length + 3 !== params.length) throw new Error('fake: wrong number of parameters')
    const types = new Map(columnsOf(def).map(c => [c.name, c.type]))
    const given: Row = {}
    for (const [i, name] of names.entries()) {
      const value = params[i] as Row[string]
      given[name] =
        value instanceof Uint8Array && types.get(name) === 'uuid' ? uuidText(value) : (value ?? null)
    }
    const place = `${def.table} ${String(given[def.key.name])}`
    const old = this.rows.get(place)
    if ((old === undefined) !== (action === 'create'))
      throw new MysqlError(1644, '45W06', 'NOT_FOUND', 'mysql: 45W06')
    const nulls = Object.fromEntries(columnsOf(def).map(c => [c.name, null]))
    const row: Row = {
      ...(action === 'retire' ? old : nulls),
      tenant_id: this.#tenant,
      wrap_version: 1,
      state: def.states[action === 'erase' || action === 'retire' ? 1 : 0],
      ...given,
    }
    this.rows.set(place, row)
    return fromUtf8(
      formatEvent({
        v: 1,
        id: event,
        time: '2026-01-02T03:04:05.678901Z',
        actor: `${this.account}@localhost`,
        conn: 7,
        tenant: this.#tenant,
        table: def.table,
        action,
        key: String(row[def.key.name]),
        ver: Number(row.version),
        wver: 1,
        scheme: def.scheme,
        before: old === undefined ? null : toHex(rowDigest(def, old)),
        after: toHex(rowDigest(def, row)),
        sig: toBase64(params.at(-2) as Uint8Array),
        signer: toHex(params.at(-1) as Uint8Array),
        data: null,
      }),
      'payload',
    )
  }
}

/** A KMS in memory: one key, which refuses every other context. */
export function fakeKms(): {
  encrypt(uri: string, plaintext: Uint8Array, aad: Uint8Array): Promise<Uint8Array>
} & {
  decrypt(uri: string, ciphertext: Uint8Array, aad: Uint8Array): Promise<Uint8Array>
  readonly provider: 'gcp-kms-emulator'
  close(): Promise<void>
  calls: number
  closed: boolean
} {
  const kept = new Map<string, Uint8Array>()
  const place = (uri: string, ciphertext: Uint8Array, aad: Uint8Array) =>
    [uri, toHex(ciphertext), toHex(aad)].join()
  const kms = {
    provider: 'gcp-kms-emulator' as const,
    calls: 0,
    closed: false,
    encrypt: async (uri: string, plaintext: Uint8Array, aad: Uint8Array) => {
      const ciphertext = uuidBytes(newUuid())
      kept.set(place(uri, ciphertext, aad), plaintext.slice())
      return ciphertext
    },
    decrypt: async (uri: string, ciphertext: Uint8Array, aad: Uint8Array) => {
      kms.calls += 1
      const plaintext = kept.get(place(uri, ciphertext, aad))
      if (plaintext === undefined) throw new ZtError('KMS', 'kms: INVALID_ARGUMENT')
      return plaintext.slice()
    },
    close: async () => {
      kms.closed = true
    },
  }
  return kms
}
