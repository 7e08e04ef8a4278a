/** Rewritten history, stolen and foreign keys, stopped timers, turned clocks, old copies: named by the auditor's own anchors. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { anchorHash, anchorName, formatAnchor, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { type AnchorKey, signCheckpoint } from '../../lib/core/audit/checkpoint.ts'
import { parseEvent } from '../../lib/core/audit/event.ts'
import type { StoredAnchor } from '../../lib/core/audit/source.ts'
import { random, utf8 } from '../../lib/core/bytes.ts'
import { formatTime } from '../../lib/core/time.ts'
import { readAnchors } from '../../lib/edge/verify.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { userRow } from '../support/live.ts'
import { failures, text } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked

beforeAll(async () => {
  a = await attacked()
}, 300_000)

const copy = (number: number): string => a.live.at('auditor', anchorName(number))
const store = (number: number): string => a.live.at('worm', anchorName(number))

/** Overwrites an object without touching the time at which it was received. */
function replaceObject(path: string, bytes: Uint8Array | string): void {
  const { atime, mtime } = statSync(path)
  rmSync(path)
  writeFileSync(path, bytes)
  utimesSync(path, atime, mtime)
}

/** The trail with the first write of Ada ascribed to another connection. */
async function changedTrail() {
  const events = await a.shell.events()
  const seq = await a.middle()
  return events.map((event, i) =>
    i === seq
      ? { ...event, payload: utf8(text(event.payload).replace(/"conn":[0-9]+/, '"conn":99999')) }
      : event,
  )
}

describe('history rewritten, every hash fitting', () => {
  test('shows by every anchor over it', () =>
    a.exposes(async () => {
      await a.shell.rewrite(await changedTrail())
      return ['ANCHOR_FORK anchor 3', 'ANCHOR_EVENT anchor 3']
    }))

  test('with all anchors signed again by the stolen key: by the auditor’s copy, and by no other', () =>
    a.exposes(async () => {
      const forged = await a.shell.rewriteWithAnchors(await changedTrail(), a.shell.stolenKey())
      for (const [name, bytes] of forged) replaceObject(a.live.at('worm', name), bytes)
      const own = await readAnchors(a.live.at('worm'))
      expect(failures(await a.shell.verify({ anchors: own }))).toEqual([])
      return ['ANCHOR_FORK anchor 3']
    }))

  test('truncated, or dropped and made anew, with a head that fits', async () => {
    for (const statement of [
      ['TRUNCATE securedb.audit_events'],
      ['CREATE TABLE zt_saved.spare LIKE securedb.audit_events', 'DROP TABLE securedb.audit_events'],
    ])
      await a.exposes(
        async () => {
          for (const sql of statement) await a.shell.root.run(sql)
          return ['ANCHOR_BEYOND anchor 1', 'ANCHOR_BEYOND anchor 3', 'HEAD_MISMATCH chain head']
        },
        { undo: async () => void (await a.shell.root.run('DROP TABLE IF EXISTS zt_saved.spare')) },
      )
    await a.exposes(async () => {
      await a.shell.rewrite([])
      return ['ANCHOR_BEYOND anchor 1', 'ANCHOR_BEYOND anchor 3', `ROW_WITHOUT_EVENT users ${a.people.ada}`]
    })
  })

  test('under the name of another log', () =>
    a.exposes(async () => {
      await a.shell.silently("UPDATE securedb.chain_head SET origin = 'ztmysql.local/00000000deadbeef'")
      return ['ORIGIN_MISMATCH trail']
    }))

  test('by a backup of yesterday', () =>
    a.exposes(async () => {
      await a.live.write(a.acme, 'users', 'create', userRow(a.acme))
      await a.live.anchor()
      a.shell.fetchAnchors()
      expect(failures(await a.shell.verify())).toEqual([])
      await a.shell.restoreTables()
      return ['ANCHOR_BEYOND anchor 4']
    }))

  test('by a backup of yesterday from which the host goes on', () =>
    a.exposes(async () => {
      await a.live.write(a.acme, 'users', 'create', userRow(a.acme))
      await a.live.anchor()
      a.shell.fetchAnchors()
      await a.shell.restoreHost()
      await a.live.write(a.acme, 'users', 'create', userRow(a.acme))
      await a.live.anchor()
      await a.live.anchor()
      a.shell.fetchAnchors()
      return ['ANCHOR_FORK anchor 4', 'ANCHOR_CHAIN anchor 5']
    }))
})

