import { utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { type Column, columnsOf, type OwnColumn, type TableDefinition } from '../tables.ts'
import { hexLiteral, ident, literal } from './text.ts'

/** The state of a live row, and of one that is erased, retired or revoked. */
export const liveState = (def: TableDefinition): string => def.states[0]
export const endState = (def: TableDefinition): string => def.states[1]

export const keyed = (def: TableDefinition): boolean => def.key.name !== 'tenant_id'

/** Columns of a row's last event: outside the digest (SPEC §5.2). */
export const eventColumns = ['evt_id', 'evt_sig', 'evt_key'] as const

const maxOf = (def: TableDefinition, column: Column): number => {
  if (column.max === undefined)
    throw new ZtError('BAD_INPUT', `${def.table}.${column.name}: ${column.type} needs max or length`)
  return column.max
}

export function columnType(def: TableDefinition, column: Column): string {
  switch (column.type) {
    case 'uuid':
      return 'BINARY(16)'
    case 'text':
      return `VARCHAR(${maxOf(def, column)})`
    case 'int':
      return 'BIGINT'
    case 'uint':
      return 'BIGINT UNSIGNED'
    case 'bytes':
      return `VARBINARY(${maxOf(def, column)})`
  }
}

/** Wider than the column: a value that is too long must reach the check, not be cut under a lax sql_mode. */
export function parameterType(def: TableDefinition, column: Column): string {
  switch (column.type) {
    case 'uuid':
      return 'VARBINARY(255)'
    case 'text':
      return `VARCHAR(${Math.max(255, maxOf(def, column) + 1)})`
    case 'bytes':
      return `VARBINARY(${Math.max(255, maxOf(def, column) + 1)})`
    default:
      return columnType(def, column)
  }
}

/** CREATE TABLE from a definition. Every index begins with the tenant: see the views. */
export function createTable(def: TableDefinition): string {
  const lines = columnsOf(def).map(
    c => `  ${ident(c.name)} ${columnType(def, c)} ${c.head ? 'NOT NULL' : 'NULL'}`,
  )
  lines.push('  `evt_id` BINARY(16) NULL', '  `evt_sig` BINARY(64) NULL', '  `evt_key` BINARY(32) NULL')
  lines.push(`  PRIMARY KEY (\`tenant_id\`${keyed(def) ? `, ${ident(def.key.name)}` : ''})`)
  for (const index of def.indexes)
    lines.push(`  KEY ${ident(indexName(index))} (\`tenant_id\`, ${index.map(ident).join(', ')})`)
  return `CREATE TABLE IF NOT EXISTS ${ident(def.table)} (\n${lines.join(',\n')}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin`
}

export const indexName = (columns: string[]): string => columns.join('_')

const prefix = (length: number): string =>
  hexLiteral(Uint8Array.of(1, length >> 16, (length >> 8) & 0xff, length & 0xff))

function digestPart(column: Column, value: string): string {
  const fixed = column.type === 'uuid' ? 16 : undefined
  // A text would draw the binary prefix into its character set, where a length from 128 on is no character.
  const bytes = column.type === 'text' ? `CAST(${value} AS BINARY)` : value
  const part =
    fixed === undefined
      ? `CONCAT(CHAR(0x01000000|LENGTH(${value}) USING binary), ${bytes})`
      : `CONCAT(${prefix(fixed)}, ${bytes})`
  if (!column.head) return `IFNULL(${part}, X'00')`
  return part.slice('CONCAT('.length, -1)
}

/**
 * The row digest in lower-case hex (SPEC §5.3) as one SQL expression, the twin of rowDigest.
 * `value` gives the SQL of a column's value, such as NEW.x or a parameter.
 */
export function digestExpression(def: TableDefinition, value: (column: Column) => string): string {
  const scheme = `CONCAT(${prefix(utf8(def.scheme).length)}, ${literal(def.scheme)})`
  const parts = [scheme.slice('CONCAT('.length, -1), ...columnsOf(def).map(c => digestPart(c, value(c)))]
  return `SHA2(CONCAT(${parts.join(', ')}), 256)`
}

const ownColumn = (def: TableDefinition, name: string): OwnColumn | undefined =>
  def.columns.find(c => c.name === name)

// In ICU's dialect $ also matches before a last newline; nothing follows where not even a newline does.
const patternCheck = (pattern: string, value: string): string =>
  `REGEXP_LIKE(${value}, ${literal(pattern.replace(/\$$/, '(?!.)'))}, 'cn')`

/** SQL that is true where a live row's value of `column` is acceptable; never NULL. */
export function valueCheck(def: TableDefinition, column: Column, value: string): string {
  const own = ownColumn(def, column.name)
  const checks: string[] = []
  if (column.type === 'uuid') checks.push(`LENGTH(${value}) = 16`)
  else if (column.length !== undefined) checks.push(`LENGTH(${value}) = ${column.length}`)
  else if (column.type === 'bytes' || column.type === 'text') {
    const least = own?.kind === 'sealed' ? 28 : own?.kind === 'clear' && column.type === 'text' ? 0 : 1
    checks.push(`LENGTH(${value}) BETWEEN ${least} AND ${maxOf(def, column)}`)
  }
  if (own?.kind === 'clear' && own.values) checks.push(`${value} IN (${own.values.map(literal).join(', ')})`)
  if (own?.kind === 'clear' && own.pattern) checks.push(patternCheck(own.pattern, value))
  if (checks.length === 0) return column.optional ? 'TRUE' : `${value} IS NOT NULL`
  const all = checks.join(' AND ')
  return column.optional ? `(${value} IS NULL OR (${all}))` : `IFNULL(${all}, FALSE)`
}
