import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import { parseEvent } from '../../lib/core/audit/event.ts'
import { leafHash } from '../../lib/core/audit/merkle.ts'
import { type Bytes, random, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { columnsOf } from '../../lib/core/tables.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { type Deployment, deployment, type TestTenant, userRow } from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

// A server of its own: it is killed.
let d: Deployment
let tenant: TestTenant
let anchor: Connection

beforeAll(async () => {
  d = await deployment()
  tenant = d.tenants[0]
  anchor = await d.connectAnchor()
})
afterAll(() => d[Symbol.asyncDispose]())

const user = () => prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by)

async function importUsers(app: Connection, n: number): Promise<string[]> {
  const rows = Array.from({ length: n }, () => {
    const { def, row, event, signature, signer } = user()
    const columns = columnsOf(def).filter(c => c.name !== 'tenant_id' && c.name !== 'state')
    const values = columns.map(c => {
      const value = row[c.name] ?? null
      return [c.name, value instanceof Uint8Array ? toBase64(value) : value]
    })
    return {
      ...Object.fromEntries(values),
      evt_id: event,
      evt_sig: toBase64(signature),
      evt_key: toBase64(signer),
    }
  })
  const [set] = await app.call('app_create_users_encrypted', [JSON.stringify(rows)])
  return JSON.parse(String(set?.[0]?.receipts))
}

/** The whole chain, recomputed from its origin. */
async function chainIsWhole(): Promise<{ size: number; ids: Set<string> }> {
  let head: Bytes = genesisHash(d.origin)
  let size = 0
  const ids = new Set<string>()
  for await (const row of d.root.stream(
    'SELECT seq, prev_hash, payload, curr_hash FROM audit_events ORDER BY seq',
  )) {
    if (row.seq !== size || toHex(row.prev_hash as Bytes) !== toHex(head))
      throw new Error(`chain breaks at ${size}`)
    head = linkHash(head, row.payload as Bytes)
    if (toHex(row.curr_hash as Bytes) !== toHex(head)) throw new Error(`hash of ${size}`)
    ids.add(parseEvent(row.payload as Bytes).id)
    size += 1
  }
  const [stored] = await d.root.query('SELECT size, head FROM chain_head')
  expect(stored).toEqual({ size, head })
  expect(ids.size).toBe(size)
  return { size, ids }
}

