/** Other threads that a verification may hand its work to. They compute and see nothing but what they are given. */
import type { Bytes } from '../bytes.ts'
import type { Trust } from '../trust.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { ChunkJob, ChunkSummary } from './chunk.ts'
import type { RowEvent } from './event.ts'
import type { SignatureFault } from './signature_check.ts'

export interface SignatureJob {
  events: { event: RowEvent; at: number }[]
}

export interface SignatureAnswer {
  faults: SignatureFault[]
  /** Time that it took, ms of one core. */
  ms: number
}

/** What is signed in each anchor object, or why it is not: undefined where it is no anchor of this log. */
export type OpenedAnchor = { checkpoint: Checkpoint } | { fault: string } | undefined

export interface Helpers {
  /** How many work at once. */
  readonly count: number
  /** Undefined unless nothing is wrong in the chunk. */
  summarise(job: ChunkJob): Promise<ChunkSummary | undefined>
  signatures(job: SignatureJob): Promise<SignatureAnswer>
  /** The two signatures of each of these anchors. */
  anchors(job: { objects: Bytes[] }): Promise<OpenedAnchor[]>
}

/** What helpers are told beforehand. */
export type HelperTrust = Pick<Trust, 'origin' | 'certificates' | 'logKeys' | 'witnesses'>
