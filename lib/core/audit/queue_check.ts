import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, toHex } from '../bytes.ts'
import { type Event, parseEvent } from './event.ts'
import type { Findings } from './findings.ts'

/** A write is young while the sealer may still be on its way to it. */
export const youngMs = 60_000

/** The event of a payload; undefined for one that ChainCheck reports as EVENT_MALFORMED. */
export function tryParse(payload: Bytes): Event | undefined {
  try {
    return parseEvent(payload)
  } catch {
    return undefined
  }
}

/** Committed events outside the trail, by the hash of their payload, with their times in ms since 1970. */
export class Queue {
  readonly #waiting = new Map<string, { id: string; time: number }>()

  add(payload: Bytes): void {
    const event = tryParse(payload)
    if (event) this.#waiting.set(toHex(sha256(payload)), { id: event.id, time: Date.parse(event.time) })
  }

  /** Takes out what was sealed later in the same source: the closing events of a bundle. */
  sealed(payload: Bytes): void {
    if (this.#waiting.size > 0) this.#waiting.delete(toHex(sha256(payload)))
  }

  finish(before: number, findings: Findings): void {
    for (const { id, time } of this.#waiting.values())
      if (time < before)
        findings.add('EVENT_UNSEALED', `queued event ${id}`, `committed at ${new Date(time).toISOString()}`)
  }
}