describe('the sealer', () => {
  test('chains what waits within a second, by itself', async () => {
    const app = await d.connect(tenant.account)
    const event = parseEvent(utf8(await d.write(app, user())))
    for (let i = 0; (await d.root.query('SELECT 1 FROM audit_pending')).length > 0; i++) {
      if (i > 40) throw new Error('it was not sealed within two seconds')
      await Bun.sleep(50)
    }
    expect((await chainIsWhole()).ids.has(event.id)).toBe(true)
    app.destroy()
  })

  test('begins with the genesis of this origin', async () => {
    const [first] = await d.root.query('SELECT payload FROM audit_events WHERE seq = 0')
    expect(parseEvent(first?.payload as Bytes)).toMatchObject({
      action: 'genesis',
      data: { origin: d.origin },
    })
  })

  test('seals thousands in passes of 900, in the order in which they were queued', async () => {
    await d.root.run('ALTER EVENT seal_events DISABLE')
    const app = await d.connect(tenant.account)
    await Bun.sleep(1100)
    const [before] = await d.root.query('SELECT size FROM chain_head')
    for (let i = 0; i < 5; i++) await importUsers(app, 500)
    const [last] = (await anchor.call('seal_due'))[0] ?? []
    expect(last?.size).toBe(Number(before?.size) + 2500)
    const events = await d.root.query('SELECT payload FROM audit_events WHERE seq >= ? ORDER BY seq', [
      Number(before?.size),
    ])
    const times = events.map(e => parseEvent(e.payload as Bytes).time)
    expect(times).toEqual(times.toSorted())
    await chainIsWhole()
    await d.root.run('ALTER EVENT seal_events ENABLE')
    app.destroy()
  })

  test('passes by what is not committed, and seals it later', async () => {
    await d.root.run('START TRANSACTION')
    await d.root.run('CALL queue_server_event(?, ?, @p)', ['nonce', `{"nonce":"${'0'.repeat(64)}"}`])
    const app = await d.connect(tenant.account)
    const event = parseEvent(utf8(await d.write(app, user())))
    await anchor.call('seal_due')
    const [sealed] = await anchorTrail(
      `SELECT COUNT(*) AS n FROM securedb.audit_events WHERE payload LIKE '%${event.id}%'`,
    )
    expect(sealed?.n).toBe(1)
    await d.root.run('COMMIT')
    await anchor.call('seal_due')
    expect(await d.root.query('SELECT 1 FROM audit_pending')).toEqual([])
    await chainIsWhole()
    app.destroy()
  })

  test('stops with an error of its own, and no other, when the trail and the queue disagree', async () => {
    await d.root.run('ALTER EVENT seal_events DISABLE')
    await Bun.sleep(1100)
    await d.root.run('CALL queue_server_event(?, ?, @p)', ['nonce', `{"nonce":"${'1'.repeat(64)}"}`])
    const [head] = await d.root.query('SELECT size FROM chain_head')
    await d.root.run('UPDATE chain_head SET size = size - 1')
    await refused(anchor.call('seal_due'), '1062')
    await d.root.run('UPDATE chain_head SET size = ?', [Number(head?.size)])
    await d.root.run('ALTER EVENT seal_events ENABLE')
    await anchor.call('seal_due')
    await chainIsWhole()
  })

  test('and the chain survive kill -9 under load: nothing that was answered is lost', async () => {
    const receipts = new Set<string>()
    const load = async (account: string, by: TestTenant): Promise<void> => {
      const app = await d.connect(account)
      try {
        for (;;) {
          const write = prepareWrite(d.define('users'), 'create', userRow(by), by.by)
          receipts.add(parseEvent(utf8(await d.write(app, write))).id)
        }
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'UNREACHABLE' })
      } finally {
        app.destroy()
      }
    }
    const running = d.tenants.flatMap(t => [load(t.account, t), load(t.account, t)])
    await Bun.sleep(1500)
    d.root.destroy()
    anchor.destroy()
    await d.server.kill9()
    await Promise.all(running)
    await d.restart()
    anchor = await d.connectAnchor()
    await anchor.call('seal_due')
    const { ids } = await chainIsWhole()
    expect(receipts.size).toBeGreaterThan(10)
    expect([...receipts].filter(id => !ids.has(id))).toEqual([])
  })
})

const anchorTrail = async (sql: string) => {
  const auditor = await d.connect(d.auditor)
  const rows = await auditor.query(sql)
  auditor.destroy()
  return rows
}

