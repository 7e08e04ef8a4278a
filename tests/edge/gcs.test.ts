/** Anchors in a bucket, against a stand-in that enforces preconditions, retention and rights. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { gcsChecksum } from '../../lib/core/crc32c.ts'
import { storeStanding } from '../../lib/edge/anchor_service.ts'
import { fetchAnchors, indexName } from '../../lib/edge/gcp/fetch_anchors.ts'
import { openWorm } from '../../lib/edge/worm.ts'
import { auditorToken, cloudWithBucket, hostToken, place } from '../support/google_cloud/bucket.ts'
import { type GoogleCloud, startGoogleCloud } from '../support/google_cloud/server.ts'
import type { Bucket, Cloud } from '../support/google_cloud/state.ts'

let cloud: Cloud
let google: GoogleCloud
let bucket: Bucket
let dir: string
const before = { ...process.env }

/** A bucket as outside_gcp_setup leaves it. */
beforeEach(() => {
  const made = cloudWithBucket()
  cloud = made.cloud
  bucket = made.bucket
  google = startGoogleCloud(cloud)
  dir = mkdtempSync(join(tmpdir(), 'zt-gcs-'))
  process.env.STORAGE_EMULATOR_HOST = google.url
  as(hostToken)
})
afterEach(async () => {
  await google.stop()
  rmSync(dir, { recursive: true, force: true })
  process.env = { ...before }
})

function as(token: string): void {
  const file = join(dir, `${token}.token`)
  writeFileSync(file, token, { mode: 0o600 })
  process.env.STORAGE_EMULATOR_TOKEN_FILE = file
}

const name = anchorName
const anchor = (n: number): Uint8Array => utf8(`anchor ${n}\n`)
async function store(count: number): Promise<void> {
  for (let n = 1; n <= count; n++) await openWorm(place).put(name(n), anchor(n))
}

