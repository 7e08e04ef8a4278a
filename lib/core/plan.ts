/** Plan first, then do: what would change, as steps that each say what they turn into what and know how to do it. */
import { reason, ZtError } from './errors.ts'

/** One thing that differs from what it should be. Shown to people and logs, so never a secret: digests stand for those. */
export interface Change {
  item: string
  /** null: it is not there. */
  before: string | null
  /** null: it goes. */
  after: string | null
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
    ...step.changes.map(change => `  ${formatChange(change)}`),
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
 */
export async function applyPlan(plan: Plan, progress: Progress = {}): Promise<Step[]> {
  const done: Step[] = []
  for (const step of pendingSteps(plan)) {
    const began = performance.now()
    progress.began?.(step)
    try {
      await step.apply()
    } catch (thrown) {
      throw stepFailed(step, thrown, done.length)
    }
    progress.ended?.(step, Math.round(performance.now() - began))
    done.push(step)
  }
  return done
}

function stepFailed(step: Step, thrown: unknown, done: number): ZtError {
  const code = thrown instanceof ZtError ? thrown.code : 'INTERNAL'
  const before = done === 0 ? 'nothing was changed before it' : `the ${done} before it are done and stay`
  const hint = thrown instanceof ZtError && thrown.hint ? `${thrown.hint}; then run it again` : 'run it again'
  return new ZtError(code, `step ${step.id}: ${reason(thrown)} (${before})`, { hint, cause: thrown })
}
