/**
 * vm_oneclick: makes a host the zero-trust database server that pki_server.tar.gz describes, and keeps it so.
 * Plans, asks, applies, and reports; run again it changes nothing. Runs as root on the database host.
 */

import { announceCommand } from '../lib/announce_command.ts'
import { backupCommands } from '../lib/backup_command.ts'
import { type Command, command, Option, runMain } from '../lib/cli.ts'
import { hostCommands, logHostOptions } from '../lib/doctor_command.ts'
import type { Flags } from '../lib/install_command.ts'
import { reloadTlsCommand } from '../lib/reload_command.ts'

const load = () => import('../lib/install_command.ts')

const places = (cmd: Command): Command =>
  cmd
    .addOption(
      new Option('--layer <name>', 'host: all of this machine; database: the server alone, wherever it is')
        .choices(['host', 'database'])
        .default('host'),
    )
    .option('--socket <path>', 'unix socket of the server (else MYSQL_SOCKET; else /run/mysqld/mysqld.sock)')
    .option('--conf-dir <dir>', 'folder of option files that mysqld reads (default: the one it reads last)')

const common = (cmd: Command): Command =>
  places(cmd)
    .option('--pki-tar <file>', 'pki_server.tar.gz (else PKI_TAR; else the record of the last installation)')
    .option('--ca-sha256 <hex>', 'SHA-256 of the CA certificate, got by another way than the archive')
    .option('--json', 'print JSON')

const host = (cmd: Command): Command =>
  cmd
    .option(
      '--mysql-source <source>',
      'distro, oracle, installed, or a folder of .deb files (default: distro)',
    )
    .option('--allow-remote', 'open port 3306 to --allowed-cidr (else ALLOW_REMOTE=1)')
    .option('--no-allow-remote', 'close it again')
    .option('--allowed-cidr <list>', 'networks that clients come from, with commas (else ALLOWED_CIDR)')
    .option('--worm <dir>', 'store that keeps the anchors (else WORM_DIR; default: /var/lib/ztmysql/worm)')

const databaseOnly = (cmd: Command): Command =>
  cmd
    .option('--tls-dir <dir>', 'with --layer database: where certificates and key go (/etc/ztmysql/tls)')
    .option(
      '--anchor-dir <dir>',
      "with --layer database: where the anchor's keys go (/var/lib/ztmysql/anchor)",
    )
    .option('--host-part <address>', 'with --layer database: where accounts come from (127.0.0.1)')
    .option('--anchor-user <name>', 'with --layer database: system user of the anchor service (anchor)')

const all = (cmd: Command): Command => databaseOnly(logHostOptions(host(common(cmd))))

const details = (cmd: Command): Command =>
  cmd.option('--verbose', 'list each change of the plan, not only their number')

const asks = (cmd: Command): Command =>
  details(cmd).option('--yes', 'apply without asking').option('--dry-run', 'plan only')

function main(): Command {
  const root = command('vm_oneclick', 'Make a host a zero-trust MySQL server, and keep it so.', [
    'sudo PKI_TAR=/tmp/pki_server.tar.gz ./vm_oneclick',
    'sudo vm_oneclick plan --pki-tar /tmp/pki_server.tar.gz --ca-sha256 HEX',
    'sudo vm_oneclick --allow-remote --allowed-cidr 10.1.0.0/16,fd00:1::/64',
    'sudo vm_oneclick check',
    'sudo vm_oneclick orders 000007.json',
    'sudo vm_oneclick reload-tls --pki-tar /tmp/pki_server.tar.gz',
  ])
  asks(all(root.command('apply', { isDefault: true })))
    .description('plan, ask, apply (the default)')
    .option('--keep-archive', 'leave the archive where it is')
    .action(async (flags: Flags) => (await load()).runApply(flags))
  details(all(root.command('plan')))
    .description('say what apply would change')
    .action(async (flags: Flags) => (await load()).runPlan(flags))
  all(root.command('check'))
    .description('exit 1, naming each item, where anything is not as installed')
    .action(async (flags: Flags) => (await load()).runCheck(flags))
  asks(root.command('rollback'))
    .description('take back what was changed on the host; data, trail, keys and packages stay')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => (await load()).runRollback(flags))
  all(root.command('status'))
    .description('what the installation, its certificates and its trail say')
    .action(async (flags: Flags) => (await load()).runStatus(flags))
  asks(places(root.command('orders <file...>')))
    .description('apply what an administrator signed: tenants, grants, revocations')
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: Flags) => (await load()).runOrders(files, flags))
  reloadTlsCommand(root, places)
  announceCommand(root, places)
  backupCommands(root, places)
  hostCommands(root)
  places(root.command('config'))
    .description('print the option file of mysqld')
    .option('--tls-dir <dir>', 'where certificates and key are (default: /etc/ztmysql/tls)')
    .option('--host-part <address>', 'address or network that accounts come from (default: 127.0.0.1)')
    .action(async (flags: Flags) => (await load()).runConfig(flags))
  return root
}

if (import.meta.main) await runMain(main())
