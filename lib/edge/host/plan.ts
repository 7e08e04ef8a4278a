/** The host as a whole: its layers in the order in which each can stand on the ones before it. */
import { ZtError } from '../../core/errors.ts'
import { applyPlan, type Plan, type Progress, pendingSteps, type Step } from '../../core/plan.ts'
import { refuseLeftover, removeArchive } from '../database.ts'
import { lockDir } from '../files.ts'
import { withUserNames } from '../install/target.ts'
import { putDir, snapshotFiles } from '../owned_files.ts'
import { configPath } from '../server_files.ts'
import { anchorLayer } from './anchor_unit.ts'
import { binaryLayer } from './binary.ts'
import { databaseLayer } from './database.ts'
import { fail2banLayer } from './fail2ban.ts'
import { firewallLayer } from './firewall.ts'
import { kernelLayer } from './kernel.ts'
import { logShippingLayer } from './log_shipping.ts'
import { mysqldLayer, restartLayer, serviceLayer } from './mysqld.ts'
import { opsAgentLayer } from './ops_agent.ts'
import { packagesLayer } from './packages.ts'
import { preflight, preflightToWrite } from './preflight.ts'
import { recordLayer } from './record.ts'
import { type HostOptions, openSetup, type Setup } from './setup.ts'
import { type Layer, rootFile } from './steps.ts'
import { updatesLayer } from './updates.ts'
import { usersLayer } from './users.ts'
import { versionsLayer } from './versions.ts'

interface ClosableLayer extends Layer {
  close?(): Promise<void>
}

/**
 * In order. Each is planned before anything is installed, for the person who is asked, and once more when the ones
 * before it are done.
 */
const layers: ((setup: Setup) => Promise<ClosableLayer>)[] = [
  packagesLayer,
  usersLayer,
  kernelLayer,
  firewallLayer, // before mysqld listens beyond this machine
  updatesLayer,
  serviceLayer,
  mysqldLayer,
  databaseLayer,
  restartLayer,
  versionsLayer, // before the anchor looks
  fail2banLayer, // once the log that it reads is there
  binaryLayer,
  logShippingLayer,
  opsAgentLayer,
  anchorLayer,
  recordLayer,
]

export interface HostInstallation {
  plan: Plan
  origin: string
  from: 'archive' | 'record'
}

const installation = ({ material, installed }: Setup, plan: Plan): HostInstallation => ({
  plan,
  origin: material?.archive.origin ?? installed?.origin ?? '',
  from: material === null ? 'record' : 'archive',
})

const shown = (step: Step): Step => ({
  ...step,
  changes: step.changes.map(change => ({
    ...change,
    after: change.after === null ? null : withUserNames(change.after),
  })),
})

/** All layers at once: none changes anything, and most wait for tools. Of several errors the first layer's is told. */
async function planSetup(setup: Setup): Promise<Plan> {
  const planned = await Promise.allSettled(layers.map(layer => layer(setup)))
  const plan: Plan = { steps: [], findings: [], restart: [] }
  for (const each of planned) if (each.status === 'fulfilled') await each.value.close?.()
  for (const each of planned) {
    if (each.status === 'rejected') throw each.reason
    plan.steps.push(...each.value.steps.map(shown))
    plan.findings.push(...each.value.findings)
  }
  return plan
}

/**
 * What would change, and what a person must look at. Changes nothing.
 * @param toWrite also refuses what would stop an apply (a full disk), which is no drift
 */
export async function planHost(options: HostOptions, toWrite = false): Promise<HostInstallation> {
  const setup = await openSetup(options)
  await (toWrite ? preflightToWrite(setup) : preflight(setup))
  return installation(setup, await planSetup(setup))
}

export interface ApplyHostOptions extends HostOptions {
  keepArchive?: boolean
  confirm?(plan: Plan): Promise<boolean>
  progress?: Progress
}

export interface HostApplied extends HostInstallation {
  /** Ids of the steps that were done. */
  done: string[]
  archiveRemoved: boolean
}

async function applyLayers(setup: Setup, progress: Progress | undefined): Promise<Step[]> {
  const done: Step[] = []
  for (const layer of layers) {
    const { steps, close } = await layer(setup)
    try {
      done.push(...(await applyPlan({ steps, findings: [], restart: [] }, progress, done.length)))
    } finally {
      await close?.()
    }
  }
  return done
}

/** Keeps the option file that mysqld runs with, for the case that it does not start with the next one. */
const keepOptions = ({ wanted }: Setup): (() => void) =>
  snapshotFiles([rootFile(configPath({ ...wanted, tlsDir: '', anchorDir: '' }), '')])

export function lockHost(): () => void {
  const dir = '/var/lib/ztmysql'
  putDir({ path: dir, mode: 0o755, uid: 0, gid: 0 })
  return lockDir(dir)
}

/**
 * Judges, plans, asks, applies layer by layer, and plans once more to see that nothing is left. Run again it changes
 * nothing.
 * @throws what openSetup and preflight throw before anything is changed; the error of a step, which names it; REFUSED
 * if not confirmed; LOCKED while another run is at work
 */
export async function installHost(options: ApplyHostOptions): Promise<HostApplied> {
  const { keepArchive = false, confirm, progress, ...given } = options
  const setup = await openSetup(given)
  await preflightToWrite(setup)
  const plan = await planSetup(setup)
  let done: Step[] = []
  if (pendingSteps(plan).length > 0) {
    if (confirm && !(await confirm(plan)))
      throw new ZtError('REFUSED', 'not confirmed: nothing was changed', {
        hint: 'give --yes to apply the plan',
      })
    const release = lockHost()
    try {
      setup.undoOptions = keepOptions(setup)
      done = await applyLayers(setup, progress)
    } finally {
      release()
    }
  }
  const after = done.length === 0 ? installation(setup, plan) : await planHost(given)
  refuseLeftover(after.plan)
  return {
    ...after,
    done: done.map(step => step.id),
    archiveRemoved: removeArchive({ ...given, keepArchive }, after),
  }
}
