/** Plans, asks and does what a set-up on Google Cloud needs; run again it changes nothing. */
import { reason, ZtError } from '../../core/errors.ts'
import type { Observed } from '../../core/gcp/observed.ts'
import { planGcp } from '../../core/gcp/plan.ts'
import { lockStep } from '../../core/gcp/plan_bucket.ts'
import { planRetire, planTeardown } from '../../core/gcp/plan_end.ts'
import { checkGcpSettings, type GcpSettings, keyName } from '../../core/gcp/settings.ts'
import type { GcpPlan, GcpStep } from '../../core/gcp/step.ts'
import { applyPlan, type Plan, type Progress, pendingSteps, type Step } from '../../core/plan.ts'
import { type Gcloud, openGcloud } from './gcloud.ts'
import { observeGcp } from './observe.ts'

export type Aim =
  | { kind: 'set-up'; lock: boolean }
  | { kind: 'teardown' }
  | { kind: 'retire'; tenant: string }

export interface GcpSetup {
  settings: GcpSettings
  plan: Plan
  steps: GcpStep[]
}

/** Tenants that have a key here belong to the set-up, whether this call names them or not. */
export function withKnownTenants(settings: GcpSettings, { keys }: Observed): GcpSettings {
  const known = keys.flatMap(({ name, labels }) => {
    const tenant = labels['ztmysql-tenant']
    return tenant !== undefined && name === keyName(settings, tenant) ? [tenant] : []
  })
  return { ...settings, tenants: [...new Set([...settings.tenants, ...known])].sort() }
}

function planOf(aim: Aim, settings: GcpSettings, observed: Observed): GcpPlan {
  if (aim.kind === 'teardown') return planTeardown(settings, observed)
  if (aim.kind === 'retire') return planRetire(settings, observed, aim.tenant)
  const plan = planGcp(settings, observed, Date.now())
  return aim.lock ? { ...plan, steps: [...plan.steps, ...lockStep(settings, observed)] } : plan
}

/** What Google has accepted and does not show yet: the next look, or the next try, will. */
const passing =
  /NOT_FOUND|not found|does not exist|concurrent policy changes|RESOURCE_EXHAUSTED|Quota exceeded|has not been used/i

/** What only a person can mend, though its words are those of the above. */
const lasting = /billing|constraints\//i

const patience = { tries: 6, firstWaitMs: 1000 }

async function patiently(act: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1, wait = patience.firstWaitMs; ; attempt++, wait *= 2) {
    try {
      await act()
      return
    } catch (thrown) {
      const why = reason(thrown)
      if (attempt === patience.tries || lasting.test(why) || !passing.test(why)) throw thrown
      await Bun.sleep(wait)
    }
  }
}

const stepOf = (gcloud: Gcloud, step: GcpStep): Step => ({
  id: step.id,
  description: step.description,
  changes: step.changes,
  apply: async () => {
    for (const command of step.commands)
      await patiently(() => (step.asks ? gcloud.confirm(command) : gcloud.run(command)))
  },
})

async function look(gcloud: Gcloud, given: GcpSettings, aim: Aim): Promise<GcpSetup> {
  const observed = await observeGcp(gcloud, given)
  const settings = withKnownTenants(given, observed)
  const { steps, findings } = planOf(aim, settings, observed)
  return { settings, steps, plan: { steps: steps.map(step => stepOf(gcloud, step)), findings, restart: [] } }
}

/** What would be done. Changes nothing. @throws BAD_INPUT, MISSING_TOOL, DENIED, REFUSED */
export async function planSetup(given: GcpSettings, aim: Aim): Promise<GcpSetup> {
  return look(await openGcloud(), checkGcpSettings(given), aim)
}

export interface ApplyGcp {
  /** Asked with the plan before anything changes; false ends it. */
  confirm?(plan: Plan): Promise<boolean>
  progress?: Progress
}

/**
 * Looks, asks, does, and looks again: what could only be planned once something else was there comes in a further round.
 * @throws of a step, which says how many before it are done
 */
export async function applySetup(
  given: GcpSettings,
  aim: Aim,
  options: ApplyGcp = {},
): Promise<GcpSetup & { done: string[] }> {
  const settings = checkGcpSettings(given)
  const gcloud = await openGcloud()
  const done: string[] = []
  let setup = await look(gcloud, settings, aim)
  if (setup.steps.length > 0 && options.confirm && !(await options.confirm(setup.plan)))
    throw new ZtError('REFUSED', 'not confirmed: nothing was changed', {
      hint: 'give --yes to apply the plan',
    })
  for (let round = 1; pendingSteps(setup.plan).length > 0; round++) {
    if (round > 4) throw leftOver(setup)
    done.push(...(await applyPlan(setup.plan, options.progress ?? {})).map(({ id }) => id))
    setup = await look(gcloud, settings, aim)
  }
  return { ...setup, done }
}

const leftOver = ({ steps }: GcpSetup): ZtError =>
  new ZtError('INTERNAL', `applied, and yet it differs: ${steps.map(({ id }) => id).join(', ')}`, {
    hint: 'Google may take a minute to show what it has accepted: run it again',
  })
