import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { parseEvent } from '../../lib/core/audit/event.ts'
import { newUuid, random, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import type { Row } from '../../lib/core/tables.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection, Parameter } from '../../lib/edge/mysql.ts'
import {
  accountRow,
  type Deployment,
  erasedRow,
  sharedDeployment,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

let d: Deployment
let tenant: TestTenant
let app: Connection
let owner: Row

beforeAll(async () => {
  d = await sharedDeployment()
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
  owner = userRow(tenant)
  await d.write(app, prepareWrite(d.define('users'), 'create', owner, tenant.by))
})

async function account(balance: number | bigint, changes: Row = {}): Promise<Row> {
  const row = accountRow(tenant, String(owner.id), { balance_minor: balance, ...changes })
  await d.write(app, prepareWrite(d.define('accounts'), 'create', row, tenant.by))
  return row
}

const next = (row: Row, balance: number | bigint, changes: Row = {}): Row => ({
  ...row,
  version: Number(row.version) + 1,
  balance_minor: balance,
  salt: random(16),
  mac: random(32),
  ...changes,
})

function call(from: Row, to: Row): Parameter[] {
  const half = (row: Row) => {
    const write = prepareWrite(d.define('accounts'), 'update', row, tenant.by)
    const { id, version, balance_minor, salt, mac } = row
    return [
      uuidBytes(String(id)),
      version,
      balance_minor,
      salt,
      mac,
      uuidBytes(write.event),
      write.signature,
    ] as Parameter[]
  }
  return [...half(from), ...half(to), tenant.by.signer]
}

async function transfer(params: Parameter[], connection = app): Promise<string[]> {
  const [set] = await connection.call('app_transfer', params)
  return JSON.parse(String(set?.[0]?.receipts))
}

const balanceOf = async (row: Row): Promise<unknown> =>
  (await app.query('SELECT balance_minor FROM app_accounts WHERE id = ?', [uuidBytes(String(row.id))]))[0]
    ?.balance_minor

describe('app_transfer', () => {
  test('moves the amount and returns the debit’s event first', async () => {
    const [a, b] = [await account(1000), await account(5)]
    const [from, to] = [next(a, 700), next(b, 305)]
    const params = call(from, to)
    const [debit = '', credit = '', ...more] = await transfer(params)
    expect(more).toEqual([])
    expect(parseEvent(utf8(debit))).toMatchObject({
      key: String(a.id),
      ver: 2,
      before: toHex(rowDigest(d.define('accounts'), a)),
      after: toHex(rowDigest(d.define('accounts'), from)),
    })
    expect(parseEvent(utf8(credit))).toMatchObject({
      key: String(b.id),
      ver: 2,
      after: toHex(rowDigest(d.define('accounts'), to)),
    })
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([700, 305])
    expect(await transfer(params)).toEqual([debit, credit])
    await d.root.call('seal_due')
    expect(await transfer(params)).toEqual([debit, credit])
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([700, 305])
  })

  test('moves everything, and amounts beyond 2^53', async () => {
    const big = 2n ** 64n - 1n
    const [a, b] = [await account(big), await account(0)]
    await transfer(call(next(a, 0), next(b, big)))
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([0, big])
  })

  test.each<[string, number | bigint, number | bigint]>([
    ['creates money', 900, 106],
    ['destroys money', 900, 104],
    ['moves nothing', 1000, 5],
    ['takes from the receiver', 1001, 4],
    ['wraps around', 2n ** 64n - 1n, 1006],
  ])('refuses what %s', async (_, from, to) => {
    const [a, b] = [await account(1000), await account(5)]
    await refused(transfer(call(next(a, from), next(b, to))), '1644 45W08')
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([1000, 5])
  })

  test('refuses the ids of the events that made the accounts, while those wait', async () => {
    await d.root.run('ALTER EVENT seal_events DISABLE')
    try {
      await d.root.call('seal_due')
      const [a, b] = [await account(1000), await account(5)]
      const ids = await Promise.all(
        [a, b].map(async row => {
          const [found] = await app.query('SELECT evt_id FROM app_accounts WHERE id = ?', [
            uuidBytes(String(row.id)),
          ])
          return found?.evt_id as Parameter
        }),
      )
      const params = call(next(a, 900), next(b, 105))
      params[5] = ids[0] ?? null
      params[12] = ids[1] ?? null
      await refused(transfer(params), '1644 45W04')
      expect([await balanceOf(a), await balanceOf(b)]).toEqual([1000, 5])
    } finally {
      await d.root.run('ALTER EVENT seal_events ENABLE')
    }
  })

  test('refuses two currencies', async () => {
    const [a, b] = [await account(1000), await account(5, { currency: 'USD' })]
    await refused(transfer(call(next(a, 900), next(b, 105))), '1644 45W08')
  })

  test('refuses other versions than the next ones, and a repeated one', async () => {
    const [a, b] = [await account(1000), await account(5)]
    await refused(transfer(call(next(a, 900, { version: 3 }), next(b, 105))), '1644 45W02')
    await refused(transfer(call(next(a, 900), next(b, 105, { version: 3 }))), '1644 45W02')
    await transfer(call(next(a, 900), next(b, 105)))
    await refused(transfer(call(next(a, 900), next(b, 105))), '1644 45W02')
  })

  test('refuses an account that is unknown, another tenant’s, or the same', async () => {
    const a = await account(1000)
    await refused(transfer(call(next(a, 900), next(accountRow(tenant, newUuid()), 1100))), '1644 45W06')
    await refused(transfer(call(next(a, 900), next(a, 1100))), '1644 45W01')
    const other = d.tenants[1]
    const neighbour = await d.connect(other.account)
    const person = userRow(other)
    await d.write(neighbour, prepareWrite(d.define('users'), 'create', person, other.by))
    const theirs = accountRow(other, String(person.id))
    await d.write(neighbour, prepareWrite(d.define('accounts'), 'create', theirs, other.by))
    await refused(transfer(call(next(theirs, 900), next(a, 1100))), '1644 45W06')
    await refused(transfer(call(next(a, 900), next(theirs, 1100))), '1644 45W06')
    await neighbour.close()
  })

  test('refuses values of a wrong length and event ids that were used', async () => {
    const [a, b] = [await account(1000), await account(5)]
    const params = call(next(a, 900), next(b, 105))
    for (const at of [0, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14]) {
      await refused(transfer(params.with(at, random(5))), '1644 45W01')
      await refused(transfer(params.with(at, null)), '1644 45W01')
    }
    for (const at of [1, 2, 8, 9]) await refused(transfer(params.with(at, null)), '1644 45W01')
    await refused(transfer(params.with(12, params[5] ?? null)), '1644 45W01')
    const used = prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by)
    await d.write(app, used)
    await refused(transfer(params.with(12, uuidBytes(used.event))), '1644 45W04')
    await d.root.call('seal_due')
    await refused(transfer(params.with(5, uuidBytes(used.event))), '1644 45W04')
    expect([await balanceOf(a), await balanceOf(b)]).toEqual([1000, 5])
  })

  test('two that cross keep the sum and do not deadlock', async () => {
    const [a, b] = [await account(1000), await account(1000)]
    const other = await d.connect(tenant.account)
    for (let i = 0; i < 10; i++) {
      const [versionA, versionB] = await Promise.all(
        [a, b].map(async row =>
          Number(
            (await app.query('SELECT version FROM app_accounts WHERE id = ?', [uuidBytes(String(row.id))]))[0]
              ?.version,
          ),
        ),
      )
      const [x, y] = [Number(await balanceOf(a)), Number(await balanceOf(b))]
      const at = { a: { ...a, version: Number(versionA) }, b: { ...b, version: Number(versionB) } }
      const results = await Promise.allSettled([
        transfer(call(next(at.a, x - 10), next(at.b, y + 10))),
        transfer(call(next(at.b, y - 7), next(at.a, x + 7)), other),
      ])
      const failed = results.flatMap(r => (r.status === 'rejected' ? [r.reason.sqlState] : []))
      expect(failed).toEqual(['45W02'])
    }
    expect(Number(await balanceOf(a)) + Number(await balanceOf(b))).toBe(2000)
    await other.close()
  })

  test('an account is changed in no other way', async () => {
    expect(d.define('accounts').procedures).toEqual({
      create: 'app_open_account',
      rewrapMany: 'app_rewrap_accounts',
    })
    expect(erasedRow(d.define('accounts'), await account(1)).balance_minor).toBeNull()
  })
})
