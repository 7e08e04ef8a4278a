/** Rotation at every layer on a real server and KMS, cut off at every call, and finished by the next run. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { type Client, openClient } from '../../lib/client/client.ts'
import { readIdentity } from '../../lib/client/identity.ts'
import type { RotationRequest, RotationStep } from '../../lib/client/rotate.ts'
import { openSession, type Session } from '../../lib/client/session.ts'
import { random, toHex } from '../../lib/core/bytes.ts'
import { kemFingerprint, kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { parseKemFile } from '../../lib/core/envelope/key_files.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import type { Row } from '../../lib/core/tables.ts'
import { readPrivateFile } from '../../lib/edge/files.ts'
import { openKms } from '../../lib/edge/kms.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { tableDefinitions } from '../../sql/index.ts'
import { ada, codeOfPromise } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import { issuerSeedOf, storedRow } from '../support/household_client.ts'

setDefaultTimeout(600_000)

let world: EnvelopeDeployment
let a: Household
let seed: Uint8Array
let firstKem: Uint8Array
const secondKem = random(64)
let secondKey: string
/** Calls that change something are counted; at the one that is named the process dies, before or after it. */
let dies: { at: number; after: boolean } | undefined
let calls = 0

class Death extends Error {}

async function mortal<T>(act: () => Promise<T>): Promise<T> {
  calls += 1
  const now = dies?.at === calls
  if (now && dies?.after === false) throw new Death()
  const result = await act()
  if (now) throw new Death()
  return result
}

/** A client whose writes and KMS calls can be its last. */
function open(
  kemSeeds: Uint8Array[] = [firstKem],
  kems: Uint8Array[] = [firstKem],
  receipts = 'receipts',
): Client {
  const trust = readTrust(join(world.dir, 'trust'))
  const path = (what: string) => join(world.dir, 'clients', `${a.tenant.account}-${what}.pem`)
  const known = readIdentity(
    trust,
    {
      certificate: readPrivateFile(path('cert'), 'certificate').toString(),
      certificatePath: path('cert'),
      key: readPrivateFile(path('key'), 'key').toString(),
      keyPath: path('key'),
    },
    Date.now() * 1000,
  )
  const identity = { ...known, tenant: { ...known.tenant, kems: kems.map(kemPublicKey) } }
  const inner = openSession(world.db.options(a.tenant.account), a.tenant.id)
  const session: Session = { ...inner, call: (name, params) => mortal(() => inner.call(name, params)) }
  return openClient({
    mysql: session,
    trust,
    identity,
    definitions: tableDefinitions,
    receiptsDir: join(world.dir, receipts),
    kmsKeys: [`gcp-kms-emulator://${a.kmsKey}`, `gcp-kms-emulator://${secondKey}`],
    openKms: async key => {
      const kms = await openKms(key, { env: a.env, warn: () => undefined })
      return {
        provider: kms.provider,
        encrypt: (...args) => mortal(() => kms.encrypt(...args)),
        decrypt: (...args) => kms.decrypt(...args),
        close: () => kms.close(),
      }
    },
    ...(kemSeeds[0] === undefined ? {} : { kemSeed: kemSeeds[0] }),
    earlierKemSeeds: kemSeeds.slice(1),
  })
}

const request = (change: Partial<RotationRequest>, steps: RotationStep[] = []): RotationRequest => ({
  fresh: [],
  wraps: false,
  hybrid: false,
  planOnly: false,
  patience: { seconds: 60, warn: () => undefined },
  tell: step => steps.push(step),
  ...change,
})

const people = new Map<string, string>()

beforeAll(async () => {
  world = await envelopeDeployment()
  ;[a] = world.households
  seed = issuerSeedOf(a)
  firstKem = parseKemFile(readPrivateFile(a.kemFile, 'kem').toString(), 'kem').seed
  secondKey = a.kmsKey.replace('tenant-a', 'tenant-a-second')
  await world.kms.emulator.createKey(secondKey)
  const token = await world.kms.identity('both', {
    [a.kmsKey]: ['encrypt', 'decrypt'],
    [secondKey]: ['encrypt', 'decrypt'],
  })
  a = { ...a, env: { ...a.env, KMS_EMULATOR_TOKEN_FILE: token } }
  const client = open()
  for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
    await client.createDataKey({ purpose, issuerSeed: seed, hybrid: false })
  for (let i = 0; i < 5; i += 1) {
    const email = `person${i}@example.org`
    people.set(email, (await client.create('users', { ...ada, email })).id)
  }
  const owner = people.get('person0@example.org')
  await client.create('accounts', { user_id: owner, currency: 'EUR', balance_minor: 5 })
  await client.close()
})
beforeEach(() => world.db.anchor())
afterAll(() => world[Symbol.asyncDispose]())

