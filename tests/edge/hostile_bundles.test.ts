/** Bundles as an attacker makes them: each is refused with a reason, before it can take memory, and never a crash. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type Bytes, concat, equal, fromUtf8, random, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { bundleGate, formatManifest, type Manifest, readBundle } from '../../lib/core/proof/bundle.ts'
import { packArchive } from '../../lib/edge/archive.ts'
import { asVerdict, readBundleFile } from '../../lib/edge/bundle_file.ts'
import { bundle, definitions, observation } from '../support/bundle.ts'
import { gzipped, paxEntry, tarEnd, tarEntry, tarHeader } from '../support/tar.ts'

const dir = mkdtempSync(join(tmpdir(), 'zt-hostile-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const path = join(dir, 'bundle.tar.gz')
const { files } = bundle()
let good: Bytes
let tar: Bytes

beforeAll(async () => {
  good = await packArchive(files, 0o644)
  tar = new Uint8Array(gunzipSync(good))
})

/** What the reader says of these bytes: `accepted`, or why not. Anything but a failed verification is thrown on. */
async function said(bytes: Bytes): Promise<string> {
  writeFileSync(path, bytes)
  try {
    const read = await readBundleFile(path)
    await asVerdict(() => readBundle(read, definitions))
    return 'accepted'
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'VERIFY_FAILED') return thrown.message
    throw thrown
  }
}

/** The bundle with these files instead, and a manifest that fits. */
async function with_(changes: Record<string, Bytes>): Promise<Bytes> {
  const manifest = JSON.parse(fromUtf8(files.get('manifest.json') ?? utf8(''), 'manifest')) as Manifest
  const inside = new Map([...files, ...Object.entries(changes)])
  inside.delete('manifest.json')
  inside.delete('closing.ndjson')
  const outside = new Map(inside).set('manifest.json', utf8(formatManifest(manifest, inside)))
  return packArchive(
    outside.set('closing.ndjson', changes['closing.ndjson'] ?? files.get('closing.ndjson') ?? utf8('')),
    0o644,
  )
}

const whole = () => tar.subarray(0, -1024)
const result = (json: string): Bytes =>
  utf8(fromUtf8(observation('plaintext', 1), 'o').replace('"result":1', `"result":${json}`))

test('the same bundle, written honestly, is accepted', async () => {
  expect(await said(good)).toBe('accepted')
  expect(await said(await with_({}))).toBe('accepted')
})

