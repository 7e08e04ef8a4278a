/** The trail and its state in a file: NDJSON that says where it ends (SPEC §4.9). */
import { z } from 'zod'
import { type Bytes, fromBase64, fromHex, fromUtf8, toBase64, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { rowFromJson, rowToJson } from '../rows.ts'
import type { TableDefinition } from '../tables.ts'
import type { Base } from './base.ts'
import { genesisHash } from './chain.ts'
import { Frontier } from './merkle.ts'
import type { LineRun, StoredRow, TrailEvent, TrailSource } from './source.ts'

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

/** A range of events that stands on a base: `anchor`, `prev` and `frontier` are the base's, 0, genesis and none at the start. */
const archiveHeader = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-archive'),
  origin: z.string(),
  from: count,
  size: count,
  head: hash,
  anchor: count,
  prev: hash,
  frontier: z.array(hash).max(53),
})

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

export const formatArchiveHeader = (h: ExportHeader, base: Base | undefined): string =>
  formatCanonical(
    {
      v: 1,
      kind: 'ztmysql-archive',
      origin: h.origin,
      from: h.from,
      size: h.size,
      head: h.head,
      anchor: base?.anchor ?? 0,
      prev: toHex(base?.head ?? genesisHash(h.origin)),
      frontier: (base?.frontier ?? []).map(toHex),
    },
    true,
  )

/** The first line of an archive; its base must be of the size at which it begins. @throws BAD_FORMAT, BAD_LENGTH */
function parseArchiveHeader(line: string, what: string): ExportHeader & { base?: Base } {
  const h = parseCanonical(line, archiveHeader, `${what}: first line`, newline)
  const { origin, from, size, head, anchor } = h
  if ((anchor === 0) !== (from === 0) || size < from)
    throw new ZtError('BAD_FORMAT', `${what}: first line: an archive begins at an anchor or at the start`)
  if (anchor === 0) return { origin, from, size, head }
  const frontier = h.frontier.map(node => fromHex(node, `${what}: frontier`, 32))
  new Frontier(from, frontier)
  const base = { origin, anchor, size: from, head: fromHex(h.prev, `${what}: prev`, 32), frontier }
  return { origin, from, size, head, base }
}

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

/** The one spelling of an event's line; what it lets through, parseCanonical would too, at ten times the price. */
const eventPattern =
  /^\{"seq":(0|[1-9][0-9]{0,15}),"prev":"([0-9a-f]{64})","payload":"([A-Za-z0-9+/]*={0,2})","curr":"([0-9a-f]{64})"\}\n$/

function quickEvent(line: string): TrailEvent | undefined {
  const [, seq = '', prev = '', payload = '', curr = ''] = eventPattern.exec(line) ?? []
  if (prev === '' || !Number.isSafeInteger(Number(seq))) return undefined
  try {
    return {
      seq: Number(seq),
      prev: Uint8Array.fromHex(prev),
      payload: Uint8Array.fromBase64(payload, { lastChunkHandling: 'strict' }),
      curr: Uint8Array.fromHex(curr),
    }
  } catch {
    return undefined // the slow road says what is wrong
  }
}

/** The event of a line, undefined where the line is of another kind. */
export function parseExportEvent(line: string, what: string): TrailEvent | undefined {
  if (!line.startsWith(eventStart)) return undefined
  const quick = quickEvent(line)
  if (quick) return quick
  const { seq, prev, payload, curr } = parseCanonical(line, eventLine, what, newline)
  return {
    seq,
    prev: fromHex(prev, `${what}: prev`, 32),
    payload: fromBase64(payload, `${what}: payload`),
    curr: fromHex(curr, `${what}: curr`, 32),
  }
}

/** Whole lines, each of an event. @throws BAD_FORMAT where one is not */
export function parseExportEvents(bytes: Bytes, what: string): TrailEvent[] {
  const events: TrailEvent[] = []
  const text = fromUtf8(bytes, what)
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at) + 1 || text.length
    const event = parseExportEvent(text.slice(at, end), what)
    if (!event) throw miscounted(what)
    events.push(event)
    at = end
  }
  return events
}

const miscounted = (what: string): ZtError =>
  new ZtError('BAD_FORMAT', `${what}: the closing line counts other lines than there are`)

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

/** A file in which places can be found without reading all that is before them. */
export interface SeekableLines {
  /** Lines of events from event `from` on; `count` is how many events the file says it holds from there. */
  runs(from: number, count: number): AsyncIterable<LineRun>
  /** What follows the events. */
  after: OpenLines
}

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
  if (!ended || n !== skip + count + 1) throw miscounted(`${what}:${n}`)
  yield batch
}

/**
 * The trail in an export or archive (SPEC §4.9, §4.12).
 * @param lastLine of the file, its end included
 * @throws BAD_FORMAT, also while it is read; a file that was cut says so at once
 */
export async function exportSource(
  open: OpenLines,
  lastLine: string,
  definitions: Map<string, TableDefinition>,
  what: string,
  seek?: SeekableLines,
): Promise<TrailSource> {
  let first = ''
  for await (const line of open()) {
    first = line
    break
  }
  const archive = first.startsWith('{"v":1,"kind":"ztmysql-archive"')
  const parsed = archive ? parseArchiveHeader(first, what) : { ...parseExportHeader(first, what) }
  const { origin, from, size, head } = parsed
  const { events, queued, rows } = parseExportEnd(lastLine, what)
  if (archive && (queued > 0 || rows > 0))
    throw new ZtError('BAD_FORMAT', `${what}: an archive holds events alone`)
  const parseRow = (line: string, at: string) => parseExportRow(line, definitions, at)
  const after = seek?.after ?? open
  const skip = seek ? 0 : 1 + events
  const runs =
    seek && ((at = from): AsyncIterable<LineRun> => seek.runs(at, Math.max(0, events - (at - from))))
  return {
    origin,
    from,
    size,
    head: fromHex(head, `${what}: head`, 32),
    rowCount: rows,
    ...(archive ? { range: true } : {}),
    ...('base' in parsed && parsed.base ? { base: parsed.base } : {}),
    events: runs ? at => eventsOf(runs(at)) : () => section(open, what, 1, events, parseExportEvent),
    ...(runs ? { lines: runs } : {}),
    pending: () => section(after, what, skip, queued, parseExportQueued),
    rows: () => section(after, what, skip + queued, rows, parseRow, lastLine),
  }
}

async function* eventsOf(runs: AsyncIterable<LineRun>): AsyncGenerator<TrailEvent[]> {
  for await (const run of runs) yield run.events()
}
