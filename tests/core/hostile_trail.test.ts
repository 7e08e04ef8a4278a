/** A trail, an export, anchors and proofs from somebody who means harm: a finding or a refusal, never a crash or a pass. */
import { describe, expect, test } from 'bun:test'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { checkAnchors, openObject } from '../../lib/core/audit/anchor_check.ts'
import { parseBase } from '../../lib/core/audit/base.ts'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import { openAnyCheckpoint, publicKeys, type TrustedLog } from '../../lib/core/audit/checkpoint.ts'
import { summarise, unpackEvents } from '../../lib/core/audit/chunk.ts'
import { checkConsistency, formatConsistency, parseConsistency } from '../../lib/core/audit/consistency.ts'
import {
  exportSource,
  formatExportEnd,
  formatExportEvent,
  formatExportHeader,
  parseExportEvents,
} from '../../lib/core/audit/export.ts'
import { Findings } from '../../lib/core/audit/findings.ts'
import { requireGrounds } from '../../lib/core/audit/grounds.ts'
import type { Helpers } from '../../lib/core/audit/helpers.ts'
import { checkProof } from '../../lib/core/audit/proof_check.ts'
import { proveEvents } from '../../lib/core/audit/prove.ts'
import type { StoredAnchor, TrailEvent, TrailSource } from '../../lib/core/audit/source.ts'
import { formatTlogProof, parseTlogProof } from '../../lib/core/audit/tlog_proof.ts'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { type Bytes, fromUtf8, toHex, utf8 } from '../../lib/core/bytes.ts'
import { noble } from '../../lib/core/engine.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { native } from '../../lib/edge/native_engine.ts'
import { honestTrail, notesTable, type TrailBuilder } from '../support/trail.ts'

const definitions = new Map([['notes', notesTable]])

/** Pseudo-random and the same each time, so that what fails can be run again. */
function dice(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Helpers in this thread: what workers compute, without them. */
const helpers: Helpers = {
  count: 2,
  summarise: async job => {
    try {
      return summarise(
        'packed' in job ? unpackEvents(job.packed) : parseExportEvents(job.lines, job.what),
        noble,
      )
    } catch (thrown) {
      if (thrown instanceof ZtError) return undefined
      throw thrown
    }
  },
  signatures: async ({ events }) => ({ faults: events.map(() => undefined), ms: 0 }),
  anchors: async ({ objects }) => objects.map(() => undefined),
}

const named = (verdict: Verdict): string[] =>
  verdict.findings.kept.map(f => `${f.code} ${f.where} ${f.what}`).sort()

/** The verdict, or the code of the refusal. */
async function outcome(act: () => Promise<Verdict>): Promise<Verdict | string> {
  try {
    return await act()
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code === 'INTERNAL') throw thrown
    return thrown.code
  }
}

function source(trail: TrailBuilder, events: TrailEvent[], batch = 2): TrailSource {
  return trail.source({
    async *events() {
      for (let i = 0; i < events.length; i += batch) yield events.slice(i, i + batch)
    },
  })
}

const mutations: [string, (events: TrailEvent[], roll: (n: number) => number) => TrailEvent[]][] = [
  ['a byte of a payload', (events, roll) => bend(events, roll, 'payload')],
  ['a byte of a hash', (events, roll) => bend(events, roll, roll(2) ? 'prev' : 'curr')],
  ['an event less', (events, roll) => events.toSpliced(roll(events.length), 1)],
  ['the end gone', (events, roll) => events.slice(0, roll(events.length))],
  ['an event twice', (events, roll) => events.toSpliced(roll(events.length), 0, at(events, roll))],
  [
    'two swapped',
    (events, roll) => {
      const i = roll(events.length - 1)
      return events.with(i, events[i + 1] as TrailEvent).with(i + 1, events[i] as TrailEvent)
    },
  ],
  [
    'a huge number',
    (events, roll) =>
      edit(events, roll, e => ({ ...e, seq: [2 ** 53, 1e300, -1, 0.5, Number.NaN][roll(5)] ?? 0 })),
  ],
  ['nothing for a hash', (events, roll) => edit(events, roll, e => ({ ...e, prev: new Uint8Array(0) }))],
  [
    'nothing for a payload',
    (events, roll) => edit(events, roll, e => ({ ...e, payload: new Uint8Array(0) })),
  ],
  [
    'invalid UTF-8',
    (events, roll) => edit(events, roll, e => ({ ...e, payload: Uint8Array.of(0xff, 0xfe, ...e.payload) })),
  ],
  [
    'a member twice',
    (events, roll) =>
      relink(edit(events, roll, e => ({ ...e, payload: utf8(text(e).replace('{"v":1', '{"v":1,"v":1')) }))),
  ],
  [
    'deep JSON',
    (events, roll) => relink(edit(events, roll, e => ({ ...e, payload: utf8('['.repeat(4000)) }))),
  ],
  [
    'a long payload',
    (events, roll) =>
      relink(edit(events, roll, e => ({ ...e, payload: utf8(`${text(e)}${' '.repeat(9000)}`) }))),
  ],
  [
    'other columns',
    (events, roll) =>
      edit(events, roll, e => ({ ...e, columns: { tenant: new Uint8Array(16), event: new Uint8Array(16) } })),
  ],
  [
    'columns of no length',
    (events, roll) =>
      edit(events, roll, e => ({ ...e, columns: { tenant: new Uint8Array(0), event: new Uint8Array(0) } })),
  ],
  [
    'another time, and every hash made anew',
    (events, roll) =>
      relink(edit(events, roll, e => ({ ...e, payload: utf8(text(e).replace(/T00:/, 'T09:')) }))),
  ],
]

