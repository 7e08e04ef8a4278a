/** The codec of a sealed table: plaintext ↔ row, for any definition whose `sealed` is true (SPEC §3.3–3.6, §5.2). */
import { type Bytes, random } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { columnsOf, columnValue, type Row, saltLength, type TableDefinition, type Value } from '../tables.ts'
import { type Entropy, keyLength, wipe } from './aead.ts'
import { blindIndex, normalise } from './blind_index.ts'
import { type CellPlace, fieldSuite, openCell, sealCell } from './cell.ts'
import { checkPlain, type Plain, plainColumns } from './plain.ts'
import { openRecordKey, type Place, sealRecordKey } from './record_key.ts'
import { checkRowMac, placeOf, rowMac } from './row_mac.ts'

export interface RowKeys {
  readonly dekId: string
  /** 32 bytes. */
  readonly dek: Bytes
  /** Blind-index keys by sealed column; null leaves every blind column NULL (a record outside a database). */
  readonly blind: ReadonlyMap<string, Bytes> | null
}

export interface RowHead {
  readonly tenant: string
  readonly key: string
  readonly version: number
}

/**
 * A live row of `version`, with a fresh record key, salt and nonces.
 * @throws BAD_INPUT as checkPlain
 */
export function sealRow(
  def: TableDefinition,
  keys: RowKeys,
  head: RowHead,
  input: unknown,
  entropy: Entropy = random,
): Row {
  if (!def.sealed) throw new ZtError('BAD_INPUT', `${def.table}: is not a sealed table`)
  const plain = checkPlain(def, input)
  const place: Place = { tenant: head.tenant, table: def.table, row: head.key }
  const recordKey = entropy(keyLength)
  try {
    const row: Row = {
      tenant_id: head.tenant,
      [def.key.name]: head.key,
      version: head.version,
      wrap_version: 1,
      state: def.states[0],
      ...ownColumns(def, keys, recordKey, { ...place, version: head.version }, plain, entropy),
      field_suite: fieldSuite,
      dek_id: keys.dekId,
      record_key: sealRecordKey(keys.dek, keys.dekId, place, recordKey, entropy),
      mac: null,
      salt: entropy(saltLength),
    }
    return { ...row, mac: rowMac(def, row, recordKey) }
  } finally {
    wipe(recordKey)
  }
}

function ownColumns(
  def: TableDefinition,
  keys: RowKeys,
  recordKey: Bytes,
  place: Omit<CellPlace, 'column'>,
  plain: Plain,
  entropy: Entropy,
): Row {
  const own: Row = {}
  for (const column of def.columns) {
    const source = plain[column.kind === 'blind' ? column.of : column.name] ?? null
    own[column.name] =
      column.kind === 'clear' || source === null
        ? source
        : column.kind === 'sealed'
          ? sealCell(recordKey, { ...place, column: column.name }, String(source), entropy)
          : blind(keys, place, column.of, normalise(column.normalise, String(source), column.of))
  }
  return own
}

function blind(keys: RowKeys, place: Place, column: string, normal: string): Value {
  if (keys.blind === null) return null
  const key = keys.blind.get(column)
  if (key === undefined)
    throw new ZtError('NOT_FOUND', `no blind-index key for ${place.table}.${column}`, {
      hint: 'make it with `pq_envelope_cli tenant-key`',
    })
  return blindIndex(key, { tenant: place.tenant, table: place.table, column }, normal)
}

/**
 * The plaintext of a live row. `expected` is what was asked for: a server can answer with another genuine row. The MAC
 * is checked before any other use.
 * @param dek 32 bytes, of the row's dek_id
 * @throws REFUSED (another row), NOT_FOUND (not live), BAD_FORMAT, BAD_LENGTH, DECRYPT_FAILED, BAD_MAC
 */
export function openRow(
  def: TableDefinition,
  dek: Bytes,
  row: Row,
  expected: { tenant: string; key: string },
): Plain {
  const place = requireLive(def, row, expected)
  const { dek_id: dekId, record_key: sealed, version } = row
  if (typeof dekId !== 'string' || !(sealed instanceof Uint8Array))
    throw new ZtError('BAD_FORMAT', `${def.table} ${place.row}: has no data key or record key`)
  if (typeof version !== 'number' && typeof version !== 'bigint')
    throw new ZtError('BAD_FORMAT', `${def.table} ${place.row}: version is no number`)
  const recordKey = openRecordKey(dek, dekId, place, sealed)
  try {
    checkRowMac(def, row, recordKey)
    return openColumns(def, row, recordKey, { ...place, version })
  } finally {
    wipe(recordKey)
  }
}

function openColumns(
  def: TableDefinition,
  row: Row,
  recordKey: Bytes,
  place: Omit<CellPlace, 'column'>,
): Plain {
  const plain: Plain = {}
  for (const column of plainColumns(def)) {
    const value = row[column.name] ?? null
    if (column.kind === 'clear' || value === null) plain[column.name] = value
    else if (value instanceof Uint8Array)
      plain[column.name] = openCell(recordKey, { ...place, column: column.name }, value)
    else throw new ZtError('BAD_FORMAT', `${def.table}.${column.name}: a sealed column without bytes`)
  }
  return plain
}

/** Everything about a row that can be said without a key. */
export function requireLive(
  def: TableDefinition,
  row: Row,
  expected: { tenant: string; key: string },
): Place {
  const place = placeOf(def, row)
  if (place.tenant !== expected.tenant || place.row !== expected.key)
    throw new ZtError('REFUSED', `${def.table} ${expected.key}: the answer is another row`, {
      hint: 'the server does not answer what it was asked: run chain_verify',
    })
  if (row.state !== def.states[0])
    throw new ZtError(
      'NOT_FOUND',
      `${def.table} ${place.row}: is ${row.state === def.states[1] ? def.states[1] : 'not live'}`,
    )
  if (def.sealed && row.field_suite !== fieldSuite)
    throw new ZtError('BAD_FORMAT', `${def.table} ${place.row}: unknown field suite`)
  for (const column of columnsOf(def)) {
    const value = columnValue(row, column)
    if (!(value instanceof Uint8Array) || column.type !== 'bytes') continue
    if (value.length > (column.max ?? value.length) || value.length !== (column.length ?? value.length))
      throw new ZtError('BAD_LENGTH', `${def.table}.${column.name}: ${value.length} bytes are not allowed`)
  }
  return place
}
