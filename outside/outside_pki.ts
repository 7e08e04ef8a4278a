/**
 * outside_pki: the PKI of one deployment, on the workstation. Makes the CA, certificates, anchor and issuer keys and
 * the log's origin, and from them pki_server.tar.gz (for the host), clients/ (for applications), trust/ (for auditors).
 */
import { type Command, command, Option, runMain, wholeNumber } from '../lib/cli.ts'
import type { Change, GlobalOptions } from '../lib/pki_command.ts'

const several = (value: string, before: string[] = []): string[] => [...before, value]
const number = (option: string) => (text: string) => wholeNumber(option, text)

/** A command that changes the folder; the work is imported when it runs. */
function changes(cmd: Command, change: Change, { irreversible = false } = {}): Command {
  if (irreversible) cmd.option('--yes', 'do it: it cannot be undone')
  return cmd.action(async (...args) => {
    const { runChange } = await import('../lib/pki_command.ts')
    await runChange(cmd.optsWithGlobals<GlobalOptions>(), args.slice(0, -2), change, irreversible)
  })
}

function accountCommands(root: Command): void {
  const days = new Option('--days <n>', 'how long the certificate holds').argParser(number('--days'))
  changes(
    root
      .command('issue <account>')
      .description('a certificate for a new account')
      .option('--tenant <label>', "the tenant of an application's account")
      .addOption(
        new Option('--role <role>', 'an account without a tenant').choices(['auditor', 'administrator']),
      )
      .option('--csr <file>', 'PKCS#10 request: the key stays where it was made')
      .addOption(days),
    'issue',
  )
  changes(
    root
      .command('renew [name]')
      .description('a new key and certificate for an account or `server`')
      .option('--all', 'the server and every account')
      .option('--csr <file>', 'PKCS#10 request: the key stays where it was made')
      .option('--server-name <name>', 'server: the names of its certificate (repeat)', several)
      .addOption(days),
    'renew',
  )
  changes(
    root
      .command('revoke <name>')
      .description('revoke the certificates of an account or `server`')
      .option('--serial <hex>', 'this certificate only')
      .option('--retire', 'take the account and its grant away, too'),
    'revoke',
    { irreversible: true },
  )
}

function tenantCommands(root: Command): void {
  const tenant = root.command('tenant').description('add and retire tenants, name their keys')
  changes(
    tenant
      .command('add <label>')
      .description('a tenant, its key issuer, and the order that creates it')
      .option('--kms-key <uri>', 'its KMS key (repeat)', several),
    'tenantAdd',
  )
  changes(tenant.command('retire <label>').description('end a tenant and its accounts'), 'tenantRetire', {
    irreversible: true,
  })
  changes(tenant.command('kms-key <label> <uri>').description('name a KMS key of the tenant'), 'tenantKmsKey')
  changes(
    tenant.command('kem <label> <file>').description("register the tenant's ML-KEM-768 public key"),
    'tenantKem',
  )
}

function folderCommands(root: Command): void {
  changes(root.command('crl').description('a fresh CRL'), 'crl')
  changes(root.command('probes').description('fresh 24-hour certificates for the probes'), 'probes')
  changes(
    root
      .command('rollover')
      .description('a new CA beside the old one; with --finish, the end of the old one')
      .option('--finish', 'stop trusting the old CA and destroy its key')
      .option('--yes', 'do it: it cannot be undone'),
    'rollover',
  )
  changes(
    root
      .command('log-host <name>')
      .description('certificates for a log host, and for the database host that sends anchors to it')
      .option('--client <name>', 'DNS name of the database host (default: the first server name)'),
    'logHost',
  )
  changes(root.command('server-archive').description('write pki_server.tar.gz again'), 'serverArchive')
  changes(
    root
      .command('client-cnf')
      .description("write every client's option file again")
      .option('--host <name>', 'where clients connect')
      .addOption(new Option('--port <n>', 'port').argParser(number('--port'))),
    'clientCnf',
  )
  const list = root
    .command('list')
    .description('certificates with their days left, the CRL, the pin of the CA')
    .option('--all', 'expired and revoked ones, too')
    .option('--check', 'exit 1 where something wants attention')
  list.action(async () => {
    const { runList } = await import('../lib/pki_command.ts')
    runList(list.optsWithGlobals<GlobalOptions & { all?: boolean; check?: boolean }>())
  })
}

function main(): Command {
  const root = command('outside_pki', 'The PKI of a zero-trust MySQL: made and kept on the workstation.', [
    'outside_pki --server-name db.example.org --passphrase-file pass.txt',
    'outside_pki tenant add acme && outside_pki issue acme_app --tenant acme',
    'outside_pki revoke acme_app --retire --yes',
    'outside_pki list',
  ])
    .addOption(new Option('--dir <dir>', 'the PKI folder').default('./pki').env('PKI_DIR'))
    .option('--passphrase-file <file>', 'private file with the passphrase of the CA key; asked for otherwise')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--json', 'print JSON')
  const init = root
    .command('init', { isDefault: true })
    .description('make the folder: CA, server, first tenant, auditor, administrator, probes (the default)')
    .option('--server-name <name>', 'DNS name or address of the server (repeat)', several)
    .option('--host <name>', 'where clients connect; the first server name by default')
    .addOption(new Option('--port <n>', 'port').argParser(number('--port')))
    .option('--tenant <label>', 'the first tenant (default: tenant-a)')
    .option('--account <name>', "its application's account (default: app_user)")
    .option('--kms-key <uri>', "the first tenant's KMS key (repeat)", several)
    .option('--origin-host <name>', "the first part of the log's origin (default: ztmysql.local)")
    .option('--probes-dir <dir>', 'where the database host keeps pki_probes.tar.gz unpacked')
  init.action(async () => {
    const { runInit } = await import('../lib/pki_command.ts')
    await runInit(init.optsWithGlobals())
  })
  accountCommands(root)
  tenantCommands(root)
  folderCommands(root)
  return root
}

if (import.meta.main) await runMain(main())
