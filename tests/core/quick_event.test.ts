import { expect, test } from 'bun:test'
import { formatEvent, parseEvent, type RowEvent } from '../../lib/core/audit/event.ts'
import { quickEvent } from '../../lib/core/audit/quick_event.ts'
import { fromUtf8, utf8 } from '../../lib/core/bytes.ts'
import { honestTrail } from '../support/trail.ts'

const texts = honestTrail().events.map(({ payload }) => fromUtf8(payload, 'payload'))
const accepts = (text: string): boolean => {
  try {
    parseEvent(utf8(text))
    return true
  } catch {
    return false
  }
}

test('row events are seen quickly, and say what they say', () => {
  const rows = texts.filter(text => text.includes('"table":"notes"'))
  expect(rows.length).toBeGreaterThan(3)
  for (const text of rows) {
    const { id, time, tenant } = parseEvent(utf8(text))
    expect(quickEvent(text)).toEqual({ id, time, tenant })
  }
})

test('whatever is let through, the strict parser accepts: every character changed, dropped and doubled', () => {
  let quick = 0
  for (const text of texts)
    for (let i = 0; i < text.length; i++)
      for (const bad of [
        text.slice(0, i) + text.slice(i + 1),
        text.slice(0, i) + text[i] + text.slice(i),
        ...['"', '\\', '\u0000', '\u007f', 'é', '0', '9', 'a', 'Z', '/', '=', ' ', '{'].map(
          c => text.slice(0, i) + c + text.slice(i + 1),
        ),
      ])
        if (quickEvent(bad)) {
          quick++
          expect([bad, accepts(bad)]).toEqual([bad, true])
        }
  expect(quick).toBeGreaterThan(1000)
})

test('numbers beyond 2^53, days that are none and a create with a digest before are left to it', () => {
  const event = parseEvent(utf8(texts[0] ?? '')) as RowEvent
  const text = fromUtf8(formatEvent(event), 'event')
  for (const bad of [
    text.replace('"conn":7', '"conn":9007199254740993'),
    text.replace('"ver":1', '"ver":0'),
    text.replace('2026-01-01', '2026-02-30'),
    text.replace('"before":null', `"before":"${'a'.repeat(64)}"`),
  ]) {
    expect(bad === text).toBe(false)
    expect([quickEvent(bad), accepts(bad)]).toEqual([undefined, false])
  }
})
