/** Whether the results of an OpenSCAP scan are what its summary says. Which rules pass is for whoever reads them. */
import { fromUtf8 } from '../bytes.ts'
import type { Json } from '../controls/control.ts'
import { reason } from '../errors.ts'
import { type Rule, readScanSummary, scanResultsName } from '../openscap.ts'
import { countResults, failedRules, parseTestResult } from '../openscap_results.ts'
import { type Evidence, fail, type Outcome, pass } from './outcome.ts'

const bare = (rules: Rule[]): string =>
  JSON.stringify(rules.map(({ id, severity, result }) => [id, severity, result]))

const sorted = (counts: Record<string, number>): string => JSON.stringify(Object.entries(counts).sort())

export function judgeScan(result: Json, { scan }: Evidence): Outcome {
  const summary = readScanSummary(result)
  if (summary === undefined) return fail('the observation has another shape than its probe makes')
  if (scan === undefined) return fail(`the bundle has no ${scanResultsName}`)
  try {
    const { rules, score, profile } = parseTestResult(fromUtf8(scan, scanResultsName))
    if (profile !== summary.profile)
      return fail(`the results are of profile ${profile}, the summary of ${summary.profile}`)
    if (sorted(countResults(rules)) !== sorted(summary.counts) || score !== summary.score)
      return fail('the results count other rules than the summary')
    if (bare(failedRules(rules)) !== bare(summary.failed))
      return fail('the results name other failed rules than the summary')
    const { pass: passed = 0, ...others } = summary.counts
    const rest = Object.entries(others).map(([name, n]) => `${n} ${name}`)
    return pass([`${summary.title}, scanned ${summary.time}: ${passed} rules pass`, ...rest].join(', '))
  } catch (thrown) {
    return fail(reason(thrown))
  }
}