describe('an archive is refused', () => {
  const anotherWay = 'is not written as this program writes it'
  const strange = 'holds something else than regular files with plain names'
  const corpus: [what: string, make: () => Bytes, says: string][] = [
    ['that ends early', () => good.subarray(0, good.length >> 1), 'not a gzip archive'],
    ['without its trailer', () => good.subarray(0, -4), 'not a gzip archive'],
    ['with another trailer', () => concat(good.subarray(0, -8), random(8)), 'not a gzip archive'],
    [
      'with another archive behind it',
      () => concat(good, gzipped(tarEntry('observations/x.json', '{}\n'), tarEnd)),
      'something stands behind it',
    ],
    ['with an empty member behind it', () => concat(good, gzipped()), 'something stands behind it'],
    [
      'with garbage behind it',
      () => concat(good, random(100)),
      'not a gzip archive|something stands behind it',
    ],
    [
      'with files behind its end',
      () => gzipped(tar, tarEntry('observations/x.json', '{}\n'), tarEnd),
      anotherWay,
    ],
    ['with zeros behind its end', () => gzipped(tar, new Uint8Array(10_240)), anotherWay],
    ['without an end', () => gzipped(whole()), 'does not end as a tar archive does'],
    [
      'with another mode',
      () => gzipped(tarEntry('manifest.json', '{}\n', { mode: '004755 ' }), tarEnd),
      anotherWay,
    ],
    [
      'with a path in extended headers',
      () => gzipped(paxEntry({ path: 'manifest.json' }), tarEntry('innocent.txt', '{}\n'), tarEnd),
      anotherWay,
    ],
    [
      'with a size in extended headers',
      () => gzipped(paxEntry({ size: '99999999999' }), tarEntry('manifest.json', '{}\n'), tarEnd),
      'does not belong',
    ],
    ['with headers for everything', () => gzipped(paxEntry({ comment: 'x' }, 'g'), tar), anotherWay],
    [
      'with thousands of extended headers',
      () => gzipped(...Array<Bytes>(1000).fill(paxEntry({ comment: 'x'.repeat(100) })), tar),
      anotherWay,
    ],
    ['with a sparse file', () => gzipped(tarEntry('trail.ndjson', '', { type: 'S' }), tarEnd), strange],
    [
      'with a sparse file by extended headers',
      () =>
        gzipped(
          paxEntry({
            'GNU.sparse.major': '1',
            'GNU.sparse.name': 'trail.ndjson',
            'GNU.sparse.realsize': '1099511627776',
          }),
          tarEntry('GNUSparseFile.0/trail.ndjson', '1\n0\n0\n'),
          tarEnd,
        ),
      'does not belong',
    ],
    [
      'with a long name',
      () =>
        gzipped(tarEntry('././@LongLink', 'manifest.json\0', { type: 'L' }), tarEntry('x', '{}\n'), tarEnd),
      anotherWay,
    ],
    [
      'with a long name without end',
      () =>
        gzipped(
          tarHeader('././@LongLink', 0, { type: 'L', size: 1 << 30 }),
          new Uint8Array(1 << 20).fill(65),
        ),
      'bundle.tar.gz: ',
    ],
    [
      'with NUL in a name',
      () => gzipped(tarEntry('manifest.json\0../../etc/passwd', '{}\n'), tarEnd),
      anotherWay,
    ],
    [
      'with NUL in a prefix',
      () => gzipped(tarEntry('manifest.json', '{}\n', { prefix: utf8('\0evil') }), tarEnd),
      anotherWay,
    ],
    [
      'with a name that reads backwards',
      () => gzipped(tarEntry('observations/\u202etest.json', '{}\n'), tarEnd),
      strange,
    ],
    ['with a name of line ends', () => gzipped(tarEntry('observations/a\nb.json', '{}\n'), tarEnd), strange],
    [
      'with a name of bytes that are no text',
      () =>
        gzipped(
          tarEntry(concat(utf8('observations/'), Uint8Array.of(0xff, 0xfe), utf8('.json')), '{}\n'),
          tarEnd,
        ),
      strange,
    ],
    [
      'with names that differ by case',
      () => gzipped(whole(), tarEntry('Manifest.json', '{}\n'), tarEnd),
      'does not belong',
    ],
    ['with a name twice', () => gzipped(whole(), tarEntry('manifest.json', '{}\n'), tarEnd), strange],
    [
      'out of order',
      () => gzipped(tarEntry('trail.ndjson', 'x\n'), tarEntry('manifest.json', '{}\n'), tarEnd),
      anotherWay,
    ],
    [
      'with a name that climbs',
      () => gzipped(tarEntry('observations/../../x.json', '{}\n'), tarEnd),
      strange,
    ],
    [
      'with a wrong checksum',
      () => gzipped(tarEntry('manifest.json', '{}\n', { checksumOff: 1 }), tarEnd),
      'Invalid tar header',
    ],
    [
      'with a negative size',
      () => gzipped(tarHeader('manifest.json', 0, { sizeField: utf8('-0000000001 ') }), tarEnd),
      'bundle.tar.gz: ',
    ],
    [
      'with a size of exabytes',
      () =>
        gzipped(
          tarHeader('manifest.json', 0, {
            sizeField: Uint8Array.of(0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0),
          }),
          tarEnd,
        ),
      'bundle.tar.gz: ',
    ],
    [
      'whose last file is longer than the archive',
      () => gzipped(tarHeader('trail.ndjson', 0, { size: 1 << 20 }), tarEnd),
      'bundle.tar.gz: ',
    ],
  ]
  test.each(corpus)('%s', async (_what, make, says) => {
    expect(await said(make())).toMatch(new RegExp(says))
  })

  test('larger than any bundle, before it is read', async () => {
    expect(await said(new Uint8Array((32 << 20) + 1))).toContain('a bundle has at most')
  })
})

