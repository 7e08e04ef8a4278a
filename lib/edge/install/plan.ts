import { isLoopback } from '../../core/host_part.ts'
import type { Finding, Plan, Step } from '../../core/plan.ts'
import { formatOptionFile, type Setting, settingsFor } from '../../core/settings.ts'
import { observeAccounts } from '../accounts.ts'
import { serverStep } from '../host/versions.ts'
import { initPath, type Places, recordedFileFindings } from '../server_files.ts'
import type { Material } from '../server_material.ts'
import { planSettings, type SettingPlan } from '../server_settings.ts'
import {
  accountFindings,
  accountsStep,
  anchorAccountStep,
  anonymousStep,
  desiredAccounts,
  pluginStep,
  rootStep,
} from './accounts.ts'
import { atRestStep, componentsStep } from './at_rest.ts'
import {
  anchorKeyStep,
  configStep,
  persistedStep,
  settingsStep,
  tlsSettingsStep,
  tlsStep,
  unreadConfigFinding,
} from './files.ts'
import { grantsStep } from './grants.ts'
import { ordersStep } from './orders.ts'
import { predictTarget } from './predict.ts'
import { recordStep } from './record.ts'
import { initFileText, privilegesOfRoles, schemaStep } from './schema.ts'
import type { InstallOptions, Target } from './target.ts'

/** Every setting of a server whose accounts come from `hostPart`. */
export function settingsOf(places: Places, hostPart: string, host = false): Setting[] {
  const loopback = hostPart === '::1' ? '::1' : '127.0.0.1'
  return settingsFor({
    tlsDir: places.tlsDir,
    initFile: initPath(places),
    bindAddress: isLoopback(hostPart) ? loopback : '*',
    host,
  })
}

async function tlsSteps(target: Target, plan: SettingPlan): Promise<Step[]> {
  if (target.material === null) return [tlsSettingsStep(target, plan.tls)]
  const { archive } = target.material
  return [
    await tlsStep(target, target.material, plan.tls, target.record?.loadedTls ?? null),
    anchorKeyStep(target, archive),
  ]
}

/** Everything between the server and host as they are and as the archive, or the record of it, wants them. */
export async function planTarget(target: Target): Promise<Plan> {
  const { connection, material, record, places, hostPart, databases } = target
  const settings = settingsOf(places, hostPart, target.host)
  const settingPlan = await planSettings(connection, settings)
  const persisted = await persistedStep(target, settings)
  const accounts = await observeAccounts(connection)
  const wanted = desiredAccounts(target)
  const grants = await grantsStep(target, privilegesOfRoles(wanted), accounts)
  const schema = await schemaStep(target)
  const tied = accountsStep(target, wanted, accounts)
  const plugins = await pluginStep(target)
  const components = target.host ? [await componentsStep(target)] : []
  // certificates come first: an option file that names missing ones would keep mysqld from starting again
  const steps = [
    ...(await tlsSteps(target, settingPlan)),
    configStep(target, settings, initFileText),
    ...components,
    settingsStep(target, settingPlan),
    persisted.step,
    plugins,
    anonymousStep(target, accounts, databases),
    await rootStep(target, accounts),
    schema.step,
    ...(target.host ? [await atRestStep(target)] : []),
    tied,
    anchorAccountStep(target, accounts),
    grants.step,
    await ordersStep(target, material?.archive.orders ?? []),
    await serverStep(connection, [plugins, ...components]),
  ]
  const findings: Finding[] = [
    ...settingPlan.findings,
    ...persisted.findings,
    ...schema.findings,
    ...(await unreadConfigFinding(target, settingPlan)),
    ...accountFindings(target, wanted, accounts),
    ...grants.findings,
    ...(material === null ? recordedFileFindings(record?.files ?? []) : []),
  ]
  if (tied.changes.length === 0) steps.push(recordStep(target, wanted, accounts))
  return { steps, findings, restart: settingPlan.restart }
}

/** The same where the server is still to be installed: every item as new. */
export const predictInstallation = (options: InstallOptions, material: Material): Promise<Plan> =>
  predictTarget(
    options,
    material,
    target => settingsOf(target.places, target.hostPart, target.host),
    formatOptionFile,
  )