const text = (event: TrailEvent): string => fromUtf8(event.payload, 'payload')
const at = (events: TrailEvent[], roll: (n: number) => number): TrailEvent =>
  events[roll(events.length)] as TrailEvent

function edit(
  events: TrailEvent[],
  roll: (n: number) => number,
  change: (e: TrailEvent) => TrailEvent,
): TrailEvent[] {
  const i = roll(events.length)
  return events.with(i, change(events[i] as TrailEvent))
}

function bend(
  events: TrailEvent[],
  roll: (n: number) => number,
  member: 'payload' | 'prev' | 'curr',
): TrailEvent[] {
  return edit(events, roll, event => {
    const bytes = event[member].slice()
    const i = roll(bytes.length)
    bytes[i] = (bytes[i] ?? 0) ^ (1 << roll(8))
    return { ...event, [member]: bytes }
  })
}

/** As whoever holds the database would: every hash fits again. */
function relink(events: TrailEvent[]): TrailEvent[] {
  let head = genesisHash('ztmysql.local/0123456789abcdef')
  return events.map(event => {
    const prev = head
    head = linkHash(prev, event.payload)
    return { ...event, prev, curr: head }
  })
}

describe('a trail changed in any way', () => {
  const trail = honestTrail()

  test('is honest before it is', async () => {
    for (const more of [{}, { helpers }])
      expect((await trail.verify(more, source(trail, trail.events))).ok).toBe(true)
  })

  test.each(mutations)(
    'does not pass with %s, and helper threads find exactly what one thread finds',
    async (_, mutate) => {
      const roll = dice(7)
      for (let i = 0; i < 40; i++) {
        const events = mutate(trail.events, roll)
        for (const batch of [1, 3]) {
          const alone = await outcome(() =>
            trail.verify({ signatures: 'last', engine: native }, source(trail, events, batch)),
          )
          const helped = await outcome(() =>
            trail.verify(
              { signatures: 'last', helpers: { ...helpers, signatures: signed(trail) } },
              source(trail, events, batch),
            ),
          )
          if (typeof alone === 'string' || typeof helped === 'string') expect(helped).toEqual(alone)
          else {
            expect(alone.ok).toBe(false)
            expect(named(helped)).toEqual(named(alone))
            expect([helped.events, helped.head]).toEqual([alone.events, alone.head])
          }
        }
      }
    },
    60_000,
  )
})

/** Signatures judged as the judge itself would, so that both ways can be compared. */
function signed(trail: TrailBuilder): Helpers['signatures'] {
  return async ({ events }) => {
    const { checkSignature } = await import('../../lib/core/audit/signature_check.ts')
    const bySigner = new Map(
      [trail.app, trail.other, trail.admin].map(w => [w.certificate.signer, w.certificate]),
    )
    return { faults: events.map(({ event, at }) => checkSignature(event, trail.origin, bySigner, at)), ms: 0 }
  }
}