async function everybodyIsFound(client: Client): Promise<void> {
  for (const [email, id] of people) {
    expect(await client.read('users', id)).toEqual({ ...ada, email })
    const ids: string[] = []
    for await (const found of client.find('users', { email })) ids.push(found.id)
    expect(ids).toEqual([id])
  }
}

/** Live rows' names of data keys, and the data keys that are active, of one purpose. */
async function keysOf(purpose: string): Promise<{ named: string[]; active: Row[] }> {
  const named = await world.db.root.query(
    `SELECT DISTINCT BIN_TO_UUID(dek_id) AS id FROM securedb.users WHERE state = 'live' AND tenant_id = UUID_TO_BIN('${a.tenant.id}')
     UNION SELECT BIN_TO_UUID(dek_id) FROM securedb.accounts WHERE tenant_id = UUID_TO_BIN('${a.tenant.id}')`,
  )
  const rows = await world.db.root.query(
    `SELECT * FROM securedb.data_keys WHERE state = 'active' AND purpose = ? AND tenant_id = UUID_TO_BIN(?) AND id <> UUID_TO_BIN(?)`,
    [purpose, a.tenant.id, a.tenant.dekId],
  )
  return {
    named: named.map(row => String(row.id)),
    active: rows.map(row => rowFromDatabase(world.db.define('data_keys'), row)),
  }
}

// What a KMS answered dies with the process: it takes the second call to get beyond it.
const deathsOfARound = [1, 2].flatMap(at => [false, true].map(after => ({ at, after })))

/** Runs it again and again, dying before and after its first call, then its second, until one run gets to its end. */
async function throughDeaths(change: Partial<RotationRequest>, openIt: () => Client = open): Promise<number> {
  let deaths = 0
  const [purpose] = change.fresh ?? []
  const first = purpose === undefined ? [] : (await keysOf(purpose)).active.map(row => row.id)
  for (;;)
    for (const { at, after } of deathsOfARound) {
      dies = { at, after }
      calls = 0
      const client = openIt()
      let ended = true
      // Asked for once: where the old key is gone, the rotation was at its end, and asking again would be another.
      const now = purpose === undefined ? [] : (await keysOf(purpose)).active.map(row => row.id)
      const asked = now.some(id => first.includes(id)) ? change : { ...change, fresh: [] }
      try {
        await client.rotate(request(asked), seed)
      } catch (thrown) {
        if (!(thrown instanceof Death)) throw thrown
        ended = false
        deaths += 1
      } finally {
        dies = undefined
        await client.close()
      }
      const reader = openIt()
      await everybodyIsFound(reader)
      for (const writes of reader.pendingBatches()) await reader.resendBatch(writes)
      for (const write of reader.pending()) await reader.resend(write)
      await reader.close()
      if (ended) return deaths
    }
}

