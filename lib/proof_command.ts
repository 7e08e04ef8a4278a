/** The proof suite's command line. */
import { resolve } from 'node:path'
import { type Command, Option, print, say, wholeNumber } from './cli.ts'
import { ZtError } from './core/errors.ts'
import { checkNonce, judgeAndPrint } from './proof_verify_command.ts'
import { commit, version } from './version.ts'

interface CollectFlags {
  clientsDir: string
  out: string
  socket?: string
  confDir?: string
  tlsDir?: string
  bindAddress: string
  canary?: string
  canaryFd?: string
  nonce?: string
  worm?: string
  anchorNow?: boolean
  anchorKey?: string
  anchorState: string
  google?: string
  trust?: string
  caSha256?: string
  require: string
  json?: boolean
}

export function addCollect(cmd: Command): void {
  cmd
    .command('collect', { isDefault: true })
    .description('collect evidence into a bundle (the default)')
    .addOption(
      new Option('--clients-dir <dir>', 'probe certificates')
        .env('CLIENTS_DIR')
        .default('/etc/ztmysql/probes'),
    )
    .addOption(new Option('--out <file>', 'the bundle').env('OUT').default('/tmp/proof_bundle.tar.gz'))
    .addOption(new Option('--socket <path>', "root's unix socket, on the host").env('MYSQL_SOCKET'))
    .option('--conf-dir <dir>', 'folder of zero-trust.cnf')
    .option('--tls-dir <dir>', "folder of the server's certificates")
    .option('--bind-address <address>', 'address that mysqld listens on', '127.0.0.1')
    .option('--canary <file>', 'private file with a text that a client wrote, to be sought in the clear')
    .option('--canary-fd <n>', 'the same, from an open file descriptor: nothing of it on the disk')
    .option('--nonce <hex>', "the auditor's nonce, 64 hex digits")
    .addOption(new Option('--worm <dir>', "the host's copy of the anchors").env('WORM_DIR'))
    .option('--anchor-now', 'anchor at once instead of waiting for the timer')
    .option('--anchor-key <file>', 'anchor_key.json, for --anchor-now')
    .addOption(
      new Option('--anchor-state <dir>', 'for --anchor-now')
        .env('ANCHOR_STATE')
        .default('/var/lib/ztmysql/anchor'),
    )
    .option(
      '--google <path>',
      'evidence of outside_gcp_setup verify --out, to go into the bundle: file or folder',
    )
    .option('--trust <dir>', 'judge the bundle at once, by this trust folder and the anchors of --worm')
    .option('--ca-sha256 <hex>', 'pin of the CA certificate, for --trust')
    .option('--require <list>', 'what must hold, for --trust', 'full')
    .option('--json', 'print JSON')
    .action(collect)
}

async function collect(flags: CollectFlags): Promise<void> {
  const { collectBundle } = await import('./edge/proof.ts')
  const { sbom } = await import('./sbom.ts')
  const { progress } = await import('./progress.ts')
  const bar = progress('collecting', 'steps')
  const { confDir, tlsDir, bindAddress } = flags
  // before the minute that collecting takes
  if (flags.trust !== undefined && flags.worm === undefined)
    throw new ZtError('USAGE', '--trust needs --worm, whose anchors it judges by')
  if ((confDir === undefined) !== (tlsDir === undefined))
    throw new ZtError('USAGE', '--conf-dir and --tls-dir belong together')
  const collected = await collectBundle({
    clientsDir: flags.clientsDir,
    out: flags.out,
    tool: `proof_suite ${version}`,
    commit,
    sbom: sbom(),
    ...(flags.socket === undefined ? {} : { socket: flags.socket }),
    ...(confDir === undefined || tlsDir === undefined
      ? {}
      : { install: { confDir: resolve(confDir), tlsDir: resolve(tlsDir), bindAddress } }),
    ...(await canaryOf(flags)),
    ...checkNonce(flags.nonce),
    ...(flags.worm === undefined ? {} : { wormDir: flags.worm }),
    ...(flags.google === undefined ? {} : { google: flags.google }),
    ...(flags.anchorNow ? { anchorNow: await anchorer(flags) } : {}),
    onStep: (_label, done, total) => bar.update(done, total),
  }).finally(() => bar.stop())
  for (const error of collected.errors) say(`proof_suite: could not observe ${error}`)
  print(
    flags.json
      ? JSON.stringify(collected)
      : `${collected.out}: ${collected.observations} observations, nonce ${collected.nonce}, manifest ${collected.digest}`,
  )
  if (collected.errors.length > 0) process.exitCode = 1
  if (flags.trust !== undefined) await judgeAtOnce({ ...flags, trust: flags.trust })
}

/** The same verdict as the auditor's, but by the host's own copies: a look, no evidence. */
async function judgeAtOnce({ trust, worm, out, require, ...flags }: CollectFlags & { trust: string }) {
  await judgeAndPrint(out, {
    trust,
    anchors: worm ?? '',
    require,
    signatures: 'last',
    gap: '300',
    format: 'text',
    ...(flags.caSha256 === undefined ? {} : { caSha256: flags.caSha256 }),
    ...(flags.nonce === undefined ? {} : { nonce: flags.nonce }),
    ...(flags.json ? { json: true } : {}),
  })
}

/** From a file or a descriptor, since arguments are visible to everybody on the host. */
async function canaryOf({ canary, canaryFd }: CollectFlags): Promise<{ canary?: string }> {
  if (canary === undefined && canaryFd === undefined) return {}
  if (canary !== undefined && canaryFd !== undefined)
    throw new ZtError('USAGE', '--canary and --canary-fd are two ways to give one text')
  const { readDescriptor, readPrivateFile } = await import('./edge/files.ts')
  const bytes =
    canary === undefined
      ? readDescriptor(wholeNumber('--canary-fd', canaryFd ?? '', 0), 'canary')
      : readPrivateFile(canary, 'canary')
  const text = bytes.toString('utf8').trim()
  if (text.length < 8)
    throw new ZtError(
      'BAD_INPUT',
      `${canary ?? `descriptor ${canaryFd}`}: a canary needs 8 characters, or chance would find it`,
    )
  return { canary: text }
}

async function anchorer(flags: CollectFlags): Promise<() => Promise<void>> {
  const { anchorNow } = await import('./edge/anchor_service.ts')
  const { socket, worm, anchorState: state } = flags
  if (socket === undefined || worm === undefined)
    throw new ZtError('USAGE', '--anchor-now needs --socket and --worm')
  const { anchorByService } = await import('./edge/host/anchor_unit.ts')
  const byService = flags.anchorKey === undefined ? anchorByService(state) : undefined
  if (byService) return byService
  const key = flags.anchorKey ?? `${state}/anchor_key.json`
  return async () => {
    await anchorNow({ socket, user: 'root', worm, state, key, waitSeconds: 15 }, {})
  }
}

export function addControls(cmd: Command): void {
  cmd
    .command('controls')
    .description('print every control: claim, what enforces it, how it is graded')
    .option('--markdown', 'as the table in the README')
    .option('--json', 'as JSON')
    .action(async ({ markdown, json }: { markdown?: boolean; json?: boolean }) => {
      const { controls } = await import('./core/controls/index.ts')
      const { controlsMarkdown, controlsText } = await import('./report.ts')
      print(json ? JSON.stringify(controls) : markdown ? controlsMarkdown() : controlsText())
    })
}