describe('the anchor’s procedures', () => {
  const status = async () => (await anchor.call('anchor_status'))[0]?.[0] ?? {}

  test('record an anchor as the last event that it covers, with the leaves from where they were asked', async () => {
    const before = await status()
    const number = Number(before.confirmed_number) + 1
    const prev = before.confirmed_sha256 as Bytes
    const from = Number(before.recorded_size)
    const fingerprint = random(32)
    const [covers, leaves] = await anchor.call('record_anchor', [number, fingerprint, prev, from])
    const size = Number(covers?.[0]?.size)
    const events = await anchorTrail(
      `SELECT seq, payload, curr_hash FROM securedb.audit_events WHERE seq >= ${from} AND seq < ${size} ORDER BY seq`,
    )
    expect(leaves?.map(l => ({ seq: l.seq, leaf: toHex(l.leaf as Bytes) }))).toEqual(
      events.map(e => ({ seq: e.seq, leaf: toHex(leafHash(e.payload as Bytes)) })),
    )
    const last = events.at(-1)
    expect(last?.seq).toBe(size - 1)
    expect(last?.curr_hash).toEqual(covers?.[0]?.head)
    expect(parseEvent(last?.payload as Bytes)).toMatchObject({
      action: 'anchor',
      actor: 'anchor@localhost',
      data: { number, fingerprint: toHex(fingerprint), prev: toHex(prev) },
    })
    // The same call again, as after a crash: the same answer, no second event.
    await anchor.call('seal_due')
    const again = await anchor.call('record_anchor', [number, fingerprint, prev, from])
    expect(again[0]?.[0]).toEqual(covers?.[0])
    expect(again[1]?.length).toBe(leaves?.length)
    // An anchor that was never confirmed may be recorded anew, when the schema has changed in between.
    const [renewed] = await anchor.call('record_anchor', [number, random(32), prev, size])
    expect(Number(renewed?.[0]?.size)).toBeGreaterThan(size)
    await chainIsWhole()
    await anchor.call('confirm_anchor', [number, random(32)])
  })

  test('refuse another number, another predecessor and values of a wrong length', async () => {
    const { confirmed_number, confirmed_sha256 } = await status()
    const number = Number(confirmed_number)
    const prev = confirmed_sha256 as Bytes
    for (const params of [
      [number, random(32), prev, 0],
      [number + 2, random(32), prev, 0],
      [number + 1, random(32), random(32), 0],
      [number + 1, random(31), prev, 0],
      [number + 1, random(33), prev, 0],
      [number + 1, random(32), prev.slice(0, 31), 0],
      [number + 1, null, prev, 0],
      [null, random(32), prev, 0],
      [number + 1, random(32), null, 0],
      [number + 1, random(32), prev, null],
    ])
      await refused(anchor.call('record_anchor', params), '1644 45N01')
    expect(
      await d.root.query('SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = ?', [
        anchor.info().threadId,
      ]),
    ).toEqual([])
  })

  test('confirm only what was recorded, once, and the same again', async () => {
    const { confirmed_number, confirmed_sha256 } = await status()
    const number = Number(confirmed_number)
    await refused(anchor.call('confirm_anchor', [number + 1, random(32)]), '1644 45N01')
    await anchor.call('record_anchor', [number + 1, random(32), confirmed_sha256 ?? null, 0])
    await refused(anchor.call('confirm_anchor', [number + 2, random(32)]), '1644 45N01')
    await refused(anchor.call('confirm_anchor', [number + 1, random(31)]), '1644 45N01')
    await refused(anchor.call('confirm_anchor', [number + 1, null]), '1644 45N01')
    const sha256 = random(32)
    await anchor.call('confirm_anchor', [number + 1, sha256])
    const first = await status()
    await anchor.call('confirm_anchor', [number + 1, sha256])
    expect(await status()).toEqual(first)
    expect(first).toMatchObject({
      confirmed_number: number + 1,
      recorded_number: number + 1,
      confirmed_sha256: sha256,
    })
    await refused(anchor.call('confirm_anchor', [number + 1, random(32)]), '1644 45N01')
    await refused(anchor.call('confirm_anchor', [number, sha256]), '1644 45N01')
  })

  test('are the anchor’s alone: an app and the auditor may not record, the anchor may read no table', async () => {
    const app = await d.connect(tenant.account)
    const auditor = await d.connect(d.auditor)
    for (const c of [app, auditor]) {
      await refused(c.call('record_anchor', [1, random(32), random(32), 0]), '1370')
      await refused(c.call('confirm_anchor', [1, random(32)]), '1370')
      await refused(c.call('seal_due'), '1370')
    }
    await refused(app.call('anchor_status'), '1370')
    await refused(app.call('schema_snapshot'), '1370')
    expect((await auditor.call('anchor_status'))[0]?.length).toBe(1)
    for (const table of ['audit_events', 'users', 'tenant_grant', 'app_users', 'chain_head'])
      await refused(anchor.query(`SELECT * FROM ${table}`), '1142')
    app.destroy()
    auditor.destroy()
  })

  test('the auditor records nonces and the digests of manifests, and nothing else', async () => {
    const auditor = await d.connect(d.auditor)
    const hash = random(32)
    const [set] = await auditor.call('record_nonce', ['manifest', hash])
    expect(parseEvent(utf8(String(set?.[0]?.receipt)))).toMatchObject({
      action: 'manifest',
      data: { digest: toHex(hash) },
    })
    for (const params of [
      ['genesis', hash],
      ['nonce', random(31)],
      ['nonce', random(33)],
      [null, hash],
      ['nonce', null],
      ['NONCE', hash],
    ])
      await refused(auditor.call('record_nonce', params), '1644 45W01')
    for (const table of ['users', 'audit_events', 'tenant_grant'])
      for (const sql of [
        `DELETE FROM ${table}`,
        `UPDATE ${table} SET tenant_id = tenant_id`,
        `INSERT INTO ${table} VALUES ()`,
      ])
        await refused(auditor.run(sql), '1142')
    auditor.destroy()
  })
})
