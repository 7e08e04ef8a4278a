import { expect, test } from 'bun:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { type Header, pack } from 'tar-stream'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { packArchive, unpackArchive } from '../../lib/edge/archive.ts'

const files = new Map([
  ['orders/000001.json', utf8('{}\n')],
  ['ca.pem', new Uint8Array(70_000).fill(65)],
])

async function refused(zipped: Uint8Array, maxBytes = 1 << 20): Promise<string> {
  try {
    await unpackArchive(zipped, 'archive', maxBytes)
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return 'accepted'
}

test('one content gives one archive, whatever the order of its files', async () => {
  const bytes = await packArchive(files, 0o600)
  expect(await packArchive(new Map([...files].reverse()), 0o600)).toEqual(bytes)
  expect(await unpackArchive(bytes, 'archive', 1 << 20)).toEqual(new Map([...files].sort()))
})

test('system tar sees sorted files of mode 0600, owner 0, time 0', async () => {
  const child = Bun.spawnSync(['tar', '--numeric-owner', '-tvz'], {
    stdin: await packArchive(files, 0o600),
    env: { TZ: 'UTC', PATH: process.env.PATH ?? '' },
  })
  expect(
    child.stdout
      .toString()
      .trim()
      .split('\n')
      .map(line => line.split(/\s+/).join(' ')),
  ).toEqual([
    '-rw------- 0/0 70000 1970-01-01 00:00 ca.pem',
    '-rw------- 0/0 3 1970-01-01 00:00 orders/000001.json',
  ])
})

test('an archive that was cut, or is none, is refused', async () => {
  const good = await packArchive(files, 0o600)
  const tar = gunzipSync(good)
  expect(await refused(good.subarray(0, -5))).toBe('BAD_FORMAT')
  expect(await refused(utf8('hello'))).toBe('BAD_FORMAT')
  expect(await refused(gzipSync(tar.subarray(0, 1024)))).toBe('BAD_FORMAT') // the header and half of the file
  expect(await refused(gzipSync(tar.subarray(0, -1024)))).toBe('BAD_FORMAT') // all files, but no end
  expect(await refused(gzipSync(tar.subarray(0, -100)))).toBe('BAD_FORMAT')
  expect(await refused(good, 60_000)).toBe('BAD_FORMAT')
})

test.each<[string, Partial<Header> & { name: string }]>([
  ['a link', { name: 'a', type: 'symlink', linkname: '/etc/passwd' }],
  ['a folder', { name: 'a', type: 'directory' }],
  ['an absolute name', { name: '/etc/passwd' }],
  ['a way out', { name: '../a' }],
  ['a hidden file', { name: '.bashrc' }],
])('an archive with %s is refused', async (_, header) => {
  const archive = pack()
  if (header.type === undefined) archive.entry(header, 'x')
  else archive.entry(header)
  archive.finalize()
  expect(await refused(gzipSync(Buffer.from(await new Response(archive as never).arrayBuffer())))).toBe(
    'BAD_FORMAT',
  )
})

test('an archive that holds a name twice is refused', async () => {
  const archive = pack()
  archive.entry({ name: 'a' }, 'x')
  archive.entry({ name: 'a' }, 'y')
  archive.finalize()
  expect(await refused(gzipSync(Buffer.from(await new Response(archive as never).arrayBuffer())))).toBe(
    'BAD_FORMAT',
  )
})
