import { beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { formatEvent, isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { newUuid, random, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { columnsOf, type Row, type TableDefinition } from '../../lib/core/tables.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import {
  accountRow,
  type Deployment,
  dataKeyRow,
  erasedRow,
  sharedDeployment,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'

setDefaultTimeout(60_000)

let d: Deployment
let tenant: TestTenant
let app: Connection

beforeAll(async () => {
  d = await sharedDeployment()
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
})

const bytes = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most })
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null })

/** What TypeScript says of the row is what the trigger wrote, and the payload is the event's one spelling. */
function agrees(def: TableDefinition, row: Row, payload: string): void {
  const event = parseEvent(utf8(payload))
  if (!isRowEvent(event)) throw new Error('not a row event')
  expect(event.after).toBe(toHex(rowDigest(def, row)))
  expect(toHex(formatEvent(event))).toBe(toHex(utf8(payload)))
}

test('the row digest of SQL is that of lib/core for people of every shape, erased ones too', async () => {
  const def = d.define('users')
  const shape = fc.record({
    role: fc.stringMatching(/^[a-z][a-z0-9_-]{0,31}$/),
    full_name: bytes(28, 1052),
    email: bytes(28, 348),
    phone: maybe(bytes(28, 92)),
    email_bidx: bytes(16, 16),
    phone_bidx: maybe(bytes(16, 16)),
  })
  await fc.assert(
    fc.asyncProperty(shape, async own => {
      const row = userRow(tenant, own)
      agrees(def, row, await d.write(app, prepareWrite(def, 'create', row, tenant.by)))
      const erased = erasedRow(def, row)
      agrees(def, erased, await d.write(app, prepareWrite(def, 'erase', erased, tenant.by)))
    }),
    { numRuns: 25 },
  )
})

test('of data keys, whose texts and bytes are of every length', async () => {
  const def = d.define('data_keys')
  const shape = fc.record({
    kms_key: fc.string({ minLength: 1, maxLength: 120, unit: 'grapheme' }).filter(s => utf8(s).length <= 512),
    kms_ciphertext: bytes(1, 1024),
    kem_ciphertext: maybe(bytes(1088, 1088)),
    kem_fingerprint: maybe(bytes(32, 32)),
  })
  await fc.assert(
    fc.asyncProperty(shape, async own => {
      const row = { ...dataKeyRow(tenant, newUuid()), ...own }
      agrees(def, row, await d.write(app, prepareWrite(def, 'create', row, tenant.by)))
    }),
    { numRuns: 25 },
  )
})

test.each([1, 127, 128, 129, 255, 256, 257, 511, 512])('of a text of %d bytes', async length => {
  const def = d.define('data_keys')
  const row = { ...dataKeyRow(tenant, newUuid()), kms_key: 'k'.repeat(length) }
  agrees(def, row, await d.write(app, prepareWrite(def, 'create', row, tenant.by)))
})

test.each([0n, 1n, 127n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
  'of an account with %s',
  async balance => {
    const user = userRow(tenant)
    await d.write(app, prepareWrite(d.define('users'), 'create', user, tenant.by))
    const def = d.define('accounts')
    const row = accountRow(tenant, String(user.id), { balance_minor: balance })
    agrees(def, row, await d.write(app, prepareWrite(def, 'create', row, tenant.by)))
  },
)

test('rows that differ in any column differ in digest, in SQL as in lib/core', async () => {
  const def = d.define('users')
  const row = userRow(tenant)
  const digests = new Set<string>()
  for (const column of ['role', 'full_name', 'email', 'phone', 'phone_bidx', 'record_key', 'mac', 'salt']) {
    const other = column === 'role' ? 'boss' : random((row[column] as Uint8Array).length)
    const changed = { ...row, id: newUuid(), [column]: other }
    const event = parseEvent(utf8(await d.write(app, prepareWrite(def, 'create', changed, tenant.by))))
    digests.add(isRowEvent(event) ? event.after : '')
  }
  expect(digests.size).toBe(8)
  expect(columnsOf(def).length).toBe(16)
})

test('the event of an administrator’s row carries its key as text', async () => {
  const def = d.define('tenant_grant')
  const row = {
    tenant_id: tenant.id,
    account: 'a_b_9',
    version: 1,
    wrap_version: 1,
    state: 'active',
    salt: random(16),
  }
  agrees(def, row, await d.write(d.root, prepareWrite(def, 'create', row, d.administrator)))
  const [found] = await d.root.query('SELECT account FROM tenant_grant WHERE tenant_id = ? AND account = ?', [
    uuidBytes(tenant.id),
    'a_b_9',
  ])
  expect(found?.account).toBe('a_b_9')
})
