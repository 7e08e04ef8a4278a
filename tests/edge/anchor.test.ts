import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Anchor,
  anchorHash,
  noPredecessor,
  openAnchor,
  parseAnchor,
} from '../../lib/core/audit/anchor.ts'
import { type AnchorKey, publicKeys, type TrustedLog } from '../../lib/core/audit/checkpoint.ts'
import { leafHash, treeRoot } from '../../lib/core/audit/merkle.ts'
import { type Bytes, random, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { type AnchorOptions, runAnchor, type Step } from '../../lib/edge/anchor.ts'
import { AnchorState } from '../../lib/edge/anchor_state.ts'
import { openWorm, type Worm } from '../../lib/edge/worm.ts'
import { MemoryDatabase } from '../support/anchor_database.ts'

setDefaultTimeout(30_000)

const origin = 'ztmysql.local/00112233445566aa'
const makeKey = (): AnchorKey => ({ name: origin, ed25519: random(32), mldsa44: random(32) })
const key = makeKey()
const log: TrustedLog = { origin, logKeys: [{ ...publicKeys(key), from: 1, until: null }] }

let dir: string
let database: MemoryDatabase
let worm: Worm
let warnings: string[]
const at = (...names: string[]) => join(dir, ...names)

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-anchor-'))
  mkdirSync(at('worm'))
  database = new MemoryDatabase()
  database.write(3)
  worm = openWorm(at('worm'))
  warnings = []
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const run = (options: Partial<AnchorOptions> = {}) =>
  runAnchor({
    database,
    state: new AnchorState(at('state')),
    worm,
    keys: [key],
    onWarning: text => warnings.push(text),
    ...options,
  })

async function refusal(act: Promise<unknown>): Promise<ZtError> {
  try {
    await act
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

const stored = (): { name: string; bytes: Bytes; anchor: Anchor }[] =>
  readdirSync(at('worm'))
    .sort()
    .map(name => {
      const bytes = readFileSync(at('worm', name))
      return { name, bytes, anchor: parseAnchor(bytes) }
    })

/** Everything that a verifier with the store, the keys and the trail would ask of the anchors. */
function expectWhole(count: number): void {
  const objects = stored()
  expect(objects.map(o => o.anchor.number)).toEqual(Array.from({ length: count }, (_, i) => i + 1))
  let prev = noPredecessor
  let size = 0
  for (const { anchor, bytes } of objects) {
    expect(anchor.prev).toBe(prev)
    prev = anchorHash(bytes)
    expect(anchor.size).toBeGreaterThan(size)
    size = anchor.size
    const covered = database.payloads.slice(0, size)
    expect(toHex(openAnchor(anchor, log).root)).toBe(toHex(treeRoot(covered.map(p => leafHash(p)))))
    expect(anchor.head).toBe(toHex(database.head(size)))
    expect(new TextDecoder().decode(covered.at(-1))).toStartWith(
      `anchor ${anchor.number} ${anchor.fingerprint} ${anchor.prev}`,
    )
  }
  expect(database.confirmedNumber).toBe(count)
  expect(database.confirmedSha256).toBe(prev)
}

const steps: Step[] = ['sealed', 'recorded', 'signed', 'kept', 'stored', 'logged', 'confirmed']

const stopAt = (wanted: Step, number: number) => (step: Step, at: number) => {
  if (step === wanted && (at === number || at === 0)) throw new Error('stopped')
}

describe('an anchor run', () => {
  test('anchors what is there, again and again, each one naming the one before', async () => {
    expect(await run()).toMatchObject([
      { number: 1, size: 4, name: 'anchor-0000000001.json', stored: 'created' },
    ])
    database.write(5)
    expect(await run()).toMatchObject([{ number: 2, size: 10 }])
    expect(await run()).toMatchObject([{ number: 3, size: 11 }])
    expectWhole(3)
    expect(warnings).toEqual([])
  })

  test('asks for the new events alone, and keeps the last anchor alone', async () => {
    for (let i = 0; i < 3; i++) {
      database.write(10)
      await run()
    }
    expect(database.calls.filter(call => call.startsWith('record'))).toEqual([
      'record 1 from 0',
      'record 2 from 13',
      'record 3 from 24',
    ])
    expect(readdirSync(at('state', 'spool'))).toEqual(['anchor-0000000003.json'])
  })

  test('does its steps in order, and confirms only what the store has', async () => {
    const seen: string[] = []
    await run({
      onStep: (step, number) => {
        seen.push(`${step} ${number}`)
        if (step === 'stored' || step === 'logged') expect(database.confirmedNumber).toBe(0)
        if (step === 'kept') expect(readdirSync(at('worm'))).toEqual([])
        if (step === 'signed') expect(readdirSync(at('state', 'spool'))).toEqual([])
      },
    })
    expect(seen).toEqual(steps.map(step => `${step} ${step === 'sealed' ? 0 : 1}`))
  })

  test('says when the schema has changed', async () => {
    await run()
    await run()
    expect(warnings).toEqual([])
    database.schema = random(32)
    await run()
    expect(warnings).toEqual(['the schema has changed since anchor 2'])
    expectWhole(3)
  })

  test('goes on where the system log cannot be reached, and says so', async () => {
    const syslog = { target: 'x', send: () => Promise.reject(new ZtError('IO', 'syslog x: gone')) }
    await run({ syslog })
    expect(warnings).toEqual(['syslog x: gone'])
    expectWhole(1)
  })

  test('sends the syslog line of the object that is stored', async () => {
    const lines: string[] = []
    await run({ syslog: { target: 'x', send: async line => void lines.push(line) } })
    expect(lines.length).toBe(1)
    expect(lines[0]).toContain(`sha256="${database.confirmedSha256}"`)
    expect(lines[0]).toContain(' AUDIT_CHAIN_HEAD [ztmysql@32473 origin="')
  })
})

describe('stopped after any step, the next run', () => {
  for (const first of [1, 2])
    test.each(steps)(`finishes without gap or second signature (anchor ${first}, %s)`, async step => {
      if (first === 2) await run()
      database.write(2)
      const stopping = { onStep: stopAt(step, first) }
      await expect(run(stopping)).rejects.toThrow('stopped')
      // stopped once more, unless the step lies behind it already
      await Promise.allSettled([run(stopping)])
      const kept = readdirSync(at('state', 'spool')).sort().at(-1)
      const bytes = kept === undefined ? undefined : readFileSync(at('state', 'spool', kept))
      database.write(2)
      await run()
      const done = database.confirmedNumber
      expectWhole(done)
      // what was signed before the stop is what the store has
      if (kept && bytes) expect(readFileSync(at('worm', kept)).equals(bytes)).toBe(true)
      await run()
      expectWhole(done + 1)
    })

  test('signs an anchor that was recorded with the schema as it is then', async () => {
    await expect(run({ onStep: stopAt('recorded', 1) })).rejects.toThrow('stopped')
    database.schema = random(32)
    await run()
    expectWhole(2)
    expect(stored().map(o => o.anchor.fingerprint)).toEqual([toHex(database.schema), toHex(database.schema)])
  })
})

describe('while the store cannot be reached', () => {
  test('nothing is confirmed, the spool keeps one anchor, and the next run catches up', async () => {
    await run()
    renameSync(at('worm'), at('away'))
    for (let i = 0; i < 3; i++) {
      database.write(4)
      const error = await refusal(run())
      expect(error.code).toBe('UNREACHABLE')
      expect(error.message).toBe(`worm store ${at('worm')}: no such folder`)
      expect(database.confirmedNumber).toBe(1)
    }
    expect(database.recordedNumber).toBe(2)
    expect(readdirSync(at('state', 'spool')).length).toBe(2)
    expect(readdirSync(dir).sort()).toEqual(['away', 'state'])
    const kept = readFileSync(at('state', 'spool', 'anchor-0000000002.json'))
    renameSync(at('away'), at('worm'))
    expect((await run()).map(a => a.number)).toEqual([2, 3])
    expect(readFileSync(at('worm', 'anchor-0000000002.json'))).toEqual(kept)
    expectWhole(3)
  })
})

describe('what does not fit is not signed:', () => {
  const attacks: [string, () => void, string][] = [
    [
      'an event changed before the last anchor',
      () => {
        database.payloads[1] = utf8('other')
        database.payloads[database.recordedSize - 1] = utf8('other anchor')
      },
      'the trail does not extend the 9 events that were anchored',
    ],
    [
      'events removed from the end, and new ones in their place',
      () => {
        database.payloads.length -= 2
        database.write(5)
      },
      'is not the one that was anchored',
    ],
    ['events removed from the end', () => database.payloads.splice(4, 3), 'were anchored'],
    [
      'the whole trail removed',
      () => database.payloads.splice(0),
      'the database has 1 events, 9 were anchored',
    ],
  ]
  test.each(attacks)('%s', async (_, attack, message) => {
    await run()
    database.write(4)
    await run()
    database.write(1)
    attack()
    // the cache, which would hide a change in the middle, is not what decides
    rmSync(at('state', 'frontier.json'))
    const error = await refusal(run())
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.exitCode).toBe(1)
    expect(error.message).toContain('anchor 3 is not signed')
    expect(error.message).toContain(message.replace('is not the one that was anchored', 'anchored'))
    expect(stored().length).toBe(2)
    expect(readdirSync(at('state', 'spool'))).toEqual(['anchor-0000000002.json'])
  })

  test('another event in the place of the last anchor’s, with the cache', async () => {
    await run()
    database.payloads[database.recordedSize - 1] = utf8('other anchor')
    const error = await refusal(run())
    expect(error.message).toBe(
      'anchor 2 is not signed: the trail does not extend the 4 events that were anchored',
    )
  })

  test('a trail that was restored from before the last anchor', async () => {
    await run()
    const { payloads, recordedNumber, recordedSize, confirmedNumber, confirmedSha256 } = database
    const backup = { payloads: [...payloads], recordedNumber, recordedSize, confirmedNumber, confirmedSha256 }
    await run()
    Object.assign(database, backup)
    const error = await refusal(run())
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.message).toBe('the database has gone back: 1 anchors are recorded, 2 were signed here')
  })

  test('a database that confirmed another object', async () => {
    await run()
    database.confirmedSha256 = 'ab'.repeat(32)
    const error = await refusal(run())
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.message).toContain('anchor 1: the database has confirmed another object')
  })

  test('an anchor whose name somebody took in the store', async () => {
    await run()
    writeFileSync(at('worm', 'anchor-0000000002.json'), 'squatter')
    const error = await refusal(run())
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.exitCode).toBe(1)
    expect(error.message).toContain('anchor-0000000002.json is there with other content')
    expect(database.confirmedNumber).toBe(1)
    expect(readFileSync(at('worm', 'anchor-0000000002.json'), 'utf8')).toBe('squatter')
    expect((await refusal(run())).code).toBe('VERIFY_FAILED')
  })
})

