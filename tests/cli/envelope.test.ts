/** pq_envelope_cli, compiled, on a real server with mTLS and the real KMS client. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openClientFiles } from '../../lib/client/files.ts'
import { isRowEvent } from '../../lib/core/audit/event.ts'
import { parseReceipt } from '../../lib/core/audit/receipt.ts'
import { newUuid, random, toHex, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import { columnsOf, type Row } from '../../lib/core/tables.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { binary } from '../support/binary.ts'
import { cutProxy } from '../support/cut_proxy.ts'
import { ada, codeOfPromise, users } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import * as native from '../support/native_envelope.ts'

const slow = 240_000

let world: EnvelopeDeployment
let a: Household
let b: Household
let cli: string

beforeAll(async () => {
  ;[world, cli] = await Promise.all([envelopeDeployment(), binary('pq_envelope_cli')])
  ;[a, b] = world.households
  const made = await run(a, ['tenant-key', '--passphrase-file', world.passphraseFile])
  expect(made).toMatchObject({ code: 0 })
  expect(made.lines.map(line => [line.purpose, line.made])).toEqual([
    ['record', true],
    ['blind:users.email', true],
    ['blind:users.phone', true],
  ])
  const hybrid = ['tenant-key', '--account', 'app_other', '--pq', '--passphrase-file', world.passphraseFile]
  expect(await run(b, hybrid)).toMatchObject({ code: 0 })
}, slow)
beforeEach(() => world.db.anchor(), slow) // the gate closes after five minutes without one
afterAll(() => world[Symbol.asyncDispose](), slow)

interface Ran {
  code: number
  stdout: string
  stderr: string
  lines: Record<string, unknown>[]
}

async function run(
  household: Household,
  args: string[],
  { input, env = {}, prefix = [] }: { input?: unknown; env?: Record<string, string>; prefix?: string[] } = {},
): Promise<Ran> {
  const text = typeof input === 'string' ? input : JSON.stringify(input ?? null)
  const child = Bun.spawn([...prefix, cli, ...args], {
    cwd: world.dir,
    env: { PATH: process.env.PATH ?? '', ...household.env, ...env },
    stdin: new Blob([text]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const lines =
    code === 0 && stdout.startsWith('{')
      ? stdout
          .trim()
          .split('\n')
          .map(line => JSON.parse(line))
      : []
  return { code, stdout, stderr, lines }
}

const client = (household: Household, change: { receipts?: string; kemFile?: string; port?: number } = {}) =>
  openClientFiles({
    defaultsFile: join(world.dir, 'clients', `${household.tenant.account}.cnf`),
    trustDir: join(world.dir, 'trust'),
    receiptsDir: join(world.dir, change.receipts ?? 'receipts'),
    kemFile: change.kemFile,
    kms: { env: household.env, warn: () => undefined },
  }).client

async function stored(table: string, id: string): Promise<Row> {
  const [row] = await world.db.root.query(`SELECT * FROM securedb.${table} WHERE id = ?`, [uuidBytes(id)])
  if (row === undefined) throw new Error(`no row ${id}`)
  return rowFromDatabase(world.db.define(table), row)
}

const count = async () =>
  Number((await world.db.root.query('SELECT COUNT(*) AS n FROM securedb.users'))[0]?.n)
const pending = () => readdirSync(join(world.dir, 'receipts')).filter(name => name.endsWith('.pending'))
const columnNames = (table: string) => columnsOf(world.db.define(table)).map(column => column.name)

/** The tenant's DEK, unwrapped by the second implementation. */
async function dekOf(household: Household, dekId: string, kemSeed?: Uint8Array): Promise<Uint8Array> {
  const key = await stored('data_keys', dekId)
  const name = { tenant: household.tenant.id, id: dekId, purpose: 'record' }
  const suite = String(key.suite)
  const kms = await world.kms.open(household.kmsKey, household.env.KMS_EMULATOR_TOKEN_FILE)
  const secret = await kms.decrypt(
    String(key.kms_key),
    key.kms_ciphertext as Uint8Array,
    native.kmsAad(suite, name),
  )
  return native.unwrapKey(
    name,
    {
      suite,
      kmsKey: String(key.kms_key),
      kmsCiphertext: key.kms_ciphertext as Uint8Array,
      kemCiphertext: key.kem_ciphertext as Uint8Array | null,
      kemFingerprint: key.kem_fingerprint as Uint8Array | null,
      sealedKey: key.sealed_key as Uint8Array,
      wrapCommit: key.wrap_commit as Uint8Array,
    },
    secret,
    kemSeed,
  )
}

