/** `read --verify` on a deployment with a store: the row, its signature, its place under a checkpoint of one's copy. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { openClientFiles } from '../../lib/client/files.ts'
import { readVerified, type VerifyFlags } from '../../lib/client/verified.ts'
import { uuidBytes } from '../../lib/core/bytes.ts'
import { exportTrail } from '../../lib/edge/export_trail.ts'
import { upgradeReceipts } from '../../lib/edge/prove.ts'
import { ada, codeOfPromise } from '../support/envelope.ts'
import { startTestKms, type TestKms } from '../support/kms.ts'
import { type Live, live } from '../support/live.ts'

setDefaultTimeout(300_000)

let l: Live
let kms: TestKms
let id: string
let flags: VerifyFlags
const quiet = () => undefined

const open = (receipts: string) =>
  openClientFiles({
    defaultsFile: l.client('app_user'),
    trustDir: l.at('pki', 'trust'),
    receiptsDir: l.at(receipts),
  }).client

const said = async (change: Partial<VerifyFlags> = {}): Promise<Record<string, unknown>> =>
  JSON.parse(await readVerified(id, { ...flags, ...change }, quiet))

beforeAll(async () => {
  l = await live()
  kms = await startTestKms()
  const bare = l.tenants[0].kmsKey.replace('gcp-kms-emulator://', '')
  await kms.emulator.createKey(bare)
  process.env.KMS_EMULATOR_HOST = kms.emulator.endpoint
  process.env.KMS_EMULATOR_TOKEN_FILE = await kms.identity('acme', { [bare]: ['encrypt', 'decrypt'] })
  flags = {
    defaultsFile: l.client('app_user'),
    account: 'app_user',
    clientsDir: l.at('pki', 'clients'),
    trust: l.at('pki', 'trust'),
    receipts: l.at('receipts'),
    table: 'users',
    anchors: l.at('worm'),
  }
  const client = open('receipts')
  for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
    await client.createDataKey({ purpose, issuerSeed: l.tenants[0].issuerSeed, hybrid: false })
  id = (await client.create('users', ada)).id
  await client.close()
})
afterAll(async () => {
  delete process.env.KMS_EMULATOR_HOST
  delete process.env.KMS_EMULATOR_TOKEN_FILE
  await kms.stop()
  await l[Symbol.asyncDispose]()
})

test('says that no anchor covers the row yet, then which one does, from the trail, an export, or the proof by the receipt', async () => {
  const auditor = l.client('auditor')
  expect(await codeOfPromise(() => said({ auditor }))).toBe('NOT_FOUND')
  await l.anchor()
  const live = await said({ auditor })
  expect(live).toMatchObject({ id, ...ada, verified: { signedBy: 'app_user', anchor: 3 } })
  await exportTrail({ defaultsFile: auditor }, l.at('trail.ndjson'), quiet)
  const trail = l.at('trail.ndjson')
  expect(await said({ trail, receipts: l.at('none') })).toEqual(live)
  expect(await codeOfPromise(said)).toBe('NOT_FOUND')
  const { upgraded } = await upgradeReceipts(
    flags.receipts,
    { trust: flags.trust, anchors: l.at('worm'), file: trail },
    quiet,
  )
  expect(upgraded).toBe(4)
  expect(await said()).toEqual(live)
  expect(await codeOfPromise(() => said({ receipts: l.at('none') }))).toBe('NOT_FOUND')
  expect(await codeOfPromise(() => said({ anchors: l.at('conf') }))).toBe('NOT_FOUND')
})

test('refuses a whole old row that was put back, though it opens', async () => {
  const [before] = await l.root.query('SELECT * FROM users WHERE id = ?', [uuidBytes(id)])
  const client = open('elsewhere')
  await client.update('users', id, { ...ada, role: 'boss' })
  await client.close()
  await l.anchor()
  const columns = Object.keys(before ?? {})
  const [trigger] = await l.root.query('SHOW CREATE TRIGGER users_changed')
  await l.root.run('DROP TRIGGER users_changed')
  await l.root.run(`UPDATE users SET ${columns.map(name => `${name} = ?`).join()} WHERE id = ?`, [
    ...columns.map(name => before?.[name] as Uint8Array | string | number | null),
    uuidBytes(id),
  ])
  await l.root.run(String(trigger?.['SQL Original Statement']))
  const none = l.at('none')
  const client2 = open('none')
  expect(await client2.read('users', id)).toEqual(ada)
  await client2.close()
  expect(await codeOfPromise(() => said({ auditor: l.client('auditor'), receipts: none }))).toBe(
    'VERIFY_FAILED',
  )
  expect(await codeOfPromise(() => said({ receipts: join(l.dir, 'elsewhere') }))).toBe('STALE_ROW')
})