/** What the auditor has, with one object changed. */
async function withObject(name: string, bytes: Uint8Array): Promise<StoredAnchor[]> {
  const anchors = (await readAnchors(a.live.at('auditor'))).filter(object => object.name !== name)
  return [...anchors, { name, bytes, receivedAt: Date.now() }]
}

describe('an anchor', () => {
  test('without one of its signatures, or with one by another key', async () => {
    const anchor = parseAnchor(readFileSync(copy(3)))
    const lines = anchor.checkpoint.split('\n')
    const [ed25519 = '', mldsa44 = ''] = lines.filter(line => line.startsWith('— '))
    expect([ed25519.length > 0, mldsa44.length > 0]).toEqual([true, true])
    const stranger = { name: a.origin, ed25519: random(32), mldsa44: random(32) }
    const { size } = anchor
    const forged = (key: AnchorKey) =>
      signCheckpoint(
        { origin: a.origin, size, root: Buffer.from(lines[2] ?? '', 'base64') },
        [key],
        Date.parse(anchor.time) / 1000,
      )
    const others = forged(stranger)
      .split('\n')
      .filter(line => line.startsWith('— '))
    const own = a.shell.stolenKey()
    expect(forged(own).split('\n').slice(0, 4)).toEqual(lines.slice(0, 4))
    const checkpoints = {
      'no Ed25519': anchor.checkpoint.replace(`${ed25519}\n`, ''),
      'no ML-DSA-44': anchor.checkpoint.replace(`${mldsa44}\n`, ''),
      'none at all': anchor.checkpoint.replace(`${ed25519}\n${mldsa44}\n`, ''),
      'the wrong way round': anchor.checkpoint.replace(`${ed25519}\n${mldsa44}`, `${mldsa44}\n${ed25519}`),
      'Ed25519 by another key': anchor.checkpoint.replace(ed25519, others[0] ?? ''),
      'ML-DSA-44 by another key': anchor.checkpoint.replace(mldsa44, others[1] ?? ''),
      'both by another key': forged(stranger),
      'another root': anchor.checkpoint.replace(lines[2] ?? '', Buffer.from(random(32)).toString('base64')),
    }
    for (const [what, checkpoint] of Object.entries(checkpoints)) {
      expect([what, checkpoint === anchor.checkpoint]).toEqual([what, false])
      const anchors = await withObject(anchorName(3), formatAnchor({ ...anchor, checkpoint }))
      expect([what, ...failures(await a.shell.verify({ anchors }))]).toContain('ANCHOR_SIGNATURE anchor 3')
    }
  })

  test('whose every member but the checkpoint is changed', async () => {
    const anchor = parseAnchor(readFileSync(copy(3)))
    const other = 'ab'.repeat(32)
    for (const [change, finding] of [
      [{ head: other }, 'ANCHOR_EVENT anchor 3'],
      [{ fingerprint: other }, 'ANCHOR_EVENT anchor 3'],
      [{ prev: other }, 'ANCHOR_CHAIN anchor 3'],
      [{ size: anchor.size - 1 }, 'ANCHOR_SIGNATURE anchor 3'],
      [{ time: '2026-01-01T00:00:00.000000Z' }, 'ANCHOR_SIGNATURE anchor 3'],
      [{ origin: 'ztmysql.local/00000000deadbeef' }, `ORIGIN_MISMATCH ${anchorName(3)}`],
      [{ number: 4 }, `ANCHOR_FORMAT ${anchorName(3)}`],
    ] as const) {
      const anchors = await withObject(anchorName(3), formatAnchor({ ...anchor, ...change }))
      expect(failures(await a.shell.verify({ anchors }))).toContain(finding)
    }
  })

  test('missing from the store, from the middle and from the start', async () => {
    const anchors = await readAnchors(a.live.at('auditor'))
    for (const number of [1, 2]) {
      const fewer = anchors.filter(object => object.name !== anchorName(number))
      expect(failures(await a.shell.verify({ anchors: fewer }))).toContain(`ANCHOR_MISSING anchor ${number}`)
    }
    expect(failures(await a.shell.verify({ anchors: [] }))).toEqual(['ANCHOR_NONE anchors'])
  })

  test('made by the stolen key over a stale head', () =>
    a.exposes(async () => {
      const old = readFileSync(store(3))
      const anchor = parseAnchor(old)
      const time = formatTime(Math.floor(Date.now() / 1000) * 1e6)
      const root = Buffer.from(anchor.checkpoint.split('\n')[2] ?? '', 'base64')
      const stale = { origin: a.origin, size: anchor.size, root }
      const checkpoint = signCheckpoint(stale, [a.shell.stolenKey()], Date.parse(time) / 1000)
      writeFileSync(store(4), formatAnchor({ ...anchor, number: 4, prev: anchorHash(old), time, checkpoint }))
      a.shell.fetchAnchors()
      return ['ANCHOR_FORK anchor 4']
    }))

  test('whose name is taken by somebody else stops the service, and shows', () =>
    a.exposes(async () => {
      writeFileSync(store(4), 'taken\n')
      await expect(a.live.anchor()).rejects.toThrow('is there with other content')
      a.shell.fetchAnchors()
      return [`ANCHOR_FORMAT ${anchorName(4)}`]
    }))

  test('with a bad signature hides nothing behind it', () =>
    a.exposes(async () => {
      await a.live.anchor()
      await a.live.anchor()
      a.shell.fetchAnchors()
      expect(failures(await a.shell.verify())).toEqual([])
      const anchor = parseAnchor(readFileSync(copy(4)))
      const checkpoint = anchor.checkpoint.replace(/— [^\n]*\n$/, '')
      replaceObject(copy(4), formatAnchor({ ...anchor, checkpoint }))
      return ['ANCHOR_SIGNATURE anchor 4', 'ANCHOR_CHAIN anchor 5']
    }))
})

