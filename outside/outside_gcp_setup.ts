/**
 * outside_gcp_setup: keys in an HSM, a bucket that keeps anchors under a retention, a log sink and service accounts with
 * the least rights, on Google Cloud, by the real gcloud. Looks first, plans, asks, applies; run again it changes nothing.
 */
import { type Command, command, Option, runMain, wholeNumber } from '../lib/cli.ts'
import { gcpDefaults } from '../lib/core/gcp/settings.ts'
import type { FetchFlags, GcpFlags, VerifyFlags } from '../lib/gcp_command.ts'

const load = () => import('../lib/gcp_command.ts')
const several = (value: string, before: string[] = []): string[] => [...before, value]

function days(flags: string, what: string, fallback: number): Option {
  const name = flags.split(' ')[0] ?? flags
  return new Option(flags, what).default(fallback).argParser(text => wholeNumber(name, text))
}

const common = (cmd: Command): Command =>
  cmd
    .addOption(new Option('--project <id>', 'project of keys, logs and the database host').env('PROJECT_ID'))
    .addOption(
      new Option('--worm-project <id>', 'project of the bucket alone (default: the same, a weakness)').env(
        'WORM_PROJECT_ID',
      ),
    )
    .addOption(
      new Option('--region <location>', 'where keys and bucket are')
        .env('REGION')
        .default(gcpDefaults.region),
    )
    .addOption(new Option('--keyring <name>', 'key ring').env('KRING').default(gcpDefaults.keyRing))
    .addOption(
      new Option('--key-prefix <name>', "each tenant's key is PREFIX-TENANT")
        .env('KNAME')
        .default(gcpDefaults.keyPrefix),
    )
    .addOption(new Option('--bucket <name>', 'bucket of the anchors').env('BUCKET'))
    .addOption(new Option('--sink <name>', 'log sink').env('SINK').default(gcpDefaults.sink))
    .addOption(
      days('--retention-days <n>', 'how long an anchor is kept', gcpDefaults.retentionDays).env(
        'RETENTION_DAYS',
      ),
    )
    .addOption(days('--rotation-days <n>', 'how often keys rotate', gcpDefaults.rotationDays))
    .addOption(
      days('--destroy-days <n>', 'how long a destroyed key version can be restored', gcpDefaults.destroyDays),
    )
    .option('--json', 'print JSON')

const changes = (cmd: Command): Command =>
  common(cmd)
    .option('--yes', 'apply without asking')
    .option('--dry-run', 'print the plan and the exact commands, and change nothing')

function main(): Command {
  const root = command('outside_gcp_setup', 'Set up keys, anchors and rights on Google Cloud.', [
    'outside_gcp_setup --project acme-prod-1 --worm-project acme-worm-1 --bucket acme-anchors --tenant acme --dry-run',
    'outside_gcp_setup tenant add globex --project acme-prod-1 --bucket acme-anchors',
    'outside_gcp_setup --project acme-prod-1 --bucket acme-anchors --lock-retention acme-anchors',
  ])
  changes(root.command('apply', { isDefault: true }))
    .description('look, plan, ask, apply (the default); ends with the names of the keys')
    .option('--tenant <label>', 'a tenant (repeat); those that have a key here are known', several)
    .option('--lock-retention <bucket>', "lock the retention FOR EVER; repeat the bucket's name")
    .option('--teardown', 'take away what can be taken away, and say what cannot')
    .action(async (flags: GcpFlags) => (await load()).runSetup(flags))
  const tenant = root.command('tenant').description('add and retire tenants')
  changes(tenant.command('add <label...>'))
    .description('a key and a client account for each')
    .action(async (labels: string[], flags: GcpFlags) => (await load()).addTenants(labels, flags))
  changes(tenant.command('retire <label>'))
    .description('let nobody use its key, which stays')
    .action(async (label: string, flags: GcpFlags) => (await load()).retireTenant(label, flags))
  common(root.command('verify'))
    .description('read everything again and say of each promise whether it holds; exit 1 where one does not')
    .option('--tenant <label>', 'a tenant that must have a key (repeat)', several)
    .option('--hsm-roots <dir>', "root certificates of the HSM's manufacturer and of Google")
    .option('--out <dir>', 'keep the evidence there, for the proof bundle')
    .action(async (flags: VerifyFlags) => (await load()).runVerify(flags))
  root
    .command('fetch-anchors')
    .description("an auditor's own copy of the anchors, with Google's times; goes on where it stopped")
    .addOption(new Option('--bucket <name>', 'bucket of the anchors').env('BUCKET'))
    .option('--from <uri>', 'gs://BUCKET/PREFIX/ (default: anchors/ of the bucket)')
    .requiredOption('--out <dir>', 'folder of the copy')
    .option('--all', 'compare every object with the copy, not only those after the newest')
    .option('--json', 'print JSON')
    .action(async (flags: FetchFlags) => (await load()).runFetch(flags))
  return root
}

if (import.meta.main) await runMain(main())