describe('a person', () => {
  test(
    'is created, read, updated and erased; each write leaves a receipt that is what the trail says',
    async () => {
      const created = await run(a, ['create', '--input', '-'], { input: ada })
      expect(created).toMatchObject({ code: 0 })
      const { id, event, receipt } = created.lines[0] ?? {}
      expect(Object.keys(created.lines[0] ?? {})).toEqual(['id', 'event', 'receipt'])
      const kept = parseReceipt(
        readFileSync(join(world.dir, String(receipt))),
        'receipt',
        `${String(event)}.json`,
      )
      if (!isRowEvent(kept.event)) throw new Error('not a row event')
      expect(kept.event.after).toBe(toHex(rowDigest(users, await stored('users', String(id)))))
      expect((await run(a, ['read', String(id)])).lines).toEqual([ada])
      const changed = { ...ada, role: 'dpo', phone: null }
      writeFileSync(join(world.dir, 'person.json'), JSON.stringify(changed))
      expect(await run(a, ['update', String(id), '--input', 'person.json'])).toMatchObject({ code: 0 })
      const { phone: _, ...shown } = changed
      expect((await run(a, ['read', String(id)])).lines).toEqual([shown])
      expect(await run(a, ['erase', String(id)])).toMatchObject({ code: 2 })
      expect(await run(a, ['erase', String(id), '--yes'])).toMatchObject({ code: 0 })
      const gone = await run(a, ['read', String(id)])
      expect(gone).toMatchObject({ code: 3, stdout: '' })
      expect(gone.stderr).toContain('is erased')
      expect(pending()).toEqual([])
    },
    slow,
  )

  test(
    'is opened by the second implementation, and what that seals is read, in both suites',
    async () => {
      for (const [household, kemFile] of [
        [a, undefined],
        [b, b.kemFile],
      ] as const) {
        const kem = kemFile === undefined ? [] : ['--kem', kemFile]
        const who = ['--account', household.tenant.account, ...kem]
        const created = await run(household, ['create', '--input', '-', ...who], { input: ada })
        expect(created).toMatchObject({ code: 0 })
        const row = await stored('users', String(created.lines[0]?.id))
        const seed =
          kemFile === undefined
            ? undefined
            : Buffer.from(JSON.parse(readFileSync(kemFile, 'utf8')).seed, 'base64')
        const dek = await dekOf(household, String(row.dek_id), seed)
        expect(native.openRow(users, dek, row)).toEqual(ada)

        const head = { tenant: household.tenant.id, key: newUuid(), version: 1 }
        const bob = { ...ada, full_name: 'Bob Ünïcode 🦀' }
        const blind = new Map(['email', 'phone'].map(column => [column, random(32)]))
        const sealed = native.sealRow(users, { dekId: String(row.dek_id), dek, blind }, head, bob)
        const connection = await world.db.connect(household.tenant.account)
        await world.db.write(connection, prepareWrite(users, 'create', sealed, household.tenant.by))
        await connection.close()
        expect((await run(household, ['read', head.key, ...who])).lines).toEqual([bob])
      }
    },
    slow,
  )

  test(
    'comes with many others in one call, all or none',
    async () => {
      const people = Array.from({ length: 12 }, (_, i) => ({ ...ada, email: `many${i}@example.org` }))
      const before = await count()
      const wrong = await run(a, ['create', '--input', '-'], { input: [...people, { ...ada, email: 'x' }] })
      expect(wrong).toMatchObject({ code: 2, stdout: '' })
      expect(await count()).toBe(before)
      const made = await run(a, ['create', '--input', '-'], { input: people })
      expect(made.lines.length).toBe(12)
      expect(await count()).toBe(before + 12)
      const last = String(made.lines[11]?.id)
      expect((await run(a, ['read', last])).lines).toEqual([people[11] ?? {}])
      for (const { event, receipt } of made.lines)
        parseReceipt(readFileSync(join(world.dir, String(receipt))), 'receipt', `${String(event)}.json`)
    },
    slow,
  )

  test(
    'is not read by another tenant, nor under another tenant’s name',
    async () => {
      const { id } = await client(a).create('users', ada)
      const other = await run(b, ['read', id, '--account', 'app_other', '--kem', b.kemFile])
      expect(other).toMatchObject({ code: 3, stdout: '' })
      expect(other.stderr).toContain('this tenant has no such row')
      const named = await run(a, ['read', id, '--tenant', 'tenant-b'])
      expect(named.code).toBe(1)
      expect(named.stderr).toContain('belongs to tenant tenant-a, not to tenant-b')
    },
    slow,
  )

  test(
    'leaves nothing in clear in any table',
    async () => {
      await client(a).create('users', {
        ...ada,
        full_name: 'Canary Qx7Zw',
        email: 'canary-qx7zw@example.org',
      })
      for (const table of ['users', 'audit_pending', 'audit_events']) {
        const rows = await world.db.root.query(`SELECT * FROM securedb.${table}`)
        const all = rows.flatMap(row =>
          Object.values(row).map(v =>
            v instanceof Uint8Array ? Buffer.from(v).toString('latin1') : String(v),
          ),
        )
        expect(all.join('\n').toLowerCase()).not.toContain('qx7zw')
      }
    },
    slow,
  )
})