describe('a rotation', () => {
  test('says what it would do, how much of it, and does nothing', async () => {
    const client = open()
    const steps: RotationStep[] = []
    const before = await keysOf('record')
    await client.rotate(
      request({ fresh: ['record', 'blind:users.email'], wraps: true, planOnly: true }, steps),
      undefined,
    )
    expect(steps.map(({ step, table, rows }) => [step, table, rows])).toEqual(
      expect.arrayContaining([
        ['new data key', undefined, undefined],
        ['re-wrap record keys', 'users', 5],
        ['re-wrap record keys', 'accounts', 1],
        ['rewrite blind index', 'users', 5],
        ['retire data key', undefined, undefined],
        ['re-wrap data key', undefined, undefined],
      ]),
    )
    expect(await keysOf('record')).toEqual(before)
    await client.close()
  })

  test('to a new data key, cut off at every call, leaves everybody readable and is finished by the next run', async () => {
    const [old] = (await keysOf('record')).active
    const versions = await world.db.root.query(
      'SELECT id, version, full_name FROM securedb.users ORDER BY id',
    )
    expect(await throughDeaths({ fresh: ['record'] })).toBeGreaterThanOrEqual(5)
    const { named, active } = await keysOf('record')
    expect(active.length).toBe(1)
    expect(named).toEqual([String(active[0]?.id)])
    expect(named).not.toContain(String(old?.id))
    expect((await storedRow(world, 'data_keys', String(old?.id))).state).toBe('retired')
    expect(
      await world.db.root.query('SELECT id, version, full_name FROM securedb.users ORDER BY id'),
    ).toEqual(versions)
  })

  test('to a new blind-index key rewrites its column, and searches find everybody all the while', async () => {
    const before = (await keysOf('blind:users.email')).active.map(row => row.id)
    expect(await throughDeaths({ fresh: ['blind:users.email'] })).toBeGreaterThanOrEqual(6)
    const { active } = await keysOf('blind:users.email')
    expect(active.length).toBe(1)
    expect(before).not.toContain(active[0]?.id ?? null)
  })

  test('wraps again for the hybrid, a new ML-KEM key, another KMS key; data rows and signatures stay', async () => {
    const rows = await world.db.root.query('SELECT * FROM securedb.users ORDER BY id')
    const commits = async () =>
      (await keysOf('record')).active.map(row => toHex(row.dek_commit as Uint8Array))
    const signed = await commits()
    expect(await throughDeaths({ hybrid: true })).toBeGreaterThanOrEqual(3)
    expect((await keysOf('record')).active.map(row => row.suite)).toEqual(['kms+ml-kem-768'])
    const both = () => open([secondKem, firstKem], [firstKem, secondKem])
    expect(await throughDeaths({}, both)).toBeGreaterThanOrEqual(3)
    const fingerprint = toHex(kemFingerprint(kemPublicKey(secondKem)))
    for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
      for (const row of (await keysOf(purpose)).active)
        expect(toHex(row.kem_fingerprint as Uint8Array)).toBe(fingerprint)
    const second = () => open([secondKem], [firstKem, secondKem])
    const target = `gcp-kms-emulator://${secondKey}`
    expect(await throughDeaths({ kmsKey: target }, second)).toBeGreaterThanOrEqual(3)
    expect((await keysOf('record')).active.map(row => row.kms_key)).toEqual([target])
    expect(await commits()).toEqual(signed)
    expect(await world.db.root.query('SELECT * FROM securedb.users ORDER BY id')).toEqual(rows)
    const client = open([firstKem])
    expect(await codeOfPromise(() => client.read('users', String(people.get('person1@example.org'))))).toBe(
      'REFUSED',
    )
    await client.close()
  })

  test('for a new version of the KMS key wraps each key once, also over a cut', async () => {
    const second = () => open([secondKem], [firstKem, secondKem])
    let began: ReadonlyMap<string, number> | undefined
    const wraps = (): Partial<RotationRequest> => ({
      wraps: true,
      began,
      onBegin: versions => {
        began = versions
      },
    })
    dies = { at: 3, after: false }
    calls = 0
    const first = second()
    expect(await first.rotate(request(wraps()), seed).catch(thrown => thrown)).toBeInstanceOf(Death)
    dies = undefined
    await first.close()
    const again = second()
    const steps: RotationStep[] = []
    await again.rotate(request(wraps(), steps), seed)
    expect(steps.length).toBe(2)
    await everybodyIsFound(again)
    await again.close()
  })

  test('signs for no row that somebody changed', async () => {
    const client = open([secondKem], [firstKem, secondKem], 'none')
    const id = String(people.get('person4@example.org'))
    const row = await storedRow(world, 'users', id)
    // Root, with the triggers away: the role is not under any key, only under the MAC.
    const [trigger] = await world.db.root.query('SHOW CREATE TRIGGER securedb.users_changed')
    await world.db.root.run('DROP TRIGGER securedb.users_changed')
    await world.db.root.run('UPDATE securedb.users SET role = ? WHERE id = UUID_TO_BIN(?)', ['boss', id])
    await world.db.root.run(String(trigger?.['SQL Original Statement']))
    expect(await codeOfPromise(() => client.rotate(request({ fresh: ['record'] }), seed))).toBe('BAD_MAC')
    expect((await storedRow(world, 'users', id)).wrap_version).toBe(row.wrap_version ?? null)
    await client.close()
  })
})
