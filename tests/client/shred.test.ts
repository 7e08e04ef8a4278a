/** The end of an epoch on a real server and KMS: cut off at every call, with an erased person in a backup. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { type Client, openClient } from '../../lib/client/client.ts'
import { readIdentity } from '../../lib/client/identity.ts'
import { openSession, type Session } from '../../lib/client/session.ts'
import type { Epoch, KeyVersion, ShredStep } from '../../lib/client/shred.ts'
import { dataKeyFromRow, openDataKey } from '../../lib/core/envelope/data_key.ts'
import { openRow } from '../../lib/core/envelope/row.ts'
import { kmsAad } from '../../lib/core/envelope/wrap.ts'
import type { Row } from '../../lib/core/tables.ts'
import { readPrivateFile } from '../../lib/edge/files.ts'
import { openKms } from '../../lib/edge/kms.ts'
import { type KmsAdmin, openKmsAdmin } from '../../lib/edge/kms_admin.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { tableDefinitions } from '../../sql/index.ts'
import { ada, codeOfPromise, users } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import { issuerSeedOf, storedRow } from '../support/household_client.ts'

setDefaultTimeout(600_000)

let world: EnvelopeDeployment
let a: Household
let key: string
let seed: Uint8Array
let adminToken: string
let under: KeyVersion | undefined
let kept: Epoch | undefined
/** Calls that change something are counted; at the one that is named the process dies, before or after it. */
let dies: { at: number; after: boolean } | undefined
let calls = 0

class Death extends Error {}

async function mortal<T>(act: () => Promise<T>): Promise<T> {
  calls += 1
  if (dies !== undefined && calls > dies.at) throw new Death() // the dead do not tidy up
  const now = dies?.at === calls
  if (now && dies?.after === false) throw new Death()
  const result = await act()
  if (now) throw new Death()
  return result
}

function open(): Client {
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
  const inner = openSession(world.db.options(a.tenant.account), a.tenant.id)
  const session: Session = { ...inner, call: (name, params) => mortal(() => inner.call(name, params)) }
  return openClient({
    mysql: session,
    trust,
    identity: { ...known, tenant: { ...known.tenant, kems: [] } },
    definitions: tableDefinitions,
    receiptsDir: join(world.dir, 'receipts'),
    openKms: async uri => {
      const kms = await openKms(uri, { env: a.env, warn: () => undefined })
      return {
        ...kms,
        encrypt: (one, text, aad) => mortal(() => kms.encrypt(one, text, aad, under?.version)),
      }
    },
  })
}

async function openAdmin(): Promise<KmsAdmin> {
  const admin = await openKmsAdmin({ env: a.env, credentialsFile: adminToken })
  return {
    ...admin,
    create: one => mortal(() => admin.create(one)),
    makePrimary: (...args) => mortal(() => admin.makePrimary(...args)),
    setEnabled: (...args) => mortal(() => admin.setEnabled(...args)),
    destroy: (...args) => mortal(() => admin.destroy(...args)),
  }
}

async function shred(
  client: Client,
  change: { planOnly?: boolean; forced?: KeyVersion; steps?: ShredStep[] } = {},
) {
  const { steps = [], forced } = change
  const admin = await openAdmin()
  try {
    const done = await client.shredEpoch(
      {
        admin,
        kmsKeys: [key],
        planOnly: change.planOnly === true,
        patience: { seconds: 60, warn: () => undefined },
        epoch: kept,
        keep: epoch => {
          kept = epoch
        },
        wrapUnder: version => {
          under = forced ?? version
        },
        settle: async () => undefined,
        tell: step => steps.push(step),
      },
      seed,
    )
    return { steps, ...done }
  } finally {
    await admin.close()
  }
}

const people = new Map<string, string>()
let erased: { row: Row; dek: Row }

async function everybodyIsThere(): Promise<void> {
  const client = open()
  for (const writes of client.pendingBatches()) await client.resendBatch(writes)
  for (const write of client.pending()) await client.resend(write)
  for (const [email, id] of people) {
    const found: unknown[] = []
    for await (const hit of client.find('users', { email })) found.push(hit.id)
    expect(found).toEqual([id])
    expect(await client.read('users', id)).toEqual({ ...ada, email })
  }
  await client.close()
}

