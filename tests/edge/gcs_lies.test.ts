/** An auditor's copy from a store that lies: what fetch-anchors refuses, and what the verifiers find in what it took. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { fetchAnchors } from '../../lib/edge/gcp/fetch_anchors.ts'
import { readAnchors } from '../../lib/edge/verify.ts'
import { auditorToken, cloudWithBucket, place } from '../support/google_cloud/bucket.ts'
import { type GoogleCloud, startGoogleCloud } from '../support/google_cloud/server.ts'
import type { Bucket, StoredObject } from '../support/google_cloud/state.ts'
import { honestTrail, type TrailBuilder } from '../support/trail.ts'

let google: GoogleCloud
let bucket: Bucket
let trail: TrailBuilder
let dir: string
const before = { ...process.env }

/** The anchors of an honest trail, each where and when Google received it. */
beforeEach(() => {
  const made = cloudWithBucket()
  bucket = made.bucket
  trail = honestTrail()
  for (const { name, bytes, receivedAt } of trail.anchors)
    bucket.objects.push({ name: `anchors/${name}`, bytes, generation: 1, created: receivedAt ?? 0 })
  google = startGoogleCloud(made.cloud)
  dir = mkdtempSync(join(tmpdir(), 'zt-gcs-lies-'))
  writeFileSync(join(dir, 'token'), auditorToken, { mode: 0o600 })
  process.env.STORAGE_EMULATOR_HOST = google.url
  process.env.STORAGE_EMULATOR_TOKEN_FILE = join(dir, 'token')
})
afterEach(async () => {
  await google.stop()
  rmSync(dir, { recursive: true, force: true })
  process.env = { ...before }
})

const out = () => join(dir, 'anchors')
const fetched = (all = false) => fetchAnchors({ from: place, out: out(), all })
const object = (number: number): StoredObject => {
  const found = bucket.objects.find(({ name }) => name.endsWith(anchorName(number)))
  if (!found) throw new Error(`no anchor ${number}`)
  return found
}
const codes = async (): Promise<string[]> => {
  const { findings } = await trail.verify({ anchors: await readAnchors(out()) })
  return [...new Set(findings.kept.filter(({ severity }) => severity === 'fail').map(({ code }) => code))]
}

test('the copy of an honest store is whole, with Google’s times', async () => {
  await fetched()
  expect(await readAnchors(out())).toEqual(
    trail.anchors.map(each => ({ ...each, bytes: Buffer.from(each.bytes) })),
  )
  expect(await codes()).toEqual([])
})

describe('the verifiers find', () => {
  test.each<[string, () => unknown, string[]]>([
    [
      'other bytes under their own checksum',
      () => Object.assign(object(2), { bytes: utf8('{}') }),
      ['ANCHOR_FORMAT'],
    ],
    [
      'one anchor under the name of another',
      () => Object.assign(object(2), { bytes: object(1).bytes }),
      ['ANCHOR_FORMAT'],
    ],
    ['an anchor that is not there', () => bucket.objects.splice(0, 1), ['ANCHOR_MISSING']],
    [
      'an anchor that came an hour after it was made: its host’s clock was turned back',
      () => Object.assign(object(2), { created: object(2).created + 3_600_000 }),
      ['ANCHOR_LATE', 'HEARTBEAT_GAP'],
    ],
    [
      'an anchor that came an hour before it was made: its host’s clock was turned on',
      () => Object.assign(object(2), { created: object(2).created - 3_600_000 }),
      ['CLOCK_AHEAD'],
    ],
  ])('%s', async (_, lie, expected) => {
    lie()
    await fetched()
    expect(await codes()).toEqual(expect.arrayContaining(expected))
  })
})

describe('a fetch refuses', () => {
  /** Answers as the store does, but for what `lie` makes of a call. */
  async function through(
    lie: (url: URL, answer: Response) => Promise<Response> | Response,
  ): Promise<unknown> {
    const proxy = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      async fetch(request) {
        const url = new URL(request.url)
        const answer = await fetch(`${google.url}${url.pathname.slice(1)}${url.search}`, {
          headers: request.headers,
        })
        return lie(url, answer)
      },
    })
    process.env.STORAGE_EMULATOR_HOST = `127.0.0.1:${proxy.port}`
    const thrown = await fetched().catch((error: unknown) => error)
    await proxy.stop(true)
    process.env.STORAGE_EMULATOR_HOST = google.url
    return thrown
  }
  const isObject = (url: URL) => url.pathname.includes(encodeURIComponent(anchorName(2)))
  const bent = async (answer: Response, change: object): Promise<Response> =>
    Response.json({ ...((await answer.json()) as object), ...change })

  test('an object that is listed and not there', async () => {
    const thrown = await through((url, answer) =>
      isObject(url) ? new Response(null, { status: 404 }) : answer,
    )
    expect(thrown).toMatchObject({ code: 'WORM', message: expect.stringContaining('listed and not there') })
  })

  test('an object whose generation is another once it is fetched', async () => {
    const thrown = await through((url, answer) =>
      isObject(url) && url.searchParams.get('alt') !== 'media' ? bent(answer, { generation: '2' }) : answer,
    )
    expect(thrown).toMatchObject({
      code: 'WORM',
      message: expect.stringContaining('replaced while it was fetched'),
    })
  })

  test('a time of creation that is none', async () => {
    Object.assign(object(1), { created: 0 })
    const thrown = await through(async (url, answer) => {
      if (!url.pathname.endsWith('/o')) return answer
      const page = (await answer.json()) as { items: object[] }
      return Response.json({
        ...page,
        items: page.items.map(item => ({ ...item, timeCreated: 'yesterday' })),
      })
    })
    expect(thrown).toMatchObject({
      code: 'BAD_FORMAT',
      message: expect.stringContaining('no time of creation'),
    })
  })

  test('what it fetched before under another generation, checksum or time', async () => {
    await fetched()
    for (const change of [
      { generation: 9 },
      { bytes: utf8('another') },
      { created: object(1).created + 1000 },
    ]) {
      const { generation, bytes, created } = object(1)
      Object.assign(object(1), change)
      await expect(fetched(true)).rejects.toMatchObject({
        code: 'WORM',
        message: expect.stringContaining('was replaced'),
      })
      Object.assign(object(1), { generation, bytes, created })
    }
    expect(await fetched(true)).toMatchObject({ fetched: 0 })
  })
})
