/** A log that goes on from a backup, and a server that changed: what the verifier says of them. */
import { describe, expect, test } from 'bun:test'
import { summarise } from '../../lib/core/audit/chunk.ts'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { noble } from '../../lib/core/engine.ts'
import { honestTrail } from '../support/trail.ts'

const found = (verdict: Verdict): string[] =>
  verdict.findings.kept
    .filter(({ severity }) => severity === 'fail')
    .map(({ code, where }) => `${code} ${where}`)
const what = (verdict: Verdict, code: string): string =>
  verdict.findings.kept.find(finding => finding.code === code)?.what ?? ''
/** Without the heartbeat: whoever restores has made a gap, and that is another finding. */
const relaxed = { gapSeconds: 100_000, receipts: [] }

describe('a restored log', () => {
  test('of a backup as new as the last anchor holds, and is named', async () => {
    const trail = honestTrail()
    trail.restore(trail.backup())
    trail.anchor()
    trail.write(trail.row('d'))
    trail.anchor()
    for (const signatures of ['last', 'all'] as const) {
      const verdict = await trail.verify({ ...relaxed, signatures })
      expect(found(verdict)).toEqual([])
      expect(what(verdict, 'LOG_RESTORED')).toMatch(
        /^restored from the backup [0-9a-f]{64} of 7 events, when the newest anchor was 2$/,
      )
      expect(verdict).toMatchObject({ anchored: trail.events.length, lastAnchor: 4 })
    }
  })

  test('of an older backup names what is lost, and nothing else, however it goes on', async () => {
    for (const more of [0, 1, 9]) {
      const trail = honestTrail()
      const backup = trail.backup() // 7 events under 2 anchors of 6
      trail.write(trail.row('lost'))
      trail.anchor()
      trail.write(trail.row('lost too'))
      trail.anchor()
      trail.restore(backup)
      for (let i = 0; i < more; i++) trail.write(trail.row(`n${i}`))
      trail.anchor()
      trail.write(trail.row('d'))
      trail.anchor()
      for (const signatures of ['last', 'all'] as const) {
        const verdict = await trail.verify({ ...relaxed, signatures })
        expect(found(verdict)).toEqual(['RESTORE_LOSS event 7'])
        expect(what(verdict, 'RESTORE_LOSS')).toEndWith(
          ': events 7 to 10, 4 in all, which anchors 3 to 4 cover, are lost',
        )
      }
    }
  })

  test('that has no anchor of its own yet is judged by those before it', async () => {
    const trail = honestTrail()
    const backup = trail.backup()
    trail.anchor()
    trail.restore(backup)
    const verdict = await trail.verify(relaxed)
    expect(found(verdict)).toEqual(['RESTORE_LOSS event 7'])
    expect(verdict.anchored).toBe(6)
  })

  test('twice is named twice', async () => {
    const trail = honestTrail()
    trail.restore(trail.backup())
    trail.anchor()
    const backup = trail.backup()
    trail.write(trail.row('lost'))
    trail.anchor()
    trail.restore(backup)
    trail.anchor()
    const verdict = await trail.verify(relaxed)
    expect(found(verdict)).toEqual(['RESTORE_LOSS event 9'])
    expect(what(verdict, 'LOG_RESTORED')).not.toBe('')
  })

  test('still owes every receipt', async () => {
    const trail = honestTrail()
    const backup = trail.backup()
    trail.write(trail.row('lost'))
    trail.anchor()
    trail.restore(backup)
    trail.anchor()
    const verdict = await trail.verify({ gapSeconds: 100_000, now: Date.UTC(2026, 0, 2) })
    expect(found(verdict)).toEqual(['RESTORE_LOSS event 7', expect.stringContaining('RECEIPT_MISSING')])
  })

  test.each([
    ['another number of events', { from: 6 }],
    ['another head', { head: '00'.repeat(32) }],
    ['an anchor that the store does not have', { number: 3 }],
    ['another anchor of that number', { sha256: '11'.repeat(32) }],
    ['another size of that anchor', { size: 5 }],
  ])('that names %s is not believed', async (_, changes) => {
    const trail = honestTrail()
    trail.restore(trail.backup(), changes)
    expect(found(await trail.verify(relaxed))).toContain('RESTORE_LOSS event 7')
  })

  test('does not hide a rewriting: what was anchored is missed all the same', async () => {
    const trail = honestTrail()
    const backup = { ...trail.backup(), size: 4 } // root wants events 4 to 6 gone, and keeps the rows
    trail.restore(backup)
    trail.anchor()
    expect(found(await trail.verify(relaxed))).toContain('RESTORE_LOSS event 4')
  })

  test('without its event is a fork, as ever', async () => {
    const trail = honestTrail()
    const backup = trail.backup()
    trail.write(trail.row('lost'))
    trail.anchor()
    trail.restore(backup)
    trail.events.pop()
    const source = trail.source({ size: 7, head: trail.events.at(-1)?.curr ?? new Uint8Array(32) })
    expect(found(await trail.verify(relaxed, source))).toEqual(['ANCHOR_BEYOND anchor 3'])
  })

  test('lets no smaller anchor follow a larger one where nothing was restored', async () => {
    const trail = honestTrail()
    const backup = trail.backup()
    trail.write(trail.row('lost'))
    trail.write(trail.row('lost'))
    trail.anchor()
    trail.restore(backup)
    trail.anchor()
    const events = trail.events.slice(0, 7) // the restore is taken out again
    const source = trail.source({
      size: 7,
      head: events.at(-1)?.curr ?? new Uint8Array(32),
      async *events() {
        yield events
      },
    })
    expect(found(await trail.verify(relaxed, source))).toContain('ANCHOR_FORK anchor 4')
  })

  test('is not passed over by a chunk', () => {
    const trail = honestTrail()
    expect(summarise(trail.events.slice(1), noble)).toBeDefined()
    trail.restore(trail.backup())
    expect(summarise(trail.events.slice(1), noble)).toBeUndefined()
  })
})

describe('a change of what runs', () => {
  const running = (mysql: string, announced: boolean) => ({
    mysql,
    digest: 'cd'.repeat(32),
    announced,
    until: null,
  })

  test('that was announced is clean', async () => {
    const trail = honestTrail()
    trail.server('server', running('9.7.4', true))
    trail.server('server', running('9.7.5', true))
    trail.anchor()
    expect(found(await trail.verify(relaxed))).toEqual([])
  })

  test('that nobody announced is a finding, and says from what to what', async () => {
    const trail = honestTrail()
    trail.server('server', running('9.7.4', true))
    trail.server('server', running('9.7.5', false))
    trail.anchor()
    const verdict = await trail.verify(relaxed)
    expect(found(verdict)).toEqual(['SERVER_CHANGED event 8'])
    expect(what(verdict, 'SERVER_CHANGED')).toBe('MySQL 9.7.5 runs, and 9.7.4 was announced')
    expect(summarise(trail.events.slice(7), noble)).toBeUndefined()
  })

  test('of plugins alone is one too', async () => {
    const trail = honestTrail()
    trail.server('server', running('9.7.4', true))
    trail.server('server', { ...running('9.7.4', false), digest: 'ef'.repeat(32) })
    const verdict = await trail.verify(relaxed)
    expect(found(verdict)).toEqual(['SERVER_CHANGED event 8'])
    expect(what(verdict, 'SERVER_CHANGED')).toContain('other plugins or components')
  })
})