/** What whoever has a backup and the rights of a client gets of the erased person. */
async function fromTheBackup() {
  const record = dataKeyFromRow(erased.dek)
  const kms = await openKms(key, { env: a.env, warn: () => undefined })
  try {
    const secret = await kms.decrypt(key, record.kmsCiphertext, kmsAad(record.suite, record))
    const at = { tenant: a.tenant.id, key: String(erased.row.id) }
    return openRow(users, openDataKey(record, secret), erased.row, at)
  } finally {
    await kms.close()
  }
}

beforeAll(async () => {
  world = await envelopeDeployment()
  ;[a] = world.households
  key = `gcp-kms-emulator://${a.kmsKey}`
  seed = issuerSeedOf(a)
  adminToken = await world.kms.identity('key-admin', { [a.kmsKey]: ['admin'] })
  const client = open()
  for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
    await client.createDataKey({ purpose, issuerSeed: seed, hybrid: false })
  for (const email of ['one@example.org', 'two@example.org'])
    people.set(email, (await client.create('users', { ...ada, email })).id)
  await client.create('accounts', {
    user_id: people.get('one@example.org'),
    currency: 'EUR',
    balance_minor: 5,
  })
  const { id } = await client.create('users', ada)
  const row = await storedRow(world, 'users', id)
  erased = { row, dek: await storedRow(world, 'data_keys', String(row.dek_id)) }
  await client.erase('users', id)
  await client.close()
})
beforeEach(() => world.db.anchor())
afterAll(() => world[Symbol.asyncDispose]())

test('a plan names the versions, the rows and the date, and changes nothing', async () => {
  const client = open()
  const before = await world.db.root.query('SELECT * FROM securedb.data_keys ORDER BY id')
  const { steps, complete } = await shred(client, { planOnly: true })
  await client.close()
  expect(steps.map(step => step.step)).toEqual(
    expect.arrayContaining(['new KMS version', 'new data key', 're-wrap record keys', 'destroy KMS version']),
  )
  expect(Date.parse(complete)).toBeGreaterThan(Date.now() + 29 * 86_400_000)
  expect(await world.db.root.query('SELECT * FROM securedb.data_keys ORDER BY id')).toEqual(before)
  expect(kept).toBeUndefined()
})

test('where a living key still needs an old version, that comes back and nothing is destroyed', async () => {
  const client = open()
  const steps: ShredStep[] = []
  const forced = { key, version: 1 }
  expect(await codeOfPromise(() => shred(client, { forced, steps }))).toBe('KMS')
  await client.close()
  expect(steps.slice(-2)).toEqual([
    { step: 'disable KMS version', ...forced },
    { step: 'enable KMS version again', ...forced },
  ])
  kept = undefined
  under = undefined
  await everybodyIsThere()
})

test('an epoch, cut off at every call, leaves everybody readable, and kills the erased person in the backup', async () => {
  expect(await fromTheBackup()).toEqual(ada)
  let done: Awaited<ReturnType<typeof shred>> | undefined
  let deaths = 0
  while (done === undefined)
    for (const one of [
      { at: 1, after: true },
      { at: 3, after: false },
      { at: 3, after: true },
    ]) {
      dies = one
      calls = 0
      const client = open()
      try {
        done = await shred(client)
      } catch (thrown) {
        if (!(thrown instanceof Death)) throw thrown
        deaths += 1
      }
      dies = undefined
      await client.close()
      under = undefined
      await everybodyIsThere()
      if (done !== undefined) break
    }
  expect(deaths).toBeGreaterThanOrEqual(10)
  expect(Date.parse(done.complete)).toBeGreaterThan(Date.now() + 29 * 86_400_000)
  expect(await codeOfPromise(fromTheBackup)).toBe('KMS')
  const { versions } = await openAdmin()
  expect((await versions(key)).filter(({ state }) => state === 'ENABLED').length).toBe(1)
})