describe('data keys', () => {
  test(
    'are made once, only with the issuer’s passphrase, and only for its own tenant',
    async () => {
      const again = await run(a, ['tenant-key', '--passphrase-file', world.passphraseFile])
      expect(again.lines.map(line => line.made)).toEqual([false, false, false])
      writeFileSync(join(world.dir, 'wrong'), 'not this one at all\n', { mode: 0o600 })
      const more = ['tenant-key', '--purpose', 'blind:users.full_name']
      const wrong = await run(a, [...more, '--passphrase-file', 'wrong'])
      expect(wrong).toMatchObject({ code: 3, stdout: '' })
      expect(wrong.stderr).toContain('wrong passphrase')
      const foreign = await run(a, [
        ...more,
        '--issuer',
        b.issuerFile,
        '--passphrase-file',
        world.passphraseFile,
      ])
      expect(foreign).toMatchObject({ code: 1, stdout: '' })
      expect(foreign.stderr).toContain('is the key of tenant')
    },
    slow,
  )

  test(
    'of the hybrid suite need the tenant’s ML-KEM key and no other',
    async () => {
      const create = ['create', '--input', '-', '--account', 'app_other']
      const without = await run(b, create, { input: ada })
      expect(without).toMatchObject({ code: 1, stdout: '' })
      expect(without.stderr).toContain('needs the ML-KEM key')
      const foreign = await run(b, [...create, '--kem', a.kemFile], { input: ada })
      expect(foreign).toMatchObject({ code: 1, stdout: '' })
      writeFileSync(join(world.dir, 'recovery'), 'a recovery passphrase\n', { mode: 0o600 })
      const fresh = [
        'keygen',
        '--tenant',
        'tenant-b',
        '--out',
        'other-kem.json',
        '--passphrase-file',
        'recovery',
      ]
      const made = await run(b, fresh)
      expect(Object.keys(made.lines[0] ?? {})).toEqual([
        'tenant',
        'private',
        'public',
        'recovery',
        'fingerprint',
      ])
      const other = await run(b, [...create, '--kem', 'other-kem.json'], { input: ada })
      expect(other).toMatchObject({ code: 1, stdout: '' })
      expect(other.stderr).toContain('was wrapped for the ML-KEM key')
      expect((await run(b, fresh)).code).toBe(1)
    },
    slow,
  )

  test(
    'are refused by the KMS to whoever has another tenant’s identity',
    async () => {
      const { id } = await client(a).create('users', ada)
      const denied = await run(a, ['read', id], { env: b.env })
      expect(denied).toMatchObject({ code: 3, stdout: '' })
      expect(denied.stderr).toContain('PERMISSION_DENIED')
    },
    slow,
  )
})

