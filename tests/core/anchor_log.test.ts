import { describe, expect, test } from 'bun:test'
import { formatAnchorSyslog, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { parseAnchorSyslog, parseReceivedLine, ReceivedAnchors } from '../../lib/core/audit/anchor_log.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import vectors from '../vectors/audit-anchor.json' with { type: 'json' }

const [one, two] = vectors.anchors
if (one === undefined || two === undefined) throw new Error('no vectors')
const received = (line: string, time = '2026-11-24T14:15:30.222661+00:00') => `${time} 10.77.0.41 ${line}`

const thrown = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    if (error instanceof ZtError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'nothing'
}

describe('the line of an anchor', () => {
  test('gives the object again, byte for byte', () => {
    for (const { object, syslog, sha256 } of vectors.anchors) {
      const made = parseAnchorSyslog(syslog)
      expect(Buffer.from(made.bytes).toString()).toBe(object)
      expect(made.sha256).toBe(sha256)
      expect(formatAnchorSyslog(made.bytes, { host: 'db1', pid: 4242 })).toBe(syslog)
    }
  })

  test('is refused where any byte of it is another', () => {
    const line = one.syslog
    const host = line.indexOf('db1')
    let refused = 0
    for (let i = 0; i < line.length; i += 1) {
      // the name of the sender is nobody's claim about the anchor
      if (i >= host && i < host + 'db1'.length) continue
      const changed = `${line.slice(0, i)}${line[i] === 'x' ? 'y' : 'x'}${line.slice(i + 1)}`
      expect([i, thrown(() => parseAnchorSyslog(changed)).split(':')[0]]).toEqual([i, 'BAD_FORMAT'])
      refused += 1
    }
    expect(refused).toBe(line.length - 'db1'.length)
  })

  test('is refused where it is cut, longer, or written otherwise', () => {
    for (const bad of [
      one.syslog.slice(0, -4),
      `${one.syslog} `,
      one.syslog.replace('number="1"', 'number="01"'),
      one.syslog.replace(' size=', '  size='),
    ])
      expect(thrown(() => parseAnchorSyslog(bad))).toStartWith('BAD_FORMAT: ')
    const swapped = one.syslog.replace(/sha256="[0-9a-f]+"/, `sha256="${two.sha256}"`)
    expect(thrown(() => parseAnchorSyslog(swapped))).toBe(
      'BAD_FORMAT: anchor 1: its SHA-256 is not the one that the line gives',
    )
  })
})

describe('a line of the log host', () => {
  test('says when the anchor was received, whatever zone it is written in', () => {
    const times = [
      '2026-11-24T14:15:30.222661+00:00',
      '2026-11-24T15:15:30.222661+01:00',
      '2026-11-24T09:45:30.222661-04:30',
    ]
    for (const time of times)
      expect(parseReceivedLine(received(one.syslog, time))).toEqual({
        name: 'anchor-0000000001.json',
        number: 1,
        bytes: utf8(one.object),
        sha256: one.sha256,
        receivedAt: Date.parse('2026-11-24T14:15:30.222Z'),
      })
  })

  test('is passed over where it speaks of no anchor', () => {
    expect(parseReceivedLine(received('<30>1 2026-11-24T14:15:30Z db1 sshd 1 - - hello'))).toBeUndefined()
  })

  test('is refused without a time of receipt', () => {
    for (const bad of [
      one.syslog,
      received(one.syslog, '2026-11-24 14:15:30'),
      received(one.syslog, '2026-02-30T00:00:00.000000Z'),
    ])
      expect(thrown(() => parseReceivedLine(bad))).toStartWith('BAD_FORMAT: ')
  })
})

describe('the lines of a log host', () => {
  test('give each anchor once, with the time of its first receipt', () => {
    const all = new ReceivedAnchors()
    const given = [
      received(one.syslog),
      received(two.syslog, '2026-11-24T14:16:30.000000+00:00'),
      received(one.syslog, '2026-11-24T14:17:30.000000+00:00'),
    ].map(line => all.add(line))
    expect(all.faults).toEqual([])
    expect(all.again).toBe(1)
    expect(given.map(anchor => anchor && [anchor.number, anchor.receivedAt])).toEqual([
      [1, Date.parse('2026-11-24T14:15:30.222Z')],
      [2, Date.parse('2026-11-24T14:16:30.000Z')],
      undefined,
    ])
  })

  test('keep the first of two anchors with one number, and name the line of the other', () => {
    const forged = formatAnchorSyslog(
      utf8(one.object.replace(parseAnchor(utf8(one.object)).head, 'f'.repeat(64))),
      { host: 'db1', pid: 1 },
    )
    const all = new ReceivedAnchors()
    all.add(received(one.syslog))
    all.add(received(forged))
    all.add(received(one.syslog.slice(0, 400)))
    expect([...all.seen]).toEqual([[1, one.sha256]])
    expect(all.faults).toEqual([
      { line: 2, detail: expect.stringMatching(/^anchor 1: another object than the one received before/) },
      { line: 3, detail: 'not a whole line of anchor_head' },
    ])
  })
})
