import { type Bytes, equal } from '../bytes.ts'
import { type Event, parseEvent } from './event.ts'
import type { Findings } from './findings.ts'

/** A write is young while the sealer may still be on its way to it. */
export const youngMs = 60_000

/** Whether a write of this time may still be on its way. One of a time to come is not young: a clock was set forward. */
export const isYoung = (time: string, now: number): boolean => Math.abs(now - Date.parse(time)) < youngMs

/** The event of a payload; undefined for one that ChainCheck reports as EVENT_MALFORMED. */
export function tryParse(payload: Bytes): Event | undefined {
  try {
    return parseEvent(payload)
  } catch {
    return undefined
  }
}

/** Committed events outside the trail, by their id, which is unique within a tenant alone. */
export class Queue {
  readonly #waiting = new Map<string, { payload: Bytes; time: number }[]>()

  add(payload: Bytes): void {
    const event = tryParse(payload)
    if (!event) return
    const waiting = { payload, time: Date.parse(event.time) }
    const same = this.#waiting.get(event.id)
    if (same) same.push(waiting)
    else this.#waiting.set(event.id, [waiting])
  }

  get empty(): boolean {
    return this.#waiting.size === 0
  }

  /** Takes out what was sealed later in the same source: the closing events of a bundle. */
  sealed(event: Event, payload: Bytes): void {
    const same = this.#waiting.get(event.id)
    if (!same) return
    const left = same.filter(one => !equal(one.payload, payload))
    if (left.length === 0) this.#waiting.delete(event.id)
    else this.#waiting.set(event.id, left)
  }

  /** @param after an event of a later time than this cannot have been queued yet: the clock of the host was ahead */
  finish(before: number, after: number, findings: Findings): void {
    for (const [id, same] of this.#waiting)
      for (const { time } of same)
        if (time < before || time > after)
          findings.add('EVENT_UNSEALED', `queued event ${id}`, `committed at ${new Date(time).toISOString()}`)
  }
}
