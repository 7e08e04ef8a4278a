/** Plan first, then do: what would change, as steps that each say what they turn into what and know how to do it. */
import { reason, ZtError } from './errors.ts'

/** One thing that differs from what it should be. Shown to people and logs, so never a secret: digests stand for those. */
export interface Change {
  item: string
  /** null: it is not there. */
  before: string | null
  /** null: it goes. */
  after: string | null
  /** The lines of a file that come and go, as a unified diff; only of files that everybody may read. */
  diff?: string[]
}

export interface Step {
  id: string
  description: string
  /** Nothing to do when empty. */
  changes: Change[]
  apply(): Promise<void>
}

/** What is not as it should be and no step puts right: a person must look at it. */
export interface Finding {
  item: string
  detail: string
}

export interface Plan {
  steps: Step[]
  findings: Finding[]
  /** Settings that are in place in the files and that the running server takes up only when it starts again. */
  restart: Change[]
}

export const pendingSteps = (plan: Plan): Step[] => plan.steps.filter(step => step.changes.length > 0)

/** Nothing to change, nothing to wait for, nothing to look at. */
export const isClean = (plan: Plan): boolean =>
  pendingSteps(plan).length === 0 && plan.findings.length === 0 && plan.restart.length === 0

/** `~ item: before → after`, `+ item: after`, `- item: before`. */
export function formatChange({ item, before, after }: Change): string {
  if (before === null) return `+ ${item}: ${after}`
  if (after === null) return `- ${item}: ${before}`
  return `~ ${item}: ${before} → ${after}`
}

/** The plan as lines for a person. */
export function formatPlan(plan: Plan): string[] {
  const lines = pendingSteps(plan).flatMap(step => [
    `${step.id}: ${step.description}`,
    ...step.changes.flatMap(change => [
      `  ${formatChange(change)}`,
      ...(change.diff ?? []).map(line => `      ${line}`.trimEnd()),
    ]),
  ])
  if (plan.restart.length > 0)
    lines.push(
      'restart: settings that mysqld takes up when it starts again',
      ...plan.restart.map(c => `  ${formatChange(c)}`),
    )
  if (plan.findings.length > 0)
    lines.push(
      'look at: what this program does not change',
      ...plan.findings.map(f => `  ! ${f.item}: ${f.detail}`),
    )
  return lines
}

const kindOf = (item: string): string => {
  if (item.startsWith('/')) return 'file'
  const [word = item, ...rest] = item.split(' ')
  return rest.length === 0 ? 'setting' : word.replace(/s$/, '')
}

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

/** `63 changes: 12 migrations, 24 procedures, …`; the kinds only where there are several. */
function countsOf(changes: Change[]): string {
  const kinds = Map.groupBy(changes, change => kindOf(change.item))
  const total = counted(changes.length, 'change')
  return kinds.size < 2
    ? total
    : `${total}: ${[...kinds].map(([kind, { length }]) => counted(length, kind)).join(', ')}`
}

/** The plan as one line a step; what a person must look at is shown whole. */
export function summarisePlan(plan: Plan): string[] {
  const { findings, restart } = plan
  const lines = pendingSteps(plan).map(step => `${step.id}: ${step.description} (${countsOf(step.changes)})`)
  if (restart.length > 0)
    lines.push(
      `restart: settings that mysqld takes up when it starts again (${counted(restart.length, 'setting')})`,
    )
  return [...lines, ...formatPlan({ steps: [], restart: [], findings })]
}

/** What is not as installed and what is left to do, with a label; nothing where all is as installed. */
export function driftLines(plan: Plan): [label: string, text: string][] {
  const { findings, restart } = plan
  const pending = pendingSteps(plan).map(step => step.id)
  const lines: [string, string][] = []
  if (pending.length > 0) lines.push(['drift', `${pending.join(', ')}: vm_oneclick apply puts it right`])
  if (findings.length > 0) {
    const items = findings.map(finding => finding.item).join(', ')
    lines.push(['drift', `${items}: look at it, as vm_oneclick apply does not change it`])
  }
  if (restart.length > 0)
    lines.push(['to do', `restart mysqld, so that it takes up ${counted(restart.length, 'setting')}`])
  return lines
}

/** The plan as data, for --json. */
export function planJson(plan: Plan) {
  return {
    steps: pendingSteps(plan).map(({ id, description, changes }) => ({ id, description, changes })),
    restart: plan.restart,
    findings: plan.findings,
  }
}

export interface Progress {
  began?(step: Step): void
  ended?(step: Step, milliseconds: number): void
}

/**
 * Does what is pending, in order, and returns the steps done. Stops at the first that fails: what was done stays, and the
 * next run plans only what is left.
 * @param before steps that were done ahead of this plan, for the message
 */
export async function applyPlan(plan: Plan, progress: Progress = {}, before = 0): Promise<Step[]> {
  const done: Step[] = []
  for (const step of pendingSteps(plan)) {
    const began = performance.now()
    progress.began?.(step)
    try {
      await step.apply()
    } catch (thrown) {
      throw stepFailed(step, thrown, before + done.length)
    }
    progress.ended?.(step, Math.round(performance.now() - began))
    done.push(step)
  }
  return done
}

function stepFailed(step: Step, thrown: unknown, done: number): ZtError {
  const code = thrown instanceof ZtError ? thrown.code : 'INTERNAL'
  const before = done === 0 ? 'nothing was changed before it' : `the ${done} before it are done and stay`
  const own = thrown instanceof ZtError ? (thrown.hint ?? '') : ''
  const hint = own.endsWith('run it again') ? own : own === '' ? 'run it again' : `${own}; then run it again`
  return new ZtError(code, `step ${step.id}: ${reason(thrown)} (${before})`, { hint, cause: thrown })
}
