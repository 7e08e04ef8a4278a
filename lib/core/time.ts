/** Times in text: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, UTC, six digits (SPEC §1.1). */
import { ZtError } from './errors.ts'

const pattern = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z$/

const days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

function daysIn(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return (days[month - 1] ?? 0) + (month === 2 && leap ? 1 : 0)
}

/** True for a canonical time on a day that there is; 23:59:60 is none. */
export const isTime = (text: string): boolean =>
  pattern.test(text) &&
  Number(text.slice(8, 10)) <= daysIn(Number(text.slice(0, 4)), Number(text.slice(5, 7)))

/** Microseconds since 1970-01-01 of a canonical time; exact until 2255, when they pass 2^53. @throws BAD_FORMAT */
export function parseTime(text: string, what: string): number {
  if (!isTime(text))
    throw new ZtError('BAD_FORMAT', `${what}: not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ`)
  return Date.parse(`${text.slice(0, 19)}Z`) * 1000 + Number(text.slice(20, 26))
}

/** The canonical text of microseconds since 1970-01-01. */
export function formatTime(microseconds: number): string {
  if (!Number.isSafeInteger(microseconds) || microseconds < 0 || microseconds >= 253402300800e6)
    throw new ZtError('BAD_FORMAT', `time: ${microseconds} microseconds is not in years 1970 to 9999`)
  const part = microseconds % 1_000_000
  const date = new Date((microseconds - part) / 1000)
  return `${date.toISOString().slice(0, 19)}.${String(part).padStart(6, '0')}Z`
}
