import { describe, expect, test } from 'bun:test'
import { anchorHash, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { publicKeys } from '../../lib/core/audit/checkpoint.ts'
import type { BackupHeader } from '../../lib/core/host/backup.ts'
import { planRestore, restoredText } from '../../lib/core/host/restore.ts'
import { honestTrail, type TrailBuilder } from '../support/trail.ts'

const trust = (trail: TrailBuilder) => ({
  origin: trail.origin,
  logKeys: [{ ...publicKeys(trail.key), from: 1, until: null }],
})

/** As a backup made now would begin, when the database knew of `anchor`. */
function header(trail: TrailBuilder, anchor: number, changes: Partial<BackupHeader> = {}): BackupHeader {
  const object = trail.anchors[anchor - 1]
  return {
    v: 1,
    kind: 'ztmysql-backup',
    origin: trail.origin,
    time: '2026-01-01T00:00:00.000000Z',
    release: '0.1.0',
    mysql: '9.7.4',
    size: trail.events.length,
    head: '00'.repeat(32),
    anchor,
    anchorSha256: object ? anchorHash(object.bytes) : '00'.repeat(32),
    keys: false,
    ...changes,
  }
}

describe('a restore is planned by the store', () => {
  test('from the newest anchor, on the tree that the backup has', () => {
    const trail = honestTrail()
    const plan = planRestore(header(trail, 2), trail.anchors, trust(trail))
    expect(plan).toMatchObject({ number: 2, size: 6, base: { size: 6 }, lostEvents: 0, lostFrom: null })
  })

  test('names what an older backup lacks, and the anchor that it still has', () => {
    const trail = honestTrail()
    const old = header(trail, 2)
    trail.write(trail.row('later'))
    trail.anchor()
    trail.anchor()
    expect(planRestore(old, trail.anchors, trust(trail))).toMatchObject({
      number: 4,
      sha256: anchorHash(trail.anchors[3]?.bytes ?? new Uint8Array()),
      base: { size: 6 },
      lostEvents: parseAnchor(trail.anchors[3]?.bytes ?? new Uint8Array()).size - 7,
      lostFrom: 3,
    })
  })

  test('goes without anchors where there never was one', () => {
    const trail = honestTrail()
    const plan = planRestore(header(trail, 0, { anchorSha256: '00'.repeat(32) }), [], trust(trail))
    expect(plan).toMatchObject({ number: 0, size: 0, base: null, lostEvents: 0 })
  })

  test.each([
    [
      'another log',
      (t: TrailBuilder) =>
        planRestore(header(t, 2, { origin: 'ztmysql.local/ffffffffffffffff' }), t.anchors, trust(t)),
      /^the backup is of the log /,
    ],
    [
      'a store that lacks its anchor',
      (t: TrailBuilder) => planRestore(header(t, 2), t.anchors.slice(0, 1), trust(t)),
      /anchor 2, which is not in your copy/,
    ],
    [
      'a store with another anchor of its number',
      (t: TrailBuilder) => planRestore(header(t, 2, { anchorSha256: '11'.repeat(32) }), t.anchors, trust(t)),
      /anchor 2, which is another one/,
    ],
    [
      'an anchor that covers more than it has',
      (t: TrailBuilder) => planRestore(header(t, 2, { size: 5 }), t.anchors, trust(t)),
      /anchor 2, which is another one/,
    ],
    [
      'a store with a hole',
      (t: TrailBuilder) => planRestore(header(t, 2), t.anchors.slice(1), trust(t)),
      /^your copy of the store: ANCHOR_MISSING/,
    ],
    [
      'a store of another key',
      (t: TrailBuilder) => planRestore(header(t, 2), t.anchors, trust(honestTrail())),
      /^your copy of the store: ANCHOR_SIGNATURE/,
    ],
  ])('refuses %s', (_, plan, message) => {
    expect(() => plan(honestTrail())).toThrow(message)
  })

  test('is told in a status', () => {
    expect(restoredText({ number: 4, anchoredSize: 10, restoredSize: 7 })).toBe(
      'from a backup of 7 events, when anchor 4 was the newest; events 7 to 9, which were anchored, are lost',
    )
    expect(restoredText({ number: 2, anchoredSize: 6, restoredSize: 7 })).toEndWith(
      ', and nothing that was anchored is lost',
    )
  })
})
