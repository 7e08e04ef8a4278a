/**
 * Protected tables described as data (SPEC §5.1). From a definition come the table, triggers, views,
 * procedures, grants, row digest and the client's codec. The definitions are sql/tables/*.json.
 */
import { z } from 'zod'
import { type Bytes, concat, utf8, uuidBytes } from './bytes.ts'
import { ZtError } from './errors.ts'

const name = z.string().regex(/^[a-z][a-z0-9_]{0,40}$/)

const columnSchema = z.discriminatedUnion('kind', [
  /** In the clear, covered by digest, signature and (in sealed tables) the row MAC. */
  z.strictObject({
    kind: z.literal('clear'),
    name,
    type: z.enum(['uuid', 'text', 'int', 'uint', 'bytes']),
    /** text and bytes: longest length in bytes. */
    max: z.int().positive().optional(),
    /** bytes: the one length allowed. */
    length: z.int().positive().optional(),
    values: z.array(z.string()).optional(),
    pattern: z.string().optional(),
    optional: z.boolean().default(false),
    /** Fixed at creation. */
    immutable: z.boolean().default(false),
  }),
  /** PII: a cell (nonce ‖ ciphertext ‖ tag). `max` is the longest plaintext in bytes. */
  z.strictObject({
    kind: z.literal('sealed'),
    name,
    max: z.int().positive(),
    optional: z.boolean().default(false),
  }),
  /** Truncated HMAC of the normalised plaintext of column `of`. */
  z.strictObject({
    kind: z.literal('blind'),
    name,
    of: name,
    normalise: z.enum(['email', 'phone', 'name']),
    optional: z.boolean().default(false),
  }),
])

export const tableSchema = z.strictObject({
  table: name,
  /** Digest scheme, `TABLE/N`: raised by any migration that changes the digest's columns. */
  scheme: z.string().regex(/^[a-z_]+\/[1-9][0-9]*$/),
  /** `client`: tenant-scoped procedures; `administrator`: root's procedures, signed on the workstation. */
  writer: z.enum(['client', 'administrator']),
  /** The primary key is (tenant_id, key); `tenant_id` alone where the key is the tenant itself. */
  key: z.strictObject({ name, type: z.enum(['uuid', 'text']), max: z.int().positive().optional() }),
  states: z.tuple([z.string(), z.string()]),
  /** Rows carry a wrapped record key, a field suite and a row MAC. */
  sealed: z.boolean(),
  columns: z.array(columnSchema),
  /** Earlier digest schemes of this table, under which older rows still verify, newest first (SPEC §5.3). */
  history: z
    .array(
      z.strictObject({ scheme: z.string().regex(/^[a-z_]+\/[1-9][0-9]*$/), columns: z.array(columnSchema) }),
    )
    .default([]),
  parents: z.array(z.strictObject({ column: name, table: name })).default([]),
  indexes: z.array(z.array(name)).default([]),
  view: name.optional(),
  /** Standard procedures by action. Batch forms end in `Many`. A missing one is not generated. */
  procedures: z.strictObject({
    create: name.optional(),
    createMany: name.optional(),
    update: name.optional(),
    erase: name.optional(),
    retire: name.optional(),
    rewrapMany: name.optional(),
  }),
})

export type TableDefinition = z.infer<typeof tableSchema>
export type OwnColumn = TableDefinition['columns'][number]

/** The definition as it was under `scheme`, or undefined where this release knows no such scheme of the table. */
export function underScheme(def: TableDefinition, scheme: string): TableDefinition | undefined {
  if (scheme === def.scheme) return def
  const old = def.history.find(entry => entry.scheme === scheme)
  return old && { ...def, ...old }
}

/** Whether every column that `old` lacks is NULL: nothing of the row is outside of what its scheme covers. */
export function fitsScheme(def: TableDefinition, old: TableDefinition, row: Row): boolean {
  const known = new Set(old.columns.map(column => column.name))
  return def.columns.every(column => known.has(column.name) || row[column.name] === null)
}

