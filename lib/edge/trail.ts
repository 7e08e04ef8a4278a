/** Where a verifier reads a trail from: a live database in one consistent snapshot, or an export (SPEC §4.9). */
import { createReadStream } from 'node:fs'
import type { StoredRow, TrailEvent, TrailSource } from '../core/audit/source.ts'
import { type Bytes, uuidText } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { rowFromDatabase } from '../core/rows.ts'
import type { Row, TableDefinition, Value } from '../core/tables.ts'
import { type Connection, MysqlError } from './mysql.ts'

const batchSize = 1000
const batchBytes = 8 << 20

const weightOf = (row: Row): number =>
  Object.values(row).reduce<number>(
    (sum, value) => sum + (value instanceof Uint8Array || typeof value === 'string' ? value.length : 8),
    0,
  )

/** Batches are bounded in bytes too: root may put a view with rows of any size in a table's place. */
async function* inBatches<U>(rows: AsyncIterable<Row>, map: (row: Row) => U): AsyncGenerator<U[]> {
  let batch: U[] = []
  let weight = 0
  for await (const row of rows) {
    batch.push(map(row))
    weight += weightOf(row)
    if (batch.length === batchSize || weight >= batchBytes) {
      yield batch
      batch = []
      weight = 0
    }
  }
  if (batch.length > 0) yield batch
}

/** How long a server may take for the next batch: root may have put a view that sleeps in a table's place. */
export const idleSeconds = 120

/**
 * The same, unless it stands still: then the connection is dropped, which ends whatever is waited for.
 * @throws UNREACHABLE
 */
export async function* unlessIdle<T>(
  connection: Pick<Connection, 'destroy'>,
  items: AsyncIterable<T>,
  seconds = idleSeconds,
): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]()
  let waiting = false
  try {
    for (;;) {
      waiting = true
      const next = await withinTime(connection, iterator.next(), seconds)
      waiting = false
      if (next.done === true) return
      yield next.value
    }
  } finally {
    // one that still waits would have to be waited for
    if (!waiting) await iterator.return?.(undefined)
  }
}

async function withinTime<T>(
  connection: Pick<Connection, 'destroy'>,
  work: Promise<T>,
  seconds = idleSeconds,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let idle = false
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      idle = true
      reject(
        new ZtError('UNREACHABLE', `the server sent nothing for ${seconds} s: nothing was judged`, {
          hint: 'see what it does: a view that sleeps may stand in the place of a table; judge an export, or with a larger --idle',
        }),
      )
      connection.destroy()
    }, seconds * 1000)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    clearTimeout(timer)
    // what was waited for ends with an error of its own, which says less
    if (idle) work.catch(() => undefined)
  }
}

/** What a column holds; nothing where root changed its type or took it away, which no hash will agree with. */
const bytes = (row: Row, name: string): Bytes => {
  const value = row[name]
  return value instanceof Uint8Array ? value : new Uint8Array(0)
}

/** The statement's rows; none where root dropped the table: whatever the trail says of its rows is then missing. */
async function* rowsIfThere(connection: Connection, sql: string): AsyncGenerator<Row> {
  try {
    yield* connection.stream(sql)
  } catch (thrown) {
    if (!(thrown instanceof MysqlError) || thrown.errno !== noSuchTable) throw thrown
  }
}

const noSuchTable = 1146

/** A stored row; one of another shape than its definition has comes as it is, for the verifier to name. */
function rowOf(def: TableDefinition, stored: Row): Row {
  try {
    return rowFromDatabase(def, stored)
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    const text = (value: Value): Value =>
      value instanceof Uint8Array && value.length === 16 ? uuidText(value) : value
    const names = ['tenant_id', def.key.name].filter(name => name in stored)
    return { ...stored, ...Object.fromEntries(names.map(name => [name, text(stored[name] ?? null)])) }
  }
}

