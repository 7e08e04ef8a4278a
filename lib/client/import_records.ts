/** What the records of an import say: from bytes to the members of a row, or the reason why not. */
import { parse } from 'csv-parse/sync'
import type { Bytes } from '../core/bytes.ts'
import { checkPlain, type Plain, plainColumns } from '../core/envelope/plain.ts'
import { ZtError } from '../core/errors.ts'
import type { TableDefinition } from '../core/tables.ts'
import { type Frame, frames, maxFrameBytes } from './frames.ts'

export type ImportFormat = 'csv' | 'jsonl'

/** One record of the input; exactly one of `plain` and `reason`. A reason names a member, never its value. */
export interface ImportRecord extends Frame {
  readonly plain?: Plain
  readonly reason?: string
}

/** Throws on what is not UTF-8; text that only begins with a mark keeps it. */
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function textOf(bytes: Bytes): string | undefined {
  try {
    return strict.decode(bytes)
  } catch (thrown) {
    if (thrown instanceof TypeError) return undefined
    throw thrown
  }
}

/** Bytes are one to one with its characters: quotes are found, and the cell at fault, whatever the rest is. */
const latin1 = (bytes: Bytes): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

const reject = (frame: Frame, reason: string): ImportRecord => ({ ...frame, reason })

/** The members in a frame, judged as `create` judges them. */
function judged(def: TableDefinition, frame: Frame, members: unknown): ImportRecord {
  try {
    return { ...frame, plain: checkPlain(def, members) }
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'BAD_INPUT') return reject(frame, thrown.message)
    throw thrown
  }
}

/**
 * Records in order, each good or with its reason. @param delimiter of CSV
 * @throws BAD_INPUT where the CSV's first line is no header of the table
 */
export async function* importRecords(
  def: TableDefinition,
  format: ImportFormat,
  chunks: AsyncIterable<Bytes>,
  delimiter = ',',
): AsyncGenerator<ImportRecord> {
  if (format === 'jsonl') {
    for await (const frame of frames(chunks)) yield jsonRecord(def, frame)
    return
  }
  let header: string[] | undefined
  for await (const frame of frames(chunks, bytes => cellsOf(latin1(bytes), delimiter) !== undefined)) {
    if (header === undefined) header = headerOf(def, frame, delimiter)
    else yield csvRecord(def, header, frame, delimiter)
  }
  if (header === undefined) throw new ZtError('BAD_INPUT', 'import: the input is empty')
}

function jsonRecord(def: TableDefinition, frame: Frame): ImportRecord {
  if (frame.bytes.length > maxFrameBytes) return reject(frame, `longer than ${maxFrameBytes} bytes`)
  const text = textOf(frame.bytes)
  if (text === undefined) return reject(frame, 'not valid UTF-8')
  let members: unknown
  try {
    members = JSON.parse(text)
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return reject(frame, 'not valid JSON')
    throw thrown
  }
  return judged(def, frame, members)
}

/** The cells of one record, or undefined where its quotes are wrong. */
function cellsOf(text: string, delimiter: string): string[] | undefined {
  try {
    const records = parse(text, {
      delimiter,
      relax_column_count: true,
      max_record_size: maxFrameBytes,
    }) as string[][]
    return records.length === 1 ? records[0] : undefined
  } catch (thrown) {
    // The parser's own words quote what they read.
    if (thrown instanceof Error && 'code' in thrown) return undefined
    throw thrown
  }
}

function csvRecord(
  def: TableDefinition,
  header: readonly string[],
  frame: Frame,
  delimiter: string,
): ImportRecord {
  if (frame.bytes.length > maxFrameBytes) return reject(frame, `longer than ${maxFrameBytes} bytes`)
  const text = textOf(frame.bytes)
  const cells = cellsOf(text ?? latin1(frame.bytes), delimiter)
  if (cells === undefined) return reject(frame, 'its quotes are wrong')
  if (cells.length !== header.length)
    return reject(frame, `${cells.length} cells, the header has ${header.length}`)
  if (text === undefined) {
    const at = cells.findIndex(cell => textOf(Buffer.from(cell, 'latin1')) === undefined)
    return reject(frame, `${header[at] ?? 'the record'}: not valid UTF-8`)
  }
  const types = new Map(plainColumns(def).map(c => [c.name, c.kind === 'clear' ? c.type : 'text']))
  const members = header.map((name, i) => [name, cellValue(types.get(name), cells[i] ?? '')])
  return judged(def, frame, Object.fromEntries(members))
}

/** An empty cell is an absent value. */
function cellValue(type: string | undefined, cell: string): unknown {
  if (cell === '') return null
  if ((type === 'int' || type === 'uint') && /^(?:0|-?[1-9][0-9]{0,19})$/.test(cell)) {
    const value = BigInt(cell)
    return Number.isSafeInteger(Number(value)) ? Number(value) : value
  }
  return cell
}

function headerOf(def: TableDefinition, frame: Frame, delimiter: string): string[] {
  const refuse = (why: string): never => {
    const columns = plainColumns(def).map(c => (c.optional ? `${c.name} (optional)` : c.name))
    throw new ZtError('BAD_INPUT', `import: line ${frame.line}: ${why}`, {
      hint: `the first line names the columns, separated by ${JSON.stringify(delimiter)} (--delimiter): ${columns.join(', ')}`,
    })
  }
  const text = textOf(frame.bytes)
  const header = text === undefined ? undefined : cellsOf(text, delimiter)?.map(cell => cell.trim())
  if (header === undefined) return refuse('the header is not CSV in UTF-8')
  const known = plainColumns(def)
  const unknown = header.find(name => !known.some(column => column.name === name))
  if (unknown !== undefined)
    return refuse(`no column ${JSON.stringify(unknown.slice(0, 40))} in ${def.table}`)
  const twice = header.find((name, i) => header.indexOf(name) !== i)
  if (twice !== undefined) return refuse(`column ${twice} stands twice in the header`)
  const missing = known.find(column => !column.optional && !header.includes(column.name))
  if (missing !== undefined) return refuse(`column ${missing.name} is missing in the header`)
  return header
}
