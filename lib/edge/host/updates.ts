/** Security upgrades without a restart of the database, and a clock that is kept. */
import { existsSync, readFileSync } from 'node:fs'
import {
  aptPath,
  aptText,
  needrestartPath,
  needrestartText,
  timeServices,
  type UpdateFacts,
  updateChanges,
  updateFindings,
  upgradeTimers,
} from '../../core/host/updates.ts'
import { fileChange } from '../owned_files.ts'
import { containerKind } from './kernel.ts'
import { fileStep, type Host, type Layer, rootFile } from './steps.ts'
import { must, unitState } from './system.ts'

async function stateOf(unit: string): Promise<string> {
  const { enabled, active } = await unitState(unit)
  return `${enabled}, ${active}`
}

export async function observeUpdates(): Promise<UpdateFacts> {
  const clocks = await Promise.all(
    timeServices.map(async unit => ({ unit, active: (await unitState(unit)).active })),
  )
  const timers = await Promise.all(upgradeTimers.map(async unit => [unit, await stateOf(unit)] as const))
  return {
    apt: await must('apt-config', 'dump'),
    installed: existsSync('/usr/bin/unattended-upgrade'),
    needrestart: existsSync(needrestartPath) ? readFileSync(needrestartPath, 'utf8') : null,
    timers: Object.fromEntries(timers),
    clocks: clocks.filter(({ active }) => active === 'active').map(({ unit }) => unit),
    container: await containerKind(),
  }
}

export async function updatesLayer(host: Host): Promise<Layer> {
  const facts = await observeUpdates()
  const dir = { path: '/etc/needrestart/conf.d', mode: 0o755, uid: 0, gid: 0 }
  const files = [rootFile(aptPath, aptText), rootFile(needrestartPath, needrestartText)]
  const changes = updateChanges(facts)
  const units = changes.flatMap(({ item }) => (item.startsWith('unit ') ? [item.slice(5)] : []))
  const before = await Promise.all(units.map(async name => ({ name, before: await unitState(name) })))
  const step = fileStep(host, {
    id: 'updates',
    description: 'security upgrades that leave the database alone, and a clock that is kept',
    dirs: existsSync('/etc/needrestart') ? [] : [{ ...dir, path: '/etc/needrestart' }, dir],
    files,
    changes,
    take: async () => {
      if (units.length > 0) await must('systemctl', 'enable', '--now', ...units)
    },
  })
  const apply = async (): Promise<void> => {
    for (const each of before) host.journal.keep({ kind: 'unit', ...each })
    await step.apply()
  }
  const inPlace = files.every(file => fileChange(file).length === 0)
  return { steps: [{ ...step, apply }], findings: inPlace ? updateFindings(facts) : [] }
}
