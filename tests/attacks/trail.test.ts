/** What root on the database host can try against the trail, performed; each is named, in code and place. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Receipt } from '../../lib/core/audit/receipt.ts'
import { utf8, uuidBytes, uuidText } from '../../lib/core/bytes.ts'
import { formatTime } from '../../lib/core/time.ts'
import { type Attacked, anHourLater, attacked } from '../support/attacked.ts'
import { userRow } from '../support/live.ts'
import { failures, receiptOf, type StoredEvent, text } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked

beforeAll(async () => {
  a = await attacked()
}, 300_000)

function eventAt(events: StoredEvent[], seq: number): StoredEvent {
  const event = events[seq]
  if (!event) throw new Error(`no event ${seq}`)
  return event
}

/** A row whose event stays in the queue: the sealer does not run until the rollback. Returns its id. */
async function writeUnsealed(kept: Receipt[]): Promise<string> {
  const row = userRow(a.acme)
  await a.shell.stopSealer()
  kept.push(receiptOf(a.origin, await a.live.write(a.acme, 'users', 'create', row)))
  return String(row.id)
}

test('an honest deployment verifies, live and exported', () => a.isHonest())

describe('one event', () => {
  for (const [column, sql, finds, exported] of [
    ['seq', 'seq = seq + 1000', ['SEQ_GAP event N+1', 'SEQ_GAP event N+1000'], true],
    ['tenant_id', "tenant_id = REPEAT('x', 16)", ['EVENT_COLUMNS event N'], false],
    ['evt_id', 'evt_id = RANDOM_BYTES(16)', ['EVENT_COLUMNS event N'], false],
    ['prev_hash', 'prev_hash = RANDOM_BYTES(32)', ['CHAIN_BREAK event N', 'HASH_MISMATCH event N'], true],
    ['payload', "payload = REPLACE(payload, '@127.0.0.1', '@127.0.0.2')", ['HASH_MISMATCH event N'], true],
    ['curr_hash', 'curr_hash = RANDOM_BYTES(32)', ['HASH_MISMATCH event N', 'CHAIN_BREAK event N+1'], true],
  ] as const)
    test(`with another ${column}`, () =>
      a.exposes(
        async () => {
          const seq = await a.middle()
          await a.shell.silently(`UPDATE securedb.audit_events SET ${sql} WHERE seq = ?`, [seq])
          return finds.map(f => f.replace(/N\+?(\d*)$/, (_, more) => String(seq + Number(more || 0))))
        },
        { exported },
      ))

  test('deleted from the middle, and four of them', async () => {
    const seq = await a.middle()
    for (const [from, to] of [
      [seq, seq],
      [seq - 2, seq + 1],
    ] as const)
      await a.exposes(async () => {
        await a.shell.silently('DELETE FROM securedb.audit_events WHERE seq BETWEEN ? AND ?', [from, to])
        return [`SEQ_GAP event ${to + 1}`, `CHAIN_BREAK event ${to + 1}`]
      })
  })

  test('deleted, and the numbers closed up', () =>
    a.exposes(async () => {
      const seq = await a.middle()
      await a.shell.withoutTriggers(['audit_events'], async () => {
        await a.shell.root.run('DELETE FROM securedb.audit_events WHERE seq = ?', [seq])
        await a.shell.root.run('UPDATE securedb.audit_events SET seq = seq - 1 WHERE seq > ? ORDER BY seq', [
          seq,
        ])
        await a.shell.root.run('UPDATE securedb.chain_head SET size = size - 1')
      })
      return [`CHAIN_BREAK event ${seq}`, 'ANCHOR_FORK anchor 3']
    }))

  test('swapped with the next', () =>
    a.exposes(async () => {
      const seq = await a.middle()
      await a.shell.withoutTriggers(['audit_events'], async () => {
        const move = 'UPDATE securedb.audit_events SET seq = ? WHERE seq = ?'
        await a.shell.root.run(move, [100_000, seq])
        await a.shell.root.run(move, [seq, seq + 1])
        await a.shell.root.run(move, [seq + 1, 100_000])
      })
      return [`CHAIN_BREAK event ${seq}`, `CHAIN_BREAK event ${seq + 1}`]
    }))

  test('duplicated at the end of the chain, as if it had come again', () =>
    a.exposes(async () => {
      const events = await a.shell.events()
      await a.shell.rewrite([...events, eventAt(events, await a.middle())])
      return [`VERSION_GAP event ${events.length}`]
    }))

  test('of a table, a kind or a form that the release does not know', async () => {
    for (const [from, to, code] of [
      ['"table":"users"', '"table":"wages"', 'SIG_NOT_ALLOWED'],
      ['"action":"create"', '"action":"grant"', 'EVENT_MALFORMED'],
      ['{"v":1,', '{"v": 1,', 'EVENT_MALFORMED'],
      ['{"v":1,', '{"v":2,', 'EVENT_MALFORMED'],
    ] as const)
      await a.exposes(async () => {
        const events = await a.shell.events()
        const model = eventAt(events, await a.middle())
        const payload = utf8(text(model.payload).replace(from, to))
        await a.shell.rewrite([...events, { ...model, payload }])
        return [`${code} event ${events.length}`]
      })
  })
})

describe('the tail', () => {
  test('cut behind the last anchor, with a head that fits', () =>
    a.exposes(async () => {
      await a.shell.rewrite((await a.shell.events()).slice(0, await a.middle()))
      return ['ANCHOR_BEYOND anchor 3', `ROW_WITHOUT_EVENT users ${a.people.ada}`]
    }))

  test('cut after the last anchor, row and all: by its receipt, and by nothing else', () =>
    a.exposes(
      async () => {
        await a.shell.rewrite((await a.shell.events()).slice(0, -1))
        await a.shell.silently('DELETE FROM securedb.users WHERE id = ?', [uuidBytes(a.people.last)])
        // the documented window: what no anchor covers, only its client can claim
        expect(failures(await a.shell.verify())).toEqual([])
        return [`RECEIPT_MISSING receipt ${a.receipts.at(-1)?.event.id}`]
      },
      { options: () => ({ receipts: a.receipts, ...anHourLater() }) },
    ))

  test('never sealed: the sealer stopped and the queue dropped, with the row and without', async () => {
    const kept: Receipt[] = []
    for (const alsoTheRow of [false, true])
      await a.exposes(
        async () => {
          const row = await writeUnsealed(kept)
          await a.shell.silently('DELETE FROM securedb.audit_pending')
          if (!alsoTheRow) return [`ROW_WITHOUT_EVENT users ${row}`]
          await a.shell.silently('DELETE FROM securedb.users WHERE id = ?', [uuidBytes(row)])
          expect(failures(await a.shell.verify())).toEqual([])
          return [`RECEIPT_MISSING receipt ${kept[0]?.event.id}`]
        },
        { options: () => ({ receipts: kept.splice(0), ...anHourLater() }) },
      )
  })

  test('held outside the trail, so that it can vanish one day', () =>
    a.exposes(async () => {
      await writeUnsealed([])
      const [held] = await a.shell.root.query('SELECT evt_id FROM securedb.audit_pending')
      // ten minutes pass
      await a.shell.silently(
        `UPDATE securedb.audit_pending SET payload = REGEXP_REPLACE(CONVERT(payload USING utf8mb4), '"time":"[^"]*"', ?)`,
        [`"time":"${formatTime((Date.now() - 600_000) * 1000)}"`],
      )
      return [`EVENT_UNSEALED queued event ${uuidText(held?.evt_id as Uint8Array)}`]
    }))
})

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
