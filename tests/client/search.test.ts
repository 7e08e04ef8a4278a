/** Search and whole reads, on a real server with the real KMS client. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Client, Found } from '../../lib/client/client.ts'
import { openClientFiles } from '../../lib/client/files.ts'
import { newUuid, toHex } from '../../lib/core/bytes.ts'
import { sealRow } from '../../lib/core/envelope/row.ts'
import { rowMac } from '../../lib/core/envelope/row_mac.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import { ada, codeOfPromise, users } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import { clientOf, filesOf, issuerSeedOf, openedKey, storedRow } from '../support/household_client.ts'

setDefaultTimeout(300_000)

let world: EnvelopeDeployment
let a: Household
let b: Household
let client: Client
let warnings: string[]

beforeAll(async () => {
  world = await envelopeDeployment()
  ;[a, b] = world.households
  for (const household of world.households) {
    const making = clientOf(world, household)
    for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
      await making.createDataKey({ purpose, issuerSeed: issuerSeedOf(household), hybrid: false })
    await making.close()
  }
  client = openClientFiles({ ...filesOf(world, a), warn: line => warnings.push(line) }).client
})
beforeEach(async () => {
  warnings = []
  await world.db.anchor()
})
afterAll(async () => {
  await client.close()
  await world[Symbol.asyncDispose]()
})

const found = async (wanted: Record<string, string>, by = client): Promise<string[]> => {
  const ids: string[] = []
  for await (const { id } of by.find('users', wanted)) ids.push(id)
  return ids
}

describe('a search', () => {
  test('finds a person however the address or number is written, and nobody who was erased or changed', async () => {
    const { id } = await client.create('users', ada)
    const { id: twin } = await client.create('users', { ...ada, phone: null, email: ' ADA@Example.org' })
    await client.create('users', { ...ada, email: 'bob@example.org', phone: null })
    expect(await found({ email: 'Ada@EXAMPLE.org ' })).toEqual([id, twin].toSorted())
    expect(await found({ phone: '+44 (20) 7946-0958' })).toEqual([id])
    expect(await found({ email: 'ada@example.org', phone: '+442079460958' })).toEqual([id])
    expect(await found({ email: 'bob@example.org', phone: '+442079460958' })).toEqual([])
    await client.update('users', twin, { ...ada, email: 'eve@example.org', phone: null })
    expect(await found({ email: 'ada@example.org' })).toEqual([id])
    expect(await found({ email: 'eve@example.org' })).toEqual([twin])
    await client.erase('users', id)
    expect(await found({ email: 'ada@example.org' })).toEqual([])
  })

  test('says what cannot be searched for, before anything is asked', async () => {
    expect(await codeOfPromise(() => found({ full_name: 'Ada' }))).toBe('BAD_INPUT')
    expect(await codeOfPromise(() => found({ email: 'no address' }))).toBe('BAD_INPUT')
    expect(await codeOfPromise(() => found({ phone: '+44 (0)20 7946 0958' }))).toBe('BAD_INPUT')
  })

  test('shows nobody of another tenant, and is the same whether he has such a person or not', async () => {
    const other = clientOf(world, b, 'receipts-b')
    await other.create('users', { ...ada, email: 'neighbour@example.org', phone: null })
    expect(await found({ email: 'neighbour@example.org' })).toEqual([])
    const { id } = await client.create('users', { ...ada, email: 'neighbour@example.org', phone: null })
    expect(await found({ email: 'neighbour@example.org' })).toEqual([id])
    const theirs = await found({ email: 'neighbour@example.org' }, other)
    expect(theirs).toHaveLength(1)
    const [mine, his] = [
      await storedRow(world, 'users', id),
      await storedRow(world, 'users', String(theirs[0])),
    ]
    expect(toHex(mine.email_bidx as Uint8Array)).not.toBe(toHex(his.email_bidx as Uint8Array))
    await other.close()
  })

  test('believes no index: a hit whose cell says otherwise is left out, and told', async () => {
    const { id } = await client.create('users', { ...ada, email: 'wanted@example.org', phone: null })
    const real = await storedRow(world, 'users', id)
    const { key } = await openedKey(world, a, String(real.dek_id))
    const head = { tenant: a.tenant.id, key: newUuid(), version: 1 }
    const recordKey = new Uint8Array(32).fill(7)
    const sealed = sealRow(
      users,
      { dekId: String(real.dek_id), dek: key, blind: null },
      head,
      { ...ada, email: 'other@example.org', phone: null },
      length => new Uint8Array(length).fill(7),
    )
    const lying = { ...sealed, email_bidx: real.email_bidx ?? null }
    const row = { ...lying, mac: rowMac(users, lying, recordKey) }
    const connection = await world.db.connect(a.tenant.account)
    await world.db.write(connection, prepareWrite(users, 'create', row, a.tenant.by))
    await connection.close()
    expect(await found({ email: 'wanted@example.org' })).toEqual([id])
    expect(warnings.join()).toContain(`users ${head.key}: its email_bidx is not that of its email`)
  })
})

test('all rows are read, page by page, each once and in order, without the erased ones', async () => {
  const many = Array.from({ length: 1050 }, (_, i) => ({
    ...ada,
    email: `page${i}@example.org`,
    phone: null,
  }))
  await client.createMany('users', many)
  const all: Found[] = []
  for await (const one of client.all('users')) all.push(one)
  const ids = all.map(({ id }) => id)
  expect(ids).toEqual([...new Set(ids)].toSorted())
  const addresses = new Set(all.map(({ plain }) => plain.email))
  for (const { email } of many) expect(addresses.has(email)).toBe(true)
  const [live] = await world.db.root.query(
    "SELECT COUNT(*) AS n FROM securedb.users WHERE state = 'live' AND tenant_id = UUID_TO_BIN(?)",
    [a.tenant.id],
  )
  expect(all.length).toBe(Number(live?.n))
})

test('without the KMS what is cached goes on, a new client is told so in the end, and the KMS’s return is enough', async () => {
  const { id } = await client.create('users', { ...ada, email: 'outage@example.org', phone: null })
  const late = clientOf(world, a)
  world.kms.emulator.setFault('fail=UNAVAILABLE')
  try {
    expect(await client.read('users', id)).toMatchObject({ email: 'outage@example.org' })
    expect(await found({ email: 'outage@example.org' })).toEqual([id])
    expect(await codeOfPromise(() => late.read('users', id))).toBe('UNREACHABLE')
    expect(await codeOfPromise(() => late.create('users', ada))).toBe('UNREACHABLE')
  } finally {
    world.kms.emulator.setFault()
  }
  expect(await late.read('users', id)).toMatchObject({ email: 'outage@example.org' })
  await late.close()
})
