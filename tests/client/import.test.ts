/** Imports and exports by the command, on a real server, killed and run again. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readReceipts } from '../../lib/edge/verify.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import { clientOf, issuerSeedOf } from '../support/household_client.ts'

setDefaultTimeout(300_000)

let world: EnvelopeDeployment
let a: Household

beforeAll(async () => {
  world = await envelopeDeployment()
  ;[a] = world.households
  const client = clientOf(world, a)
  for (const purpose of ['record', 'blind:users.email', 'blind:users.phone'])
    await client.createDataKey({ purpose, issuerSeed: issuerSeedOf(a), hybrid: false })
  await client.close()
})
beforeEach(() => world.db.anchor())
afterAll(() => world[Symbol.asyncDispose]())

const entry = resolve(import.meta.dir, '../../outside/pq_envelope_cli.ts')

const start = (args: string[], input = '') =>
  Bun.spawn([process.execPath, entry, ...args], {
    cwd: world.dir,
    env: { PATH: process.env.PATH ?? '', ...a.env },
    stdin: new Blob([input]),
    stdout: 'pipe',
    stderr: 'pipe',
  })

async function run(args: string[], input?: string) {
  const child = start(args, input)
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}

const header = 'full_name,role,email,phone'
const csv = (name: string, count: number) =>
  [header, ...Array.from({ length: count }, (_, i) => `Person ${i},staff,${name}${i}@example.org,`)].join(
    '\n',
  )

/** Live people whose address begins so: everybody is opened. */
async function people(name: string): Promise<string[]> {
  const client = clientOf(world, a, 'elsewhere')
  const found: string[] = []
  for await (const { plain } of client.all('users'))
    if (String(plain.email).startsWith(name)) found.push(String(plain.email))
  await client.close()
  return found
}

describe('an import', () => {
  test('killed in the middle goes on, and no record is missing or there twice', async () => {
    writeFileSync(join(world.dir, 'killed.csv'), csv('killed', 1700))
    const child = start(['import', 'killed.csv'])
    const checkpoint = join(world.dir, 'killed.csv.import.json')
    while (!existsSync(checkpoint)) await Bun.sleep(5)
    child.kill('SIGKILL')
    await child.exited
    const { records } = JSON.parse(readFileSync(checkpoint, 'utf8'))
    expect(records).toBeGreaterThan(0)
    expect(records).toBeLessThan(1700)
    const again = await run(['import', 'killed.csv'])
    expect(again).toMatchObject({ code: 0 })
    const total = JSON.parse(again.stdout)
    expect(total).toMatchObject({ records: 1700, rejected: 0 })
    expect(total.written + total.present).toBe(1700)
    const all = await people('killed')
    expect(new Set(all).size).toBe(1700)
    expect(all.length).toBe(1700)
    expect(readdirSync(join(world.dir, 'receipts')).filter(name => name.endsWith('.pendings'))).toEqual([])
    const receipts = await readReceipts(join(world.dir, 'receipts'))
    expect(receipts.length).toBeGreaterThanOrEqual(1700)
    const third = await run(['import', 'killed.csv', '--checkpoint', 'fresh.json'])
    expect(JSON.parse(third.stdout)).toEqual({ records: 1700, written: 0, present: 1700, rejected: 0 })
    expect((await people('killed')).length).toBe(1700)
    writeFileSync(join(world.dir, 'killed.csv'), csv('other', 1700))
    const other = await run(['import', 'killed.csv'])
    expect(other).toMatchObject({ code: 1, stdout: '' })
    expect(other.stderr).toContain('is not the one that killed.csv.import.json belongs to')
  })

  test('lists what it refuses by line, without the value, writes the rest, and brings nobody back', async () => {
    const input = [
      header,
      'Good One,staff,good1@example.org,',
      'Canary Qx7Zw,staff,qx7zw,',
      '"Open,staff,good2@example.org,',
      'Good One,staff,good1@example.org,',
      'Good Two,staff,good2@example.org,+44 20 7946 0958',
      'short,staff',
    ].join('\r\n')
    const made = await run(['import', '-', '--rejects', 'no.jsonl', '--checkpoint', 'here.json'], input)
    expect(made).toMatchObject({ code: 1, stderr: expect.not.stringContaining('Qx7Zw') })
    expect(JSON.parse(made.stdout)).toEqual({
      records: 6,
      written: 2,
      present: 0,
      rejected: 4,
      rejects: 'no.jsonl',
    })
    const rejects = readFileSync(join(world.dir, 'no.jsonl'), 'utf8')
    expect(rejects.toLowerCase()).not.toContain('qx7zw')
    expect(
      rejects
        .trim()
        .split('\n')
        .map(line => JSON.parse(line)),
    ).toEqual([
      { line: 3, reason: 'email: not a valid email' },
      { line: 4, reason: 'its quotes are wrong' },
      { line: 5, reason: 'the same record as line 2' },
      { line: 7, reason: '2 cells, the header has 4' },
    ])
    const client = clientOf(world, a)
    const ids: string[] = []
    for await (const { id } of client.find('users', { email: 'good1@example.org' })) ids.push(id)
    expect(ids.length).toBe(1)
    await client.erase('users', String(ids[0]))
    await client.close()
    const twin = `${header}\nGood Two,staff,good2@example.org,+44 20 7946 0958\nGood One,staff,good1@example.org,\n`
    const again = await run(['import', '-', '--rejects', 'no2.jsonl'], twin)
    expect(JSON.parse(again.stdout)).toMatchObject({ written: 0, present: 1, rejected: 1 })
    expect(readFileSync(join(world.dir, 'no2.jsonl'), 'utf8')).toContain('the same record as another line')
    expect(await people('good1')).toEqual([])
  })

  test('whose disk is full in the middle says so, keeps and counts what is written, and goes on when there is room', async () => {
    const long = (line: string) => line.replace('Person', 'P'.repeat(1000))
    const [head, ...lines] = csv('full', 1500).split('\n')
    const file = join(world.dir, 'full.csv')
    writeFileSync(file, [head, ...lines.map((line, i) => (i < 1000 ? line : long(line)))].join('\n'))
    // the first two batches' files stay below the limit, the third's do not
    const limited = Bun.spawn(
      ['sh', '-c', 'ulimit -f 1600 && exec "$@"', 'sh', process.execPath, entry, 'import', 'full.csv'],
      {
        cwd: world.dir,
        env: { PATH: process.env.PATH ?? '', ...a.env },
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      },
    )
    const [stderr, code] = await Promise.all([new Response(limited.stderr).text(), limited.exited])
    expect(stderr).toContain('larger than the file-size limit')
    expect(stderr).toContain('"written":1000')
    expect(code).toBe(3)
    expect((await people('full')).length).toBe(1000)
    const done = await run(['import', 'full.csv'])
    expect({ code: done.code, ...JSON.parse(done.stdout) }).toMatchObject({ code: 0, written: 1500 })
    expect(new Set(await people('full')).size).toBe(1500)
  })

  test('waits at a closed gate and goes on when it opens; its patience has an end', async () => {
    await world.db.root.run('UPDATE securedb.gate_limits SET anchor_seconds = 0')
    try {
      const refused = await run(['import', '-', '--patience', '0'], csv('closed', 3))
      expect(refused).toMatchObject({ code: 1, stdout: '' })
      expect(refused.stderr).toContain('45G02')
      expect(refused.stderr).toContain('stopped: {"records":0,')
      const child = start(['import', '-'], csv('gate', 3))
      let said = ''
      for await (const chunk of child.stderr) {
        said += Buffer.from(chunk).toString()
        if (said.includes('waiting:')) break
      }
      await world.db.root.run('UPDATE securedb.gate_limits SET anchor_seconds = 300')
      expect(await child.exited).toBe(0)
      expect((await people('gate')).length).toBe(3)
      expect(await people('closed')).toEqual([])
    } finally {
      await world.db.root.run('UPDATE securedb.gate_limits SET anchor_seconds = 300')
    }
  })
})

