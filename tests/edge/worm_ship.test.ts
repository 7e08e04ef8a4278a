import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorName, formatAnchor, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { parseAnchorSyslog } from '../../lib/core/audit/anchor_log.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { anchorsFromLog } from '../../lib/edge/anchors_from_log.ts'
import { openWorm } from '../../lib/edge/worm.ts'
import { shipping } from '../../lib/edge/worm_ship.ts'
import vectors from '../vectors/audit-anchor.json' with { type: 'json' }

const objects = vectors.anchors.map(({ name, object }) => ({ name, bytes: utf8(object) }))
const [one, two, three] = objects
if (!one || !two || !three) throw new Error('no vectors')

const failed = async (attempt: Promise<unknown>): Promise<ZtError> => {
  const thrown = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (thrown instanceof ZtError) return thrown
  throw thrown ?? new Error('it did not fail')
}

let dir: string
let ship: string
let store: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-ship-'))
  ship = join(dir, 'ship')
  store = join(dir, 'store')
  mkdirSync(ship)
  mkdirSync(store)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const file = (name = 'anchors-0000000.log') => readFileSync(join(ship, name), 'utf8')
const numbers = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map(line => parseAnchorSyslog(line).anchor.number)

describe('a store that ships', () => {
  test('appends each object once, as the line it can be made again from', async () => {
    const worm = shipping(openWorm(store), ship)
    expect(await worm.put(one.name, one.bytes)).toBe('created')
    expect(await worm.put(two.name, two.bytes)).toBe('created')
    expect(await worm.put(two.name, two.bytes)).toBe('identical')
    expect(numbers(file())).toEqual([1, 1, 2])
    await worm.put(three.name, three.bytes)
    await worm.put(objects[3]?.name ?? '', objects[3]?.bytes ?? utf8(''))
    expect(numbers(file())).toEqual([1, 1, 2, 1, 2, 3, 2, 3, 4])
    expect(statSync(join(ship, 'anchors-0000000.log')).mode & 0o777).toBe(0o640)
    expect(await worm.list()).toEqual(objects.map(({ name }) => name))
    expect(worm.grade).toBe('host')
  })

  test('appends what a run that was cut off had stored and not appended', async () => {
    await openWorm(store).put(one.name, one.bytes)
    expect(await shipping(openWorm(store), ship).put(one.name, one.bytes)).toBe('identical')
    expect(numbers(file())).toEqual([1])
  })

  test('leaves half a line by itself and writes the whole one after it', async () => {
    const worm = shipping(openWorm(store), ship)
    await worm.put(one.name, one.bytes)
    const half = file().slice(0, 500).replace('number="1"', 'number="2"')
    appendFileSync(join(ship, 'anchors-0000000.log'), half)
    await worm.put(two.name, two.bytes)
    const lines = file().trimEnd().split('\n')
    expect(lines[1]).toBe(half)
    expect(numbers([lines[0], ...lines.slice(2)].join('\n'))).toEqual([1, 1, 2])
  })

  test('begins a file each thousand anchors and keeps two hundred', async () => {
    for (let i = 0; i < 205; i += 1)
      writeFileSync(join(ship, `anchors-${String(i).padStart(7, '0')}.log`), '')
    const anchor = { ...parseAnchor(one.bytes), number: 205_000 }
    await shipping(openWorm(store), ship).put(anchorName(205_000), formatAnchor(anchor))
    const files = readdirSync(ship).sort()
    expect([files.length, files[0], files.at(-1)]).toEqual([
      200,
      'anchors-0000006.log',
      'anchors-0000205.log',
    ])
    expect(numbers(file('anchors-0000205.log'))).toEqual([205_000])
  })

  test('has not stored what it cannot append', async () => {
    const worm = shipping(openWorm(store), join(dir, 'gone'))
    const error = await failed(worm.put(one.name, one.bytes))
    expect([error.code, error.message]).toEqual([
      'NOT_FOUND',
      `lines for the log host ${join(dir, 'gone', 'anchors-0000000.log')}: no such file or folder`,
    ])
  })
})

describe('a folder of anchors from the log host', () => {
  const log = () => join(dir, 'received.log')
  const received = (lines: string[], minute = 0) =>
    lines
      .map(
        (line, i) =>
          `2026-11-24T14:${String(minute + i).padStart(2, '0')}:00.500000+00:00 10.77.0.41 ${line}\n`,
      )
      .join('')
  const shipped = vectors.anchors.map(({ syslog }) => syslog)

  test('holds the very objects, each with the time of its first receipt', async () => {
    writeFileSync(`${log()}.1`, received(shipped.slice(0, 2)))
    writeFileSync(log(), received(shipped.slice(1), 30))
    const out = join(dir, 'anchors')
    expect(await anchorsFromLog([`${log()}.1`, log()], out)).toEqual({
      anchors: 4,
      first: 1,
      last: 4,
      again: 1,
      faults: [],
    })
    for (const { name, object } of vectors.anchors) expect(readFileSync(join(out, name), 'utf8')).toBe(object)
    expect(Math.round(statSync(join(out, two.name)).mtimeMs)).toBe(Date.parse('2026-11-24T14:01:00.500Z'))
    expect(Math.round(statSync(join(out, three.name)).mtimeMs)).toBe(Date.parse('2026-11-24T14:31:00.500Z'))
    const error = await failed(anchorsFromLog([log()], out))
    expect(error.code).toBe('CONFLICT')
  })

  test('names the lines that are no anchors', async () => {
    writeFileSync(
      log(),
      received(['<30>1 - db1 sshd - - - hello', shipped[0] ?? '', (shipped[1] ?? '').slice(0, 300)]),
    )
    const { anchors, faults } = await anchorsFromLog([log()], join(dir, 'anchors'))
    expect([anchors, faults]).toEqual([
      1,
      [{ file: log(), line: 3, detail: 'not a whole line of anchor_head' }],
    ])
  })

  test('is not made where there is nothing to put into it', async () => {
    writeFileSync(log(), 'nothing\n')
    const out = join(dir, 'anchors')
    expect((await failed(anchorsFromLog([log()], out))).code).toBe('NOT_FOUND')
    expect((await failed(anchorsFromLog([join(dir, 'none')], out))).code).toBe('NOT_FOUND')
    expect(readdirSync(dir).sort()).toEqual(['received.log', 'ship', 'store'])
  })
})
