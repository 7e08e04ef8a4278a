/** Rotation of keys at every layer: each step can be killed and run again, and nothing is unreadable in between. */
import { type Bytes, equal, random } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { type DataKeyRecord, dataKeyColumns, dataKeyFromRow } from '../core/envelope/data_key.ts'
import { kemFingerprint } from '../core/envelope/kem.ts'
import { recordPurpose } from '../core/envelope/key_name.ts'
import { openRecordKey, sealRecordKey } from '../core/envelope/record_key.ts'
import { checkRowMac, placeOf } from '../core/envelope/row_mac.ts'
import { type Suite, wrapKey } from '../core/envelope/wrap.ts'
import { ZtError } from '../core/errors.ts'
import { rowFromDatabase } from '../core/rows.ts'
import { type Row, saltLength, type TableDefinition } from '../core/tables.ts'
import type { TrustedTenant } from '../core/trust.ts'
import { MysqlError } from '../edge/mysql.ts'
import { type DataKeys, kemKeyOf, newestFirst } from './data_keys.ts'
import { type Patience, throughGate } from './gate.ts'
import type { TenantKms } from './kms.ts'
import type { Found, Reader } from './reader.ts'
import { sizeOf } from './reader.ts'
import type { Session } from './session.ts'
import type { Writer, Written } from './writer.ts'

/** What a rotation works with: the insides of a client. */
export interface RotationParts {
  readonly tenant: TrustedTenant
  readonly definitions: ReadonlyMap<string, TableDefinition>
  readonly session: Session
  readonly keys: DataKeys
  readonly kms: TenantKms
  readonly reader: Reader
  readonly writer: Writer
  readonly update: (def: TableDefinition, found: Found) => Promise<Written>
  readonly createDataKey: (purpose: string, hybrid: boolean) => Promise<Written>
  readonly retireDataKey: (id: string) => Promise<Written>
}

export interface RotationRequest {
  /** Purposes that get a new data key, where no rotation of theirs is under way. */
  readonly fresh: readonly string[]
  /** Wraps every data key again: for a new version of the KMS key. Default: those that need it. */
  readonly wraps: boolean
  /** Canonical URI of the KMS key that every data key is moved to. */
  readonly kmsKey?: string | undefined
  /** Turns the hybrid on. */
  readonly hybrid: boolean
  /** Says what it would do, and does nothing. */
  readonly planOnly: boolean
  readonly patience: Patience
  /** Wrap versions at which an unfinished `wraps` began, by id: kept by the caller until `done`. */
  readonly began?: ReadonlyMap<string, number> | undefined
  readonly onBegin?: (versions: ReadonlyMap<string, number>) => void
  readonly tell: (step: RotationStep) => void
}

export interface RotationStep {
  readonly step:
    | 'new data key'
    | 're-wrap record keys'
    | 'rewrite blind index'
    | 'retire data key'
    | 're-wrap data key'
  readonly purpose?: string
  readonly id?: string
  readonly table?: string
  /** Rows that are concerned. */
  readonly rows?: number
  readonly why?: readonly string[]
}

export interface KeyRow {
  readonly row: Row
  readonly record: DataKeyRecord
}

const batchRows = 200

/** The tenant's genuine active data keys; what no issuer signed is left where it is. */
export async function activeKeys({ definitions, session, keys }: RotationParts): Promise<KeyRow[]> {
  const def = definition(definitions, 'data_keys')
  const stored = await session.query(
    `SELECT * FROM ${def.view ?? def.table} WHERE state = 'active' ORDER BY id`,
  )
  return stored
    .map(row => rowFromDatabase(def, row))
    .map(row => ({ row, record: dataKeyFromRow(row) }))
    .filter(({ record }) => keys.isGenuine(record))
}

function definition(definitions: ReadonlyMap<string, TableDefinition>, table: string): TableDefinition {
  const def = definitions.get(table)
  if (def === undefined) throw new ZtError('BAD_INPUT', `${table}: no such table`)
  return def
}

