/** anchor_head as its service runs it, with a bucket as store: the compiled binary, a real server, a stand-in for Google. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { formatAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import { random, utf8 } from '../../lib/core/bytes.ts'
import { grantsFor } from '../../lib/core/sqlgen/grants.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { applySchema } from '../../lib/edge/schema.ts'
import { definitions } from '../../sql/index.ts'
import { binary } from '../support/binary.ts'
import { cloudWithBucket, hostToken, place } from '../support/google_cloud/bucket.ts'
import { type GoogleCloud, startGoogleCloud } from '../support/google_cloud/server.ts'
import type { Bucket, Cloud } from '../support/google_cloud/state.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'

setDefaultTimeout(120_000)

const origin = 'ztmysql.local/c0ffee00c0ffee01'
let server: Mysqld
let root: Connection
let program: string
let cloud: Cloud
let google: GoogleCloud
let bucket: Bucket
const dir = mkdtempSync(join(tmpdir(), 'zt-anchor-bucket-'))
const at = (...names: string[]) => join(dir, ...names)

beforeAll(async () => {
  program = await binary('anchor_head')
  const made = cloudWithBucket()
  cloud = made.cloud
  bucket = made.bucket
  google = startGoogleCloud(cloud)
  mkdirSync(at('state'), { mode: 0o700 })
  const key = { name: origin, ed25519: random(32), mldsa44: random(32) }
  writeFileSync(at('state', 'anchor_key.json'), formatAnchorKey(key), { mode: 0o600 })
  writeFileSync(at('token'), hostToken, { mode: 0o600 })
  server = await freshServer()
  root = await openMysql({ socket: server.socket, user: 'root' })
  await applySchema(root, { origin })
  const me = Bun.spawnSync(['id', '-un']).stdout.toString().trim()
  await root.run('CREATE USER anchor@localhost IDENTIFIED WITH auth_socket AS ?', [me])
  for (const privilege of grantsFor('anchor', definitions))
    await root.run(`GRANT ${privilege} TO anchor@localhost`)
}, 300_000)

afterAll(async () => {
  await root.close()
  await server.stop()
  await google.stop()
  rmSync(dir, { recursive: true, force: true })
})

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const places = ['--socket', server.socket, '--state', at('state'), '--worm', place]
  const child = Bun.spawn(
    [program, ...args, ...(args[0] === 'status' ? [] : ['--syslog', 'none']), ...places],
    {
      cwd: dir,
      env: {
        PATH: process.env.PATH ?? '',
        STORAGE_EMULATOR_HOST: google.url,
        STORAGE_EMULATOR_TOKEN_FILE: at('token'),
      },
      stdout: 'pipe',
      stderr: 'pipe',
    },
  )
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  expect(stdout + stderr).not.toContain(hostToken)
  return { code, stdout, stderr }
}

const stored = () => bucket.objects.map(({ name }) => name.replace('anchors/', ''))
const names = (count: number) => Array.from({ length: count }, (_, i) => anchorName(i + 1))
const spooled = (number: number) => readFileSync(at('state', 'spool', anchorName(number)))
const put = (number: number, bytes: Uint8Array) =>
  bucket.objects.push({
    name: `anchors/${anchorName(number)}`,
    bytes,
    generation: number,
    created: Date.now(),
  })

test('anchors into a bucket, and says that it is not Google’s', async () => {
  expect([(await run('now')).code, stored()]).toEqual([0, names(1)])
  expect((await run('status')).stdout).toContain(`${place} (STORAGE_EMULATOR_HOST, not Google)`)
})

test('keeps a queue on the disk across an outage, and catches up in order', async () => {
  await google.stop()
  const first = await run()
  expect([first.code, first.stdout]).toEqual([3, ''])
  expect(first.stderr).toContain('Cloud Storage, bucket acme-anchors')
  expect(readdirSync(at('state', 'spool'))).toContain(anchorName(2))
  const standing = JSON.parse((await run('status', '--json')).stdout)
  expect(standing).toMatchObject({ recordedNumber: 2, confirmedNumber: 1, outstanding: [2] })
  const kept = spooled(2)
  google = startGoogleCloud(cloud)
  const again = await run()
  expect([again.code, again.stdout.match(/^anchor \d+/gm)]).toEqual([0, ['anchor 2', 'anchor 3']])
  expect(stored()).toEqual(names(3))
  expect(Buffer.from(bucket.objects[1]?.bytes ?? [])).toEqual(kept)
})

test('takes an object that was stored without its knowing for its own: 412 and the same bytes', async () => {
  cloud.exhausted.set('storage.objects.create', 99)
  expect((await run()).code).toBe(3)
  cloud.exhausted.clear()
  put(4, spooled(4)) // stored, and the answer lost
  google.calls.length = 0
  const { code, stdout } = await run()
  expect([code, stdout.match(/^anchor \d+/gm)]).toEqual([0, ['anchor 4', 'anchor 5']])
  expect(stored()).toEqual(names(5))
  expect(google.calls.some(call => call.startsWith('GET') && call.includes(anchorName(4)))).toBe(true)
})

test('raises the alarm where other bytes have its name: 412, and nothing is replaced', async () => {
  put(6, utf8('squatter'))
  const { code, stdout, stderr } = await run()
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain(`${anchorName(6)} is there with other content`)
  expect(stderr).toContain('a forked log')
  expect(bucket.objects.at(-1)?.bytes).toEqual(utf8('squatter'))
  bucket.objects.pop()
  expect((await run()).code).toBe(0)
  expect(stored()).toEqual(names(7))
})

test('without its right waits and says so: 403; and where the object is there all the same, compares', async () => {
  cloud.denied.add('storage.objects.create')
  const refused = await run()
  expect([refused.code, refused.stdout]).toEqual([3, ''])
  expect(refused.stderr).toContain('storage.objects.create')
  expect(stored()).toEqual(names(7))
  put(8, spooled(8))
  const standing = await run()
  // 8 is confirmed by its bytes; 9 finds the right still missing
  expect([standing.code, standing.stderr]).toEqual([3, expect.stringContaining('storage.objects.create')])
  expect(JSON.parse((await run('status', '--json')).stdout)).toMatchObject({
    confirmedNumber: 8,
    outstanding: [9],
  })
  cloud.denied.clear()
  const { code } = await run()
  expect([code, stored()]).toEqual([0, names(10)])
})
