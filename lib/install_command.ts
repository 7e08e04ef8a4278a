/** What the commands of vm_oneclick do, between their options and the database. */

import { resolve } from 'node:path'
import { print, say } from './cli.ts'
import { checkHostPart } from './core/host_part.ts'
import { isClean, pendingSteps, planJson } from './core/plan.ts'
import { formatOptionFile } from './core/settings.ts'
import {
  applyOrders,
  type Installation,
  type InstallOptions,
  installDatabase,
  installDefaults,
  planDatabase,
  planOrders,
  statusOfDatabase,
} from './edge/database.ts'
import { optionFolder } from './edge/host/setup.ts'
import { settingsOf } from './edge/install/plan.ts'
import { asking, printPlan, tellCheck, tellPlan } from './plan_report.ts'
import { databaseLines, planLines, printLines } from './status_report.ts'

export interface Flags {
  /** `database`: the server alone, wherever it is; `host`, the default: all of this machine. */
  layer?: 'host' | 'database'
  socket?: string
  pkiTar?: string
  caSha256?: string
  confDir?: string
  tlsDir?: string
  anchorDir?: string
  hostPart?: string
  anchorUser?: string
  mysqlSource?: string
  allowRemote?: boolean
  allowedCidr?: string
  worm?: string
  /** false: --no-log-host. */
  logHost?: string | false
  logCa?: string
  logCert?: string
  logKey?: string
  yes?: boolean
  keepArchive?: boolean
  dryRun?: boolean
  json?: boolean
  /** Each change of a plan, rather than their number. */
  verbose?: boolean
}

const absolute = (path: string | undefined): string | undefined =>
  path === undefined ? undefined : resolve(path)

const loadHost = () => import('./host_command.ts')

const isHost = ({ layer }: Flags): boolean => layer !== 'database'

const socketOf = ({ socket }: Flags): string => socket ?? process.env.MYSQL_SOCKET ?? installDefaults.socket
const confDirOf = ({ confDir, layer }: Flags): string =>
  resolve(confDir ?? (layer === 'database' ? installDefaults.confDir : optionFolder()))

/** Flags over environment over record over defaults; only an archive that the environment names may be gone. */
function installOptions(flags: Flags): InstallOptions {
  const pkiTar = absolute(flags.pkiTar ?? process.env.PKI_TAR)
  const given = {
    pkiTar,
    tlsDir: absolute(flags.tlsDir),
    anchorDir: absolute(flags.anchorDir),
    caSha256: flags.caSha256,
    hostPart: flags.hostPart,
    anchorUser: flags.anchorUser,
  }
  return {
    socket: socketOf(flags),
    confDir: confDirOf(flags),
    pkiTarMayBeGone: flags.pkiTar === undefined,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  }
}

function heading({ origin, serverVersion, from }: Installation): string {
  return `log ${origin} on MySQL ${serverVersion}, by the ${from === 'archive' ? 'archive' : 'record of the last installation'}`
}

export async function runPlan(flags: Flags): Promise<void> {
  if (isHost(flags)) return (await loadHost()).planOfHost(flags)
  const planned = await planDatabase(installOptions(flags))
  if (flags.json) return print(JSON.stringify({ origin: planned.origin, ...planJson(planned.plan) }))
  say(heading(planned))
  tellPlan(planned.plan, flags)
}

export async function runCheck(flags: Flags): Promise<void> {
  if (isHost(flags)) return (await loadHost()).checkHost(flags)
  const { plan, origin } = await planDatabase(installOptions(flags))
  tellCheck(plan, origin, flags)
}

export async function runStatus(flags: Flags): Promise<void> {
  if (isHost(flags)) return (await loadHost()).statusOfHost(flags)
  const { plan, places, anchors, ...status } = await statusOfDatabase(installOptions(flags))
  const clean = isClean(plan)
  const pending = pendingSteps(plan).map(step => step.id)
  if (flags.json)
    return print(
      JSON.stringify({
        ...status,
        clean,
        pending,
        restart: plan.restart.length > 0,
        findings: plan.findings,
      }),
    )
  printLines([...databaseLines({ ...status, anchors }), ...planLines(plan)])
}

export async function runApply(flags: Flags): Promise<void> {
  if (isHost(flags)) return (await loadHost()).applyHost(flags)
  if (flags.dryRun) return await runPlan(flags)
  const applied = await installDatabase({
    ...installOptions(flags),
    ...asking(flags),
    keepArchive: flags.keepArchive ?? false,
  })
  const { done, restartNeeded, archiveRemoved, plan, origin } = applied
  if (flags.json)
    return print(JSON.stringify({ origin, done, restartNeeded, archiveRemoved, ...planJson(plan) }))
  if (applied.from === 'record') say('no archive at hand: went by the record of the last installation')
  printPlan({ ...plan, steps: [] })
  const idle = done.length === 0
  if (!idle) print(`applied: ${done.join(', ')}`)
  print(`restart needed: ${restartNeeded ? 'yes' : 'no'}`)
  if (idle) print(restartNeeded ? 'nothing to do but to restart mysqld' : 'nothing to do')
  if (archiveRemoved) say('the archive was removed: it held the key of the server')
}

export async function runRollback(flags: Flags): Promise<void> {
  return (await loadHost()).rollbackOfHost(flags)
}

export async function runOrders(files: string[], flags: Flags): Promise<void> {
  const options = { socket: socketOf(flags), confDir: confDirOf(flags), files, ...asking(flags) }
  if (flags.dryRun) {
    const plan = await planOrders(options)
    if (flags.json) return print(JSON.stringify(planJson(plan)))
    return tellPlan(plan, flags)
  }
  const { done, plan } = await applyOrders(options)
  if (flags.json) return print(JSON.stringify({ done, ...planJson(plan) }))
  print(done.length === 0 ? 'nothing to do' : `applied: ${files.join(', ')}`)
}

/** The option file as apply would write it. */
export function runConfig(flags: Flags): void {
  const places = {
    confDir: confDirOf(flags),
    tlsDir: absolute(flags.tlsDir) ?? installDefaults.tlsDir,
    anchorDir: installDefaults.anchorDir,
  }
  const hostPart = checkHostPart(flags.hostPart ?? installDefaults.hostPart)
  print(formatOptionFile(settingsOf(places, hostPart, isHost(flags))).replace(/\n$/, ''))
}
