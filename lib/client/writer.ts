/** Signs a write, keeps it while it is on its way, sends it, and holds its receipt against what was sent. */
import { isRowEvent, parseEvent } from '../core/audit/event.ts'
import { type Bytes, utf8 } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { Row, TableDefinition } from '../core/tables.ts'
import { MysqlError } from '../edge/mysql.ts'
import type { Identity } from './identity.ts'
import { batchCallOf, callOf, differs, prepareWrite, type Write } from './pending.ts'
import type { Receipts } from './receipts.ts'
import type { Session } from './session.ts'

/** What became of a write. */
export interface Written {
  readonly id: string
  readonly event: string
  readonly version: number
  /** Path of the receipt. */
  readonly receipt: string
}

export interface Writer {
  /** Creates of one table in one call, all or nothing. @throws as write */
  writeMany(def: TableDefinition, rows: readonly Row[]): Promise<Written[]>
  /** The same with the receipts in one file. @param events ids that the caller chose, one a row */
  writeBatch(
    def: TableDefinition,
    action: Write['action'],
    rows: readonly Row[],
    events?: readonly string[],
  ): Promise<Written[]>
  /** Sends a call of many writes that is pending. @throws as write */
  sendBatch(writes: readonly Write[]): Promise<Written[]>
  /** @param row as it is after the action. @throws what MySQL and the disk throw; VERIFY_FAILED on a wrong receipt */
  write(def: TableDefinition, action: Write['action'], row: Row): Promise<Written>
  /** Sends a write that is pending. @throws as write */
  send(write: Write): Promise<Written>
}

export function openWriter(identity: Identity, origin: string, session: Session, receipts: Receipts): Writer {
  const send = async (write: Write): Promise<Written> => {
    const { procedure, params } = callOf(write)
    let results: Row[][]
    try {
      results = await session.call(procedure, params)
    } catch (thrown) {
      if (!isRefusal(thrown)) throw unanswered(write, thrown)
      receipts.drop(write.event)
      throw thrown
    }
    return keep(write, payloadOf(write, results[0]?.[0]?.receipt))
  }

  const compare = (write: Write, payload: Bytes): void => {
    const wrong = whatDiffers(write, payload, identity.account)
    if (wrong !== undefined) {
      const path = receipts.dispute(write.event, payload)
      throw new ZtError(
        'VERIFY_FAILED',
        `event ${write.event}: the receipt does not say what was sent (${wrong})`,
        { hint: `what the database returned is kept in ${path}: show it to the auditor` },
      )
    }
  }

  const keep = (write: Write, payload: Bytes): Written => {
    compare(write, payload)
    const path = kept(write, () => receipts.keep(write.event, payload))
    return writtenOf(write, path)
  }

  const callMany = async (writes: readonly Write[], drop: () => void): Promise<Bytes[]> => {
    const { procedure, params } = batchCallOf(writes)
    const [first] = writes
    if (first === undefined) return []
    let results: Row[][]
    try {
      results = await session.call(procedure, params)
    } catch (thrown) {
      if (!isRefusal(thrown)) throw unanswered(first, thrown)
      drop()
      throw thrown
    }
    const payloads = payloadsOf(first, results[0]?.[0]?.receipts)
    return writes.map(write => payloadOf(write, payloads.get(write.event)))
  }

  const sendBatch = async (writes: readonly Write[]): Promise<Written[]> => {
    const [first] = writes
    if (first === undefined) return []
    const payloads = await callMany(writes, () => receipts.dropMany(first.event))
    const kepts = writes.map((write, i) => {
      const payload = payloads[i] ?? new Uint8Array(0)
      compare(write, payload)
      return { event: write.event, payload }
    })
    const path = kept(first, () => receipts.keepMany(kepts))
    return writes.map(write => writtenOf(write, path))
  }

  return {
    send,
    writeMany: async (def, rows) => {
      const writes = rows.map(row => prepareWrite(def, 'create', row, { origin, ...identity }))
      batchCallOf(writes) // refuses before anything is kept
      await session.ready()
      for (const write of writes) receipts.expect(write)
      const payloads = await callMany(writes, () => {
        for (const { event } of writes) receipts.drop(event)
      })
      return writes.map((write, i) => keep(write, payloads[i] ?? new Uint8Array(0)))
    },
    writeBatch: async (def, action, rows, events = []) => {
      const by = { origin, ...identity }
      const writes = rows.map((row, i) => prepareWrite(def, action, row, by, events[i]))
      if (writes.length === 0) return []
      batchCallOf(writes) // refuses before anything is kept
      await session.ready()
      receipts.expectMany(writes)
      return sendBatch(writes)
    },
    sendBatch,
    write: async (def, action, row) => {
      const write = prepareWrite(def, action, row, { origin, ...identity })
      callOf(write) // refuses before anything is kept
      await session.ready() // a server that is not there at all leaves nothing pending
      receipts.expect(write)
      return send(write)
    },
  }
}

function writtenOf({ def, event, row }: Write, receipt: string): Written {
  return { id: String(row[def.key.name]), event, version: Number(row.version), receipt }
}

function whatDiffers(write: Write, payload: Bytes, account: string): string | undefined {
  try {
    const event = parseEvent(payload, 'receipt')
    return isRowEvent(event) ? differs(write, event, account) : 'action'
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    return 'form'
  }
}

function payloadOf(write: Write, receipt: unknown): Bytes {
  if (typeof receipt === 'string') return utf8(receipt)
  if (receipt instanceof Uint8Array) return receipt
  throw unanswered(write, new ZtError('MYSQL', 'the procedure returned no receipt'))
}

/** Payloads of a batch by event id. */
function payloadsOf(write: Write, receipts: unknown): Map<string, string> {
  try {
    const list: unknown = JSON.parse(String(receipts))
    if (Array.isArray(list))
      return new Map(list.map(text => [parseEvent(utf8(String(text))).id, String(text)]))
  } catch (cause) {
    throw unanswered(write, new ZtError('MYSQL', 'the procedure returned no list of receipts', { cause }))
  }
  throw unanswered(write, new ZtError('MYSQL', 'the procedure returned no list of receipts'))
}

/** The write is done; only its receipt could not be put down. */
function kept(write: Write, keep: () => string): string {
  try {
    return keep()
  } catch (cause) {
    if (!(cause instanceof ZtError)) throw cause
    throw new ZtError(
      cause.code,
      `${cause.message}; event ${write.event} was written, its receipt is not kept yet`,
      {
        cause,
        hint: 'make room, then fetch it again with `pq_envelope_cli resend`',
      },
    )
  }
}

/** One of our routines raised it: the transaction was rolled back (SPEC §5). */
const isRefusal = (thrown: unknown): boolean =>
  thrown instanceof MysqlError && thrown.errno === 1644 && thrown.sqlState.startsWith('45')

function unanswered(write: Write, cause: unknown): ZtError {
  if (!(cause instanceof ZtError)) throw cause
  return new ZtError(cause.code, `${cause.message}; event ${write.event} may or may not have been written`, {
    cause,
    hint: 'nothing is lost: `pq_envelope_cli resend` sends the same call again and gets its receipt',
  })
}
