import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { formatTime, isTime, parseTime } from '../../lib/core/time.ts'

describe('times', () => {
  test('re-print to the same text', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9_007_199_254_740_991 }), microseconds => {
        const text = formatTime(microseconds)
        expect(isTime(text)).toBe(true)
        expect(parseTime(text, 'time')).toBe(microseconds)
      }),
    )
  })

  test('are what the platform says of them', () => {
    for (const text of [
      '1970-01-01T00:00:00.000000Z',
      '2000-02-29T23:59:59.999999Z',
      '2026-11-24T10:39:56.000123Z',
    ])
      expect(Math.floor(parseTime(text, 'time') / 1000)).toBe(Date.parse(text))
    expect(parseTime('2026-11-24T10:39:56.000123Z', 'time') % 1000).toBe(123)
  })

  test('exist on every day that the platform knows, and on no other', () => {
    for (const year of [1900, 2000, 2023, 2024, 2100])
      for (let month = 1; month <= 12; month++)
        for (let day = 0; day <= 32; day++) {
          const two = (n: number) => String(n).padStart(2, '0')
          const text = `${year}-${two(month)}-${two(day)}T00:00:00.000000Z`
          const date = new Date(Date.UTC(year, month - 1, day))
          expect([text, isTime(text)]).toEqual([
            text,
            date.getUTCMonth() === month - 1 && date.getUTCDate() === day,
          ])
        }
  })

  test.each([
    '',
    '2026-01-02T03:04:05Z',
    '2026-01-02T03:04:05.000Z',
    '2026-01-02T03:04:05.0000000Z',
    '2026-01-02 03:04:05.000000Z',
    '2026-01-02T03:04:05.000000z',
    '2026-01-02T03:04:05.000000+00:00',
    '2026-01-02T03:04:05.000000',
    '2026-1-02T03:04:05.000000Z',
    '2026-13-02T03:04:05.000000Z',
    '2026-00-02T03:04:05.000000Z',
    '2026-01-02T24:00:00.000000Z',
    '2026-01-02T23:60:00.000000Z',
    '2026-01-02T23:59:60.000000Z',
    '02026-01-02T03:04:05.000000Z',
    ' 2026-01-02T03:04:05.000000Z',
    '2026-01-02T03:04:05.000000Z\n',
  ])('of the form %p are refused', text => {
    expect(isTime(text)).toBe(false)
    expect(() => parseTime(text, 'when')).toThrow('when: not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ')
  })

  test('outside the years 1970 to 9999 are not printed', () => {
    for (const bad of [-1, 0.5, Number.NaN, 253_402_300_800_000_000])
      expect(() => formatTime(bad)).toThrow('time: ')
  })
})