describe('a lost connection', () => {
  test(
    'in the middle of a write: the identical call is sent again and gets the receipt of the first',
    async () => {
      await using proxy = await cutProxy(Number(world.db.options('app_user').port))
      const path = join(world.dir, 'clients', 'proxied.cnf')
      const text = readFileSync(join(world.dir, 'clients', 'app_user.cnf'), 'utf8')
      writeFileSync(path, text.replace(/port=\d+/, `port=${proxy.port}`), { mode: 0o600 })
      const { client: proxied } = openClientFiles({
        defaultsFile: path,
        trustDir: join(world.dir, 'trust'),
        receiptsDir: join(world.dir, 'receipts'),
        kms: { env: a.env, warn: () => undefined },
      })
      await proxied.create('users', ada) // keys are cached now: the next statement is the call
      const before = await count()
      proxy.cutNextAnswer()
      const { id } = await proxied.create('users', ada)
      expect(proxy.cuts).toBe(1)
      expect(await count()).toBe(before + 1)
      expect(await proxied.read('users', id)).toEqual(ada)
      expect(pending()).toEqual([])
      await proxied.close()
    },
    slow,
  )

  test(
    'a killed session is replaced without a word',
    async () => {
      const mine = client(a)
      const { id } = await mine.create('users', ada)
      for (const { id: thread } of await world.db.root.query(
        "SELECT id FROM performance_schema.processlist WHERE user = 'app_user'",
      ))
        await codeOfPromise(() => world.db.root.run(`KILL ${Number(thread)}`))
      expect(await mine.read('users', id)).toEqual(ada)
      await mine.close()
    },
    slow,
  )

  test(
    'no server, no KMS: one clear error, nothing pending, nothing written',
    async () => {
      const before = await count()
      const path = join(world.dir, 'clients', 'nowhere.cnf')
      const text = readFileSync(join(world.dir, 'clients', 'app_user.cnf'), 'utf8')
      writeFileSync(path, text.replace(/port=\d+/, 'port=1'), { mode: 0o600 })
      const nowhere = await run(a, ['create', '--input', '-', '--defaults-file', path], { input: ada })
      expect(nowhere).toMatchObject({ code: 3, stdout: '' })
      expect(nowhere.stderr).toContain('ECONNREFUSED')
      const noKms = await run(a, ['create', '--input', '-'], {
        input: ada,
        env: { KMS_EMULATOR_HOST: '127.0.0.1:1' },
      })
      expect(noKms).toMatchObject({ code: 3, stdout: '' })
      expect(noKms.stderr).toContain('kms')
      expect(noKms.stderr).toContain('hint: ')
      expect(pending()).toEqual([])
      expect(await count()).toBe(before)
    },
    slow,
  )

  test(
    'Ctrl-C while the database works: the write waits as it was, and resend brings its receipt',
    async () => {
      const before = await count()
      const lock = await openMysql({ socket: world.db.server.socket, user: 'root', database: 'securedb' })
      await lock.run('LOCK TABLES users WRITE')
      const child = Bun.spawn([cli, 'create', '--input', '-'], {
        cwd: world.dir,
        env: { PATH: process.env.PATH ?? '', ...a.env },
        stdin: new Blob([JSON.stringify(ada)]),
        stdout: 'pipe',
        stderr: 'pipe',
      })
      while (pending().length === 0 && child.exitCode === null) await Bun.sleep(20)
      await Bun.sleep(100) // the call is on its way
      child.kill('SIGINT')
      expect(await child.exited).toBe(130)
      expect(await new Response(child.stdout).text()).toBe('')
      await lock.run('UNLOCK TABLES')
      await lock.close()
      expect(pending().length).toBe(1)
      expect(readdirSync(join(world.dir, 'receipts')).filter(name => name.endsWith('.tmp'))).toEqual([])
      const sent = await run(a, ['resend'])
      expect(sent).toMatchObject({ code: 0 })
      expect((await run(a, ['read', String(sent.lines[0]?.id)])).lines).toEqual([ada])
      expect(await count()).toBe(before + 1)
      expect(pending()).toEqual([])
      expect(await run(a, ['resend'])).toMatchObject({ code: 0, stdout: '' })
    },
    slow,
  )

  test(
    'a disk that is full before the call: nothing is sent',
    async () => {
      const before = await count()
      const full = await run(a, ['create', '--input', '-'], {
        input: ada,
        prefix: ['bash', '-c', 'ulimit -f 0; trap "" XFSZ; exec "$@"', 'limited'],
      })
      expect(full).toMatchObject({ code: 3, stdout: '' })
      expect(full.stderr).toContain('receipts/')
      expect(full.stderr).toContain('file-size limit')
      expect(await count()).toBe(before)
      expect(pending()).toEqual([])
    },
    slow,
  )
})