/** Every step in order. Old keys are retired when nothing is under them any more, and the wraps come last. */
export async function runRotation(parts: RotationParts, request: RotationRequest): Promise<void> {
  const { planOnly, tell } = request
  let active = await activeKeys(parts)
  for (const purpose of new Set(request.fresh)) {
    const known = active.filter(({ record }) => record.purpose === purpose)
    if (known.length !== 1) continue // none to replace, or a rotation that was begun: finish it
    const hybrid = request.hybrid || known[0]?.record.suite !== 'kms'
    tell({ step: 'new data key', purpose })
    if (planOnly) continue
    await throughGate(() => parts.createDataKey(purpose, hybrid), request.patience)
    parts.keys.forget(purpose)
  }
  if (!planOnly) active = await activeKeys(parts)
  const purposes = new Set(active.map(({ record }) => record.purpose))
  for (const purpose of purposes) {
    const [newest, ...older] = newestFirst(
      active.flatMap(({ record }) => (record.purpose === purpose ? [record] : [])),
    )
    if (newest === undefined) continue
    const planned = planOnly && request.fresh.includes(purpose) && older.length === 0
    if (purpose === recordPurpose) await rewrapRows(parts, request, planned ? undefined : newest)
    else if (older.length > 0 || planned) await rewriteIndex(parts, request, purpose)
    for (const { id } of planned ? [newest] : older) {
      tell({ step: 'retire data key', purpose, id })
      if (!planOnly) await throughGate(() => parts.retireDataKey(id), request.patience)
    }
    if (older.length > 0) parts.keys.forget(purpose)
  }
  await rewrapKeys(parts, request, planOnly ? active : await activeKeys(parts))
}

/** Brings every row's record key under the newest DEK. @param newest undefined where it is still to be made */
async function rewrapRows(
  parts: RotationParts,
  request: RotationRequest,
  newest: DataKeyRecord | undefined,
): Promise<void> {
  for (const def of parts.definitions.values()) {
    if (!def.sealed || def.procedures.rewrapMany === undefined) continue
    const where = newest === undefined ? 'TRUE' : 'dek_id <> UUID_TO_BIN(?)'
    const params = newest === undefined ? [] : [newest.id]
    const count = async () => {
      const sql = `SELECT COUNT(*) AS n FROM ${def.view ?? def.table} WHERE state = ? AND ${where}`
      return Number((await parts.session.query(sql, [def.states[0], ...params]))[0]?.n)
    }
    // Writers that hold the older key in memory go on with it for a minute: until none is left.
    for (let rows = await count(); rows > 0; rows = request.planOnly ? 0 : await count()) {
      request.tell({ step: 're-wrap record keys', table: def.table, rows })
      if (request.planOnly || newest === undefined) continue
      for await (const page of parts.reader.pages(def, { where, params }))
        for (let i = 0; i < page.length; i += batchRows)
          await rewrapBatch(parts, request, def, page.slice(i, i + batchRows), newest.id)
    }
  }
}

async function rewrapBatch(
  parts: RotationParts,
  { patience }: RotationRequest,
  def: TableDefinition,
  rows: Row[],
  dekId: string,
): Promise<void> {
  const next: Row[] = []
  for (const row of rows) next.push(await rewrapRow(parts, def, row, dekId))
  try {
    await throughGate(() => parts.writer.writeBatch(def, 'rewrap', next), patience)
  } catch (thrown) {
    if (!isConflict(thrown)) throw thrown
    // Somebody wrote one of them meanwhile. One by one then; what conflicts again is left to the next pass.
    for (const row of next)
      await throughGate(() => parts.writer.writeBatch(def, 'rewrap', [row]), patience).catch(again => {
        if (!isConflict(again)) throw again
      })
  }
}

const isConflict = (thrown: unknown): boolean =>
  thrown instanceof MysqlError && ['45W02', '45W06'].includes(thrown.sqlState)

/** The row with its record key under another DEK. What is signed here is checked first, or we would vouch for a forgery. */
async function rewrapRow(parts: RotationParts, def: TableDefinition, row: Row, dekId: string): Promise<Row> {
  const { dek_id: oldId, record_key: sealed } = row
  const place = placeOf(def, row)
  if (typeof oldId !== 'string' || !(sealed instanceof Uint8Array))
    throw new ZtError('BAD_FORMAT', `${def.table} ${place.row}: has no data key or record key`)
  const [old, fresh] = [
    await parts.keys.forReading(oldId, sizeOf(row)),
    await parts.keys.forReading(dekId, sizeOf(row)),
  ]
  let recordKey: Bytes | undefined
  try {
    recordKey = openRecordKey(old, oldId, place, sealed)
    checkRowMac(def, row, recordKey)
    return {
      ...row,
      wrap_version: Number(row.wrap_version) + 1,
      dek_id: dekId,
      record_key: sealRecordKey(fresh, dekId, place, recordKey),
      salt: random(saltLength),
    }
  } finally {
    wipe(old, fresh, recordKey)
  }
}