/** A stored value: uuid and text as string, int and uint as safe number or bigint, bytes as bytes. */
export type Value = Bytes | string | number | bigint | null
export type Row = Record<string, Value>

/** How one column is stored and digested. */
export interface Column {
  name: string
  type: 'uuid' | 'text' | 'int' | 'uint' | 'bytes'
  /** text and bytes: longest length in bytes, as stored. */
  max?: number
  length?: number
  /** May be NULL in a live row. Every column but the head may be NULL in an erased one. */
  optional: boolean
  head: boolean
}

export const nonceLength = 12
export const tagLength = 16
export const recordKeyLength = 60
export const blindLength = 16
export const macLength = 32
export const saltLength = 16

const column = (name: string, type: Column['type'], rest: Partial<Column> = {}): Column => ({
  name,
  type,
  optional: false,
  head: false,
  ...rest,
})

function storedColumn(own: OwnColumn): Column {
  if (own.kind === 'sealed')
    return column(own.name, 'bytes', { max: nonceLength + own.max + tagLength, optional: own.optional })
  if (own.kind === 'blind')
    return column(own.name, 'bytes', { length: blindLength, max: blindLength, optional: own.optional })
  const max = own.length ?? own.max
  return column(own.name, own.type, {
    optional: own.optional,
    ...(max === undefined ? {} : { max }),
    ...(own.length === undefined ? {} : { length: own.length }),
  })
}

/** Every client-written column in the order of digest, table and procedure parameters (SPEC §5.2). */
export function columnsOf(def: TableDefinition): Column[] {
  const head = [
    column('tenant_id', 'uuid', { head: true }),
    ...(def.key.name === 'tenant_id'
      ? []
      : [column(def.key.name, def.key.type, { head: true, ...(def.key.max ? { max: def.key.max } : {}) })]),
    column('version', 'uint', { head: true }),
    column('wrap_version', 'uint', { head: true }),
    column('state', 'text', { head: true, max: 16 }),
  ]
  const sealed = def.sealed
    ? [
        column('field_suite', 'text', { max: 40 }),
        column('dek_id', 'uuid'),
        column('record_key', 'bytes', { length: recordKeyLength, max: recordKeyLength }),
        column('mac', 'bytes', { length: macLength, max: macLength }),
      ]
    : []
  const salt = column('salt', 'bytes', { length: saltLength, max: saltLength })
  return [...head, ...def.columns.map(storedColumn), ...sealed, salt]
}

/** The bytes of one value as digest and MAC see them: uuid 16 raw, text UTF-8, numbers decimal, bytes as they are. */
export function valueBytes(column: Column, value: Exclude<Value, null>): Bytes {
  switch (column.type) {
    case 'uuid':
      if (typeof value === 'string') return uuidBytes(value, column.name)
      break
    case 'text':
      if (typeof value === 'string') return utf8(value)
      break
    case 'int':
    case 'uint':
      if (typeof value === 'bigint' || Number.isSafeInteger(value)) return utf8(String(value))
      break
    case 'bytes':
      if (value instanceof Uint8Array) return value
  }
  throw new ZtError('BAD_INPUT', `${column.name}: expected ${column.type}, got ${typeof value}`)
}

/** SQL: IFNULL(CONCAT(CHAR(0x01000000 | LENGTH(x) USING binary), x), X'00'), SPEC §5.3. */
export function digestPart(bytes: Bytes | null): Bytes {
  if (bytes === null) return Uint8Array.of(0)
  const n = bytes.length
  if (n >= 1 << 24) throw new ZtError('BAD_LENGTH', `digest part: ${n} bytes, at most 16777215`)
  return concat(Uint8Array.of(1, n >> 16, (n >> 8) & 0xff, n & 0xff), bytes)
}

export function columnValue(row: Row, column: Column): Value {
  const value = row[column.name]
  if (value === undefined) throw new ZtError('BAD_INPUT', `row has no column ${column.name}`)
  return value
}
