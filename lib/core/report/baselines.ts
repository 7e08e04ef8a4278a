/** Judges the rows of outside baselines from the controls, settings and accounts that show them. */
import type { Baseline, BaselineRow } from '../controls/baselines/baseline.ts'
import { baselines } from '../controls/baselines/index.ts'
import type { FactProbe, HostFact } from '../controls/host_facts.ts'
import { isV6Pattern } from '../host_part.ts'
import type { Judged } from '../proof/judge.ts'
import { type AccountRow, readAccounts, readSettings, type ServerSettings } from '../proof/judgements.ts'
import type { Observation } from '../proof/observation.ts'
import { factFaults, probeOf } from '../proof/server_facts.ts'
import { settingDrift, settingsFor, variableOf } from '../settings.ts'
import type { ReportBaseline, ReportVerdict } from './schema.ts'

type Answer = { verdict: ReportVerdict; reason: string }

// what has no variable or is not set here leaves the rest to decide
const worst: ReportVerdict[] = ['fail', 'error', 'pass', 'not-applicable']

export function judgeBaselines(
  judged: readonly Judged[],
  observations: ReadonlyMap<string, Observation>,
): ReportBaseline[] {
  const controls = new Map(judged.map(one => [one.control.id, one]))
  const settings = readSettings(observations.get('settings')?.result)
  const accounts = readAccounts(observations.get('accounts')?.result)
  const rowOf = (baseline: Baseline, row: BaselineRow): ReportBaseline['rows'][number] => {
    const options = optionsOf(baseline, row)
    const by = [
      ...(row.controls ?? []),
      ...options,
      ...factProbesOf(row),
      ...(row.accounts ? ['accounts'] : []),
    ]
    const head = { id: row.id, title: row.title, by }
    if (row.exception !== undefined) return { ...head, verdict: 'exception', reason: row.exception }
    const answers: Answer[] = [
      ...(row.controls ?? []).map(id => controlAnswer(controls.get(id), id)),
      ...options.map(option => settingAnswer(option, settings)),
      ...(row.facts ?? []).map(fact => factAnswer(fact, observations.get(probeOf(fact)))),
      ...(row.accounts ? [accountAnswer(row.accounts, accounts)] : []),
    ]
    const verdict = worst.find(kind => answers.some(answer => answer.verdict === kind)) ?? 'error'
    const reasons = answers.filter(answer => answer.verdict === verdict).map(answer => answer.reason)
    return { ...head, verdict, reason: [...new Set(reasons)].join('; ') }
  }
  return baselines.map(baseline => ({
    id: baseline.id,
    title: baseline.title,
    source: baseline.source,
    rows: baseline.rows.map(row => rowOf(baseline, row)),
  }))
}

/** The names alone are wanted, so any paths will do. */
const allSettings = settingsFor({ tlsDir: '/', initFile: '/', bindAddress: '127.0.0.1', host: true })

/** Options that show a row: those that it names, and those that name it. */
export const optionsOf = ({ settingsAs }: Baseline, row: BaselineRow): string[] => [
  ...new Set([
    ...(row.settings ?? []),
    ...allSettings
      .filter(({ from }) => from.includes(settingsAs?.(row.id) ?? '-'))
      .map(({ option }) => option),
  ]),
]

const controlAnswer = (one: Judged | undefined, id: string): Answer =>
  one
    ? { verdict: one.status, reason: `${id}: ${one.reason}` }
    : { verdict: 'error', reason: `no control ${id} in this release` }

function settingAnswer(option: string, seen: ServerSettings | undefined): Answer {
  if (!seen) return { verdict: 'not-applicable', reason: 'the settings of the server were not observed' }
  const wanted = settingsFor(seen.input).find(setting => setting.option === option)
  if (!wanted) return { verdict: 'not-applicable', reason: `${option} is set on whole hosts only` }
  const variable = variableOf(wanted)
  if (variable === null) return { verdict: 'not-applicable', reason: `${option} has no variable to read` }
  const [drift] = settingDrift([wanted], new Map(Object.entries(seen.variables)))
  const value = seen.variables[variable] ?? 'NULL'
  if (wanted.exception !== undefined && !drift)
    return { verdict: 'pass', reason: `${variable}=${value} (${wanted.exception})` }
  return drift
    ? { verdict: 'fail', reason: `${variable} is ${drift.before ?? 'unknown'}, expected ${drift.after}` }
    : { verdict: 'pass', reason: `${variable}=${value}` }
}

/** Observations that a row's questions are answered by. */
const factProbesOf = ({ facts = [] }: BaselineRow): FactProbe[] => [...new Set(facts.map(probeOf))]

function factAnswer(fact: HostFact, seen: Observation | undefined): Answer {
  const probe = probeOf(fact)
  if (!seen) return { verdict: 'not-applicable', reason: `${probe}: not observed` }
  if (seen.error !== undefined) return { verdict: 'error', reason: `${probe} could not run: ${seen.error}` }
  if (seen.grade !== 'host') return { verdict: 'error', reason: `${probe} is of grade ${seen.grade}` }
  const absent = (seen.result as { not_applicable?: unknown } | null | undefined)?.not_applicable
  if (typeof absent === 'string') return { verdict: 'not-applicable', reason: `${probe}: ${absent}` }
  const bad = factFaults(fact, seen.result ?? null)
  return bad.length === 0
    ? { verdict: 'pass', reason: `${probe}: ${fact.replaceAll('-', ' ')} as asked` }
    : { verdict: 'fail', reason: bad.slice(0, 5).join('; ') }
}

const faults: Record<NonNullable<BaselineRow['accounts']>, (account: AccountRow) => boolean> = {
  anonymous: ({ user }) => user === '',
  'without-secret': ({ has_secret, locked, plugin }) =>
    !has_secret && !locked && plugin !== 'auth_socket' && plugin !== 'mysql_no_login',
  // a network of IPv6 has no other spelling in MySQL than one with a %
  'any-host': ({ host }) => host === '' || (host.includes('%') && !isV6Pattern(host)),
  'remote-root': ({ user, host }) => user === 'root' && !['localhost', '127.0.0.1', '::1'].includes(host),
}

function accountAnswer(fault: NonNullable<BaselineRow['accounts']>, seen: AccountRow[] | undefined): Answer {
  if (!seen || seen.length === 0)
    return { verdict: 'not-applicable', reason: 'the accounts of the server were not observed' }
  const bad = seen.filter(faults[fault]).map(({ user, host }) => `'${user}'@'${host}'`)
  return bad.length === 0
    ? { verdict: 'pass', reason: `none of ${seen.length} accounts` }
    : { verdict: 'fail', reason: bad.slice(0, 5).join(', ') }
}
