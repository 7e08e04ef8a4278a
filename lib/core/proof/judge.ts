/** Turns a control and raw observations into a verdict. Pure; collector and offline verifier use the same one. */
import type { Verdict } from '../audit/trail_verdict.ts'
import type { Control, Expectation, Json } from '../controls/control.ts'
import { googleProbe } from '../gcp/evidence.ts'
import { checkHolds, describeCheck } from './check.ts'
import { judgeGoogle } from './google_judgement.ts'
import { judgements } from './judgements.ts'
import { type Evidence, fail, type Outcome, pass, type Status } from './outcome.ts'

export interface Judged {
  control: Control
  status: Status
  /** Why, for a person. */
  reason: string
}

/** The verdict of one control. A probe that is absent or could not run is an error, never a pass. */
export function judge(control: Control, evidence: Evidence): Judged {
  return { control, ...judgeExpectation(control.expect, evidence, control) }
}

function judgeExpectation(expect: Expectation, evidence: Evidence, control: Control): Outcome {
  switch (expect.kind) {
    case 'trail': {
      const { counts, kept } = evidence.trail.findings
      const found = expect.codes.filter(code => (counts.get(code) ?? 0) > 0)
      if (found.length === 0) return pass(trailSummary(evidence.trail))
      const first = kept.find(finding => finding.code === found[0])
      return fail(
        `${found.map(code => `${code} ×${counts.get(code)}`).join(', ')}; first: ${first?.where}: ${first?.what}`,
      )
    }
    case 'checks': {
      for (const check of expect.checks) {
        const seen = resultOf(check.probe, evidence, control)
        if ('status' in seen) return seen
        if (!checkHolds(check, seen.result)) return fail(describeCheck(check, seen.result))
      }
      return pass(expect.checks.map(check => `${check.probe}: ${check.at} as expected`).join('; '))
    }
    case 'google':
      return judgeGoogle(control.id, evidence.observations.get(googleProbe), evidence.google, evidence.trust)
    case 'judgement': {
      const act = judgements[expect.judgement]
      if (expect.probe === undefined) return act(null, evidence)
      const seen = resultOf(expect.probe, evidence, control)
      return 'status' in seen ? seen : act(seen.result, evidence)
    }
  }
}

const trailSummary = ({ events, anchors, rows, lastAnchor }: Verdict): string =>
  `${events} events, ${rows} rows, ${anchors} anchors up to number ${lastAnchor}`

/** A raw result, or the outcome that its absence means. */
function resultOf(probe: string, { observations }: Evidence, control: Control): { result: Json } | Outcome {
  const observation = observations.get(probe)
  if (!observation) return { status: 'error', reason: `no observation ${probe}` }
  if (observation.grade !== control.grade)
    return {
      status: 'error',
      reason: `observation ${probe} is of grade ${observation.grade}, expected ${control.grade}`,
    }
  if (observation.error !== undefined)
    return { status: 'error', reason: `${probe} could not run: ${observation.error}` }
  const result = observation.result ?? null
  const absent = (result as { not_applicable?: unknown } | null)?.not_applicable
  // what the host says of itself may be absent from a machine; no profile that asks for it takes that for a pass
  if (control.grade === 'host' && typeof absent === 'string')
    return { status: 'not-applicable', reason: absent }
  return { result }
}
