/** What the commands of vm_oneclick do, between their options and the database. */

import { resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { dim, green, interactive, print, red, say, yellow } from './cli.ts'
import { trailLines } from './core/anchor_text.ts'
import { ZtError } from './core/errors.ts'
import { checkHostPart } from './core/host_part.ts'
import {
  driftLines,
  formatPlan,
  isClean,
  type Plan,
  type Progress,
  pendingSteps,
  planJson,
  summarisePlan,
} from './core/plan.ts'
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
import { settingsOf } from './edge/install/plan.ts'

export interface Flags {
  socket: string
  pkiTar?: string
  caSha256?: string
  confDir: string
  tlsDir?: string
  anchorDir?: string
  hostPart?: string
  anchorUser?: string
  yes?: boolean
  keepArchive?: boolean
  dryRun?: boolean
  json?: boolean
  /** Each change of a plan, rather than their number. */
  verbose?: boolean
}

const absolute = (path: string | undefined): string | undefined =>
  path === undefined ? undefined : resolve(path)

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
    socket: flags.socket,
    confDir: resolve(flags.confDir),
    pkiTarMayBeGone: flags.pkiTar === undefined,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  }
}

function heading({ origin, serverVersion, from }: Installation): string {
  return `log ${origin} on MySQL ${serverVersion}, by the ${from === 'archive' ? 'archive' : 'record of the last installation'}`
}

function printPlan(plan: Plan, verbose = true): void {
  for (const line of verbose ? formatPlan(plan) : summarisePlan(plan))
    print(line.startsWith('  !') ? yellow(line) : line)
}

function tellPlan(plan: Plan, { verbose }: Flags): void {
  printPlan(plan, verbose === true)
  if (pendingSteps(plan).length === 0) print('nothing to do')
  else if (verbose !== true) say('--verbose lists each change')
}

export async function runPlan(flags: Flags): Promise<void> {
  const planned = await planDatabase(installOptions(flags))
  if (flags.json) return print(JSON.stringify({ origin: planned.origin, ...planJson(planned.plan) }))
  say(heading(planned))
  tellPlan(planned.plan, flags)
}

/** Exit code 1, naming each item, where anything is not as it was installed. */
export async function runCheck(flags: Flags): Promise<void> {
  const { plan, origin } = await planDatabase(installOptions(flags))
  const clean = isClean(plan)
  if (flags.json) print(JSON.stringify({ origin, clean, ...planJson(plan) }))
  else {
    printPlan(plan)
    if (clean) print(green('no drift'))
    for (const [label, text] of driftLines(plan)) print(red(`${label}: ${text}`))
  }
  process.exitCode = clean ? 0 : 1
}

export async function runStatus(flags: Flags): Promise<void> {
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
  const drift = driftLines(plan)
  const lines: [string, string][] = [
    ['log', status.origin],
    ['server', `${status.serverName ?? 'not installed'}, MySQL ${status.serverVersion}`],
    [
      'certificate',
      `until ${status.serverNotAfter ?? 'unknown'}; CRL until ${status.crlNextUpdate ?? 'unknown'}`,
    ],
    ...(anchors === null ? [] : trailLines(anchors, Date.now())),
    ...(drift.some(([label]) => label === 'drift') ? [] : [['drift', green('none')] as [string, string]]),
    ...drift.map(([label, text]): [string, string] => [label, yellow(text)]),
  ]
  for (const [label, text] of lines) print(`${label.padEnd(13)}${text}`)
}

const confirmation =
  (verbose: boolean) =>
  async (plan: Plan): Promise<boolean> => {
    printPlan(plan, verbose)
    if (!interactive() || !process.stdin.isTTY)
      throw new ZtError('USAGE', 'there is no terminal to ask on', { hint: 'give --yes to apply the plan' })
    const question = `apply this?${verbose ? '' : ' (--verbose lists each change)'} [y/N] `
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    try {
      return (await terminal.question(question)).trim().toLowerCase() === 'y'
    } finally {
      terminal.close()
    }
  }

const progress: Progress = {
  ended: (step, milliseconds) =>
    say(
      `${green('done', process.stderr)} ${step.id}: ${step.description} ${dim(`(${milliseconds} ms)`, process.stderr)}`,
    ),
}

const asking = (flags: Flags) => ({
  progress,
  ...(flags.yes ? {} : { confirm: confirmation(flags.verbose === true) }),
})

export async function runApply(flags: Flags): Promise<void> {
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

export async function runOrders(files: string[], flags: Flags): Promise<void> {
  const options = { socket: flags.socket, confDir: resolve(flags.confDir), files, ...asking(flags) }
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
    confDir: resolve(flags.confDir),
    tlsDir: absolute(flags.tlsDir) ?? installDefaults.tlsDir,
    anchorDir: installDefaults.anchorDir,
  }
  const hostPart = checkHostPart(flags.hostPart ?? installDefaults.hostPart)
  print(formatOptionFile(settingsOf(places, hostPart)).replace(/\n$/, ''))
}
