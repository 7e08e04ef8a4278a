/**
 * vm_oneclick: makes a MySQL server the zero-trust one that pki_server.tar.gz describes, and keeps it so.
 * Plans, asks, applies, and reports; run again it changes nothing. Runs as root on the database host.
 */
import { type Command, command, Option, runMain } from '../lib/cli.ts'
import type { Flags } from '../lib/install_command.ts'

const load = () => import('../lib/install_command.ts')

const places = (cmd: Command): Command =>
  cmd
    .addOption(
      new Option('--socket <path>', 'unix socket of the server')
        .env('MYSQL_SOCKET')
        .default('/run/mysqld/mysqld.sock'),
    )
    .addOption(
      new Option('--conf-dir <dir>', 'folder of option files that mysqld reads').default('/etc/mysql/conf.d'),
    )

const common = (cmd: Command): Command =>
  places(cmd)
    .option('--pki-tar <file>', 'pki_server.tar.gz (else PKI_TAR; else the record of the last installation)')
    .option('--ca-sha256 <hex>', 'SHA-256 of the CA certificate, got by another way than the archive')
    .option('--tls-dir <dir>', 'where certificates and key go (default: /etc/ztmysql/tls)')
    .option('--anchor-dir <dir>', "where the anchor's signing keys go (default: /var/lib/ztmysql/anchor)")
    .option('--host-part <address>', 'address or network that accounts come from (default: 127.0.0.1)')
    .option('--anchor-user <name>', "the system's user that anchor_head runs as (default: anchor)")
    .option('--json', 'print JSON')

const details = (cmd: Command): Command =>
  cmd.option('--verbose', 'list each change of the plan, not only their number')

const asks = (cmd: Command): Command =>
  details(cmd).option('--yes', 'apply without asking').option('--dry-run', 'plan only')

function main(): Command {
  const root = command('vm_oneclick', 'Make a MySQL server zero-trust, and keep it so.', [
    'sudo PKI_TAR=/tmp/pki_server.tar.gz vm_oneclick',
    'sudo vm_oneclick plan --pki-tar /tmp/pki_server.tar.gz --ca-sha256 HEX',
    'sudo vm_oneclick check',
    'sudo vm_oneclick orders 000007.json',
  ])
  asks(common(root.command('apply', { isDefault: true })))
    .description('plan, ask, apply (the default)')
    .option('--keep-archive', 'leave the archive where it is')
    .action(async (flags: Flags) => (await load()).runApply(flags))
  details(common(root.command('plan')))
    .description('say what apply would change')
    .action(async (flags: Flags) => (await load()).runPlan(flags))
  common(root.command('check'))
    .description('exit 1, naming each item, where anything is not as installed')
    .action(async (flags: Flags) => (await load()).runCheck(flags))
  common(root.command('status'))
    .description('what the installation, its certificates and its trail say')
    .action(async (flags: Flags) => (await load()).runStatus(flags))
  asks(places(root.command('orders <file...>')))
    .description('apply what an administrator signed: tenants, grants, revocations')
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: Flags) => (await load()).runOrders(files, flags))
  places(root.command('config'))
    .description('print the option file of mysqld')
    .option('--tls-dir <dir>', 'where certificates and key are (default: /etc/ztmysql/tls)')
    .option('--host-part <address>', 'address or network that accounts come from (default: 127.0.0.1)')
    .action(async (flags: Flags) => (await load()).runConfig(flags))
  return root
}

if (import.meta.main) await runMain(main())
