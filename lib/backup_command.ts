/** `vm_oneclick backup` and `restore`: one file of one moment, and the way back into an empty server. */
import { resolve } from 'node:path'
import { type Command, Option, print, say } from './cli.ts'
import { ZtError } from './core/errors.ts'
import type { PlaceFlags } from './edge/host/places.ts'
import type { Restored } from './edge/host/restore.ts'
import { progress } from './progress.ts'

interface BackupFlags extends PlaceFlags {
  out?: string
  verify?: string
  withKeys?: boolean
  json?: boolean
}

interface RestoreFlags extends PlaceFlags {
  in: string
  anchors: string
  trust: string
  caSha256?: string
  acceptLoss?: boolean
  files?: string
  dryRun?: boolean
  json?: boolean
}

/** A file that was cut or changed is a check that failed, not a machine that could not run. */
async function failing<T>(check: Promise<T>): Promise<T> {
  try {
    return await check
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || !['BAD_FORMAT', 'BAD_LENGTH'].includes(thrown.code)) throw thrown
    throw new ZtError('VERIFY_FAILED', thrown.message, { cause: thrown, hint: 'take another copy of it' })
  }
}

async function verifyFile(path: string, json: boolean | undefined): Promise<void> {
  const { checkBackup, withBackup } = await import('./edge/host/backup_file.ts')
  const { header, sha256, sections } = await failing(withBackup(resolve(path), checkBackup))
  if (json) return print(JSON.stringify({ ...header, sha256, sections: Object.fromEntries(sections) }))
  print(`${path}: whole, SHA-256 ${sha256}`)
  print(`log ${header.origin} at ${header.time}: ${header.size} events, head ${header.head}`)
  print(`newest anchor ${header.anchor || 'none'}; MySQL ${header.mysql}, release ${header.release}`)
  if (header.keys) print('it holds private keys of server and anchor')
}

async function runBackup(flags: BackupFlags): Promise<void> {
  if ((flags.verify === undefined) === (flags.out === undefined))
    throw new ZtError('USAGE', 'give one of --out and --verify', {
      hint: 'vm_oneclick backup --out /var/backups/ztmysql/',
    })
  if (flags.verify !== undefined) return verifyFile(flags.verify, flags.json)
  const { makeBackup } = await import('./edge/host/backup.ts')
  const { placesOf } = await import('./edge/host/places.ts')
  const bar = progress('backing up', 'rows')
  const done = await makeBackup({
    ...placesOf(flags),
    out: resolve(flags.out ?? ''),
    withKeys: flags.withKeys ?? false,
    onProgress: bar.update,
  })
  bar.stop()
  if (flags.json) return print(JSON.stringify(done))
  print(`${done.path}: ${done.events} events, ${done.rows} rows, newest anchor ${done.anchor || 'none'}`)
  print(`SHA-256 ${done.sha256}`)
  say(
    done.keys
      ? 'it holds the private keys of server and anchor: keep it as you keep those'
      : 'it holds no private key: those come from pki_server.tar.gz. The key file of the keyring is backed up apart',
  )
}

function report(restored: Restored, unexplained: number): void {
  const { header, plan, rows, leftOut, files } = restored
  print(
    `log ${header.origin}: ${rows} rows, ${header.size} events of ${header.time}, newest anchor ${plan.number || 'none'}`,
  )
  if (plan.lostEvents > 0)
    print(
      `lost: ${plan.lostEvents} anchored events, ${header.size} to ${plan.size - 1}, covered from anchor ${plan.lostFrom} on`,
    )
  for (const name of leftOut) say(`account ${name} is not one of ours and was not made`)
  for (const path of files) print(path)
  for (const { severity, code, where, what } of restored.verdict.findings.kept)
    print(`${severity} ${code}: ${where}: ${what}`)
  print(
    unexplained === 0
      ? 'the trail and the rows are what was anchored'
      : `${unexplained} findings speak against it`,
  )
  say('next: vm_oneclick apply --pki-tar FILE; the gate opens with the first anchor')
}

async function runRestore(flags: RestoreFlags): Promise<void> {
  const { placesOf } = await import('./edge/host/places.ts')
  const { checkRestore, restoreBackup, unexplained } = await import('./edge/host/restore.ts')
  const { verdictJson } = await import('./core/audit/verdict_text.ts')
  const bar = progress('restoring', 'rows')
  const options = {
    socket: placesOf(flags).socket,
    file: resolve(flags.in),
    anchors: flags.anchors,
    trust: flags.trust,
    acceptLoss: flags.acceptLoss ?? false,
    ...(flags.caSha256 === undefined ? {} : { caSha256: flags.caSha256 }),
    ...(flags.files === undefined ? {} : { files: resolve(flags.files) }),
    onProgress: bar.update,
  }
  if (flags.dryRun) {
    const { header, plan, rows, sha256 } = await checkRestore(options)
    if (flags.json)
      return print(JSON.stringify({ ...header, ...plan, base: plan.base?.size ?? 0, rows, backup: sha256 }))
    return print(
      `log ${header.origin}: ${rows} rows, ${header.size} events; the anchors go on with ${plan.number + 1}`,
    )
  }
  const restored = await restoreBackup(options)
  bar.stop()
  const against = unexplained(restored.verdict)
  if (flags.json) {
    const { header, plan, rows, sha256, leftOut, files, verdict } = restored
    const { base, ...planned } = plan
    print(
      JSON.stringify({
        ...header,
        ...planned,
        base: base?.size ?? 0,
        rows,
        backup: sha256,
        leftOut,
        files,
        verdict: verdictJson(verdict),
      }),
    )
  } else report(restored, against.length)
  process.exitCode = against.length === 0 ? 0 : 1
}

/** @param places adds --socket and --conf-dir */
export function backupCommands(root: Command, places: (cmd: Command) => Command): void {
  places(root.command('backup'))
    .description('write everything of the deployment into one private file, or check such a file')
    .option('--out <path>', 'a new file, or a folder in which it gets a name of its own')
    .option('--verify <file>', 'compare a backup with the digests in it, without a server')
    .option('--with-keys', 'put the private keys of server and anchor in as well')
    .option('--json', 'print JSON')
    .action((flags: BackupFlags) => runBackup(flags))
  places(root.command('restore'))
    .description('bring a backup back into an empty server, and verify it against the anchors')
    .requiredOption('--in <file>', 'the backup')
    .addOption(
      new Option(
        '--anchors <dir>',
        "your own copy of the store's anchors, up to the newest",
      ).makeOptionMandatory(),
    )
    .addOption(new Option('--trust <dir>', 'the trust folder that outside_pki made').makeOptionMandatory())
    .option('--ca-sha256 <hex>', 'pin of the CA certificate')
    .option('--accept-loss', 'restore a backup that lacks anchored events; every verifier will name them')
    .option('--files <dir>', 'a folder for the certificates and records that the backup holds')
    .option('--dry-run', 'judge the backup and the server, and change nothing')
    .option('--json', 'print JSON')
    .action((flags: RestoreFlags) => runRestore(flags))
}
