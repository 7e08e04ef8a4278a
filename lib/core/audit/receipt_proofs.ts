/** A client's receipts and the proofs beside them, judged in bulk (SPEC §4.8, §4.10). */
import { reason, ZtError } from '../errors.ts'
import type { Findings } from './findings.ts'
import { checkProof, type ProofOptions } from './proof_check.ts'
import { isYoung } from './queue_check.ts'
import type { Receipt } from './receipt.ts'
import { parseTlogProof } from './tlog_proof.ts'

/** A receipt and the bytes of the proof beside it, where there is one. */
export interface KeptReceipt {
  receipt: Receipt
  proof: Uint8Array | undefined
}

export interface SortedReceipts {
  proved: Receipt[]
  unproved: Receipt[]
}

/** Judges the proofs that there are; a bad one is a finding, and its receipt counts as unproved. */
export function sortReceipts(
  kept: readonly KeptReceipt[],
  options: ProofOptions,
  findings: Findings,
): SortedReceipts {
  const sorted: SortedReceipts = { proved: [], unproved: [] }
  for (const { receipt, proof } of kept) {
    const where = `receipt ${receipt.event.id}`
    if (receipt.origin !== options.trust.origin)
      findings.add('ORIGIN_MISMATCH', where, `names the log ${receipt.origin}`)
    else if (proof === undefined) sorted.unproved.push(receipt)
    else
      try {
        checkProof(parseTlogProof(proof, 'proof'), receipt.payload, options)
        sorted.proved.push(receipt)
      } catch (thrown) {
        if (thrown instanceof ZtError && thrown.code === 'INTERNAL') throw thrown
        findings.add('PROOF_BAD', where, reason(thrown))
        sorted.unproved.push(receipt)
      }
  }
  return sorted
}

/** Of receipts for which no trail was at hand: young ones are pending, others want a proof. */
export function reportUnproved(receipts: readonly Receipt[], now: number, findings: Findings): void {
  for (const { event } of receipts)
    if (isYoung(event.time, now))
      findings.add('RECEIPT_PENDING', `receipt ${event.id}`, 'too young for an anchor to cover it')
    else
      findings.add(
        'RECEIPT_UNPROVED',
        `receipt ${event.id}`,
        `acknowledged at ${event.time}, no proof beside it`,
      )
}
