/** What the commands of vm_oneclick do where the whole host is theirs. */
import { resolve } from 'node:path'
import { print, say } from './cli.ts'
import { ZtError } from './core/errors.ts'
import { formatCidr, parseCidr } from './core/host/cidr.ts'
import { parseMysqlSource } from './core/host/packages.ts'
import { isClean, pendingSteps, planJson } from './core/plan.ts'
import { installHost, planHost } from './edge/host/plan.ts'
import { refuseUnfitProcess } from './edge/host/preflight.ts'
import { rollbackHost, staysBehind } from './edge/host/rollback.ts'
import { type HostOptions, openSetup } from './edge/host/setup.ts'
import { exposures, hostStatus } from './edge/host/status.ts'
import type { Flags } from './install_command.ts'
import { asking, printPlan, tellCheck, tellPlan } from './plan_report.ts'
import { databaseLines, hostLines, type Line, planLines, printLines } from './status_report.ts'

/** Options of the database layer alone: on a host these things have their one place. */
const databaseOnly = {
  socket: '--socket',
  confDir: '--conf-dir',
  tlsDir: '--tls-dir',
  anchorDir: '--anchor-dir',
  hostPart: '--host-part',
  anchorUser: '--anchor-user',
} as const satisfies Partial<Record<keyof Flags, string>>

function refuseDatabaseFlags(flags: Flags): void {
  for (const [name, option] of Object.entries(databaseOnly))
    if (flags[name as keyof typeof databaseOnly] !== undefined)
      throw new ZtError('USAGE', `${option} is for the database alone: on a host its place is fixed`, {
        hint: 'give --layer database as well, or leave it out',
      })
}

/** `ALLOW_REMOTE=1`. @throws USAGE on anything but 0 and 1 */
function remoteFromEnvironment(): boolean | undefined {
  const text = process.env.ALLOW_REMOTE
  if (text === undefined || text === '') return undefined
  if (text === '1' || text === '0') return text === '1'
  throw new ZtError('USAGE', `ALLOW_REMOTE is ${JSON.stringify(text)}`, { hint: 'set it to 1 or 0' })
}

/** A list with commas, in canonical spelling, sorted, none twice. @throws BAD_INPUT */
const parseCidrs = (text: string): string[] =>
  [...new Set(text.split(',').map(each => formatCidr(parseCidr(each.trim()))))].sort()

/** Flags over environment; what neither has is as recorded. @throws USAGE, BAD_INPUT */
function hostOptions(flags: Flags): HostOptions {
  refuseDatabaseFlags(flags)
  const pkiTar = flags.pkiTar ?? process.env.PKI_TAR
  const cidr = flags.allowedCidr ?? (process.env.ALLOWED_CIDR || undefined)
  const worm = flags.worm ?? (process.env.WORM_DIR || undefined)
  if (flags.mysqlSource !== undefined) parseMysqlSource(flags.mysqlSource)
  const given = {
    pkiTar: pkiTar === undefined ? undefined : resolve(pkiTar),
    caSha256: flags.caSha256,
    mysqlSource: flags.mysqlSource,
    allowRemote: flags.allowRemote ?? remoteFromEnvironment(),
    allowedCidr: cidr === undefined ? undefined : parseCidrs(cidr),
    worm: worm === undefined || worm.includes('://') ? worm : resolve(worm),
    logHost: flags.logHost === false ? null : flags.logHost,
    logCa: flags.logCa,
    logCert: flags.logCert,
    logKey: flags.logKey,
  }
  refuseUnfitProcess()
  return {
    pkiTarMayBeGone: flags.pkiTar === undefined,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  }
}

export async function planOfHost(flags: Flags): Promise<void> {
  const { plan, origin, from } = await planHost(hostOptions(flags), true)
  if (flags.json) return print(JSON.stringify({ origin, ...planJson(plan) }))
  say(`log ${origin}, by the ${from === 'archive' ? 'archive' : 'record of the last installation'}`)
  tellPlan(plan, flags)
}

export async function checkHost(flags: Flags): Promise<void> {
  const { plan, origin } = await planHost(hostOptions(flags))
  tellCheck(plan, origin, flags)
}

export async function statusOfHost(flags: Flags): Promise<void> {
  const options = hostOptions(flags)
  const { plan, origin } = await planHost(options)
  const { database, ...host } = await hostStatus(await openSetup(options))
  const { plan: _plan, places: _places, anchors, ...rest } = database ?? { origin, anchors: null }
  const pending = pendingSteps(plan).map(step => step.id)
  if (flags.json)
    return print(JSON.stringify({ ...rest, ...host, clean: isClean(plan), pending, findings: plan.findings }))
  printLines([
    ...(database === null ? [['log', origin] as Line] : databaseLines(database)),
    ...hostLines(host),
    ...planLines(plan),
  ])
}

export async function applyHost(flags: Flags): Promise<void> {
  if (flags.dryRun) return await planOfHost(flags)
  const began = performance.now()
  const applied = await installHost({
    ...hostOptions(flags),
    ...asking(flags),
    keepArchive: flags.keepArchive ?? false,
  })
  const { done, archiveRemoved, plan, origin, from } = applied
  if (flags.json) return print(JSON.stringify({ origin, done, archiveRemoved, ...planJson(plan) }))
  if (from === 'record') say('no archive at hand: went by the record of the last installation')
  printPlan({ ...plan, steps: [] })
  if (done.length === 0) print('nothing to do')
  else print(`applied: ${done.join(', ')}`)
  if (archiveRemoved) say('the archive was removed: it held the key of the server')
  if (done.length > 0)
    for (const [unit, text] of Object.entries(await exposures()))
      say(`the unit of ${unit}: exposure ${text} (systemd-analyze security)`)
  say(`took ${((performance.now() - began) / 1000).toFixed(1)} s`)
}

/** Takes back what was changed on the host; data, trail, keys and packages stay. */
export async function rollbackOfHost(flags: Flags): Promise<void> {
  refuseDatabaseFlags(flags)
  refuseUnfitProcess()
  const { plan, done } = await rollbackHost({ ...(flags.dryRun ? { dryRun: true } : asking(flags)) })
  if (flags.json) return print(JSON.stringify({ done, stays: staysBehind, ...planJson(plan) }))
  if (flags.dryRun) return tellPlan(plan, flags)
  print(done.length === 0 ? 'nothing to take back' : `taken back: ${done.join(', ')}`)
  for (const line of staysBehind) say(`stays: ${line}`)
}