describe('a bucket as the store of anchors', () => {
  test('takes an object once; the same bytes again are no error, others are', async () => {
    const worm = openWorm(place)
    expect(worm.grade).toBe('off-host')
    expect(await worm.put(name(1), anchor(1))).toBe('created')
    expect(await worm.put(name(1), anchor(1))).toBe('identical')
    await expect(worm.put(name(1), anchor(2))).rejects.toMatchObject({ code: 'WORM' })
    expect(bucket.objects.map(object => object.name)).toEqual([`anchors/${name(1)}`])
  })

  test('says its own time of creation, and that it is not Google', async () => {
    await openWorm(place).put(name(1), anchor(1))
    const object = bucket.objects[0]
    if (!object) throw new Error('no object')
    object.created = Date.parse('2026-01-02T03:04:05.678Z')
    expect(await openWorm(place).get(name(1))).toEqual({ bytes: anchor(1), receivedAt: object.created })
    expect(openWorm(place).location).toContain('not Google')
  })

  test('is reached through passing failures, and a lasting one is told', async () => {
    cloud.exhausted.set('storage.objects.create', 2)
    expect(await openWorm(place).put(name(1), anchor(1))).toBe('created')
    cloud.exhausted.set('storage.objects.create', 99)
    await expect(openWorm(place).put(name(2), anchor(2))).rejects.toMatchObject({ code: 'UNREACHABLE' })
    await google.stop()
    await expect(openWorm(place).put(name(2), anchor(2))).rejects.toMatchObject({ code: 'UNREACHABLE' })
  })

  test('lets the host create and get under its prefix, and nothing else', async () => {
    await store(1)
    await expect(openWorm(place).list()).rejects.toMatchObject({ code: 'DENIED' })
    await expect(openWorm('gs://acme-anchors/').put(name(1), anchor(1))).rejects.toMatchObject({
      code: 'DENIED',
    })
    await expect(openWorm('gs://other-bucket/').put(name(1), anchor(1))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    const object = `${google.url}storage/v1/b/acme-anchors/o/anchors%2F${name(1)}`
    const headers = { authorization: `Bearer ${hostToken}` }
    expect((await fetch(object, { method: 'DELETE', headers })).status).toBe(403)
  })

  test('shows its newest anchor to an account that may not list', async () => {
    for (const n of [4, 5, 6]) await openWorm(place).put(anchorName(n), utf8('a'))
    await expect(openWorm(place).list()).rejects.toThrow("'storage.objects.list' denied")
    expect(await storeStanding(place, 5)).toMatchObject({ newest: anchorName(6), error: null })
    expect(await storeStanding(place, 7)).toMatchObject({
      newest: null,
      error: `has no ${anchorName(7)}, which was confirmed`,
    })
  })

  test('compares where the store answers 403 for an object that is there', async () => {
    await store(1)
    cloud.denied.add('storage.objects.create')
    expect(await openWorm(place).put(name(1), anchor(1))).toBe('identical')
    await expect(openWorm(place).put(name(2), anchor(2))).rejects.toMatchObject({ code: 'DENIED' })
  })

  test.each(['http://192.0.2.1:1', 'https://127.0.0.1:1', 'example.org:80'])(
    'goes to no stand-in at %s',
    address => {
      process.env.STORAGE_EMULATOR_HOST = address
      expect(() => openWorm(place)).toThrow('STORAGE_EMULATOR_HOST')
    },
  )

  test.each(['gs://', 'gs://Bad/', 'gs://b', 'gs://acme//x', 's3://acme/x'])('refuses %s', uri => {
    expect(() => openWorm(uri)).toThrow('worm store')
  })
})

describe('an auditor’s copy', () => {
  const out = () => join(dir, 'anchors')
  const fetchAll = (all = false) => fetchAnchors({ from: place, out: out(), all })

  test('has every anchor with Google’s time, and goes on where it stopped', async () => {
    await store(7)
    bucket.objects.push({ name: 'anchors/readme.txt', bytes: anchor(0), generation: 1, created: Date.now() })
    for (const [i, object] of bucket.objects.entries()) object.created = Date.UTC(2026, 0, 1, 0, i, 0, 123)
    as(auditorToken)
    expect(await fetchAll()).toMatchObject({ fetched: 7, known: 0, others: 1, newest: name(7) })
    const files = readdirSync(out()).filter(each => each.startsWith('anchor-'))
    expect(files.sort()).toEqual([1, 2, 3, 4, 5, 6, 7].map(name))
    expect(readFileSync(join(out(), name(3)))).toEqual(Buffer.from(anchor(3)))
    expect(statSync(join(out(), name(3))).mtimeMs).toBe(Date.UTC(2026, 0, 1, 0, 2, 0, 123))
    const index = readFileSync(join(out(), indexName), 'utf8').trim().split('\n')
    expect(JSON.parse(index[2] ?? '')).toMatchObject({
      name: name(3),
      created: '2026-01-01T00:02:00.123Z',
      retainedUntil: '2026-01-02T00:02:00.123Z',
      crc32c: gcsChecksum(anchor(3)),
    })

    as(hostToken)
    await openWorm(place).put(name(8), anchor(8))
    as(auditorToken)
    expect(await fetchAll()).toMatchObject({ fetched: 1, known: 7 })
    expect(await fetchAll()).toMatchObject({ fetched: 0, known: 8 })
  })

  test('goes on after it was cut off between two objects, and in the middle of a line', async () => {
    await store(3)
    as(auditorToken)
    await fetchAll()
    const path = join(out(), indexName)
    writeFileSync(
      path,
      readFileSync(path, 'utf8').split('\n').slice(0, 1).join('\n').concat('\n{"name":"anc'),
    )
    expect(await fetchAll()).toMatchObject({ fetched: 2, known: 1 })
    expect(await fetchAll(true)).toMatchObject({ fetched: 0, known: 3 })
  })

  test('does not believe a store that lies', async () => {
    await store(3)
    as(auditorToken)
    await fetchAll()
    const [first] = bucket.objects
    if (!first) throw new Error('no object')

    const { generation } = first
    first.generation++
    await expect(fetchAll(true)).rejects.toMatchObject({
      code: 'WORM',
      message: expect.stringContaining('replaced'),
    })
    first.generation = generation
    first.created += 60_000
    await expect(fetchAll(true)).rejects.toMatchObject({ code: 'WORM' })
    first.created -= 60_000
    expect(await fetchAll(true)).toMatchObject({ fetched: 0 })
  })

  test('refuses bytes that are not those of the checksum, and an object beyond any anchor', async () => {
    await store(1)
    const [first] = bucket.objects
    if (!first) throw new Error('no object')
    const real = google
    const lying = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      async fetch(request) {
        const url = new URL(request.url)
        const answer = await fetch(`${real.url}${url.pathname.slice(1)}${url.search}`, {
          headers: request.headers,
        })
        return url.searchParams.get('alt') === 'media' ? new Response('another') : answer
      },
    })
    process.env.STORAGE_EMULATOR_HOST = `127.0.0.1:${lying.port}`
    as(auditorToken)
    await expect(fetchAll()).rejects.toMatchObject({
      code: 'WORM',
      message: expect.stringContaining('checksum'),
    })
    await lying.stop(true)
    process.env.STORAGE_EMULATOR_HOST = google.url
    expect(readdirSync(out()).filter(each => each.startsWith('anchor-'))).toEqual([])
    first.bytes = new Uint8Array(20_000)
    await expect(fetchAll()).rejects.toMatchObject({ code: 'WORM' })
  })

  test('refuses a list that repeats itself', async () => {
    await store(4)
    as(auditorToken)
    const real = google
    const lying = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      async fetch(request) {
        const url = new URL(request.url)
        url.searchParams.delete('pageToken')
        return fetch(`${real.url}${url.pathname.slice(1)}?${url.searchParams}`, { headers: request.headers })
      },
    })
    process.env.STORAGE_EMULATOR_HOST = `127.0.0.1:${lying.port}`
    await expect(fetchAll()).rejects.toMatchObject({
      code: 'WORM',
      message: expect.stringContaining('out of order'),
    })
    await lying.stop(true)
  })
})
