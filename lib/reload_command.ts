/** `vm_oneclick reload-tls`: certificates, key and CRL of a new archive, without a restart. */
import { resolve } from 'node:path'
import { type Command, print, say } from './cli.ts'
import type { Plan, Progress } from './core/plan.ts'
import type { PlaceFlags } from './edge/host/places.ts'
import type { ReloadOptions } from './edge/host/reload_tls.ts'

type Places = Pick<ReloadOptions, 'socket' | 'confDir'>

interface Flags extends PlaceFlags {
  pkiTar?: string
  caSha256?: string
  keepArchive?: boolean
  dryRun?: boolean
  json?: boolean
}

function optionsOf(flags: Flags, places: Places, archive: string): ReloadOptions {
  const progress: Progress = {
    ended: (step, milliseconds) => say(`done ${step.id}: ${step.description} (${milliseconds} ms)`),
  }
  return {
    ...places,
    pkiTar: resolve(archive),
    keepArchive: flags.keepArchive ?? false,
    ...(flags.caSha256 === undefined ? {} : { caSha256: flags.caSha256 }),
    ...(flags.json ? {} : { progress }),
  }
}

function printChanges({ steps }: Plan): void {
  for (const { changes } of steps)
    for (const { item, before, after } of changes) print(`${item}: ${before ?? 'none'} → ${after ?? 'gone'}`)
}

async function run(flags: Flags): Promise<void> {
  const { ZtError } = await import('./core/errors.ts')
  const { planTlsReload, reloadTls } = await import('./edge/host/reload_tls.ts')
  const { placesOf } = await import('./edge/host/places.ts')
  const { expiryWarnings } = await import('./core/host/expiry.ts')
  const { planJson, pendingSteps } = await import('./core/plan.ts')
  const archive = flags.pkiTar ?? process.env.PKI_TAR
  if (archive === undefined)
    throw new ZtError('USAGE', 'no archive given', { hint: 'name it with --pki-tar or PKI_TAR' })
  const options = optionsOf(flags, placesOf(flags), archive)
  if (flags.dryRun) {
    const { plan, ...found } = await planTlsReload(options)
    if (flags.json) return print(JSON.stringify({ ...found, ...planJson(plan) }))
    printChanges(plan)
    if (pendingSteps(plan).length === 0) print('nothing to do')
    return
  }
  const { plan: _plan, ...done } = await reloadTls(options)
  if (flags.json) return print(JSON.stringify(done))
  if (done.done.length === 0) print('nothing to do: these certificates are loaded')
  print(`certificate ${done.serial}, until ${done.serverNotAfter}: seen on a new connection`)
  print(
    `CRL until ${done.crlNextUpdate}${done.revoked.length === 0 ? '' : `; revoked: ${done.revoked.join(', ')}`}`,
  )
  for (const { item, detail } of expiryWarnings(done, Date.now())) say(`warning: ${item}: ${detail}`)
  if (done.archiveRemoved) say('the archive was removed: it held the key of the server')
}

/** @param places adds --socket and --conf-dir */
export function reloadTlsCommand(root: Command, places: (cmd: Command) => Command): void {
  places(root.command('reload-tls'))
    .description('take up renewed certificates and CRL without a restart, or change nothing')
    .option('--pki-tar <file>', 'the new pki_server.tar.gz (else PKI_TAR)')
    .option('--ca-sha256 <hex>', 'SHA-256 of the CA certificate, got by another way than the archive')
    .option('--keep-archive', 'leave the archive where it is')
    .option('--dry-run', 'check the archive and say what would change')
    .option('--json', 'print JSON')
    .action((flags: Flags) => run(flags))
}
