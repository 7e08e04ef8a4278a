import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { p256 } from '@noble/curves/nist.js'
import { type Client, type ClientOptions, openClient } from '../../lib/client/client.ts'
import { isRowEvent, signedWrite } from '../../lib/core/audit/event.ts'
import { parseReceipt } from '../../lib/core/audit/receipt.ts'
import { type Bytes, newUuid, random } from '../../lib/core/bytes.ts'
import { issuerPublicKey } from '../../lib/core/envelope/issuer.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { signerOf, verifyWrite } from '../../lib/core/signature.ts'
import { p256Spki } from '../../lib/core/x509.ts'
import { accounts, ada, codeOfPromise as code, dataKeys, kmsKey, users } from '../support/envelope.ts'
import { FakeDatabase, fakeKms } from '../support/fake_database.ts'

const definitions = new Map([users, accounts, dataKeys].map(def => [def.table, def]))
const origin = 'ztmysql.local/0123456789abcdef'
const purposes = ['record', 'blind:users.email', 'blind:users.phone']
const issuerSeed = random(32)
const kemSeed = random(64)
const issuers = [issuerPublicKey(issuerSeed)]
const kems = [kemPublicKey(kemSeed)]

let dir: string
let database: FakeDatabase
let kms: ReturnType<typeof fakeKms>
let warnings: string[]
const tenant = { id: newUuid(), label: 'acme', fixture: false, issuers, kems, kmsKeys: [kmsKey] }
const secretKey = random(32)
const publicKey = p256.getPublicKey(secretKey, false)
const identity = { account: 'app_user', tenant, signer: signerOf(p256Spki(publicKey)), secretKey }
const trust = {
  serial: 1,
  time: '2026-01-01T00:00:00.000000Z',
  origin,
  ca: [],
  crl: [],
  logKeys: [],
  tenants: [tenant],
  certificates: [],
}

const open = (change: Partial<ClientOptions> = {}): Client =>
  openClient({
    mysql: database,
    trust,
    identity,
    definitions,
    receiptsDir: join(dir, 'receipts'),
    openKms: async () => kms,
    kemSeed,
    warn: line => warnings.push(line),
    ...change,
  })

const prepared = new Map<boolean, { database: FakeDatabase; kms: ReturnType<typeof fakeKms> }>()

/** A client of a database that has the tenant's three keys. They are made once: ML-DSA in pure JavaScript is slow. */
async function openWithKeys(hybrid = false): Promise<Client> {
  let made = prepared.get(hybrid)
  if (made === undefined) {
    database = new FakeDatabase(definitions, tenant.id)
    kms = fakeKms()
    const receiptsDir = join(dir, 'first')
    for (const purpose of purposes) await open({ receiptsDir }).createDataKey({ purpose, issuerSeed, hybrid })
    made = { database, kms }
    prepared.set(hybrid, made)
  }
  database = made.database.copy()
  kms = made.kms
  kms.calls = 0
  return open()
}