describe('a state folder', () => {
  test('that was lost is made again from the store and the trail', async () => {
    await run()
    database.write(2)
    await run()
    rmSync(at('state'), { recursive: true })
    expect((await run()).map(a => a.number)).toEqual([3])
    expect(database.calls.at(-2)).toBe('record 3 from 0')
    expectWhole(3)
  })

  test.each(steps)(
    'that was lost after a stop (%s) leads to no second signature in the store',
    async step => {
      await run()
      await expect(run({ onStep: stopAt(step, 2) })).rejects.toThrow('stopped')
      rmSync(at('state'), { recursive: true })
      const there = stored().map(o => toHex(o.bytes))
      await run()
      expectWhole(database.confirmedNumber)
      expect(
        stored()
          .map(o => toHex(o.bytes))
          .slice(0, there.length),
      ).toEqual(there)
    },
  )

  test('that was lost together with the store stops the anchors', async () => {
    await run()
    rmSync(at('state'), { recursive: true })
    rmSync(at('worm', 'anchor-0000000001.json'))
    const error = await refusal(run())
    expect(error.code).toBe('NOT_FOUND')
    expect(error.message).toBe(`anchor 1: neither in ${at('state')} nor in the store`)
  })

  test('that was lost takes nothing from the store that the database does not know', async () => {
    await run()
    rmSync(at('state'), { recursive: true })
    const path = at('worm', 'anchor-0000000001.json')
    const forged = readFileSync(path, 'utf8').replace(/"head":"[0-9a-f]{64}"/, `"head":"${'ab'.repeat(32)}"`)
    rmSync(path)
    writeFileSync(path, forged)
    const error = await refusal(run())
    expect(error.code).toBe('VERIFY_FAILED')
    expect(error.message).toBe(
      'anchor-0000000001.json: the store holds another object than the database knows',
    )
  })

  test('that was lost takes no anchor of another key from the store', async () => {
    await expect(run({ keys: [makeKey()], onStep: stopAt('stored', 1) })).rejects.toThrow('stopped')
    rmSync(at('state'), { recursive: true })
    const error = await refusal(run())
    expect(error.code).toBe('BAD_SIGNATURE')
    expect(error.exitCode).toBe(1)
  })

  test('with a cache that is broken, cut, or of another tree is none the worse', async () => {
    await run()
    const path = at('state', 'frontier.json')
    const good = readFileSync(path, 'utf8')
    for (const bad of [
      '',
      'x',
      good.slice(0, -1),
      good.replace(/"leaf":"[0-9a-f]{64}"/, `"leaf":"${'ab'.repeat(32)}"`),
      good.replace(/"nodes":\["[0-9a-f]{64}"/, `"nodes":["${'ab'.repeat(32)}"`),
      good.replace(/"size":\d+/, '"size":3'),
      good.replace(/"size":4/, '"size":8'),
    ]) {
      expect(bad).not.toBe(good)
      writeFileSync(path, bad, { mode: 0o600 })
      database.write(1)
      await run()
      expectWhole(database.confirmedNumber)
    }
    expect(database.confirmedNumber).toBe(8)
  })

  test('of another log is refused', async () => {
    await run()
    const error = await refusal(run({ keys: [{ ...key, name: 'ztmysql.local/ffffffffffffffff' }] }))
    expect(error.code).toBe('BAD_INPUT')
    expect(error.message).toContain('keeps anchors of log ztmysql.local/00112233445566aa')
  })

  test('is private, and refused where it is not', async () => {
    await run()
    expect(statSync(at('state')).mode & 0o777).toBe(0o700)
    expect(statSync(at('state', 'spool')).mode & 0o777).toBe(0o700)
    expect(statSync(at('state', 'spool', 'anchor-0000000001.json')).mode & 0o777).toBe(0o600)
    chmodSync(at('state'), 0o755)
    expect((await refusal(Promise.resolve().then(() => run()))).code).toBe('PERMISSION')
  })

  test('serves one run at a time', async () => {
    let inside: Promise<ZtError> | undefined
    await run({
      onStep: step => {
        if (step === 'recorded') inside = refusal(run())
      },
    })
    expect((await inside)?.code).toBe('LOCKED')
    expectWhole(1)
  })
})

describe('a rotation of keys', () => {
  test('makes one anchor that both pairs sign, and goes on with the new one', async () => {
    const next = makeKey()
    await run()
    await run({ keys: [key, next] })
    await run({ keys: [next] })
    const rotated: TrustedLog = {
      origin,
      logKeys: [
        { ...publicKeys(key), from: 1, until: 2 },
        { ...publicKeys(next), from: 2, until: null },
      ],
    }
    expect(stored().map(o => openAnchor(o.anchor, rotated).size)).toEqual([4, 5, 6])
  })

  test('finishes an outstanding anchor with the old pair', async () => {
    const next = makeKey()
    await expect(run({ onStep: stopAt('recorded', 1) })).rejects.toThrow('stopped')
    await run({ keys: [key, next] })
    const rotated: TrustedLog = {
      origin,
      logKeys: [
        { ...publicKeys(key), from: 1, until: 2 },
        { ...publicKeys(next), from: 2, until: null },
      ],
    }
    expect(stored().map(o => openAnchor(o.anchor, rotated).size)).toEqual([4, 5])
  })
})