/** Seals every row again whose blind index is not of the newest key: the column is under the row's MAC. */
async function rewriteIndex(parts: RotationParts, request: RotationRequest, purpose: string): Promise<void> {
  const [table = '', of = ''] = purpose.replace(/^blind:/, '').split('.')
  const def = definition(parts.definitions, table)
  const column = def.columns.find(known => known.kind === 'blind' && known.of === of)
  if (column?.kind !== 'blind')
    throw new ZtError('BAD_INPUT', `${purpose}: the table has no such blind index`)
  parts.keys.forget(purpose)
  for (;;) {
    let rows = 0
    for await (const page of parts.reader.pages(def, { where: `${column.name} IS NOT NULL`, params: [] }))
      for (const row of page) {
        if (request.planOnly) rows += 1
        else if (await rewriteRow(parts, request, def, [column.name], row)) rows += 1
      }
    if (rows > 0) request.tell({ step: 'rewrite blind index', purpose, table, rows })
    if (rows === 0 || request.planOnly) return
  }
}

/** Opens a row, and seals it again where one of these blind indexes is not of the newest key. @returns whether it was not */
export async function rewriteRow(
  parts: RotationParts,
  { patience }: { patience: Patience },
  def: TableDefinition,
  columns: readonly string[],
  row: Row,
): Promise<boolean> {
  const found = await parts.reader.open(def, row)
  let same = true
  for (const column of columns) {
    const wanted = await parts.keys.indexOf(def, column, found.plain)
    const { [column]: stored } = row
    if (wanted === undefined ? stored !== null : !(stored instanceof Uint8Array) || !equal(stored, wanted))
      same = false
  }
  if (same) return false
  await throughGate(() => parts.update(def, found), patience).catch(thrown => {
    if (!isConflict(thrown)) throw thrown // somebody else was quicker
  })
  return true
}

async function rewrapKeys(
  parts: RotationParts,
  request: RotationRequest,
  active: readonly KeyRow[],
): Promise<void> {
  const { tenant, definitions, keys, kms, writer } = parts
  const def = definition(definitions, 'data_keys')
  const began =
    request.began ?? new Map(active.map(({ record, row }) => [record.id, Number(row.wrap_version)]))
  if (request.wraps && !request.planOnly && request.began === undefined) request.onBegin?.(began)
  for (const { row, record } of active) {
    const suite: Suite = request.hybrid ? 'kms+ml-kem-768' : record.suite
    const kem = suite === 'kms' ? undefined : kemKeyOf(tenant)
    const kmsKey = request.kmsKey ?? record.kmsKey
    const why = [
      ...(record.kmsKey === kmsKey ? [] : ['another KMS key']),
      ...(record.suite === suite ? [] : ['the hybrid is turned on']),
      ...(kem !== undefined &&
      record.kemFingerprint !== null &&
      !equal(record.kemFingerprint, kemFingerprint(kem))
        ? ['a new ML-KEM key']
        : []),
      ...(request.wraps && began.get(record.id) === Number(row.wrap_version) ? ['asked for'] : []),
    ]
    if (why.length === 0) continue
    request.tell({ step: 're-wrap data key', purpose: record.purpose, id: record.id, why })
    if (request.planOnly) continue
    const key = await keys.openRecord(record)
    try {
      const leg = await kms.encrypt(suite, record, kmsKey)
      try {
        const wrap = wrapKey(
          record,
          key,
          leg,
          kem === undefined ? undefined : { publicKey: kem, holder: 'file' },
        )
        const next: Row = {
          ...row,
          ...dataKeyColumns({ ...record, ...wrap }),
          wrap_version: Number(row.wrap_version) + 1,
          salt: random(saltLength),
        }
        await throughGate(() => writer.writeBatch(def, 'rewrap', [next]), request.patience)
      } finally {
        wipe(leg.secret)
      }
    } finally {
      wipe(key)
    }
  }
}
