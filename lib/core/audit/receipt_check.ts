import { type Bytes, equal } from '../bytes.ts'
import type { Event } from './event.ts'
import type { Findings } from './findings.ts'
import { isYoung } from './queue_check.ts'
import type { Receipt } from './receipt.ts'

/** Seeks every receipt's payload in the trail; the same bytes, or it is not there. */
export class ReceiptCheck {
  /** Those that were not met yet, by the id of their event, which is unique within a tenant alone. */
  readonly #open = new Map<string, Receipt[]>()
  readonly #findings: Findings

  constructor(receipts: readonly Receipt[], findings: Findings) {
    for (const receipt of receipts)
      this.#open.set(receipt.event.id, [...(this.#open.get(receipt.event.id) ?? []), receipt])
    this.#findings = findings
  }

  /** How many are sought still. */
  get count(): number {
    return this.#open.size
  }

  #take(event: Event, payload: Bytes): Receipt | undefined {
    const same = this.#open.get(event.id)
    const receipt = same?.find(one => equal(one.payload, payload))
    if (!same || !receipt) return undefined
    const others = same.filter(one => !equal(one.payload, payload))
    if (others.length === 0) this.#open.delete(event.id)
    else this.#open.set(event.id, others)
    return receipt
  }

  /** @param anchored how many events the newest anchor covers */
  sealed(event: Event, payload: Bytes, seq: number, anchored: number): void {
    const receipt = this.#take(event, payload)
    if (receipt && seq >= anchored)
      this.#findings.add(
        'RECEIPT_PENDING',
        `receipt ${receipt.event.id}`,
        `event ${seq} is not under an anchor yet`,
      )
  }

  queued(event: Event, payload: Bytes): void {
    const receipt = this.#take(event, payload)
    if (receipt) this.#findings.add('RECEIPT_PENDING', `receipt ${receipt.event.id}`, 'not sealed yet')
  }

  finish(origin: string, now: number): void {
    for (const receipt of [...this.#open.values()].flat()) {
      const where = `receipt ${receipt.event.id}`
      if (receipt.origin !== origin)
        this.#findings.add('ORIGIN_MISMATCH', where, `names the log ${receipt.origin}`)
      else if (isYoung(receipt.event.time, now))
        this.#findings.add('RECEIPT_PENDING', where, 'not sealed yet')
      else
        this.#findings.add(
          'RECEIPT_MISSING',
          where,
          `acknowledged at ${receipt.event.time}, not in the trail`,
        )
    }
  }
}