/** Moves the receive time of every object in the auditor's copy. */
function shiftCopy(seconds: number): void {
  for (const name of readdirSync(a.live.at('auditor'))) {
    const path = a.live.at('auditor', name)
    const when = statSync(path).mtimeMs / 1000 + seconds
    utimesSync(path, when, when)
  }
}

describe('time', () => {
  const hourly = { options: () => ({ gapSeconds: 3600 }) }

  test('without an anchor: the timer stands still', () =>
    a.exposes(
      async () => {
        shiftCopy(-7200)
        const live = failures(await a.shell.verify({ gapSeconds: 3600 }))
        expect(live).toContain('HEARTBEAT_GAP anchor 3')
        return []
      },
      { exported: false },
    ))

  test('without an anchor, and then one: the first event that was open to change is named', () =>
    a.exposes(async () => {
      shiftCopy(-7200)
      const { size } = parseAnchor(readFileSync(copy(3)))
      await a.live.anchor()
      a.shell.fetchAnchors()
      const { findings } = await a.shell.verify({ gapSeconds: 3600 })
      const gap = findings.kept.find(f => f.code === 'HEARTBEAT_GAP')
      expect([gap?.where, gap?.what.endsWith(`after the gap is event ${size}`)]).toEqual(['anchor 4', true])
      return ['HEARTBEAT_GAP anchor 4']
    }, hourly))

  test('of a host whose clock is behind: the store received it much later', () =>
    a.exposes(async () => {
      await a.live.anchor({ now: () => Date.now() - 7_200_000 })
      a.shell.fetchAnchors()
      return ['ANCHOR_LATE anchor 4']
    }, hourly))

  /** What an event says of its time is the host's word: root turns the clock while it is written. */
  const writeAt = async (shiftSeconds: number): Promise<number> => {
    await a.shell.stopSealer()
    await a.live.write(a.acme, 'users', 'create', userRow(a.acme))
    const time = formatTime((Date.now() + shiftSeconds * 1000) * 1000)
    await a.shell.silently(
      `UPDATE securedb.audit_pending SET payload = REGEXP_REPLACE(CONVERT(payload USING utf8mb4), '"time":"[^"]*"', ?)`,
      [`"time":"${time}"`],
    )
    await a.live.anchor()
    a.shell.fetchAnchors()
    const events = await a.shell.events()
    return events.findIndex(event => parseEvent(event.payload).time === time)
  }

  test('of a clock set forward, for any event under the anchor', () =>
    a.exposes(async () => {
      await writeAt(3600)
      return ['CLOCK_AHEAD anchor 4']
    }))

  test('of a clock set back, for a signed write', () =>
    a.exposes(async () => [`TIME_BACKWARDS event ${await writeAt(-3600)}`]))
})

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
