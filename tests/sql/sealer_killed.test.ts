import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Bytes, newUuid, toHex, utf8 } from '../../lib/core/bytes.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { type Live, live } from '../support/live.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(120_000)

// A server of its own: it is killed.
let l: Live
beforeAll(async () => {
  l = await live()
  await l.root.run('ALTER DEFINER = api_definer@localhost EVENT seal_events DISABLE')
  const worker = "SELECT 1 FROM performance_schema.threads WHERE NAME = 'thread/sql/event_worker'"
  while ((await l.root.query(worker)).length > 0) await Bun.sleep(20) // its last second
})
afterAll(() => l[Symbol.asyncDispose]())

const asRoot = (): Promise<Connection> =>
  openMysql({ socket: l.server.socket, user: 'root', database: 'securedb' })

const batch = 900

/** One event of the server's own, and copies of it under ids of their own. */
async function queue(events: number): Promise<void> {
  await l.root.run('CALL queue_server_event(?, ?, @payload)', ['nonce', `{"nonce":"${'0'.repeat(64)}"}`])
  await l.root.run(
    `INSERT INTO audit_pending (tenant_id, evt_id, queued_at, payload)
     WITH RECURSIVE copy AS (
       SELECT 1 AS n, RANDOM_BYTES(16) AS id UNION ALL SELECT n + 1, RANDOM_BYTES(16) FROM copy WHERE n < ?
     )
     SELECT p.tenant_id, c.id, p.queued_at, REPLACE(p.payload, BIN_TO_UUID(p.evt_id), BIN_TO_UUID(c.id))
     FROM copy c JOIN audit_pending p ON p.payload = @payload`,
    [events - 1],
  )
}

const count = async (sql: string): Promise<number> => Number((await l.root.query(sql))[0]?.n)
const size = () => count('SELECT size AS n FROM chain_head')
const waiting = () => count('SELECT COUNT(*) AS n FROM audit_pending')

/** Until `thread` waits for a row that somebody else holds: there it is killed, however fast the machine is. */
async function untilBlocked(thread: number): Promise<void> {
  for (let i = 0; i < 60; i++) {
    // data_lock_waits now and then shows nothing of a wait between thousands of locks
    const found = await l.root.query(
      "SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = ? AND trx_state = 'LOCK WAIT'",
      [thread],
    )
    if (found.length > 0) return
    await Bun.sleep(150) // INNODB_TRX is made anew only where nobody read it for a tenth of a second
  }
  const sessions = await l.root.query('SELECT ID, TIME, STATE, INFO FROM performance_schema.processlist')
  throw new Error(`${thread} waits for nobody: ${JSON.stringify(sessions)}`)
}

const insert = 'INSERT INTO audit_events (seq, tenant_id, evt_id, prev_hash, payload, curr_hash) VALUES'
const rowOf = (seq: number): string => `(${seq}, '', '', '', '', '')`

/** Locks one queued event, by its place in the order of sealing. */
const queued = (place: number): string =>
  `SELECT 1 FROM audit_pending p JOIN (
     SELECT tenant_id, evt_id FROM audit_pending FORCE INDEX (queued_at)
     ORDER BY queued_at, tenant_id, evt_id LIMIT 1 OFFSET ${place}
   ) one USING (tenant_id, evt_id) FOR UPDATE OF p`

interface Point {
  name: string
  /** What somebody else holds, so that the sealer stops there. */
  hold: (from: number) => string
  /** Events that are in the trail for good by then. */
  done: number
}

const points: Point[] = [
  {
    name: 'before it holds the head',
    hold: () => 'SELECT 1 FROM chain_head WHERE id = 1 FOR UPDATE',
    done: 0,
  },
  { name: 'at the first link', hold: from => `${insert} ${rowOf(from)}`, done: 0 },
  { name: 'in the middle of a batch', hold: from => `${insert} ${rowOf(from + 450)}`, done: 0 },
  { name: 'at the last link of a batch', hold: from => `${insert} ${rowOf(from + batch - 1)}`, done: 0 },
  { name: 'with the links written, emptying the queue', hold: () => queued(450), done: 0 },
  {
    name: 'with all done but the commit',
    hold: () => 'SELECT 1 FROM seal_state WHERE id = 1 FOR UPDATE',
    done: 0,
  },
  { name: 'in its second batch', hold: () => queued(batch + 50), done: batch },
]

