/** The database's side of anchoring, in memory, as SPEC §5.4 has it; what an attacker with root could do included. */
import { createHash } from 'node:crypto'
import { leafHash } from '../../lib/core/audit/merkle.ts'
import { type Bytes, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import type { AnchorDatabase, AnchorStatus, Recorded } from '../../lib/edge/anchor_database.ts'

const sha256 = (...parts: Bytes[]): Bytes =>
  new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest())

export class MemoryDatabase implements AnchorDatabase {
  payloads: Bytes[] = []
  schema: Bytes = sha256(utf8('schema'))
  recordedNumber = 0
  recordedSize = 0
  confirmedNumber = 0
  confirmedSha256 = '0'.repeat(64)
  /** Every call, in order, with what it asked for. */
  calls: string[] = []
  #lastCall = ''

  write(count = 1): void {
    for (let i = 0; i < count; i++) this.payloads.push(utf8(`event ${this.payloads.length}`))
  }

  head(size: number): Bytes {
    return this.payloads.slice(0, size).reduce((prev, payload) => sha256(prev, payload), sha256())
  }

  async sealDue(): Promise<void> {
    this.calls.push('seal_due')
  }

  async status(): Promise<AnchorStatus> {
    const { recordedNumber, recordedSize, confirmedNumber, confirmedSha256 } = this
    return {
      recordedNumber,
      recordedSize,
      confirmedNumber,
      confirmedSha256,
      confirmedAt: null,
      oldestPendingAt: null,
      pending: 0,
      gate: null,
    }
  }

  async fingerprint(): Promise<Bytes> {
    return this.schema
  }

  async record(
    { number, fingerprint, prev, from }: Parameters<AnchorDatabase['record']>[0],
    onLeaf: (leaf: Bytes) => void,
  ): Promise<Recorded> {
    this.calls.push(`record ${number} from ${from}`)
    if (number !== this.confirmedNumber + 1 || toHex(prev) !== this.confirmedSha256)
      throw new ZtError('CONFLICT', 'the anchor does not follow')
    const call = `${number} ${toHex(fingerprint)} ${toHex(prev)}`
    if (number !== this.recordedNumber || call !== this.#lastCall) {
      this.payloads.push(utf8(`anchor ${call} of ${this.payloads.length}`))
      this.recordedNumber = number
      this.recordedSize = this.payloads.length
      this.#lastCall = call
    }
    for (const payload of this.payloads.slice(from, this.recordedSize)) onLeaf(leafHash(payload))
    return { size: this.recordedSize, head: this.head(this.recordedSize) }
  }

  async confirm(number: number, sha: Bytes): Promise<void> {
    this.calls.push(`confirm ${number}`)
    if (number === this.confirmedNumber && toHex(sha) === this.confirmedSha256) return
    if (number !== this.confirmedNumber + 1 || number !== this.recordedNumber)
      throw new ZtError('CONFLICT', 'the anchor does not follow')
    this.confirmedNumber = number
    this.confirmedSha256 = toHex(sha)
  }
}
