/** B5, B9 and B18: how far the sealer lags, what an anchor costs on a long trail, and how fast a queue drains. */
import { readFileSync } from 'node:fs'
import { openMysql } from '../../lib/edge/mysql.ts'
import { type Live, live } from '../support/live.ts'
import { type Bench, compare, type Measured, median, meets, type Outcome, quantile } from './harness.ts'
import { type Load, withLoad } from './write_bench.ts'

/** Copies of one queued event under ids of their own, a thousand a statement; nothing is signed. */
async function queue(l: Live, events: number): Promise<void> {
  await l.root.run(`CALL queue_server_event('nonce', '{"nonce":"${'0'.repeat(64)}"}', @payload)`)
  for (let left = events - 1; left > 0; left -= 1000)
    await l.root.run(
      `INSERT INTO audit_pending (tenant_id, evt_id, queued_at, payload)
       WITH RECURSIVE copy AS (
         SELECT 1 AS n, RANDOM_BYTES(16) AS id UNION ALL SELECT n + 1, RANDOM_BYTES(16) FROM copy WHERE n < ?
       )
       SELECT REPEAT(X'00', 16), id, SYSDATE(6),
         CONCAT(SUBSTRING(@payload, 1, 13), BIN_TO_UUID(id), SUBSTRING(@payload, 50)) FROM copy`,
      [Math.min(left, 1000)],
    )
}

const waiting = async (l: Live): Promise<number> =>
  Number((await l.root.query('SELECT COUNT(*) AS n FROM audit_pending'))[0]?.n)

/** Processor time of root's thread in the server so far, ns: what others do beside it does not count. */
async function processorOf(l: Live): Promise<() => number> {
  const [row] = await l.root.query(
    'SELECT THREAD_OS_ID AS id FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()',
  )
  const file = `/proc/${l.server.pid}/task/${Number(row?.id)}/schedstat`
  return () => Number(readFileSync(file, 'utf8').split(' ')[0])
}

/** Seals what waits, beside the event that does the same. */
async function drain(l: Live): Promise<void> {
  while ((await waiting(l)) > 0) await l.root.call('seal_backlog', [1000])
}

const side = (name: string, samples: number[]): Measured => ({
  name,
  median: median(samples),
  spread: 0,
  samples: [],
})

const limit = (what: string, samples: number[], wanted: string): Outcome['ratios'][number] => {
  const value = quantile(samples, 0.99)
  return {
    what,
    value,
    lowest: Math.min(...samples),
    highest: Math.max(...samples),
    wanted,
    reached: meets(value, wanted),
  }
}

/** Rows arrive at 70 % of what was reached at full speed; an anchor is made each minute, as in service. */
async function lags(load: Load, connections: number, seconds: number, quick: boolean): Promise<Outcome> {
  const full = await load.rate('app', connections, 1, load.procedure)
  const watch = await openMysql({ socket: load.l.server.socket, user: 'root', database: 'securedb' })
  const sealed: number[] = []
  const anchored: number[] = []
  const until = Date.now() + seconds * 1000
  const every = quick ? Math.min(10, seconds / 2) : 60
  let next = Date.now() + every * 1000
  const writing = load.paced(connections, full * 0.7, until)
  let since = Date.now()
  while (Date.now() < until) {
    const [row] = await watch.query(
      'SELECT TIMESTAMPDIFF(MICROSECOND, MIN(queued_at), SYSDATE(6)) AS lag FROM audit_pending',
    )
    sealed.push(Math.max(0, Number(row?.lag ?? 0)) / 1e6)
    if (Date.now() >= next) {
      const began = Date.now()
      await load.l.anchor()
      anchored.push((Date.now() - since) / 1000) // of an event that was just too late for the last one
      since = began
      next = began + every * 1000
    }
    await Bun.sleep(20)
  }
  await writing
  await watch.close()
  return {
    id: 'B5',
    title: `commit to sealed and to anchored: ${connections} connections at 70 % load`,
    quick,
    unit: 's',
    rounds: 1,
    sides: [
      side('age of the oldest queued event', sealed),
      side('age of the oldest event anchored', anchored),
    ],
    ratios: [
      limit('sealed: p99, s', sealed, '<= 1'),
      limit('anchored: longest, s', anchored, `<= ${every + 15}`),
    ],
    notes: [
      `${sealed.length} looks, ${anchored.length} anchors, one each ${every} s; full speed was ${Math.round(full)} rows/s`,
    ],
  }
}

export const sealBenches: Bench[] = [
  {
    id: 'B5',
    title: 'commit to sealed and to anchored, under load',
    run: (quick, _say) =>
      withLoad(quick, 64, async load => {
        const outcomes: Outcome[] = []
        for (const n of [8, 64]) outcomes.push(await lags(load, n, quick ? 25 : 300, quick))
        return outcomes
      }),
  },
  {
    id: 'B9',
    title: 'an anchor on a short and on a long trail',
    run: async (quick, say) => {
      const [few, many] = quick ? [1_000, 30_000] : [10_000, 1_000_000]
      await using short = await live()
      await using long = await live()
      for (const [l, events] of [
        [short, few],
        [long, many],
      ] as const) {
        for (let left = events; left > 0; left -= 10_000) {
          await queue(l, Math.min(left, 10_000))
          await drain(l)
        }
        await l.anchor()
      }
      const seconds = (l: Live) => async (): Promise<number> => {
        await queue(l, 100)
        await drain(l)
        const began = performance.now()
        await l.anchor()
        return (performance.now() - began) / 1000
      }
      return [
        await compare(
          {
            id: 'B9',
            title: 'an anchor on a short and on a long trail',
            quick,
            unit: 's',
            rounds: 9,
            sides: [
              { name: `${many} events`, measure: seconds(long) },
              { name: `${few} events`, measure: seconds(short) },
            ],
            ratios: [[`${many} events`, `${few} events`, '<= 1.1']],
            notes: ['100 new events under each anchor; schema snapshot, signatures and store included'],
          },
          say,
        ),
      ]
    },
  },
  {
    id: 'B18',
    title: 'draining a queue',
    run: (quick, say) =>
      withLoad(quick, 1, async ({ l }) => {
        await l.root.run('ALTER EVENT seal_events DISABLE')
        const worker = "SELECT 1 FROM performance_schema.threads WHERE NAME = 'thread/sql/event_worker'"
        while ((await l.root.query(worker)).length > 0) await Bun.sleep(20)
        await queue(l, quick ? 20_000 : 1_000_000)
        const events = await waiting(l)
        say(`B18: ${events} queued`)
        const processor = await processorOf(l)
        const began = performance.now()
        const before = processor()
        await drain(l)
        const rate = events / ((performance.now() - began) / 1000)
        const alone = (events * 1e9) / (processor() - before)
        return [
          {
            id: 'B18',
            title: `draining ${events} queued events`,
            quick,
            unit: 'events/s',
            rounds: 1,
            sides: [side('seal_backlog', [rate]), side('a second of its thread’s processor time', [alone])],
            ratios: [
              {
                what: 'events/s',
                value: rate,
                lowest: rate,
                highest: rate,
                wanted: '>= 20000',
                reached: rate >= 20_000,
              },
            ],
            notes: ['one connection, transactions of 900, durable to the disk; events of about 300 bytes'],
          },
        ]
      }),
  },
]
