import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { newUuid, random, toBase64, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { columnsOf, type Row } from '../../lib/core/tables.ts'
import { prepareWrite, type Write } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { type Deployment, sharedDeployment, type TestTenant, userRow } from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

let d: Deployment
let tenant: TestTenant
let app: Connection

beforeAll(async () => {
  d = await sharedDeployment()
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
})

const create = (row: Row): Write => prepareWrite(d.define('users'), 'create', row, tenant.by)
const many = (n: number): Write[] => Array.from({ length: n }, () => create(userRow(tenant)))

type Member = string | number | null

/** One object of p_rows (SPEC §5.4). */
function member({ def, row, event, signature, signer }: Write): Record<string, Member> {
  const columns = columnsOf(def).filter(c => c.name !== 'tenant_id' && c.name !== 'state')
  const values = columns.map((c): [string, Member] => {
    const value = row[c.name] ?? null
    if (value instanceof Uint8Array) return [c.name, toBase64(value)]
    return [c.name, typeof value === 'bigint' ? Number(value) : value]
  })
  return {
    ...Object.fromEntries(values),
    evt_id: event,
    evt_sig: toBase64(signature),
    evt_key: toBase64(signer),
  }
}

async function send(rows: unknown, connection = app): Promise<string[]> {
  const [set] = await connection.call('app_create_users_encrypted', [JSON.stringify(rows)])
  return JSON.parse(String(set?.[0]?.receipts))
}

const count = async (writes: Write[]): Promise<number> => {
  const found = await Promise.all(
    writes.map(w => app.query('SELECT 1 FROM app_users WHERE id = ?', [uuidBytes(String(w.row.id))])),
  )
  return found.filter(rows => rows.length > 0).length
}

describe('a batch', () => {
  test('stores every row and returns an event for each, with the digest that lib/core computes', async () => {
    const writes = many(50)
    writes.push(create(userRow(tenant, { phone: null, phone_bidx: null })))
    const receipts = await send(writes.map(member))
    const events = new Map(receipts.map(r => [parseEvent(utf8(r)).id, parseEvent(utf8(r))]))
    expect(events.size).toBe(writes.length)
    for (const write of writes) {
      const event = events.get(write.event)
      if (!event || !isRowEvent(event)) throw new Error('not a row event')
      expect(event.after).toBe(toHex(rowDigest(write.def, write.row)))
      expect(event.sig).toBe(toBase64(write.signature))
      expect(event.key).toBe(String(write.row.id))
    }
    expect(await count(writes)).toBe(writes.length)
  })

  test('takes 500 rows and no more, and at least one', async () => {
    const writes = many(500)
    expect((await send(writes.map(member))).length).toBe(500)
    for (const rows of [many(501).map(member), [], {}, 'x', 5, null, [[]]])
      await refused(send(rows), '1644 45W01')
  })

  test('answers the identical batch with the first receipts, queued or sealed', async () => {
    const writes = many(5)
    const rows = writes.map(member)
    const first = (await send(rows)).sort()
    expect((await send(rows)).sort()).toEqual(first)
    await d.root.call('seal_due')
    expect((await send(rows.toReversed())).sort()).toEqual(first)
  })

  test('refuses a batch of which a part is known, or known as something else, and stores nothing of it', async () => {
    const known = many(2)
    await send(known.map(member))
    const fresh = many(2)
    await refused(send([...known, ...fresh].map(member)), '1644 45W04')
    await refused(send([{ ...member(known[0] as Write), evt_sig: toBase64(random(64)) }]), '1644 45W04')
    const reused = fresh.map((w, i) => ({ ...w, event: known[i]?.event ?? '' }))
    await refused(send(reused.map(member)), '1644 45W04')
    await d.root.call('seal_due')
    await refused(send(reused.map(member)), '1644 45W04')
    expect(await count(fresh)).toBe(0)
  })

  test('refuses a row that exists, a row twice and an event id twice', async () => {
    const [one, two] = many(2) as [Write, Write]
    await send([member(one)])
    await refused(send([member(create({ ...one.row, salt: random(16) })), member(two)]), '1644 45W05')
    await refused(send([member(two), member({ ...two, event: newUuid() })]), '1644 45W05')
    await refused(send([member(two), member({ ...create(userRow(tenant)), event: two.event })]), '1644 45W05')
    expect(await count([two])).toBe(0)
  })

  test.each<[string, (row: Record<string, Member>) => unknown]>([
    ['a missing member', ({ phone: _, ...row }) => row],
    ['a row that is no object', () => 'x'],
    ['an upper-case UUID', row => ({ ...row, id: String(row.id).toUpperCase() })],
    ['no UUID', row => ({ ...row, id: 'x' })],
    ['a NULL id', row => ({ ...row, id: null })],
    ['base64 that is none', row => ({ ...row, full_name: '!!!!' })],
    ['optional base64 that is none', row => ({ ...row, phone: '!' })],
    ['a salt of 15 bytes', row => ({ ...row, salt: toBase64(random(15)) })],
    ['a salt of 300 bytes', row => ({ ...row, salt: toBase64(random(300)) })],
    ['a name that is too long', row => ({ ...row, full_name: toBase64(random(1053)) })],
    ['a role of the wrong form', row => ({ ...row, role: 'X' })],
    ['a role that is too long', row => ({ ...row, role: 'x'.repeat(33) })],
    ['version 2', row => ({ ...row, version: 2 })],
    ['a version that is no number', row => ({ ...row, version: 'x' })],
    ['a negative version', row => ({ ...row, version: -1 })],
    ['a short signature', row => ({ ...row, evt_sig: toBase64(random(63)) })],
    ['no signature', row => ({ ...row, evt_sig: null })],
    ['no event id', row => ({ ...row, evt_id: null })],
  ])('refuses %s and stores nothing', async (_, spoil) => {
    const [good, bad] = many(2) as [Write, Write]
    await refused(send([member(good), spoil(member(bad))]), '1644 45W01')
    expect(await count([good, bad])).toBe(0)
  })

  test('refuses a data key that is another tenant’s, or none', async () => {
    const row = create(userRow(tenant, { dek_id: d.tenants[1].dekId }))
    await refused(send([...many(1).map(member), { ...member(row), dek_id: null }]), '1644 45W07')
    await refused(send([...many(1), row].map(member)), '1644 45W07')
  })

  test('refuses what is no JSON', async () => {
    await refused(app.call('app_create_users_encrypted', ['[']), '3140')
  })

  test('lets one tenant queue only so much', async () => {
    const [limits] = await d.root.query('SELECT tenant_pending FROM gate_limits')
    await d.root.run('ALTER EVENT seal_events DISABLE')
    try {
      await d.root.run('UPDATE gate_limits SET tenant_pending = 30')
      await send(many(30).map(member))
      await refused(send(many(1).map(member)), '1644 45G01')
      const other = d.tenants[1]
      const neighbour = await d.connect(other.account)
      const theirs = prepareWrite(d.define('users'), 'create', userRow(other), other.by)
      expect((await send([member(theirs)], neighbour)).length).toBe(1)
      await neighbour.close()
    } finally {
      await d.root.run('UPDATE gate_limits SET tenant_pending = ?', [Number(limits?.tenant_pending)])
      await d.root.run('ALTER EVENT seal_events ENABLE')
    }
  })
})
