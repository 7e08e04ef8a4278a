/** What a verifier holds and believes, whatever a source says of its size and its times. */
import { describe, expect, test } from 'bun:test'
import { makeReceipt } from '../../lib/core/audit/receipt.ts'
import { slicesFor } from '../../lib/core/audit/state_check.ts'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { fromUtf8, utf8 } from '../../lib/core/bytes.ts'
import { native } from '../../lib/edge/native_engine.ts'
import { TrailBuilder } from '../support/trail.ts'

const failing = (verdict: Verdict): string[] =>
  verdict.findings.kept
    .filter(f => f.severity === 'fail')
    .map(f => `${f.code} ${f.where}`)
    .sort()

function manyRows(): TrailBuilder {
  const trail = new TrailBuilder()
  for (let i = 0; i < 40; i++) {
    const row = trail.row(`${i}`)
    trail.write(row)
    if (i % 3 === 0) trail.write(trail.row(`${i} again`, row))
    // a step that is wrong, to be named once however many passes there are
    if (i % 10 === 0) trail.write({ ...trail.row(`${i} hidden`, row), version: 9 })
  }
  trail.anchor()
  return trail
}

describe('rows in more passes than one', () => {
  test('are judged alike, in few passes or many, also where nothing is left of them', async () => {
    const trail = manyRows()
    for (const source of [
      trail.source(),
      trail.source({ rowCount: 0 }),
      // as after a mass deletion: the database counts no rows, the trail knows forty
      trail.source({
        rowCount: 0,
        async *rows() {
          yield []
        },
      }),
    ]) {
      const whole = failing(await trail.verify({ engine: native, rowsPerPass: 1000 }, source))
      expect(whole.length).toBeGreaterThan(3)
      for (const rowsPerPass of [1, 2, 7])
        expect(failing(await trail.verify({ engine: native, rowsPerPass }, source))).toEqual(whole)
    }
  })

  test('are counted by the source, and a count beyond all measure asks for no more than a thousand passes', () => {
    expect(slicesFor(Number.MAX_SAFE_INTEGER, 100_000).length).toBe(1024)
    expect(slicesFor(250_000, 100_000).map(s => s.value)).toEqual([0, 1, 2, 3])
  })
})

describe('a clock that was set forward', () => {
  const future = (payload: Uint8Array): Uint8Array =>
    utf8(fromUtf8(payload, 'payload').replace(/"time":"2026/, '"time":"2126'))

  test('does not keep a receipt of a dropped write young for ever', async () => {
    const trail = manyRows()
    const [first] = trail.events
    if (!first) throw new Error('no event')
    const receipt = makeReceipt(trail.origin, future(first.payload))
    const verdict = await trail.verify({ engine: native, receipts: [receipt] })
    expect(failing(verdict)).toContain(`RECEIPT_MISSING receipt ${receipt.event.id}`)
  })

  test('does not keep a committed event outside the trail unnoticed', async () => {
    const trail = manyRows()
    const queued = future(trail.queue(trail.row('kept back')))
    const source = trail.source({
      async *pending() {
        yield [queued]
      },
    })
    expect(
      failing(await trail.verify({ engine: native }, source)).some(f => f.startsWith('EVENT_UNSEALED')),
    ).toBe(true)
  })
})

test('a verdict over the chain alone says so', async () => {
  const trail = manyRows()
  const verdict = await trail.verify({ engine: native, only: 'chain' })
  expect([verdict.ok, verdict.judged, verdict.rows]).toEqual([true, 'chain', 0])
})