describe('bad input', () => {
  test(
    'is refused by name of the member, and never repeated',
    async () => {
      const secret = 'Zebra-Crossing-9'
      for (const [input, words] of [
        [{ ...ada, nickname: secret }, 'users: unknown member "nickname"'],
        [{ ...ada, email: secret }, 'email: not a valid email'],
        [{ full_name: secret, role: 'analyst' }, 'email: is missing'],
        [{ ...ada, role: secret }, 'role: does not match'],
        [`{"full_name": ${secret}`, 'stdin: not valid JSON'],
        [`"${secret}"`, 'users: expected an object'],
        [' '.repeat((1 << 20) + 1), 'stdin: larger than 1048576 bytes'],
      ] as const) {
        const refused = await run(a, ['create', '--input', '-'], { input })
        expect(refused).toMatchObject({ code: 2, stdout: '' })
        expect(refused.stderr).toContain(words)
        expect(refused.stderr).not.toContain(secret)
      }
    },
    slow,
  )

  test(
    'wrong folders, files and commands end with their own code',
    async () => {
      const cases: [string[], number, string][] = [
        [['read', newUuid(), '--trust', 'nowhere'], 3, 'no such file'],
        [['read', newUuid(), '--ca-sha256', '00'.repeat(32)], 1, 'trust folder'],
        [['read', newUuid(), '--account', 'nobody'], 3, 'clients/nobody.cnf'],
        [['read', newUuid(), '--table', 'tenants'], 2, 'tenants'],
        [['read', 'not-a-uuid'], 2, 'not a canonical'],
        [['create'], 2, '--input'],
        [['create', '--input', 'nowhere.json'], 3, 'no such file'],
      ]
      for (const [args, code, words] of cases) {
        const refused = await run(a, args)
        expect([args, refused.code, refused.stdout, refused.stderr.includes(words)]).toEqual([
          args,
          code,
          '',
          true,
        ])
        expect(refused.stderr).toContain(words)
        expect(refused.stderr).toStartWith('pq_envelope_cli: error: ')
      }
    },
    slow,
  )
})

