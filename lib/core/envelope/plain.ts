/** The plaintext of a row: what a person hands in and gets back, one member for each clear and sealed column. */
import { isUuid, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { OwnColumn, TableDefinition, Value } from '../tables.ts'
import { normalise } from './blind_index.ts'

export type Plain = Record<string, Value>

type Written = Exclude<OwnColumn, { kind: 'blind' }>

/** The columns that carry plaintext, in the definition's order. */
export const plainColumns = (def: TableDefinition): Written[] =>
  def.columns.filter((column): column is Written => column.kind !== 'blind')

const inRange = (value: bigint, type: 'int' | 'uint'): boolean =>
  type === 'uint' ? value >= 0n && value < 1n << 64n : value >= -(1n << 63n) && value < 1n << 63n

/**
 * The plaintext in an untrusted value, absent optional members as null.
 * @throws BAD_INPUT naming the member (never its value): unknown, missing, of another type, too long, malformed
 */
export function checkPlain(def: TableDefinition, input: unknown): Plain {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw new ZtError('BAD_INPUT', `${def.table}: expected an object`)
  const columns = plainColumns(def)
  const members = input as Record<string, unknown>
  const unknown = Object.keys(members).find(name => !columns.some(column => column.name === name))
  if (unknown !== undefined)
    throw new ZtError('BAD_INPUT', `${def.table}: unknown member ${JSON.stringify(unknown.slice(0, 40))}`, {
      hint: `the members are ${columns.map(c => (c.optional ? `${c.name} (optional)` : c.name)).join(', ')}`,
    })
  const plain = Object.fromEntries(
    columns.map(column => [column.name, checkValue(column, members[column.name])]),
  )
  for (const column of def.columns) {
    if (column.kind !== 'blind') continue
    const source = plain[column.of]
    if (typeof source === 'string') normalise(column.normalise, source, column.of)
  }
  return plain
}

function checkValue(column: Written, value: unknown): Value {
  const refuse = (why: string): never => {
    throw new ZtError('BAD_INPUT', `${column.name}: ${why}`)
  }
  if (value === undefined || value === null) return column.optional ? null : refuse('is missing')
  const type = column.kind === 'sealed' ? 'text' : column.type
  switch (type) {
    case 'int':
    case 'uint':
      if (typeof value !== 'bigint' && !(typeof value === 'number' && Number.isSafeInteger(value)))
        return refuse('expected a whole number')
      return inRange(BigInt(value), type) ? value : refuse(`out of range for ${type}`)
    case 'bytes': {
      if (!(value instanceof Uint8Array)) return refuse('expected bytes')
      const max = column.kind === 'clear' ? (column.length ?? column.max ?? 0) : column.max
      return value.length <= max ? value : refuse(`at most ${max} bytes`)
    }
    case 'uuid':
      return typeof value === 'string' && isUuid(value) ? value : refuse('expected a canonical UUID')
    case 'text':
      return typeof value === 'string' ? checkText(column, value, refuse) : refuse('expected a text')
  }
}

function checkText(column: Written, text: string, refuse: (why: string) => never): string {
  if (!text.isWellFormed()) return refuse('holds an unpaired surrogate')
  if (column.max !== undefined && utf8(text).length > column.max)
    return refuse(`longer than ${column.max} bytes of UTF-8`)
  if (column.kind === 'sealed') return text.trim() === '' ? refuse('is blank') : text
  if (column.values !== undefined && !column.values.includes(text))
    return refuse(`expected one of ${column.values.join(', ')}`)
  if (column.pattern !== undefined && !new RegExp(column.pattern, 'u').test(text))
    return refuse(`does not match ${column.pattern}`)
  return text
}