describe('an export changed in any byte', () => {
  const trail = honestTrail()
  const file =
    formatExportHeader({
      origin: trail.origin,
      from: 0,
      size: trail.events.length,
      head: toHex(trail.head),
    }) +
    trail.events.map(formatExportEvent).join('') +
    formatExportEnd({ events: trail.events.length, queued: 0, rows: 0 })

  const judge = async (content: string) => {
    const lines = content.match(/[^\n]*\n|[^\n]+$/g) ?? []
    async function* open() {
      yield* lines
    }
    const read = await exportSource(open, lines.at(-1) ?? '', definitions, 'export')
    return trail.verify({ only: 'chain', engine: native, helpers, receipts: [] }, read)
  }

  test('is refused or does not verify', async () => {
    expect((await judge(file)).ok).toBe(true)
    const roll = dice(11)
    for (let i = 0; i < 300; i++) {
      const where = roll(file.length)
      const c = String.fromCharCode([0x22, 0x30, 0x7b, 0x0a, 0x41, 0x5c, 0x2c, 0xe9][roll(8)] ?? 0x20)
      const bad = [
        file.slice(0, where) + c + file.slice(where + 1),
        file.slice(0, where) + file.slice(where + 1),
        file.slice(0, where),
        file.slice(0, where) + file.slice(Math.max(0, where - 40)),
      ][roll(4)]
      if (bad === undefined || bad === file) continue
      const verdict = await outcome(() => judge(bad))
      // the size in the first line is the file's own word, and may only be wrong
      if (typeof verdict !== 'string') expect([i, verdict.ok]).toEqual([i, false])
    }
  }, 60_000)

  test('with numbers, nesting and members that no parser expects is refused', async () => {
    const [, first = ''] = file.split('\n')
    for (const line of [
      first.replace('"seq":0', '"seq":0,"seq":0'),
      first.replace('"seq":0', '"seq":1e400'),
      first.replace('"seq":0', '"seq":-0'),
      first.replace('"seq":0', '"seq":0.0'),
      first.replace('"seq":0', '"seq":9007199254740993'),
      first.replace('"seq":0', `"seq":${'['.repeat(100_000)}`),
      first.replace('"prev":"', '"prev":"\u0000'),
      first.replace('"payload":"', '"payload":"='),
      first.replace('}', ',"__proto__":{}}'),
    ])
      expect(typeof (await outcome(() => judge(file.replace(first, line))))).toBe('string')
  })
})

