import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, toHex } from '../bytes.ts'
import type { Findings } from './findings.ts'
import { youngMs } from './queue_check.ts'
import type { Receipt } from './receipt.ts'

/** Seeks every receipt's payload in the trail; the same bytes, or it is not there. */
export class ReceiptCheck {
  /** Those that were not met yet, by the hash of their payload. */
  readonly #open: Map<string, Receipt>
  readonly #findings: Findings

  constructor(receipts: readonly Receipt[], findings: Findings) {
    this.#open = new Map(receipts.map(receipt => [toHex(sha256(receipt.payload)), receipt]))
    this.#findings = findings
  }

  #take(payload: Bytes): Receipt | undefined {
    if (this.#open.size === 0) return undefined
    const key = toHex(sha256(payload))
    const receipt = this.#open.get(key)
    this.#open.delete(key)
    return receipt
  }

  /** @param anchored how many events the newest anchor covers */
  sealed(payload: Bytes, seq: number, anchored: number): void {
    const receipt = this.#take(payload)
    if (receipt && seq >= anchored)
      this.#findings.add(
        'RECEIPT_PENDING',
        `receipt ${receipt.event.id}`,
        `event ${seq} is not under an anchor yet`,
      )
  }

  queued(payload: Bytes): void {
    const receipt = this.#take(payload)
    if (receipt) this.#findings.add('RECEIPT_PENDING', `receipt ${receipt.event.id}`, 'not sealed yet')
  }

  finish(origin: string, now: number): void {
    for (const receipt of this.#open.values()) {
      const where = `receipt ${receipt.event.id}`
      const age = now - Date.parse(receipt.event.time)
      if (receipt.origin !== origin)
        this.#findings.add('ORIGIN_MISMATCH', where, `names the log ${receipt.origin}`)
      else if (age < youngMs) this.#findings.add('RECEIPT_PENDING', where, 'not sealed yet')
      else
        this.#findings.add(
          'RECEIPT_MISSING',
          where,
          `acknowledged at ${receipt.event.time}, not in the trail`,
        )
    }
  }
}