/** Nothing where root took a column away: then the row is not in its form either. */
function besideOf({ evt_id, evt_sig, evt_key }: Row): Pick<StoredRow, 'beside'> {
  if (evt_id === undefined || evt_sig === undefined || evt_key === undefined) return {}
  return { beside: { id: evt_id, sig: evt_sig, signer: evt_key } }
}

/** Stored events with from ≤ seq < before, in order. */
export function eventsFrom(
  connection: Connection,
  from: number,
  before?: number,
): AsyncGenerator<TrailEvent[]> {
  const end = before === undefined ? '' : ` AND seq < ${before}`
  const rows = rowsIfThere(
    connection,
    `SELECT seq, tenant_id, evt_id, prev_hash, payload, curr_hash FROM securedb.audit_events WHERE seq >= ${from}${end} ORDER BY seq`,
  )
  return inBatches(rows, row => ({
    seq: Number(row.seq),
    prev: bytes(row, 'prev_hash'),
    payload: bytes(row, 'payload'),
    curr: bytes(row, 'curr_hash'),
    columns: { tenant: bytes(row, 'tenant_id'), event: bytes(row, 'evt_id') },
  }))
}

/**
 * Opens one snapshot on `connection` and reads all from it: events, rows and queue belong to one moment, while
 * writers go on. The connection is this source's alone until the caller commits or closes it.
 */
export async function openLiveTrail(
  connection: Connection,
  definitions: Map<string, TableDefinition>,
  idle = idleSeconds,
): Promise<TrailSource> {
  const [head, rowCount] = await withinTime(connection, openSnapshot(connection, definitions), idle)
  const awake = <T>(items: AsyncIterable<T>) => unlessIdle(connection, items, idle)
  return {
    origin: String(head.origin),
    from: 0,
    size: Number(head.size),
    head: bytes(head, 'head'),
    takenAt: Date.now(),
    rowCount,
    events: (from = 0) => awake(eventsFrom(connection, from)),
    pending: () =>
      awake(
        inBatches(
          rowsIfThere(connection, 'SELECT payload FROM securedb.audit_pending ORDER BY queued_at, evt_id'),
          row => bytes(row, 'payload'),
        ),
      ),
    async *rows(): AsyncGenerator<StoredRow[]> {
      for (const [table, def] of definitions) {
        const order = def.key.name === 'tenant_id' ? 'tenant_id' : `tenant_id, ${def.key.name}`
        const rows = rowsIfThere(connection, `SELECT * FROM securedb.${table} ORDER BY ${order}`)
        yield* awake(inBatches(rows, row => ({ table, row: rowOf(def, row), ...besideOf(row) })))
      }
    },
  }
}

/** The head as the database keeps it, and how many rows there are. */
async function openSnapshot(
  connection: Connection,
  definitions: Map<string, TableDefinition>,
): Promise<[Row, number]> {
  // the server ends a SELECT after a minute, unless its session asks for longer
  await connection.run('SET SESSION max_execution_time = 0')
  await connection.run('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ')
  await connection.run('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
  const [head] = await connection.query('SELECT origin, size, head FROM securedb.chain_head WHERE id = 1')
  if (!head)
    throw new ZtError('NOT_FOUND', 'audit trail: chain_head is empty', {
      hint: 'is this database installed?',
    })
  let rowCount = 0
  for (const table of definitions.keys()) {
    for await (const counted of rowsIfThere(connection, `SELECT COUNT(*) AS n FROM securedb.${table}`))
      rowCount += Number(counted.n)
  }
  return [head, rowCount]
}

/** Lines of a file, line ends included, none longer than `maxLine`: the length comes from whoever wrote it. */
export async function* lines(path: string, maxLine: number): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of createReadStream(path, { encoding: 'utf8', highWaterMark: 1 << 18 })) {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > maxLine)
      throw new ZtError('BAD_FORMAT', `${path}: a line is longer than ${maxLine} characters`)
    for (const part of parts) yield `${part}\n`
  }
  if (rest !== '') yield rest
}
