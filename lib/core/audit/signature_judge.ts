import { type Engine, noble } from '../engine.ts'
import { reason } from '../errors.ts'
import type { TableDefinition } from '../tables.ts'
import type { Trust, TrustedCertificate } from '../trust.ts'
import type { RowEvent } from './event.ts'
import type { Findings } from './findings.ts'
import type { Helpers, SignatureAnswer } from './helpers.ts'
import { checkSender, checkSignature, checkSigner, type SignatureFault } from './signature_check.ts'
import type { LastEvent } from './state_check.ts'

export interface SignatureOptions {
  trust: Pick<Trust, 'origin' | 'certificates'>
  definitions: Map<string, TableDefinition>
  signatures: 'last' | 'all'
  engine?: Engine
  helpers?: Helpers
}

interface Asked {
  event: RowEvent
  seq: number | null
  at: number
}

const batchSize = 64

/** Judges the signer of every row event, and the signature of each row's last one, or of all. */
export class SignatureJudge {
  /** Signatures verified so far. */
  checked = 0
  /** What that took, ms of one core. */
  ms = 0
  readonly #options: SignatureOptions
  readonly #bySigner: Map<string, TrustedCertificate>
  readonly #receivedAt: (seq: number | null) => number
  readonly #findings: Findings
  readonly #engine: Engine
  #batch: Asked[] = []
  readonly #running: { asked: Asked[]; answer: Promise<SignatureAnswer> }[] = []

  /** @param receivedAt ms since 1970: when the first anchor over an event was received; now for one that waits */
  constructor(options: SignatureOptions, receivedAt: (seq: number | null) => number, findings: Findings) {
    this.#options = options
    this.#bySigner = new Map(options.trust.certificates.map(c => [c.signer, c]))
    this.#receivedAt = receivedAt
    this.#findings = findings
    this.#engine = options.engine ?? noble
  }

  /** Takes each event once, in any order. `seq` is null for one that is not sealed. */
  passBy(event: RowEvent, seq: number | null): void {
    const fault = this.#early(event, seq)
    if (fault) this.#report(event, seq, fault)
    else if (this.#options.signatures === 'all') this.#verify(event, seq)
  }

  /** Takes the last event of a row that is as that event left it. */
  last({ event, seq }: LastEvent): void {
    // without a right signer it was reported when it went by
    if (this.#options.signatures === 'last' && !this.#early(event, seq)) this.#verify(event, seq)
  }

  #early(event: RowEvent, seq: number | null): SignatureFault {
    const { definitions, trust } = this.#options
    return (
      checkSigner(event, definitions, this.#bySigner) ??
      this.#guarded(() =>
        checkSender(event, trust.origin, definitions, this.#bySigner, this.#receivedAt(seq), this.#engine),
      )
    )
  }

  #verify(event: RowEvent, seq: number | null): void {
    this.checked++
    const at = this.#receivedAt(seq)
    if (this.#options.helpers) {
      this.#batch.push({ event, seq, at })
      if (this.#batch.length >= batchSize) this.#send(this.#options.helpers)
      return
    }
    const { origin } = this.#options.trust
    const began = performance.now()
    const fault = this.#guarded(() => checkSignature(event, origin, this.#bySigner, at, this.#engine))
    this.ms += performance.now() - began
    if (fault) this.#report(event, seq, fault)
  }

  #send(helpers: Helpers): void {
    const asked = this.#batch
    this.#batch = []
    if (asked.length > 0) this.#running.push({ asked, answer: helpers.signatures({ events: asked }) })
  }

  /** Waits until no more than `most` batches are under way: whoever asks on and on must wait for the answers. */
  async settle(most = 8 * (this.#options.helpers?.count ?? 1)): Promise<void> {
    if (most === 0 && this.#options.helpers) this.#send(this.#options.helpers)
    while (this.#running.length > most) {
      const [first] = this.#running.splice(0, 1)
      if (!first) return
      const { faults, ms } = await first.answer
      this.ms += ms
      for (const [i, { event, seq }] of first.asked.entries()) {
        const fault = faults[i]
        if (fault) this.#report(event, seq, fault)
      }
    }
  }

  #guarded(check: () => SignatureFault): SignatureFault {
    try {
      return check()
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'INTERNAL') throw thrown
      return { code: 'SIG_BAD', what: reason(thrown) }
    }
  }

  #report(event: RowEvent, seq: number | null, fault: NonNullable<SignatureFault>): void {
    const where = seq === null ? `queued event ${event.id}` : `event ${seq}`
    this.#findings.add(fault.code, where, fault.what, event.tenant)
  }
}