const listed = (suffix: string) =>
  existsSync(join(dir, 'receipts'))
    ? readdirSync(join(dir, 'receipts')).filter(name => name.endsWith(suffix))
    : []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-client-'))
  database = new FakeDatabase(definitions, tenant.id)
  kms = fakeKms()
  warnings = []
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('a client', () => {
  test('writes, reads, updates and erases a person, in both suites', async () => {
    for (const hybrid of [false, true]) {
      const client = await openWithKeys(hybrid)
      const { id } = await client.create('users', ada)
      expect(await client.read('users', id)).toEqual(ada)
      const { version } = await client.update('users', id, { ...ada, phone: null, role: 'dpo' })
      expect(version).toBe(2)
      expect(await open().read('users', id)).toEqual({ ...ada, phone: null, role: 'dpo' })
      await client.erase('users', id)
      expect(await code(() => client.read('users', id))).toBe('NOT_FOUND')
      await client.close()
      expect(kms.closed).toBe(true)
    }
  })

  test('keeps a receipt that its certificate’s key signed', async () => {
    const client = await openWithKeys()
    const { event, receipt, id } = await client.create('users', ada)
    const kept = parseReceipt(readFileSync(receipt), 'receipt', `${event}.json`)
    if (!isRowEvent(kept.event)) throw new Error('not a row event')
    const signed = signedWrite(kept.event, origin)
    if (signed === undefined) throw new Error('not signed')
    expect(verifyWrite(publicKey, signed.write, signed.signature)).toBe(true)
    expect(kept.event.key).toBe(id)
    expect(listed('.json')).toEqual([`${event}.json`])
    expect(listed('.pending')).toEqual([])
  })

  test('works over any sealed table', async () => {
    const client = await openWithKeys()
    const { id: user_id } = await client.create('users', ada)
    const account = { user_id, currency: 'EUR', balance_minor: 2n ** 60n }
    const { id } = await client.create('accounts', account)
    expect(await client.read('accounts', id)).toEqual(account)
    expect(await code(() => client.create('tenants', {}))).toBe('BAD_INPUT')
    expect(await code(() => client.update('accounts', id, account))).toBe('BAD_INPUT')
  })

  test('writes many at once, each with its own receipt, or none where one is wrong', async () => {
    const client = await openWithKeys()
    const people = Array.from({ length: 7 }, (_, i) => ({
      ...ada,
      email: `ada${i}@example.org`,
      phone: null,
    }))
    const written = await client.createMany('users', people)
    for (const [i, { id, receipt }] of written.entries()) {
      expect(await client.read('users', id)).toMatchObject({ email: `ada${i}@example.org` })
      expect(existsSync(receipt)).toBe(true)
    }
    expect(listed('.pending')).toEqual([])
    const before = database.rows.size
    expect(await code(() => client.createMany('users', [...people, { ...ada, email: 'x' }]))).toBe(
      'BAD_INPUT',
    )
    expect(
      await code(() =>
        client.createMany('accounts', [{ user_id: newUuid(), currency: 'EUR', balance_minor: 1 }]),
      ),
    ).toBe('BAD_INPUT')
    expect(database.rows.size).toBe(before)
    expect(await client.createMany('users', [])).toEqual([])
  })

  test('makes no folder of receipts by reading', async () => {
    const client = await openWithKeys()
    expect(await code(() => client.read('users', newUuid()))).toBe('NOT_FOUND')
    expect(existsSync(join(dir, 'receipts'))).toBe(false)
    expect(client.pending()).toEqual([])
  })

  test('asks the KMS once a key, however many rows', async () => {
    const client = await openWithKeys()
    for (let i = 0; i < 5; i++) await client.read('users', (await client.create('users', ada)).id)
    expect(kms.calls).toBe(3)
  })

  test('asks the KMS once for all who want a key at once, and a failure is everybody’s and not kept', async () => {
    const client = await openWithKeys()
    const { id } = await client.create('users', ada)
    const fresh = open()
    kms.calls = 0
    const { decrypt } = kms
    let down = true
    kms.decrypt = async (...args) => {
      const opened = await decrypt(...args)
      if (down) throw new ZtError('UNREACHABLE', 'kms: no answer')
      return opened
    }
    try {
      const read = () => Promise.all(Array.from({ length: 64 }, () => fresh.read('users', id)))
      expect(await code(read)).toBe('UNREACHABLE')
      expect(kms.calls).toBe(1)
      down = false
      expect((await read()).length).toBe(64)
      expect(kms.calls).toBe(2)
      // What is cached goes on without the KMS.
      down = true
      expect(await fresh.read('users', id)).toEqual(ada)
      expect(kms.calls).toBe(2)
    } finally {
      kms.decrypt = decrypt
    }
    await fresh.close()
  })

  test('sends nothing of the plaintext', async () => {
    const client = await openWithKeys()
    const { id } = await client.create('users', ada)
    const seen = JSON.stringify(Object.values(database.row('users', id)).map(String)) + listed('').join()
    expect(seen).not.toMatch(/Ada|ada@|7946/)
    const stored = Buffer.concat(
      Object.values(database.row('users', id)).map(value =>
        Buffer.from(value instanceof Uint8Array ? value : String(value)),
      ),
    ).toString('latin1')
    expect(stored).not.toMatch(/Ada|ada@|7946/)
  })

  test('refuses bad input before it calls anybody', async () => {
    const client = open()
    expect(await code(() => client.create('users', { ...ada, email: 'x' }))).toBe('BAD_INPUT')
    expect(database.calls).toEqual([])
    expect(kms.calls).toBe(0)
  })
})