describe('proofs, bases and anchors changed in any byte', () => {
  const trail = honestTrail()
  const keys = { ...publicKeys(trail.key), from: 1, until: null }
  const trust = { origin: trail.origin, logKeys: [keys], certificates: [trail.app.certificate] }
  const anchors = checkAnchors(trail.anchors, trust, new Findings(), { gapSeconds: 1e9 })
  const opening: Helpers = {
    ...helpers,
    signatures: signed(trail),
    anchors: async ({ objects }) => objects.map(bytes => openObject(bytes, trust, native)),
  }

  test('a proof proves nothing any more', async () => {
    const [last] = anchors.slice(-1)
    if (!last) throw new Error('no anchor')
    const [made] = await proveEvents(trail.source(), last, ({ seq }) => seq === 1)
    if (!made?.proof) throw new Error('no proof')
    const good = formatTlogProof(made.proof)
    const judge = (bad: string) =>
      checkProof(parseTlogProof(bad), made.payload, { trust, definitions, engine: native })
    expect(judge(good).index).toBe(1)
    const roll = dice(3)
    for (let i = 0; i < 60; i++) {
      const where = roll(good.length)
      const bad = good.slice(0, where) + (good[where] === 'A' ? 'B' : 'A') + good.slice(where + 1)
      expect(() => judge(bad)).toThrow(ZtError)
      expect(() => judge(good.slice(0, where))).toThrow(ZtError)
    }
  }, 60_000)

  test('a checkpoint, a base and a consistency proof neither', () => {
    const roll = dice(5)
    const checkpoint = anchors[0]?.checkpoint ?? ''
    for (let i = 0; i < 100; i++) {
      const where = roll(checkpoint.length)
      const bad =
        checkpoint.slice(0, where) + (checkpoint[where] === 'A' ? 'B' : 'A') + checkpoint.slice(where + 1)
      expect(() => openAnyCheckpoint(bad, trust)).toThrow(ZtError)
    }
    for (const bad of [
      '',
      '{}',
      'null',
      '[]',
      '{"v":2}\n',
      `${'['.repeat(9000)}`,
      '{"v":1,"kind":"ztmysql-base"}\n',
    ]) {
      expect(() => parseBase(bad)).toThrow(ZtError)
      expect(() => parseConsistency(bad)).toThrow(ZtError)
    }
    const [a, b] = anchors
    const proof = {
      origin: trail.origin,
      from: 1,
      to: 2,
      path: [],
      earlier: a?.checkpoint ?? '',
      later: b?.checkpoint ?? '',
    }
    expect(parseConsistency(formatConsistency(proof))).toEqual(proof)
    expect(() => checkConsistency(proof, trust)).toThrow(ZtError)
  })

  test('anchors are named, and none of them passes', async () => {
    const roll = dice(9)
    for (let i = 0; i < 60; i++) {
      const which = roll(trail.anchors.length)
      const object = trail.anchors[which]
      if (!object) continue
      const bytes = object.bytes.slice()
      const where = roll(bytes.length)
      bytes[where] = (bytes[where] ?? 0) ^ (1 << roll(8))
      const changed = trail.anchors.with(which, { ...object, bytes })
      const verdict = await trail.verify({ engine: native, anchors: changed })
      expect([i, verdict.ok]).toEqual([i, false])
      const helped = await trail.verify({ engine: native, anchors: changed, helpers: opening })
      expect(named(helped)).toEqual(named(verdict))
    }
  }, 60_000)

  test('a copy that is empty, of another log or signed by other keys is nothing to judge by', () => {
    const judge = (stored = trail.anchors, log: TrustedLog = trust) => {
      try {
        requireGrounds(stored, log, 'anchors', native)
        return undefined
      } catch (thrown) {
        return thrown instanceof ZtError ? [thrown.code, thrown.exitCode] : thrown
      }
    }
    const strange = { ...keys, mldsa44: { ...keys.mldsa44, publicKey: new Uint8Array(1312) } }
    const [first, ...rest] = trail.anchors
    const spoilt = { name: first?.name ?? '', bytes: new Uint8Array(3), receivedAt: null }
    expect(judge()).toBeUndefined()
    expect(judge([spoilt, ...rest])).toBeUndefined()
    expect(judge([])).toEqual(['NOT_FOUND', 3])
    expect(judge([spoilt])).toEqual(['UNTRUSTED', 3])
    expect(judge(trail.anchors, { ...trust, origin: 'ztmysql.local/00000000deadbeef' })).toEqual([
      'UNTRUSTED',
      3,
    ])
    expect(judge(trail.anchors, { ...trust, logKeys: [strange] })).toEqual(['UNTRUSTED', 3])
  })

  const copy: [string, (stored: StoredAnchor[], roll: (n: number) => number) => StoredAnchor[]][] = [
    ['one less', (stored, roll) => stored.toSpliced(roll(stored.length - 1), 1)],
    [
      'two under each other’s names',
      stored => stored.map((one, i) => ({ ...one, bytes: stored[1 - i]?.bytes ?? one.bytes })),
    ],
    [
      'one under a second name',
      stored => [...stored, ...stored.slice(0, 1).map(one => ({ ...one, name: anchorName(9) }))],
    ],
    ['one cut', (stored, roll) => bendCopy(stored, roll, b => b.slice(0, roll(b.length)))],
    ['a member twice', (stored, roll) => retext(stored, roll, t => t.replace('{"v":1', '{"v":1,"v":1'))],
    ['a huge number', (stored, roll) => retext(stored, roll, t => t.replace(/"size":\d+/, '"size":1e400'))],
    [
      'a number past 2^53',
      (stored, roll) => retext(stored, roll, t => t.replace(/"number":\d+/, '"number":9007199254740993')),
    ],
    [
      'deep JSON',
      (stored, roll) => retext(stored, roll, t => t.replace(/"size":\d+/, `"size":${'['.repeat(9000)}`)),
    ],
    ['invalid UTF-8', (stored, roll) => bendCopy(stored, roll, b => Uint8Array.of(0xff, 0xfe, ...b))],
    [
      'a byte order mark',
      (stored, roll) => bendCopy(stored, roll, b => Uint8Array.of(0xef, 0xbb, 0xbf, ...b)),
    ],
    ['nothing in one', (stored, roll) => bendCopy(stored, roll, () => new Uint8Array(0))],
    ['a megabyte in one', (stored, roll) => bendCopy(stored, roll, () => new Uint8Array(1 << 20).fill(0x7b))],
  ]
  const bendCopy = (
    stored: StoredAnchor[],
    roll: (n: number) => number,
    change: (bytes: Bytes) => Bytes,
  ): StoredAnchor[] => {
    const i = roll(stored.length)
    return stored.map((one, at) => (at === i ? { ...one, bytes: change(one.bytes) } : one))
  }
  const retext = (stored: StoredAnchor[], roll: (n: number) => number, change: (text: string) => string) =>
    bendCopy(stored, roll, bytes => utf8(change(fromUtf8(bytes, 'anchor'))))

  test.each(copy)(
    'a copy of the store with %s does not pass',
    async (_, change) => {
      const roll = dice(13)
      for (let i = 0; i < 2; i++) {
        const changed = change(trail.anchors, roll)
        const verdict = await trail.verify({ engine: native, anchors: changed })
        expect([i, verdict.ok]).toEqual([i, false])
        const helped = await trail.verify({ engine: native, anchors: changed, helpers: opening })
        expect(named(helped)).toEqual(named(verdict))
      }
    },
    60_000,
  )
})

test('a trail that goes on for ever is left', async () => {
  const trail = honestTrail()
  const last = trail.events.at(-1)
  if (!last) throw new Error('no event')
  let given = 0
  const endless = trail.source({
    async *events() {
      for (;;) {
        given += 1000
        yield Array.from({ length: 1000 }, () => last)
      }
    },
  })
  expect((await trail.verify({ engine: native }, endless)).ok).toBe(false)
  expect(given).toBeLessThan(50_000)
})
