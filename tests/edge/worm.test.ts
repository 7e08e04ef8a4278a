import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { anchorMaxBytes } from '../../lib/core/audit/anchor.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { openWorm } from '../../lib/edge/worm.ts'

setDefaultTimeout(30_000)

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-worm-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

async function refusal(act: () => Promise<unknown>): Promise<ZtError> {
  try {
    await act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

describe('a folder as a store', () => {
  test('creates an object once, read-only and whole, and knows it again', async () => {
    const worm = openWorm(dir)
    expect(worm.grade).toBe('host')
    expect(await worm.put('a.json', utf8('one'))).toBe('created')
    expect(statSync(join(dir, 'a.json')).mode & 0o777).toBe(0o444)
    expect(await worm.put('a.json', utf8('one'))).toBe('identical')
    expect(readdirSync(dir)).toEqual(['a.json'])
  })

  test('keeps what is there against other content', async () => {
    const worm = openWorm(dir)
    await worm.put('a.json', utf8('one'))
    for (const other of ['two', 'on', 'one ', '']) {
      const error = await refusal(() => worm.put('a.json', utf8(other)))
      expect(error.code).toBe('WORM')
      expect(error.message).toBe(`worm store ${dir}: a.json is there with other content`)
    }
    expect(readFileSync(join(dir, 'a.json'), 'utf8')).toBe('one')
    expect(readdirSync(dir)).toEqual(['a.json'])
  })

  test('lists objects in order, and nothing half-written', async () => {
    const worm = openWorm(dir)
    for (const name of ['anchor-0000000010.json', 'anchor-0000000002.json']) await worm.put(name, utf8(name))
    writeFileSync(join(dir, '.zt-0123.tmp'), 'half')
    expect(await worm.list()).toEqual(['anchor-0000000002.json', 'anchor-0000000010.json'])
  })

  test('gives bytes and the time of receipt', async () => {
    const worm = openWorm(dir)
    const before = Date.now()
    await worm.put('a.json', utf8('one'))
    const object = await worm.get('a.json')
    expect(new TextDecoder().decode(object?.bytes)).toBe('one')
    expect(object?.receivedAt).toBeGreaterThanOrEqual(before - 1000)
    expect(object?.receivedAt).toBeLessThanOrEqual(Date.now() + 1000)
    utimesSync(join(dir, 'a.json'), 1000, 1000)
    expect((await worm.get('a.json'))?.receivedAt).toBe(1_000_000)
    expect(await worm.get('b.json')).toBeUndefined()
  })

  test('is never made where it is missing: a mount that is away would turn into a folder of this host', async () => {
    const away = join(dir, 'away')
    for (const act of [
      () => openWorm(away).put('a.json', utf8('one')),
      () => openWorm(away).get('a.json'),
      () => openWorm(away).list(),
    ]) {
      const error = await refusal(act)
      expect(error.code).toBe('UNREACHABLE')
      expect(error.exitCode).toBe(3)
    }
    expect(readdirSync(dir)).toEqual([])
    writeFileSync(away, '')
    expect((await refusal(() => openWorm(away).put('a.json', utf8('one')))).code).toBe('UNREACHABLE')
  })

  test.each(['', '.', '..', '../a', 'a/b', '/a', '.hidden', 'A', 'a b', 'a\n', 'a'.repeat(101)])(
    'refuses the name %p',
    async name => {
      expect((await refusal(() => openWorm(dir).put(name, utf8('x')))).code).toBe('BAD_INPUT')
      expect((await refusal(() => openWorm(dir).get(name))).code).toBe('BAD_INPUT')
    },
  )

  test('reads no object that is larger than an anchor may be', async () => {
    writeFileSync(join(dir, 'large.json'), new Uint8Array(anchorMaxBytes + 1))
    writeFileSync(join(dir, 'fits.json'), new Uint8Array(anchorMaxBytes))
    expect((await refusal(() => openWorm(dir).get('large.json'))).code).toBe('BAD_INPUT')
    expect((await openWorm(dir).get('fits.json'))?.bytes.length).toBe(anchorMaxBytes)
  })

  test('takes a dangling link or a folder at the name for no object of its own', async () => {
    const worm = openWorm(dir)
    symlinkSync(join(dir, 'target'), join(dir, 'link.json'))
    expect((await refusal(() => worm.put('link.json', utf8('x')))).code).toBe('WORM')
    expect(readdirSync(dir)).toEqual(['link.json'])
    mkdirSync(join(dir, 'folder.json'))
    expect((await refusal(() => worm.put('folder.json', utf8('x')))).code).toBe('BAD_INPUT')
  })

  test('lets one of many that put at once create, and tells the others the truth', async () => {
    const script = join(dir, 'put.ts')
    const store = join(dir, 'store')
    mkdirSync(store)
    writeFileSync(
      script,
      `import { openWorm } from ${JSON.stringify(join(import.meta.dir, '../../lib/edge/worm.ts'))}
const bytes = new TextEncoder().encode(process.argv[2] === 'same' ? 'same' : String(process.pid))
console.log(await openWorm(${JSON.stringify(store)}).put('a.json', bytes).catch(e => e.code))`,
    )
    const children = Array.from({ length: 4 }, () =>
      Bun.spawn([process.execPath, script, 'other'], { stdout: 'pipe' }),
    )
    const outcomes = await Promise.all(children.map(child => new Response(child.stdout).text()))
    expect(outcomes.map(text => text.trim()).sort()).toEqual(['WORM', 'WORM', 'WORM', 'created'])
    expect(readdirSync(store)).toEqual(['a.json'])
  })
})

describe('the place of a store', () => {
  test('is a path or a file URI', async () => {
    await openWorm(pathToFileURL(dir).href).put('a.json', utf8('one'))
    expect(await openWorm(dir).list()).toEqual(['a.json'])
  })

  test.each(['', 's3://bucket/x', 'https://example.org/'])('of kind %p is refused', place => {
    expect(() => openWorm(place)).toThrow('not a kind of store that is known')
  })
})
