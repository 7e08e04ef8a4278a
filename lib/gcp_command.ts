/** What the commands of outside_gcp_setup do, between their options and Google Cloud. */
import { green, interactive, print, red, say } from './cli.ts'
import { ZtError } from './core/errors.ts'
import { anchorPrefix, type GcpSettings, keyName } from './core/gcp/settings.ts'
import { type Aim, applySetup, type GcpSetup, planSetup } from './edge/gcp/setup.ts'
import { asking, printPlan } from './plan_report.ts'

export interface GcpFlags {
  project?: string
  wormProject?: string
  region: string
  keyring: string
  keyPrefix: string
  bucket?: string
  sink: string
  retentionDays: number
  rotationDays: number
  destroyDays: number
  tenant?: string[]
  lockRetention?: string
  teardown?: boolean
  yes?: boolean
  dryRun?: boolean
  json?: boolean
}

function need(value: string | undefined, option: string, variable: string): string {
  if (value !== undefined && value !== '') return value
  throw new ZtError('USAGE', `missing ${option} or ${variable}`, { hint: 'outside_gcp_setup --help' })
}

export function settingsFrom(flags: GcpFlags, tenants: string[] = flags.tenant ?? []): GcpSettings {
  const project = need(flags.project, '--project ID', 'PROJECT_ID')
  return {
    project,
    wormProject: flags.wormProject ?? project,
    region: flags.region,
    keyRing: flags.keyring,
    keyPrefix: flags.keyPrefix,
    bucket: need(flags.bucket, '--bucket NAME', 'BUCKET'),
    sink: flags.sink,
    retentionDays: flags.retentionDays,
    rotationDays: flags.rotationDays,
    destroyDays: flags.destroyDays,
    tenants,
  }
}

/** The irreversible wants the bucket's name once more, so that no script does it in passing. */
function aimOf(flags: GcpFlags): Aim {
  if (flags.teardown) return { kind: 'teardown' }
  if (flags.lockRetention === undefined) return { kind: 'set-up', lock: false }
  if (flags.lockRetention !== flags.bucket)
    throw new ZtError('USAGE', `--lock-retention ${flags.lockRetention}: not the name of the bucket`, {
      hint: `a lock is for ever: repeat the bucket's name, --lock-retention ${flags.bucket ?? 'BUCKET'}`,
    })
  return { kind: 'set-up', lock: true }
}

const quoted = (word: string): string =>
  /^[A-Za-z0-9_./:@=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

/** The commands as a shell takes them. */
const commandLines = ({ steps }: GcpSetup): string[] =>
  steps.flatMap(({ commands }) => commands.map(args => `gcloud ${args.map(quoted).join(' ')}`))

const asJson = ({ settings, steps, plan }: GcpSetup, done?: string[]): string =>
  JSON.stringify({
    ...(done === undefined ? {} : { done }),
    steps: steps.map(({ id, description, changes, commands }) => ({ id, description, changes, commands })),
    findings: plan.findings,
    keys: settings.tenants.map(tenant => keyName(settings, tenant)),
  })

/** The end of stdout: names of keys, a line each, for a script to take. */
function printKeys({ settings }: GcpSetup): void {
  for (const tenant of settings.tenants) print(keyName(settings, tenant))
}

async function act(settings: GcpSettings, aim: Aim, flags: GcpFlags): Promise<void> {
  if (flags.dryRun) {
    const setup = await planSetup(settings, aim)
    if (flags.json) return print(asJson(setup))
    printPlan(setup.plan)
    if (setup.steps.length === 0) print('nothing to do')
    else print(`\ncommands:`)
    for (const line of commandLines(setup)) print(line)
    return
  }
  const setup = await applySetup(settings, aim, asking({ ...flags, verbose: true }))
  if (flags.json) return print(asJson(setup, setup.done))
  printPlan(setup.plan)
  const { length } = setup.done
  if (length === 0) say('nothing to do')
  else say(green(`done: ${length} ${length === 1 ? 'step' : 'steps'}`, process.stderr))
  if (aim.kind === 'set-up') printKeys(setup)
}

export const runSetup = (flags: GcpFlags): Promise<void> => act(settingsFrom(flags), aimOf(flags), flags)

export const addTenants = (labels: string[], flags: GcpFlags): Promise<void> =>
  act(settingsFrom(flags, labels), { kind: 'set-up', lock: false }, flags)

export const retireTenant = (label: string, flags: GcpFlags): Promise<void> =>
  act(settingsFrom(flags, []), { kind: 'retire', tenant: label }, flags)

export interface VerifyFlags extends GcpFlags {
  hsmRoots?: string
  out?: string
}

export async function runVerify(flags: VerifyFlags): Promise<void> {
  const { verifyGcp } = await import('./edge/gcp/verify.ts')
  const kept = await verifyGcp(settingsFrom(flags), {
    ...(flags.hsmRoots === undefined ? {} : { hsmRoots: flags.hsmRoots }),
    ...(flags.out === undefined ? {} : { out: flags.out }),
  })
  if (flags.json) print(JSON.stringify({ promises: kept }))
  else
    for (const { id, promise, holds, detail } of kept)
      print(`${holds ? green('kept  ') : red('BROKEN')} ${id.padEnd(19)} ${promise}: ${detail}`)
  const broken = kept.filter(({ holds }) => !holds).length
  say(
    broken === 0 ? `all ${kept.length} promises are kept` : `${broken} of ${kept.length} promises are broken`,
  )
  process.exitCode = broken === 0 ? 0 : 1
}

export interface FetchFlags {
  bucket?: string
  from?: string
  out: string
  all?: boolean
  json?: boolean
}

export async function runFetch(flags: FetchFlags): Promise<void> {
  const { fetchAnchors } = await import('./edge/gcp/fetch_anchors.ts')
  const from = flags.from ?? `gs://${need(flags.bucket, '--bucket NAME', 'BUCKET')}/${anchorPrefix}`
  const { usesStandIn } = await import('./edge/gcs.ts')
  if (usesStandIn()) say('STORAGE_EMULATOR_HOST is set: these objects are not from Google')
  const counted = counter('fetching anchors')
  const result = await fetchAnchors({
    from,
    out: flags.out,
    ...(flags.all === undefined ? {} : { all: flags.all }),
    onObject: counted,
  })
  if (flags.json) return print(JSON.stringify(result))
  print(`${result.fetched} fetched, ${result.known} were here; newest ${result.newest ?? 'none'}`)
  if (result.others > 0) say(`${result.others} objects there are no anchors`)
  if (result.newest !== null && result.retainedUntil === null)
    say('no retention holds every object: somebody can delete them')
}

/** A line that counts up on a terminal. */
const counter =
  (label: string) =>
  (_: string, count: number): void => {
    if (interactive() && count % 100 === 0) say(`${label}: ${count}`)
  }