describe('data keys', () => {
  test('nothing is sealed without one, or under one that no issuer of the tenant signed', async () => {
    const client = open()
    expect(await code(() => client.create('users', ada))).toBe('NOT_FOUND')
    await openWithKeys()
    const attacker = random(32)
    const other = { ...tenant, issuers: [issuerPublicKey(attacker)] }
    const believes = (issuers: Bytes[]) =>
      open({ identity: { ...identity, tenant: { ...tenant, issuers } }, receiptsDir: join(dir, 'r2') })
    expect(await code(() => believes(other.issuers).create('users', ada))).toBe('PLANTED_KEY')
    expect(await believes(other.issuers).activeDataKeys('record')).toEqual([]) // so that a genuine one can be made
    expect(warnings.join()).toContain('is not one of this tenant')
  })

  test('a planted key beside a genuine one is passed over, with a warning', async () => {
    const client = await openWithKeys()
    const attacker = random(32)
    const evil = open({
      identity: { ...identity, tenant: { ...tenant, issuers: [issuerPublicKey(attacker)] } },
    })
    const { id: planted } = await evil.createDataKey({
      purpose: 'record',
      issuerSeed: attacker,
      hybrid: false,
    })
    const row = database.row('data_keys', planted)
    const first = '00000000-0000-4000-8000-000000000000'
    database.rows.set(`data_keys ${first}`, { ...row, id: first })
    const { id } = await client.create('users', ada)
    expect([planted, first]).not.toContain(String(database.row('users', id).dek_id))
    expect(warnings.length).toBeGreaterThan(0)
    expect(warnings.join()).toContain(planted)
  })

  test('a row that an attacker sealed under a planted key is not read', async () => {
    const attacker = random(32)
    const evil = open({
      identity: { ...identity, tenant: { ...tenant, issuers: [issuerPublicKey(attacker)] } },
      receiptsDir: join(dir, 'evil'),
    })
    for (const purpose of purposes) await evil.createDataKey({ purpose, issuerSeed: attacker, hybrid: false })
    const { id } = await evil.create('users', { ...ada, full_name: 'Mallory' })
    expect(await evil.read('users', id)).toMatchObject({ full_name: 'Mallory' })
    expect(await code(() => open().read('users', id))).toBe('PLANTED_KEY')
  })

  test('a blind-index key does not serve as a DEK, nor the other way round', async () => {
    const client = open()
    await client.createDataKey({ purpose: 'blind:users.email', issuerSeed, hybrid: false })
    const [key] = await client.activeDataKeys('blind:users.email')
    const row = database.row('data_keys', String(key))
    database.rows.set(`data_keys ${String(key)}`, { ...row, purpose: 'record' })
    expect(await code(() => client.create('users', ada))).toBe('PLANTED_KEY')
  })

  test('a KMS key that is not the tenant’s is never asked', async () => {
    const client = await openWithKeys()
    const { id } = await client.create('users', ada)
    for (const row of database.rows.values())
      if (row.kms_key !== undefined) row.kms_key = kmsKey.replace('acme', 'globex')
    const before = kms.calls
    expect(await code(() => open().read('users', id))).toBe('REFUSED')
    expect(kms.calls).toBe(before)
  })

  test('a wrong or missing ML-KEM key, and a wrong issuer, are named', async () => {
    const client = await openWithKeys(true)
    const { id } = await client.create('users', ada)
    expect(await code(() => open({ kemSeed: undefined }).read('users', id))).toBe('REFUSED')
    expect(await code(() => open({ kemSeed: random(64) }).read('users', id))).toBe('REFUSED')
    const make = (seed: Bytes) => client.createDataKey({ purpose: 'record', issuerSeed: seed, hybrid: false })
    expect(await code(() => make(random(32)))).toBe('REFUSED')
    const foreign = open({ kemSeed: random(64) })
    expect(await code(() => foreign.createDataKey({ purpose: 'record', issuerSeed, hybrid: true }))).toBe(
      'REFUSED',
    )
  })

  test('a retired key still reads and no longer seals', async () => {
    const client = await openWithKeys()
    const { id } = await client.create('users', ada)
    const [key] = await client.activeDataKeys('record')
    await client.retireDataKey(String(key))
    expect(await client.activeDataKeys('record')).toEqual([])
    expect(await open().read('users', id)).toEqual(ada)
    expect(await code(() => open().create('users', ada))).toBe('NOT_FOUND')
  })
})