test('an export is refused without --yes, is whole and private', async () => {
  await run(['import', '-'], `${header}\n"Comma, ""Q""\nLine",staff,comma@example.org,\n`)
  expect(await run(['export', '--out', 'all.csv', '--format', 'csv'])).toMatchObject({ code: 2, stdout: '' })
  expect(existsSync(join(world.dir, 'all.csv'))).toBe(false)
  const made = await run(['export', '--out', 'all.csv', '--format', 'csv', '--yes'])
  expect(made).toMatchObject({ code: 0 })
  const text = readFileSync(join(world.dir, 'all.csv'), 'utf8')
  expect(text.includes(',staff,"Comma, ""Q""\nLine",comma@example.org,\n')).toBe(true)
  const one = await run(['read', '--all'])
  const lines = one.stdout.trim().split('\n')
  expect(lines.length).toBe(JSON.parse(made.stdout).rows)
  expect(lines.map(line => JSON.parse(line).email)).toContain('comma@example.org')
  expect(statSync(join(world.dir, 'all.csv')).mode & 0o777).toBe(0o600)
})

test('keys are rotated by the command: a plan first, a refusal without the passphrase, a line for each step', async () => {
  const kept = await people('gate')
  const plan = await run(['rotate', '--plan', '--dek', '--wraps'])
  expect(plan).toMatchObject({ code: 0 })
  const steps = plan.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line).step)
  expect(steps).toContain('re-wrap record keys')
  expect(await run(['rotate', '--blind', 'users.role'])).toMatchObject({ code: 2, stdout: '' })
  writeFileSync(join(world.dir, 'wrong'), 'not this one at all\n', { mode: 0o600 })
  expect(await run(['rotate', '--dek', '--passphrase-file', 'wrong'])).toMatchObject({ code: 3, stdout: '' })
  const made = await run(['rotate', '--dek', '--wraps', '--passphrase-file', world.passphraseFile])
  expect(made).toMatchObject({ code: 0 })
  const done = made.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line).step)
  expect(new Set(done)).toEqual(
    new Set(['new data key', 're-wrap record keys', 'retire data key', 're-wrap data key']),
  )
  expect(await people('gate')).toEqual(kept)
  const found = await run(['find', '--input', '-'], '{"email":"gate1@example.org"}')
  expect(JSON.parse(found.stdout)).toMatchObject({ email: 'gate1@example.org' })
  expect((await run(['rotate', '--plan'])).stdout).toBe('')
})
