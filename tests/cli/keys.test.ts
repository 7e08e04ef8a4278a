/** pq_envelope_cli recover and shred-epoch, compiled, on a real server and KMS. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { random, utf8 } from '../../lib/core/bytes.ts'
import { formatKemFile } from '../../lib/core/envelope/key_files.ts'
import { sealFile } from '../../lib/core/envelope/sealed_file.ts'
import { binary } from '../support/binary.ts'
import { ada } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
  passphrase,
} from '../support/envelope_deployment.ts'

setDefaultTimeout(240_000)

let world: EnvelopeDeployment
let a: Household
let b: Household
let cli: string
let admin: string

async function run(household: Household, args: string[], input: unknown = null) {
  const child = Bun.spawn([cli, ...args, '--account', household.tenant.account], {
    cwd: world.dir,
    env: { PATH: process.env.PATH ?? '', ...household.env },
    stdin: new Blob([JSON.stringify(input)]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const lines = code === 0 ? stdout.trim().split('\n') : []
  return { code, stdout, stderr, lines: lines.map(line => JSON.parse(line) as Record<string, unknown>) }
}

const passphraseOption = () => ['--passphrase-file', world.passphraseFile]
const copyOf = (name: string, text: string): string => {
  writeFileSync(join(world.dir, name), sealFile(name, utf8(text), passphrase), { mode: 0o600 })
  return name
}

beforeAll(async () => {
  ;[world, cli] = await Promise.all([envelopeDeployment(), binary('pq_envelope_cli')])
  ;[a, b] = world.households
  admin = await world.kms.identity('admin', { [a.kmsKey]: ['admin'], [b.kmsKey]: ['admin'] })
  expect(await run(a, ['tenant-key', '--pq', '--kem', a.kemFile, ...passphraseOption()])).toMatchObject({
    code: 0,
  })
  expect(await run(b, ['tenant-key', ...passphraseOption()])).toMatchObject({ code: 0 })
})
beforeEach(() => world.db.anchor())
afterAll(() => world[Symbol.asyncDispose]())

test('a drill opens with the sealed copy alone what it is for, writes nothing, and says which copy does not', async () => {
  const created = await run(a, ['create', '--kem', a.kemFile, '--input', '-'], ada)
  expect(created.code).toBe(0)
  const copy = copyOf('a.recovery.json', readFileSync(a.kemFile, 'utf8'))
  const drill = await run(a, ['recover', copy, '--check', ...passphraseOption()])
  expect(drill).toMatchObject({
    code: 0,
    lines: [{ kind: 'ML-KEM key', key: 'newest', dataKeys: 3, otherDataKeys: 0, rows: 1 }],
  })
  const issuer = await run(a, ['recover', a.issuerFile, '--check', ...passphraseOption()])
  expect(issuer).toMatchObject({ code: 0, lines: [{ kind: 'issuer key', key: 'newest' }] })
  const wrong = join(world.dir, 'wrong')
  writeFileSync(wrong, 'not the passphrase\n', { mode: 0o600 })
  expect(await run(a, ['recover', copy, '--check', '--passphrase-file', wrong])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('wrong passphrase'),
  })
  const stranger = copyOf('x.recovery.json', formatKemFile({ tenant: a.tenant.id, seed: random(64) }))
  expect(await run(a, ['recover', stranger, '--check', ...passphraseOption()])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('is no ML-KEM key of tenant tenant-a in the trust folder'),
  })
  const unused = copyOf('b.recovery.json', readFileSync(b.kemFile, 'utf8'))
  expect(await run(b, ['recover', unused, '--check', ...passphraseOption()])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no active data key is wrapped for this ML-KEM key'),
  })
  expect(
    await run(a, ['recover', unused, '--tenant', a.label, '--check', ...passphraseOption()]),
  ).toMatchObject({ code: 1, stderr: expect.stringContaining('is the key of tenant tenant-b') })
  expect(await run(a, ['recover', copy, '--out', 'again.json', ...passphraseOption()])).toMatchObject({
    code: 0,
  })
  expect(readFileSync(join(world.dir, 'again.json'))).toEqual(readFileSync(a.kemFile))
})

test('an epoch is shredded on --yes alone, and refused where it would destroy what it must not', async () => {
  const options = ['--kms-admin', admin, '--settle', '0', ...passphraseOption()]
  expect(await run(b, ['shred-epoch', ...options])).toMatchObject({ code: 2 })
  const shared = await run(b, ['shred-epoch', '--plan', '--kms-key', a.kmsKey, ...options])
  expect(shared).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('is also a key of tenant tenant-a'),
  })
  const noRight = await run(b, ['shred-epoch', '--plan', ...passphraseOption()])
  expect(noRight).toMatchObject({ code: 3, stderr: expect.stringContaining('DENIED') })
  const oldPair = await run(a, ['shred-epoch', '--plan', '--kem', a.kemFile, ...options])
  expect(oldPair).toMatchObject({ code: 1, stderr: expect.stringContaining('no new ML-KEM key') })
  const created = await run(b, ['create', '--input', '-'], ada)
  const id = String(created.lines[0]?.id)
  const done = await run(b, ['shred-epoch', '--yes', ...options])
  expect(done.code).toBe(0)
  expect(done.lines.at(-1)).toMatchObject({ planned: false })
  expect(done.lines.map(line => line.step)).toContain('every row opens')
  expect(existsSync(join(world.dir, 'receipts', 'shred.epoch'))).toBe(false)
  expect(await run(b, ['read', id])).toMatchObject({ code: 0, lines: [ada] })
  expect(await run(b, ['find', '--input', '-'], { email: ada.email })).toMatchObject({ lines: [{ id }] })
})