describe('content is refused', () => {
  const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

  test('that nests without end', async () => {
    const answer = await said(await with_({ 'observations/plaintext.json': result(deep(200_000)) }))
    expect(answer).toMatch(/observations\/plaintext\.json: (not JSON|nested too deeply)/)
    expect(await said(await with_({ 'observations/plaintext.json': result(deep(500)) }))).toBe('accepted')
  })

  test('that spells one value in another way', async () => {
    for (const json of [
      '1.0',
      '1e0',
      ' 1',
      '"\\u0041"',
      '{"a":1,"a":1}',
      '[1,]',
      'NaN',
      '9'.repeat(400),
      '{"__proto__":1,"__proto__":2}',
    ])
      expect([json, await said(await with_({ 'observations/plaintext.json': result(json) }))]).toEqual([
        json,
        expect.stringContaining('observations/plaintext.json'),
      ])
  })

  test('that hides a key among the certificates', async () => {
    for (const pem of [
      '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
      '',
      'x',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    ])
      expect(await said(await with_({ 'certificates/server.pem': utf8(pem) }))).toMatch(/certificate/)
  })

  test('that lists what is not there, by the million', async () => {
    const line = '{"path":"observations/x.json","size":0,"sha256":"00"},'
    const huge = concat(utf8('{"v":1,"kind":"ztmysql-proof","files":['), utf8(line.repeat(25_000)))
    const archive = await packArchive(new Map([...files, ['manifest.json', huge]]), 0o644)
    expect(await said(archive)).toContain(`manifest.json, ${huge.length} bytes, does not belong`)
  })

  test('where one kind of file is larger than it can be, before its bytes are read', () => {
    for (const [name, bytes] of [
      ['manifest.json', 2 << 20],
      ['observations/a.json', 2 << 20],
      ['anchors/anchor-0000000001.json', 1 << 16],
      ['certificates/a.pem', 1 << 20],
      ['closing.ndjson', 1 << 26],
      ['schema.json', 1 << 26],
      ['sbom.cdx.json', 1 << 26],
      ['openscap/results.xml', 1 << 23],
    ] as const) {
      expect([name, bundleGate()(name, bytes)]).toEqual([name, false])
      expect([name, bundleGate()(name, 100)]).toEqual([name, true])
    }
    const gate = bundleGate()
    const million = Array.from({ length: 6 }, (_, i) => gate(`observations/a${i}.json`, 1 << 20))
    expect(million).toEqual([true, true, true, true, false, false])
    const many = bundleGate()
    expect(
      Array.from({ length: 2100 }, (_, i) => many(`observations/a${i}.json`, 1)).filter(Boolean).length,
    ).toBe(2000)
  })
})

describe('by chance', () => {
  const place = fc.nat({ max: 1 << 20 })
  const mutation = fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: place, by: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: place, by: fc.nat({ max: 600 }) }),
    fc.record({ kind: fc.constant('insert' as const), at: place, by: fc.nat({ max: 600 }) }),
  )
  const mutate = (bytes: Bytes, { kind, at, by }: { kind: string; at: number; by: number }): Bytes => {
    const place = at % bytes.length
    if (kind === 'cut') return concat(bytes.subarray(0, place), bytes.subarray(place + by))
    if (kind === 'insert') return concat(bytes.subarray(0, place), random(by), bytes.subarray(place))
    const copy = bytes.slice()
    copy[place] = (copy[place] ?? 0) ^ by
    return copy
  }

  test('a changed archive is refused, or is the same archive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async changes => {
        const bent = changes.reduce(mutate, good)
        if ((await said(bent)) !== 'accepted') return
        // the header of gzip has bits that say nothing of the content
        expect(equal(new Uint8Array(gunzipSync(bent)), tar)).toBe(true)
      }),
      { numRuns: 300 },
    )
  }, 300_000)

  test('a changed tar, compressed anew, is refused unless only the closing part or the manifest changed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async changes => {
        const bent = changes.reduce(mutate, tar)
        if ((await said(new Uint8Array(gzipSync(bent, { level: 1 })))) !== 'accepted') return
        const read = await readBundleFile(path)
        const changed = [...read]
          .filter(([name, bytes]) => !equal(bytes, files.get(name) ?? utf8('')))
          .map(([name]) => name)
        // what covers these two is the closing anchor
        expect(changed.filter(name => name !== 'closing.ndjson' && name !== 'manifest.json')).toEqual([])
      }),
      { numRuns: 300 },
    )
  }, 300_000)

  test('any JSON as an observation is accepted or refused, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 6 }), async value => {
        const json = JSON.stringify(value)
        const answer = await said(await with_({ 'observations/plaintext.json': result(json) }))
        expect(['accepted', 'refused']).toContain(answer === 'accepted' ? answer : 'refused')
      }),
      { numRuns: 60 },
    )
  }, 300_000)
})
