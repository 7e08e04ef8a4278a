/** A control as data: what is claimed, what enforces it, what is observed, what must be seen, what would break it. */
import type { FindingCode } from '../audit/findings.ts'
import { googleProbe } from '../gcp/evidence.ts'
import type { FactProbe } from './host_facts.ts'

export const layers = ['network', 'identity', 'writes', 'data', 'audit', 'host', 'google'] as const
export type Layer = (typeof layers)[number]

/** Who vouches for an observation, best first. */
export const grades = ['recomputed', 'off-host', 'network', 'host'] as const
export type Grade = (typeof grades)[number]

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/**
 * One demand on a raw result. `at` walks into it (`attempts.insert.errno`; `*` for every member or element, of which
 * there must be one at least, so that nothing passes by being empty).
 */
export interface Check {
  probe: string
  at: string
  /** Exactly this value. */
  is?: Json
  /** One of these. */
  in?: Json[]
  /** A regular expression over a text. */
  matches?: string
  /** A regular expression that the text must not match. */
  lacks?: string
  /** Length of an array or text. */
  length?: number
}

/** Judgements of what a host says of itself. */
export type HostJudgement = 'firewall' | 'intrusion' | 'kernel' | 'updates' | 'services' | FactProbe

/** Names of judgements that take more than a comparison; each is a pure function of the judge. */
export type Judgement =
  | HostJudgement
  | 'server-certificate'
  | 'accounts-bound'
  | 'rights'
  | 'settings'
  | 'ciphertext'
  | 'wrapped-keys'
  | 'hybrid'
  | 'brackets'
  | 'scan'

export type Expectation =
  | { kind: 'checks'; checks: Check[] }
  /** None of these findings in the trail that the bundle holds, judged against the auditor's anchors. */
  | { kind: 'trail'; codes: FindingCode[] }
  | { kind: 'judgement'; judgement: Judgement; probe?: string }
  /** A promise of the set-up on Google Cloud, by the evidence of `outside_gcp_setup verify`. */
  | { kind: 'google' }

export interface Control {
  id: string
  layer: Layer
  claim: string
  standard: string[]
  /** `enforced`: always; `available`: in force where it is switched on; `optional`: only reported. */
  status: 'enforced' | 'available' | 'optional'
  /** What it was tried against, where that is not the real thing. */
  triedOn?: string
  /** SQL object, setting, unit or code that makes it so. */
  enforcedBy: string
  expect: Expectation
  grade: Grade
  /** Controls without which this one says nothing. */
  dependsOn: string[]
  /** The change that must turn it to fail; a test makes it. */
  sabotage: string
}

/** Probes that a control's verdict rests on. */
export function probesOf(control: Control): string[] {
  const { expect } = control
  if (expect.kind === 'checks') return [...new Set(expect.checks.map(check => check.probe))]
  if (expect.kind === 'google') return [googleProbe]
  return expect.kind === 'judgement' && expect.probe !== undefined ? [expect.probe] : []
}