describe('a record without a database', () => {
  test(
    'is printed by the positional form, with a warning, and opens again',
    async () => {
      const args = [a.kmsKey, a.tenant.id, ada.full_name, ada.role, ada.email]
      const sealed = await run(a, args)
      expect(sealed).toMatchObject({ code: 0 })
      expect(sealed.stderr).toContain('arguments are visible to everybody')
      expect(sealed.stderr).toContain('using the emulator')
      expect(sealed.stdout).toContain(`"kms_key":"gcp-kms-emulator://${a.kmsKey}"`)
      expect(sealed.stdout).not.toMatch(/Ada|example/)
      const { phone: _, ...shown } = ada
      expect((await run(a, ['open', '--input', '-'], { input: sealed.stdout })).lines).toEqual([shown])
      const denied = await run(b, ['open', '--input', '-'], { input: sealed.stdout })
      expect(denied).toMatchObject({ code: 3, stdout: '' })
      const spoilt = sealed.stdout.replace('"role":"analyst"', '"role":"auditor"')
      expect(await run(a, ['open', '--input', '-'], { input: spoilt })).toMatchObject({ code: 1, stdout: '' })
    },
    slow,
  )

  test(
    'is refused for a tenant that is no UUID or a person who is not whole, before the KMS is asked',
    async () => {
      const env = { KMS_EMULATOR_HOST: '127.0.0.1:1' } // nobody is there
      const seal = (tenant: string, input: unknown) =>
        run(a, ['seal', a.kmsKey, tenant, '--input', '-'], { input, env })
      for (const [tenant, input, words] of [
        ['tenant-a', ada, 'error: tenant: not a UUID'],
        [a.tenant.id, { ...ada, email: 'none' }, 'email: not a valid email'],
      ] as const) {
        const refused = await seal(tenant, input)
        expect([refused.code, refused.stdout, refused.stderr]).toEqual([
          2,
          '',
          expect.stringContaining(words),
        ])
      }
      expect((await seal(a.tenant.id, ada)).code).toBe(3)
    },
    slow,
  )

  test(
    'is sealed by stdin in the hybrid suite, and opens with the private key alone',
    async () => {
      const seal = [
        'seal',
        b.kmsKey,
        b.tenant.id,
        '--input',
        '-',
        '--pq',
        '--kem',
        'clients/tenant-b-kem.pub',
      ]
      const sealed = await run(b, seal, { input: ada })
      expect(sealed).toMatchObject({ code: 0 })
      expect(sealed.stderr).not.toContain('warning')
      expect(sealed.stdout).toContain('"suite":"kms+ml-kem-768"')
      const open = ['open', '--input', '-']
      expect((await run(b, open, { input: sealed.stdout })).code).toBe(1)
      expect((await run(b, [...open, '--kem', b.kemFile], { input: sealed.stdout })).lines).toEqual([ada])
    },
    slow,
  )

  test(
    'of the second implementation opens',
    async () => {
      const kms = await world.kms.open(a.kmsKey, a.env.KMS_EMULATOR_TOKEN_FILE)
      const uri = `gcp-kms-emulator://${a.kmsKey}`
      const text = await native.sealRecord(
        users,
        columnNames('data_keys'),
        columnNames('users'),
        a.tenant.id,
        uri,
        ada,
        (plaintext, aad) => kms.encrypt(uri, plaintext, aad),
      )
      expect((await run(a, ['open', '--input', '-'], { input: text })).lines).toEqual([ada])
    },
    slow,
  )
})

