/** Times in text: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, UTC, six digits (SPEC §1.1). */
import { ZtError } from './errors.ts'

const pattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/

/** Microseconds since 1970-01-01 of a time in text; exact, below 2^53 until 2255. NaN for anything else. */
function micros(text: string): number {
  if (!pattern.test(text)) return Number.NaN
  const seconds = Date.parse(`${text.slice(0, 19)}Z`)
  // Date.parse may take 31 June for 1 July: what it read must print as what was written
  if (Number.isNaN(seconds) || new Date(seconds).toISOString().slice(0, 19) !== text.slice(0, 19))
    return Number.NaN
  return seconds * 1000 + Number(text.slice(20, 26))
}

export const isTime = (text: string): boolean => !Number.isNaN(micros(text))

/** @throws BAD_FORMAT unless `text` is a canonical time. */
export function parseTime(text: string, what: string): number {
  const value = micros(text)
  if (Number.isNaN(value))
    throw new ZtError('BAD_FORMAT', `${what}: not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ`)
  return value
}

/** The canonical text of microseconds since 1970-01-01. */
export function formatTime(microseconds: number): string {
  if (!Number.isSafeInteger(microseconds) || microseconds < 0 || microseconds >= 253402300800e6)
    throw new ZtError('BAD_FORMAT', `time: ${microseconds} microseconds is not in years 1970 to 9999`)
  const part = microseconds % 1_000_000
  const date = new Date((microseconds - part) / 1000)
  return `${date.toISOString().slice(0, 19)}.${String(part).padStart(6, '0')}Z`
}
