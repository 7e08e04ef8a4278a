/** Signs a write, keeps it while it is on its way, sends it, and holds its receipt against what was sent. */
import { isRowEvent, parseEvent } from '../core/audit/event.ts'
import { type Bytes, utf8 } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { Row, TableDefinition } from '../core/tables.ts'
import { MysqlError } from '../edge/mysql.ts'
import type { Identity } from './identity.ts'
import { callOf, differs, prepareWrite, type Write } from './pending.ts'
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
    return keep(write, results[0]?.[0]?.receipt)
  }

  const keep = (write: Write, receipt: unknown): Written => {
    if (typeof receipt !== 'string' && !(receipt instanceof Uint8Array))
      throw unanswered(write, new ZtError('MYSQL', 'the procedure returned no receipt'))
    const payload = typeof receipt === 'string' ? utf8(receipt) : receipt
    const wrong = whatDiffers(write, payload, identity.account)
    if (wrong !== undefined) {
      const path = receipts.dispute(write.event, payload)
      throw new ZtError(
        'VERIFY_FAILED',
        `event ${write.event}: the receipt does not say what was sent (${wrong})`,
        { hint: `what the database returned is kept in ${path}: show it to the auditor` },
      )
    }
    const path = receipts.keep(write.event, payload)
    const { [write.def.key.name]: id, version } = write.row
    return { id: String(id), event: write.event, version: Number(version), receipt: path }
  }

  return {
    send,
    write: async (def, action, row) => {
      const write = prepareWrite(def, action, row, { origin, ...identity })
      callOf(write) // refuses before anything is kept
      await session.ready() // a server that is not there at all leaves nothing pending
      receipts.expect(write)
      return send(write)
    },
  }
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