describe('a database that lies', () => {
  test('cannot change a value, or put an older or another row back', async () => {
    const client = await openWithKeys()
    const { id } = await client.create('users', ada)
    const old = { ...database.row('users', id) }
    const other = await client.create('users', { ...ada, full_name: 'Bob' })
    await client.update('users', id, { ...ada, role: 'dpo' })
    const current = { ...database.row('users', id) }
    const read = async (row: typeof old) => {
      database.rows.set(`users ${id}`, row)
      return code(() => client.read('users', id))
    }
    expect(await read(current)).toBeUndefined()
    expect(await read(old)).toBe('STALE_ROW')
    expect(await read({ ...current, version: 1 })).toBe('STALE_ROW')
    expect(await read({ ...current, role: 'administrator' })).toBe('STALE_ROW')
    expect(await read({ ...database.row('users', other.id), id })).toBe('STALE_ROW')
    expect(await read({ ...current, salt: random(16) })).toBe('STALE_ROW')
    rmSync(join(dir, 'receipts'), { recursive: true })
    const stranger = open() // holds no receipt: the row MAC alone
    const readByStranger = async (row: typeof old) => {
      database.rows.set(`users ${id}`, row)
      return code(() => stranger.read('users', id))
    }
    expect(await readByStranger({ ...current, role: 'administrator' })).toBe('BAD_MAC')
    expect(await readByStranger({ ...current, version: 3 })).toBe('BAD_MAC')
    expect(await readByStranger({ ...current, state: 'erased' })).toBe('NOT_FOUND')
    expect(await readByStranger(old)).toBeUndefined() // documented: only a receipt or the verifier finds it
  })

  test('gets no lying receipt accepted: it is kept aside, and the write stays pending', async () => {
    const client = await openWithKeys()
    for (const tamper of [
      (text: string) => text.replace('"action":"create"', '"action":"update"'),
      (text: string) => text.replace(/"after":"../, '"after":"00'),
      (text: string) => text.replace(/"key":"[^"]+"/, `"key":"${newUuid()}"`),
      (text: string) => text.replace('"ver":1', '"ver":2'),
      (text: string) => text.replace('app_user@', 'other_user@'),
      (text: string) => text.replace(/"sig":"[^"]+","signer":"[^"]+"/, '"sig":null,"signer":null'),
      (text: string) => text.replace('{"v":1', '{"v": 1'),
      () => 'OK',
      () => '',
    ]) {
      database.tamper = tamper
      const before = listed('.json').length
      expect(await code(() => client.create('users', ada))).toBe('VERIFY_FAILED')
      expect(listed('.json').length).toBe(before)
    }
    expect(listed('.disputed').length).toBe(9)
    expect(client.pending().length).toBe(9)
  })
})

describe('a write whose answer is lost', () => {
  test('stays pending, and gets its receipt when it is sent again', async () => {
    const client = await openWithKeys()
    database.fault = 'lost'
    expect(await code(() => client.create('users', ada))).toBe('UNREACHABLE')
    const rows = database.rows.size
    const [write, ...more] = open().pending()
    expect(more).toEqual([])
    if (write === undefined) throw new Error('nothing is pending')
    const { id } = await open().resend(write)
    expect(database.rows.size).toBe(rows)
    expect(await open().read('users', id)).toEqual(ada)
    expect(open().pending()).toEqual([])
  })

  test('keeps no plaintext where it waits', async () => {
    const client = await openWithKeys()
    database.fault = 'lost'
    await code(() => client.create('users', ada))
    const [name = ''] = listed('.pending')
    expect(readFileSync(join(dir, 'receipts', name), 'utf8')).not.toMatch(/Ada|ada@|7946/)
  })

  test('a refusal leaves nothing pending, and a server that is not there sends nothing', async () => {
    const client = await openWithKeys()
    database.fault = 'refused'
    expect(await code(() => client.create('users', ada))).toBe('REFUSED')
    expect(listed('.pending')).toEqual([])
    database.fault = 'down'
    expect(await code(() => client.create('users', ada))).toBe('UNREACHABLE')
    expect(listed('.pending')).toEqual([])
  })

  test('a receipt that cannot be kept is fetched again', async () => {
    const client = await openWithKeys()
    let blocked = ''
    database.tamper = payload => {
      blocked = join(dir, 'receipts', `${JSON.parse(payload).id}.json`)
      mkdirSync(join(blocked, 'x'), { recursive: true }) // nothing can be renamed over it
      return payload
    }
    try {
      await client.create('users', ada)
      expect.unreachable()
    } catch (thrown) {
      expect(String(thrown)).toContain('was written, its receipt is not kept yet')
    }
    rmSync(blocked, { recursive: true })
    database.tamper = payload => payload
    const [write] = client.pending()
    if (write === undefined) throw new Error('nothing is pending')
    expect(existsSync((await client.resend(write)).receipt)).toBe(true)
    expect(client.pending()).toEqual([])
  })

  test('nothing is sent where the call cannot be kept first', async () => {
    const client = await openWithKeys()
    const calls = database.calls.length
    writeFileSync(join(dir, 'receipts'), '')
    expect(await code(() => client.create('users', ada))).toBe('BAD_INPUT')
    expect(database.calls.length).toBe(calls)
  })

  test('is not sent to another log, or for another tenant', async () => {
    const client = await openWithKeys()
    database.fault = 'lost'
    await code(() => client.create('users', ada))
    const [write] = client.pending()
    if (write === undefined) throw new Error('nothing is pending')
    expect(await code(() => client.resend({ ...write, origin: 'ztmysql.local/ffffffffffffffff' }))).toBe(
      'REFUSED',
    )
    const moved = { ...write, row: { ...write.row, tenant_id: newUuid() } }
    expect(await code(() => client.resend(moved))).toBe('REFUSED')
  })

  test('a pending file that somebody changed is refused', async () => {
    const client = await openWithKeys()
    database.fault = 'lost'
    await code(() => client.create('users', ada))
    const path = join(dir, 'receipts', listed('.pending')[0] ?? '')
    writeFileSync(path, readFileSync(path, 'utf8').replace('"v":1', '"v": 1'))
    expect(await code(async () => client.pending())).toBe('BAD_FORMAT')
  })
})
