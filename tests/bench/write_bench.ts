/** B1 to B3: what a write costs through the procedures, against plain inserts on the same server, over the same TLS. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseClientConfig } from '../../lib/core/mycnf.ts'
import type { Value } from '../../lib/core/tables.ts'
import { batchCallOf, callOf, prepareWrite, type Write } from '../../lib/core/write.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { definitionOf, type Live, type LiveTenant, live, userRow } from '../support/live.ts'
import { type Bench, compare, type Outcome, type Plan } from './harness.ts'

const columns =
  'tenant_id, id, version, wrap_version, state, role, full_name, email, phone, email_bidx, phone_bidx, field_suite, dek_id, record_key, mac, salt, evt_id, evt_sig, evt_key'

/** Tables with the columns and indexes of users: plain, with a trigger that writes a JSON row, and with one locked head. */
async function makePeers(l: Live): Promise<void> {
  const { root } = l
  await root.run('DROP DATABASE IF EXISTS bench')
  await root.run('CREATE DATABASE bench')
  for (const table of ['plain', 'audited', 'headed'])
    await root.run(`CREATE TABLE bench.${table} LIKE securedb.users`)
  await root.run('CREATE TABLE bench.audit (id BINARY(16) PRIMARY KEY, payload VARBINARY(4096))')
  await root.run(
    'CREATE TABLE bench.chain (seq BIGINT PRIMARY KEY, payload VARBINARY(4096), curr BINARY(32))',
  )
  await root.run('CREATE TABLE bench.head (id INT PRIMARY KEY, seq BIGINT, curr BINARY(32))')
  await root.run('INSERT INTO bench.head VALUES (1, 0, REPEAT(0x00, 32))')
  const event = `CONCAT('{"v":1,"id":"', BIN_TO_UUID(NEW.evt_id), '","time":"', DATE_FORMAT(SYSDATE(6), '%Y-%m-%dT%H:%i:%s.%fZ'), '","actor":', JSON_QUOTE(SESSION_USER()) COLLATE utf8mb4_0900_ai_ci, ',"conn":', CONNECTION_ID(), ',"tenant":"', BIN_TO_UUID(NEW.tenant_id), '","table":"users","action":"create","key":"', BIN_TO_UUID(NEW.id), '","ver":', NEW.version, ',"role":', JSON_QUOTE(NEW.role) COLLATE utf8mb4_0900_ai_ci, ',"sig":"', REPLACE(TO_BASE64(NEW.evt_sig), '\\n', ''), '","signer":"', LOWER(HEX(NEW.evt_key)), '"}')`
  await root.run(
    `CREATE TRIGGER bench.audited_created AFTER INSERT ON bench.audited FOR EACH ROW INSERT INTO bench.audit VALUES (NEW.evt_id, ${event})`,
  )
  await root.run(
    `CREATE TRIGGER bench.headed_created AFTER INSERT ON bench.headed FOR EACH ROW
BEGIN
  DECLARE v_seq BIGINT; DECLARE v_curr BINARY(32); DECLARE v_payload VARBINARY(4096) DEFAULT ${event};
  SELECT seq, curr INTO v_seq, v_curr FROM bench.head WHERE id = 1 FOR UPDATE;
  SET v_curr = UNHEX(SHA2(CONCAT(v_curr, v_payload), 256));
  INSERT INTO bench.chain VALUES (v_seq, v_payload, v_curr);
  UPDATE bench.head SET seq = v_seq + 1, curr = v_curr WHERE id = 1;
END`,
  )
  await root.run("CREATE USER IF NOT EXISTS bench@'127.0.0.1' IDENTIFIED BY 'bench' REQUIRE X509")
  await root.run("GRANT SELECT, INSERT ON bench.* TO bench@'127.0.0.1'")
}

export class Load {
  readonly l: Live
  readonly #seconds: number
  readonly #connections: Record<'app' | 'bench', Connection[]> = { app: [], bench: [] }
  readonly #made: Write[] = []

  constructor(l: Live, seconds: number) {
    this.l = l
    this.#seconds = seconds
  }

  get tenant(): LiveTenant {
    return this.l.tenants[0]
  }

