/** The trail and its state in a file: NDJSON that says where it ends (SPEC §4.9). */
import { z } from 'zod'
import { type Bytes, fromBase64, fromHex, toBase64, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { rowFromJson, rowToJson } from '../rows.ts'
import type { TableDefinition } from '../tables.ts'
import type { StoredRow, TrailEvent, TrailSource } from './source.ts'

const count = z.int().nonnegative()
const hash = z.string().regex(/^[0-9a-f]{64}$/)

const header = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-trail'),
  origin: z.string(),
  from: count,
  size: count,
  head: hash,
})
const end = z.strictObject({ end: z.literal(true), events: count, queued: count, rows: count })
const eventLine = z.strictObject({ seq: count, prev: hash, payload: z.string(), curr: hash })
const queuedLine = z.strictObject({ queued: z.string() })
const rowLine = z.strictObject({ table: z.string(), row: z.record(z.string(), z.string().nullable()) })

/** `size` and `head` (hex) are what the database says of itself; the closing line counts what is in the file. */
export type ExportHeader = Omit<z.infer<typeof header>, 'v' | 'kind'>
export type ExportCounts = Omit<z.infer<typeof end>, 'end'>

const newline = { newline: true }
const eventStart = '{"seq":'
const queuedStart = '{"queued":'
const rowStart = '{"table":'

export const formatExportHeader = (h: ExportHeader): string =>
  formatCanonical(
    { v: 1, kind: 'ztmysql-trail', origin: h.origin, from: h.from, size: h.size, head: h.head },
    true,
  )

export const parseExportHeader = (line: string, what: string): ExportHeader =>
  parseCanonical(line, header, `${what}: first line`, newline)

export const formatExportEnd = ({ events, queued, rows }: ExportCounts): string =>
  formatCanonical({ end: true, events, queued, rows }, true)

/** @throws BAD_FORMAT on a file without its last line: it was cut */
export function parseExportEnd(line: string, what: string): ExportCounts {
  if (!line.startsWith('{"end":'))
    throw new ZtError('BAD_FORMAT', `${what}: does not end with its closing line; the file was cut`, {
      hint: 'fetch or export it again',
    })
  return parseCanonical(line, end, `${what}: last line`, newline)
}

export const formatExportEvent = (event: TrailEvent): string =>
  formatCanonical(
    {
      seq: event.seq,
      prev: toHex(event.prev),
      payload: toBase64(event.payload),
      curr: toHex(event.curr),
    },
    true,
  )

/** The event of a line, undefined where the line is of another kind. */
export function parseExportEvent(line: string, what: string): TrailEvent | undefined {
  if (!line.startsWith(eventStart)) return undefined
  const { seq, prev, payload, curr } = parseCanonical(line, eventLine, what, newline)
  return {
    seq,
    prev: fromHex(prev, `${what}: prev`, 32),
    payload: fromBase64(payload, `${what}: payload`),
    curr: fromHex(curr, `${what}: curr`, 32),
  }
}

/** An event that is committed and not sealed yet: it explains a row that is ahead of the trail. */
export const formatExportQueued = (payload: Bytes): string =>
  formatCanonical({ queued: toBase64(payload) }, true)

export function parseExportQueued(line: string, what: string): Bytes | undefined {
  if (!line.startsWith(queuedStart)) return undefined
  return fromBase64(parseCanonical(line, queuedLine, what, newline).queued, `${what}: queued`)
}

export const formatExportRow = (def: TableDefinition, { table, row }: StoredRow): string =>
  formatCanonical({ table, row: rowToJson(def, row) }, true)

/** The row of a line, undefined where the line is of another kind. */
export function parseExportRow(
  line: string,
  definitions: Map<string, TableDefinition>,
  what: string,
): StoredRow | undefined {
  if (!line.startsWith(rowStart)) return undefined
  const { table, row } = parseCanonical(line, rowLine, what, newline)
  const def = definitions.get(table)
  if (!def) throw new ZtError('BAD_FORMAT', `${what}: no protected table ${table} in this release`)
  return { table, row: rowFromJson(def, row) }
}

/** One export: lines with their ends, from the first on, each time it is called. */
export type OpenLines = () => AsyncIterable<string>

/** `count` lines after the first `skip`, all of one kind; then the next section or the closing line must follow. */
async function* section<T>(
  open: OpenLines,
  what: string,
  skip: number,
  count: number,
  parse: (line: string, what: string) => T | undefined,
  /** After the last section: the closing line, which must end the file. */
  last?: string,
): AsyncGenerator<T[]> {
  let n = 0
  let ended = false
  let batch: T[] = []
  for await (const line of open()) {
    n++
    if (n <= skip) continue
    const item = parse(line, `${what}:${n}`)
    if (n > skip + count) {
      if (item !== undefined) break
      if (last === undefined) {
        yield batch
        return
      }
      if (line !== last || ended) break
      ended = true
      continue
    }
    if (item === undefined) break
    batch.push(item)
    if (batch.length === 1000) {
      yield batch
      batch = []
    }
  }
  if (!ended || n !== skip + count + 1)
    throw new ZtError('BAD_FORMAT', `${what}:${n}: the closing line counts other lines than there are`)
  yield batch
}

/**
 * The trail in an export (SPEC §4.9).
 * @param lastLine of the file, its end included
 * @throws BAD_FORMAT, also while it is read; a file that was cut says so at once
 */
export async function exportSource(
  open: OpenLines,
  lastLine: string,
  definitions: Map<string, TableDefinition>,
  what: string,
): Promise<TrailSource> {
  let first = ''
  for await (const line of open()) {
    first = line
    break
  }
  const { origin, from, size, head } = parseExportHeader(first, what)
  const { events, queued, rows } = parseExportEnd(lastLine, what)
  return {
    origin,
    from,
    size,
    head: fromHex(head, `${what}: head`, 32),
    rowCount: rows,
    events: () => section(open, what, 1, events, parseExportEvent),
    pending: () => section(open, what, 1 + events, queued, parseExportQueued),
    rows: () =>
      section(
        open,
        what,
        1 + events + queued,
        rows,
        (line, at) => parseExportRow(line, definitions, at),
        lastLine,
      ),
  }
}