async function stopped({ hold }: Point, from: number): Promise<{ victim: Connection; other: Connection }> {
  const [victim, other] = [await asRoot(), await asRoot()]
  await other.run('SET sql_mode = ""')
  await other.run('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
  await other.run('START TRANSACTION')
  await other.run(hold(from))
  return { victim, other }
}

describe('a sealer that is killed', () => {
  for (const point of points)
    test(`${point.name} leaves nothing half done, and the next one goes on`, async () => {
      await queue(batch + 100)
      const [from, before] = [await size(), await waiting()]
      const { victim, other } = await stopped(point, from)
      const thread = victim.info().threadId
      const sealing = victim.call('seal_due').then(
        () => 'ended',
        () => 'killed',
      )
      await untilBlocked(thread)
      await l.root.run(`KILL ${thread}`)
      expect(await sealing).toBe('killed')
      await other.run('ROLLBACK')
      await other.close()
      expect(await size()).toBe(from + point.done)
      expect(await waiting()).toBe(before - point.done)
      expect((await l.verify({ only: 'chain' })).findings.kept.filter(f => f.severity === 'fail')).toEqual([])
      await l.seal()
      expect(await waiting()).toBe(0)
      expect(await size()).toBe(from + before)
    })

  test('with its whole server leaves a trail that verifies, at the later ones of these points too', async () => {
    for (const point of points.slice(2, 3).concat(points.slice(4))) {
      await queue(batch + 100)
      const [from, before] = [await size(), await waiting()]
      const { victim, other } = await stopped(point, from)
      const sealing = victim.call('seal_due').then(
        () => 'ended',
        () => 'killed',
      )
      await untilBlocked(victim.info().threadId)
      for (const connection of [l.root, other]) connection.destroy()
      await l.server.kill9()
      expect(await sealing).toBe('killed')
      await l.server.restart()
      await l.reopen()
      expect([point.name, await size(), await waiting()]).toEqual([
        point.name,
        from + point.done,
        before - point.done,
      ])
      await l.seal()
      expect([point.name, await size(), await waiting()]).toEqual([point.name, from + before, 0])
    }
    await l.root.run('ALTER DEFINER = api_definer@localhost EVENT seal_events ENABLE')
    await l.anchor()
    const { kept } = (await l.verify()).findings
    // the event that seals was switched off and on here, under another sql_mode: a changed schema, rightly
    expect(kept.filter(f => f.severity === 'fail').map(f => f.code)).toEqual(['SCHEMA_NOT_GOLDEN'])
    await l.root.run('ALTER DEFINER = api_definer@localhost EVENT seal_events DISABLE')
  })
})

describe('the queue’s guard', () => {
  const tenant = new Uint8Array(16)
  const put = (id: Bytes, payload: string) =>
    l.root.run(
      'INSERT INTO audit_pending (tenant_id, evt_id, queued_at, payload) VALUES (?, ?, SYSDATE(6), ?)',
      [tenant, id, utf8(payload)],
    )
  const id = (): Bytes => Buffer.from(newUuid().replaceAll('-', ''), 'hex')

  test('lets nothing go that is not in the trail, nor what is there with another content', async () => {
    const event = id()
    await put(event, 'first')
    await refused(l.root.run('DELETE FROM audit_pending'), '1644 45A01')
    await l.seal()
    await put(event, 'second')
    await refused(l.root.run('DELETE FROM audit_pending'), '1644 45A01')
  })

  test('does not stop the sealer over an id that is in the trail with another content', async () => {
    const from = await size()
    expect(await waiting()).toBe(1)
    await l.seal()
    expect(await waiting()).toBe(0)
    expect(await size()).toBe(from + 1)
    const [last] = await l.root.query('SELECT payload FROM audit_events ORDER BY seq DESC LIMIT 1')
    expect(toHex(last?.payload as Bytes)).toBe(toHex(utf8('second')))
  })
})
