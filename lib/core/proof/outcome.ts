import type { z } from 'zod'
import type { Verdict } from '../audit/trail_verdict.ts'
import type { Bytes } from '../bytes.ts'
import type { TableDefinition } from '../tables.ts'
import type { Trust } from '../trust.ts'
import type { GoogleContext } from './google_judgement.ts'
import type { Observation } from './observation.ts'
import type { RowEvidence } from './row_evidence.ts'

export type Status = 'pass' | 'fail' | 'error' | 'not-applicable'

/** The verdict of a control and why, for a person. */
export interface Outcome {
  status: Status
  reason: string
}

/** Where and how a value is not of its schema. */
export const firstIssue = ({ issues: [issue] }: z.ZodError): string =>
  issue === undefined ? 'unknown' : `${issue.path.map(String).join('.') || 'the whole'}: ${issue.message}`

export const pass = (reason: string): Outcome => ({ status: 'pass', reason })
export const fail = (reason: string): Outcome => ({ status: 'fail', reason })

/** Everything a judgement may look at. */
export interface Evidence {
  observations: ReadonlyMap<string, Observation>
  trail: Verdict
  rows: RowEvidence
  trust: Trust
  definitions: readonly TableDefinition[]
  /** What is wrong with the bundle's place between two anchors; undefined: nothing, or `bracketsNote` says it. */
  bracketFault: string | undefined
  bracketNote: string
  /** TestResult of an OpenSCAP scan, as the bundle has it. */
  scan: Bytes | undefined
  /** What evidence from Google is held against. */
  google: GoogleContext
}