// Last: they change the schema behind the clients' backs.
describe('root on the database', () => {
  /** Takes the guard of a table away: what is changed then leaves no event. */
  const disarm = async (table: string): Promise<number> => {
    const triggers = await world.db.root.query(
      "SELECT trigger_name AS name FROM information_schema.triggers WHERE event_object_table = ? AND event_manipulation = 'UPDATE'",
      [table],
    )
    for (const { name } of triggers) await world.db.root.run(`DROP TRIGGER securedb.\`${String(name)}\``)
    return triggers.length
  }

  test(
    'cannot change what a reader sees: cells, clear columns, keys, whole rows',
    async () => {
      const mine = client(a)
      const { id } = await mine.create('users', ada)
      const { id: other } = await mine.create('users', { ...ada, full_name: 'Bob', email: 'bob@example.org' })
      const old = await stored('users', id)
      await mine.update('users', id, { ...ada, role: 'dpo' })
      const now = await stored('users', id)
      const bob = await stored('users', other)
      expect(await disarm('users')).toBeGreaterThan(0)
      const put = async (row: Row) => {
        const names = columnsOf(users)
          .map(c => c.name)
          .filter(name => !['tenant_id', 'id'].includes(name))
        await world.db.root.run(
          `UPDATE securedb.users SET ${names.map(name => `${name} = ?`).join()} WHERE id = ?`,
          [
            ...names.map(name => (name === 'dek_id' ? uuidBytes(String(row[name])) : (row[name] ?? null))),
            uuidBytes(id),
          ],
        )
      }
      const stranger = client(a, { receipts: 'no-receipts' })
      for (const [row, withReceipts, without] of [
        [now, undefined, undefined],
        [{ ...now, role: 'administrator' }, 'STALE_ROW', 'BAD_MAC'],
        [{ ...now, version: 3 }, 'BAD_MAC', 'BAD_MAC'],
        [{ ...now, email: now.full_name ?? null }, 'STALE_ROW', 'BAD_MAC'],
        [{ ...now, email: bob.email ?? null }, 'STALE_ROW', 'BAD_MAC'],
        [{ ...now, email: old.email ?? null }, 'STALE_ROW', 'BAD_MAC'],
        [{ ...now, record_key: bob.record_key ?? null }, 'STALE_ROW', 'DECRYPT_FAILED'],
        [{ ...bob, version: 3 }, 'DECRYPT_FAILED', 'DECRYPT_FAILED'],
        [old, 'STALE_ROW', undefined], // without a receipt only the verifier finds it
      ] as const) {
        await put(row)
        expect(await codeOfPromise(() => mine.read('users', id))).toBe(withReceipts)
        expect(await codeOfPromise(() => stranger.read('users', id))).toBe(without)
      }
      const shown = await run(a, ['read', id])
      expect(shown).toMatchObject({ code: 1, stdout: '' })
      expect(shown.stderr).toContain('a receipt here says 2 was written')
      await mine.close()
      await stranger.close()
    },
    slow,
  )

  test(
    'cannot make a client seal under a key of its own, or ask another KMS key',
    async () => {
      const mine = client(a)
      const { id } = await mine.create('users', ada)
      await mine.close()
      const { dek_id: dekId } = await stored('users', id)
      expect(await disarm('data_keys')).toBeGreaterThan(0)
      const key = uuidBytes(String(dekId))
      const genuine = await stored('data_keys', String(dekId))
      const set = (column: string, value: string | Uint8Array) =>
        world.db.root.run(`UPDATE securedb.data_keys SET ${column} = ? WHERE id = ?`, [value, key])
      for (const [column, value, code] of [
        ['issuer_sig', random(3309), 'PLANTED_KEY'],
        ['dek_commit', random(32), 'PLANTED_KEY'],
        ['purpose', 'blind:users.email', 'PLANTED_KEY'],
        ['kms_key', `gcp-kms-emulator://${b.kmsKey}`, 'REFUSED'],
        ['kms_ciphertext', random(100), 'KMS'],
        ['sealed_key', random(60), 'DECRYPT_FAILED'],
        ['wrap_commit', random(32), 'BAD_COMMITMENT'],
        ['suite', 'kms+ml-kem-768', 'BAD_FORMAT'],
      ] as const) {
        await set(column, value)
        const fresh = client(a)
        expect([column, await codeOfPromise(() => fresh.read('users', id))]).toEqual([column, code])
        await fresh.close()
        await set(column, genuine[column] as Uint8Array | string)
      }
      const last = client(a)
      expect(await last.read('users', id)).toEqual(ada)
      await last.close()
    },
    slow,
  )
})
