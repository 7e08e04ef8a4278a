/** Records of a CSV or JSON-lines stream, cut but not yet read: where each begins, and its bytes. */
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'

export interface Frame {
  /** The first line of the record, counted from 1. */
  readonly line: number
  /** Without its line end. */
  readonly bytes: Bytes
}

/** Longest record: no row is near it, and memory has an end. */
export const maxFrameBytes = 4 << 20

const [newline, carriageReturn, quote] = [0x0a, 0x0d, 0x22]

/** Whether these bytes, of several lines, are one record. */
export type IsRecord = (bytes: Bytes) => boolean

/** Bytes that wait for the end of their record, and how far they were looked at: each byte once. */
class Buffered {
  #bytes: Bytes = new Uint8Array(1 << 17)
  #begin = 0
  #end = 0
  #seen = 0
  #inside = false
  #lines = 1

  get length(): number {
    return this.#end - this.#begin
  }

  push(chunk: Bytes): void {
    const { length } = this
    if (this.#end + chunk.length > this.#bytes.length) {
      const needed = length + chunk.length
      const larger = needed * 2 > this.#bytes.length ? new Uint8Array(needed * 2) : this.#bytes
      larger.set(this.#bytes.subarray(this.#begin, this.#end), 0)
      this.#bytes = larger
      this.#begin = 0
    }
    this.#end = this.#begin + length
    this.#bytes.set(chunk, this.#end)
    this.#end += chunk.length
  }

  /** Length and lines of the record at the beginning, without its line end; undefined where that is not there yet. */
  record(quotes: boolean): { stop: number; lines: number } | undefined {
    for (let i = this.#begin + this.#seen; i < this.#end; i += 1) {
      const byte = this.#bytes[i]
      if (quotes && byte === quote) this.#inside = !this.#inside
      else if (byte === newline && !this.#inside) return { stop: i - this.#begin, lines: this.#lines }
      else if (byte === newline) this.#lines += 1
    }
    this.#seen = this.length
    return undefined
  }

  /** Length of the first line. */
  line(): number {
    const stop = this.#bytes.subarray(this.#begin, this.#end).indexOf(newline)
    return stop < 0 ? this.length : stop
  }

  peek(length: number): Bytes {
    return this.#bytes.subarray(this.#begin, Math.min(this.#begin + length, this.#end))
  }

  drop(length: number): void {
    this.#begin = Math.min(this.#begin + length, this.#end)
    this.#seen = 0
    this.#inside = false
    this.#lines = 1
  }
}

/**
 * Cuts a stream into records. With `several` a line end between double quotes belongs to the record; where that makes no
 * record, or never ends, the first line is a frame by itself, so that one mistake costs one line. Holds one at a time.
 */
export async function* frames(chunks: AsyncIterable<Bytes>, several?: IsRecord): AsyncGenerator<Frame> {
  const buffered = new Buffered()
  let line = 1
  let first = true
  const cut = function* (end: boolean): Generator<Frame> {
    while (buffered.length > 0) {
      const record = buffered.record(several !== undefined)
      if (record === undefined && !end && buffered.length <= maxFrameBytes) return
      const whole =
        record !== undefined && (record.lines === 1 || several?.(buffered.peek(record.stop)) === true)
      // A quote is wrong, or not closed within reason: its line alone is at fault.
      const { stop, lines } = whole ? record : { stop: buffered.line(), lines: 1 }
      const bytes = buffered.peek(stop)
      const kept = bytes.at(-1) === carriageReturn ? bytes.slice(0, -1) : bytes.slice()
      if (kept.length > 0) yield { line, bytes: kept }
      line += lines
      buffered.drop(stop + 1)
    }
  }
  for await (const chunk of chunks) {
    buffered.push(chunk)
    if (first && buffered.length < 3) continue
    if (first) dropMark(buffered)
    first = false
    yield* cut(false)
  }
  if (first) dropMark(buffered)
  yield* cut(true)
}

/** UTF-8's mark is dropped; UTF-16, as spreadsheets save "Unicode text", would be refused line by line. */
function dropMark(buffered: Buffered): void {
  const [a, b, c] = buffered.peek(3)
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff))
    throw new ZtError('BAD_INPUT', 'import: the input is UTF-16', { hint: 'save it as UTF-8' })
  if (a === 0xef && b === 0xbb && c === 0xbf) buffered.drop(3)
}