  async open(most: number): Promise<void> {
    const cnf = this.l.client(this.tenant.account)
    const { sslCa = '', sslCert = '', sslKey = '' } = parseClientConfig(readFileSync(cnf, 'utf8'), cnf)
    const ssl = { ca: readFileSync(sslCa), cert: readFileSync(sslCert), key: readFileSync(sslKey) }
    const where = { host: '127.0.0.1', port: this.l.server.port }
    for (let i = this.#connections.app.length; i < most; i++) {
      const app = await openMysql({ defaultsFile: cnf, port: this.l.server.port, database: 'securedb' })
      await app.call('security_set_tenant', [this.tenant.id])
      this.#connections.app.push(app)
      this.#connections.bench.push(
        await openMysql({ ...where, user: 'bench', password: 'bench', database: 'bench', ssl }),
      )
    }
  }

  /** Signed and sealed beforehand: only the database is measured. */
  prepare(count: number): void {
    const def = definitionOf('users')
    while (this.#made.length < count)
      this.#made.push(prepareWrite(def, 'create', userRow(this.tenant), this.tenant.by))
  }

  #take(count: number): Write[] {
    if (this.#made.length < count) this.prepare(count)
    return this.#made.splice(0, count)
  }

  /** Rows a second with `connections` at work, each sending its next statement when the last was answered. */
  async rate(
    who: 'app' | 'bench',
    connections: number,
    rows: number,
    send: (c: Connection, writes: Write[]) => Promise<unknown>,
  ): Promise<number> {
    this.prepare(4000)
    let [done, stop] = [0, false]
    const began = performance.now()
    const timer = setTimeout(() => {
      stop = true
    }, this.#seconds * 1000)
    const work = async (connection: Connection): Promise<void> => {
      while (!stop) {
        await send(connection, this.#take(rows))
        done += rows
      }
    }
    await Promise.all(this.#connections[who].slice(0, connections).map(work))
    clearTimeout(timer)
    const rate = done / ((performance.now() - began) / 1000)
    await this.settle()
    return rate
  }

  /** Rows at `perSecond` in all, until a time; one that falls behind does not catch up. */
  async paced(connections: number, perSecond: number, until: number): Promise<void> {
    const pause = (connections / perSecond) * 1000
    const work = async (connection: Connection): Promise<void> => {
      await Bun.sleep(Math.random() * pause)
      while (Date.now() < until) {
        const began = performance.now()
        await this.procedure(connection, this.#take(1))
        await Bun.sleep(Math.max(0, pause - (performance.now() - began)))
      }
    }
    await Promise.all(this.#connections.app.slice(0, connections).map(work))
  }

  /** The sealer drains before the next side is measured: its work belongs to nobody else. */
  async settle(): Promise<void> {
    for (;;) {
      const [waiting] = await this.l.root.query('SELECT COUNT(*) AS n FROM securedb.audit_pending')
      if (Number(waiting?.n) === 0) return
      await Bun.sleep(50)
    }
  }

  procedure = (connection: Connection, [write]: Write[]): Promise<unknown> => {
    if (!write) throw new Error('nothing to write')
    const { procedure, params } = callOf(write)
    return connection.call(procedure, params)
  }

  batch = (connection: Connection, writes: Write[]): Promise<unknown> => {
    const { procedure, params } = batchCallOf(writes)
    return connection.call(procedure, params)
  }

  insert =
    (table: string) =>
    (connection: Connection, writes: Write[]): Promise<unknown> => {
      const values = writes.flatMap(write => valuesOf(write, this.tenant.id))
      const row = `(${columns
        .split(', ')
        .map(() => '?')
        .join()})`
      return connection.run(
        `INSERT INTO ${table} (${columns}) VALUES ${writes.map(() => row).join()}`,
        values,
      )
    }
}

const bytesOf = (uuid: string): Uint8Array => Buffer.from(uuid.replaceAll('-', ''), 'hex')

function valuesOf(write: Write, tenant: string): Value[] {
  const { params } = callOf(write)
  const [id, version, wrap, ...rest] = params
  return [bytesOf(tenant), id ?? null, version ?? null, wrap ?? null, 'live', ...rest]
}

export async function withLoad(
  quick: boolean,
  most: number,
  use: (load: Load) => Promise<Outcome[]>,
): Promise<Outcome[]> {
  await using l = await live()
  await l.root.run('UPDATE gate_limits SET unsealed_seconds = 3600, tenant_pending = 10000000')
  await makePeers(l)
  const load = new Load(l, quick ? 1 : 3)
  await load.open(most)
  return await use(load)
}

const connectionsOf = (quick: boolean): number[] => (quick ? [1, 8, 32] : [1, 8, 32, 64])

/** One outcome a number of connections; `sides` by name. */
async function each(
  quick: boolean,
  say: (line: string) => void,
  sizes: number[],
  plan: (connections: number) => Omit<Plan, 'quick' | 'unit'>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const n of sizes) outcomes.push(await compare({ quick, unit: 'rows/s', ...plan(n) }, say))
  return outcomes
}

export const writeBenches = (work: string): Bench[] => {
  mkdirSync(join(work), { recursive: true })
  return [
    {
      id: 'B1',
      title: 'write through the procedure, audited, over mTLS',
      run: (quick, say) =>
        withLoad(quick, 64, load =>
          each(quick, say, connectionsOf(quick), n => ({
            id: 'B1',
            title: `write through the procedure, audited, over mTLS: ${n} connections (with B2 and B3)`,
            sides: [
              { name: 'procedure', measure: () => load.rate('app', n, 1, load.procedure) },
              { name: 'plain INSERT', measure: () => load.rate('bench', n, 1, load.insert('plain')) },
              {
                name: 'INSERT with JSON trigger',
                measure: () => load.rate('bench', n, 1, load.insert('audited')),
              },
              {
                name: 'chain under a locked head',
                measure: () => load.rate('bench', n, 1, load.insert('headed')),
              },
            ],
            ratios: [
              ['procedure', 'plain INSERT', n === 1 ? '>= 0.8' : '>= 0.6'],
              ['procedure', 'INSERT with JSON trigger', '>= 0.8'],
              ['procedure', 'chain under a locked head', n >= 32 ? '>= 3' : null],
            ],
          })),
        ),
    },
    {
      id: 'B1b',
      title: 'the same in batches of 100',
      run: (quick, say) =>
        withLoad(quick, 8, load =>
          each(quick, say, [1, 8], n => ({
            id: 'B1b',
            title: `the same in batches of 100: ${n} connections`,
            sides: [
              { name: 'batch procedure', measure: () => load.rate('app', n, 100, load.batch) },
              { name: 'INSERT of 100 rows', measure: () => load.rate('bench', n, 100, load.insert('plain')) },
              { name: 'INSERT of 1 row', measure: () => load.rate('bench', n, 1, load.insert('plain')) },
            ],
            ratios: [
              ['batch procedure', 'INSERT of 100 rows', '>= 0.4'],
              ['batch procedure', 'INSERT of 1 row', '>= 2.5'],
            ],
          })),
        ),
    },
    {
      id: 'B0',
      title: 'storage an event',
      run: (quick, say) =>
        withLoad(quick, 4, async load => {
          const count = quick ? 20_000 : 100_000
          const size = async () => {
            await load.l.root.run('FLUSH TABLES securedb.audit_events')
            const [row] = await load.l.root.query(
              "SELECT FILE_SIZE AS bytes FROM information_schema.INNODB_TABLESPACES WHERE NAME = 'securedb/audit_events'",
            )
            return Number(row?.bytes)
          }
          const [before] = await load.l.root.query('SELECT COUNT(*) AS n FROM securedb.audit_events')
          const empty = await size()
          load.prepare(count)
          while (Number((await load.l.root.query('SELECT size AS n FROM securedb.chain_head'))[0]?.n) < count)
            await load.rate('app', 4, 100, load.batch)
          const [after] = await load.l.root.query(
            'SELECT COUNT(*) AS n, AVG(LENGTH(payload)) AS payload FROM securedb.audit_events',
          )
          const events = Number(after?.n) - Number(before?.n)
          const each = (Number(await size()) - empty) / events
          say(`B0: ${events} events, ${each} bytes each`)
          return [
            {
              id: 'B0',
              title: 'storage an event',
              quick,
              unit: 'bytes',
              rounds: 1,
              sides: [
                { name: 'table space of audit_events, an event', median: each, spread: 0, samples: [] },
                { name: 'payload, an event', median: Number(after?.payload), spread: 0, samples: [] },
              ],
              ratios: [],
              notes: [
                `${events} events; 80 bytes of hashes and keys beside each payload, and an index of 40`,
              ],
            },
          ]
        }),
    },
  ]
}
