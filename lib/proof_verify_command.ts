/** The auditor's side of the proof suite: judge a bundle, countersign it, compare two. */
import { bold, type Command, green, Option, print, red, say, wholeNumber, yellow } from './cli.ts'
import { ZtError } from './core/errors.ts'
import type { Format } from './core/report/index.ts'
import type { Paint } from './core/report/text.ts'
import { commit, version } from './version.ts'

const formats: Format[] = ['text', 'json', 'html', 'oscal', 'junit', 'md']

const colours: Record<Parameters<Paint>[0], (text: string) => string> = { red, green, yellow, bold }
const paint: Paint = (colour, text) => colours[colour](text)

interface TrustFlags {
  trust: string
  anchors: string
  caSha256?: string
  require: string
  signatures: 'last' | 'all'
  gap: string
}

interface VerifyFlags extends TrustFlags {
  nonce?: string
  signedBy?: string
  signature?: string
  google?: string
  format: Format
  out?: string
  json?: boolean
}

const trustOption = () =>
  new Option('--trust <dir>', 'the trust folder that outside_pki made').env('TRUST_DIR')
const anchorsOption = () =>
  new Option('--anchors <dir>', "your own copy of the WORM store's anchors").env('ANCHORS_DIR')
const requireOption = () =>
  new Option(
    '--require <list>',
    'what must hold: full, database, off-host, google, grade:GRADE, ids of controls, with commas',
  ).default('full')
const signaturesOption = () =>
  new Option('--signatures <which>', "check the signature of each row's last event, or of all")
    .choices(['last', 'all'])
    .default('last')

export function addVerify(cmd: Command): void {
  cmd
    .command('verify <bundle>')
    .description('judge a bundle anew, offline')
    .addOption(trustOption().makeOptionMandatory())
    .addOption(anchorsOption().makeOptionMandatory())
    .option('--ca-sha256 <hex>', 'pin of the CA certificate')
    .option('--nonce <hex>', 'the nonce that you asked for')
    .addOption(requireOption())
    .addOption(signaturesOption())
    .option('--gap <seconds>', 'longest time between two anchors', '300')
    .option('--google <path>', 'your own evidence of outside_gcp_setup verify --out: file or folder')
    .option('--signed-by <file>', 'public key or certificate of whoever countersigned the bundle')
    .option('--signature <file>', 'the countersignature (default: BUNDLE.dsse.json)')
    .addOption(new Option('--format <format>', 'form of the report').choices(formats).default('text'))
    .option('--out <file>', 'write the report to a file instead')
    .option('--json', 'the same as --format json')
    .action(judgeAndPrint)
}

export function checkNonce(nonce: string | undefined): { nonce?: string } {
  if (nonce === undefined) return {}
  if (!/^[0-9a-f]{64}$/.test(nonce))
    throw new ZtError('USAGE', '--nonce: expected 64 lower-case hex digits', { hint: 'openssl rand -hex 32' })
  return { nonce }
}

/** Sets the exit code. */
export async function judgeAndPrint(path: string, { gap, json, out, ...flags }: VerifyFlags): Promise<void> {
  const gapSeconds = wholeNumber('--gap', gap)
  const { judgeBundle } = await import('./edge/judge_bundle.ts')
  const { makeReport } = await import('./core/report/model.ts')
  const { formatReport } = await import('./core/report/index.ts')
  const { sentence } = await import('./core/report/words.ts')
  const { writeFileAtomic } = await import('./edge/files.ts')
  const { signer, ...verdict } = await judgeBundle(path, {
    ...flags,
    gapSeconds,
    ...checkNonce(flags.nonce),
  })
  const tool = `proof_suite ${version}`
  const report = makeReport(verdict, {
    tool,
    commit,
    pinned: flags.caSha256 !== undefined,
    ...(signer === undefined ? {} : { signer }),
  })
  const format = json ? 'json' : flags.format
  const text = formatReport(report, format, out === undefined ? paint : undefined)
  if (out === undefined) print(text.replace(/\n$/, ''))
  else {
    writeFileAtomic(out, text, 0o600)
    say(`${out}: ${format} report; verdict: ${sentence(report)}`)
  }
  process.exitCode = report.ok ? 0 : 1
}

interface SignFlags {
  signKey: string
  out?: string
}

export function addSign(cmd: Command): void {
  cmd
    .command('sign <bundle>')
    .description('countersign a bundle that you received: DSSE over the digest of each of its files')
    .requiredOption('--sign-key <file>', 'private key of yours, PKCS#8 PEM of a P-256 key, mode 0600')
    .option('--out <file>', 'the signature (default: BUNDLE.dsse.json)')
    .action(async (path: string, { signKey, out }: SignFlags) => {
      const { signBundle } = await import('./edge/sign_bundle.ts')
      const signed = await signBundle(path, { signKey, ...(out === undefined ? {} : { out }) })
      print(`${signed.out}: ${signed.files} files, manifest ${signed.digest}, key ${signed.keyId}`)
    })
}

interface DiffFlags extends Omit<TrustFlags, 'trust' | 'anchors'> {
  trust?: string
  anchors?: string
  json?: boolean
}

export function addDiff(cmd: Command): void {
  cmd
    .command('diff <old> <new>')
    .description('say what changed between two bundles of one log')
    .addOption(trustOption())
    .addOption(anchorsOption())
    .option('--ca-sha256 <hex>', 'pin of the CA certificate')
    .addOption(requireOption())
    .addOption(signaturesOption())
    .option('--gap <seconds>', 'longest time between two anchors', '300')
    .option('--json', 'print JSON')
    .action(async (older: string, newer: string, { gap, json, trust, anchors, ...flags }: DiffFlags) => {
      if ((trust === undefined) !== (anchors === undefined))
        throw new ZtError('USAGE', '--trust and --anchors belong together')
      const gapSeconds = wholeNumber('--gap', gap)
      const { diffBundleFiles } = await import('./edge/diff_bundles.ts')
      const { formatDiff } = await import('./core/report/diff_text.ts')
      const judging =
        trust === undefined || anchors === undefined ? undefined : { ...flags, trust, anchors, gapSeconds }
      const diff = await diffBundleFiles(older, newer, judging)
      print(json ? JSON.stringify(diff) : formatDiff(diff, paint))
      process.exitCode = diff.continues && diff.worse.length === 0 ? 0 : 1
    })
}

export function addSchema(cmd: Command): void {
  cmd
    .command('schema')
    .description('print the JSON Schema of --format json')
    .action(async () => {
      const { reportJsonSchema } = await import('./core/report/schema.ts')
      print(JSON.stringify(reportJsonSchema(), null, 2))
    })
}
