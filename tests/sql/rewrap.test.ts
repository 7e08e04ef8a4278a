import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { newUuid, random, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import type { Row } from '../../lib/core/tables.ts'
import { batchCallOf, prepareWrite, type Write } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import {
  type Deployment,
  dataKeyRow,
  sharedDeployment,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(120_000)

let d: Deployment
let tenant: TestTenant
let app: Connection
let newDek: string

beforeAll(async () => {
  d = await sharedDeployment()
  await d.anchor()
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
  newDek = newUuid()
  await d.write(app, prepareWrite(d.define('data_keys'), 'create', dataKeyRow(tenant, newDek), tenant.by))
})

async function person(): Promise<Row> {
  const row = userRow(tenant)
  await d.write(app, prepareWrite(d.define('users'), 'create', row, tenant.by))
  return row
}

const rewrapped = (row: Row, change: Row = {}): Row => ({
  ...row,
  wrap_version: Number(row.wrap_version) + 1,
  dek_id: newDek,
  record_key: random(60),
  salt: random(16),
  ...change,
})

const sign = (row: Row, table = 'users'): Write => prepareWrite(d.define(table), 'rewrap', row, tenant.by)

async function send(writes: Write[]): Promise<string[]> {
  const { procedure, params } = batchCallOf(writes)
  return JSON.parse(String((await app.call(procedure, params))[0]?.[0]?.receipts))
}

async function stored(table: string, id: unknown): Promise<Row> {
  const [row] = await d.root.query(`SELECT * FROM ${table} WHERE id = ?`, [uuidBytes(String(id))])
  return rowFromDatabase(d.define(table), row ?? {})
}

describe('a re-wrap', () => {
  test('replaces wraps and salt alone, with a signed event a row, and gives the same receipts again', async () => {
    const rows = [await person(), await person(), await person()]
    const writes = rows.map(row => sign(rewrapped(row)))
    const receipts = await send(writes)
    expect(receipts.length).toBe(3)
    for (const write of writes) {
      expect(await stored('users', write.row.id)).toEqual(write.row)
      const event = receipts.map(text => parseEvent(utf8(text))).find(e => e.id === write.event)
      if (event === undefined || !isRowEvent(event)) throw new Error('no event')
      expect(event).toMatchObject({
        action: 'rewrap',
        ver: 1,
        wver: 2,
        after: toHex(rowDigest(write.def, write.row)),
      })
      expect(event.sig).not.toBeNull()
    }
    expect((await send(writes)).toSorted()).toEqual(receipts.toSorted())
    await d.root.run('CALL seal_due()')
    expect((await send(writes)).toSorted()).toEqual(receipts.toSorted())
    const [first] = writes
    if (first === undefined) throw new Error('no write')
    const other = { ...first, signature: random(64) }
    await refused(send([other]), '1644 45W04')
  })

  test('is refused whole for a row that is not there, another version, a key that is not active', async () => {
    const row = await person()
    const good = () => sign(rewrapped(row))
    await refused(send([good(), sign(rewrapped(userRow(tenant)))]), '1644 45W06')
    await refused(send([sign(rewrapped(row, { wrap_version: 3 }))]), '1644 45W02')
    await refused(send([sign(rewrapped(row, { version: 2 }))]), '1644 45W02')
    await refused(send([sign(rewrapped(row, { dek_id: newUuid() }))]), '1644 45W07')
    await refused(send([sign(rewrapped(row, { record_key: random(59) }))]), '1644 45W01')
    const mixed = sign(rewrapped(await person(), { dek_id: newUuid() }))
    await refused(send([good(), mixed]), '1644 45W07')
    await refused(send([good(), good()]), '1644 45W01')
    expect(await stored('users', row.id)).toEqual(row)
    const neighbour = await d.connect(d.tenants[1].account)
    const { procedure, params } = batchCallOf([good()])
    await refused(neighbour.call(procedure, params), '1644 45W06')
    neighbour.destroy()
  })

  test('of a data key changes its wrap and neither its purpose nor what its issuer signed', async () => {
    const key = await stored('data_keys', newDek)
    const fresh = dataKeyRow(tenant, newDek)
    const { purpose, dek_commit, issuer, issuer_sig } = key
    const next = { ...fresh, purpose, dek_commit, issuer, issuer_sig, wrap_version: 2 } as Row
    await send([sign(next, 'data_keys')])
    expect(await stored('data_keys', newDek)).toEqual(next)
    expect(batchCallOf([sign(next, 'data_keys')]).params[0]).not.toContain('issuer_sig')
  })
})
