#!/usr/bin/env bun
/**
 * pq_envelope_cli: seals people into the database and reads them back, without anybody handling a key.
 * Every write is signed by the client's certificate key, and its receipt is kept.
 */
import { type Command, command, Option, print, runMain, say, wholeNumber } from '../lib/cli.ts'
import type { ClientFlags, FindFlags, KmsFlags, SealFlags, TenantKeyFlags } from '../lib/client/actions.ts'
import type { ExportFlags, ImportFlags } from '../lib/client/bulk_actions.ts'
import type { RecoverFlags } from '../lib/client/recover_action.ts'
import type { RotateFlags } from '../lib/client/rotate_action.ts'
import type { ShredFlags } from '../lib/client/shred_action.ts'
import type { VerifyFlags } from '../lib/client/verified.ts'
import { ZtError } from '../lib/core/errors.ts'

const load = () => import('../lib/client/actions.ts')
const bulk = () => import('../lib/client/bulk_actions.ts')

const kemOption = (cmd: Command): Command =>
  cmd.option('--kem <file>', "the tenant's ML-KEM-768 key file, where the hybrid wrap is used")

const kmsOptions = (cmd: Command): Command =>
  cmd
    .option('--allow-remote-emulator', 'accept a KMS emulator on another machine, over an unencrypted link')
    .addOption(
      new Option('--pkcs11-module <file>', 'library of the HSM, for a pkcs11: key').env('PKCS11_MODULE'),
    )
    .addOption(
      new Option('--pin-file <file>', "private file with the token's PIN, in place of the prompt").env(
        'PKCS11_PIN_FILE',
      ),
    )

const trustOptions = (cmd: Command): Command =>
  cmd
    .addOption(new Option('--trust <dir>', 'trust folder').env('TRUST_DIR').default('trust'))
    .option('--ca-sha256 <hex>', 'SHA-256 of the CA certificate, got by another way than the folder')

const clientOptions = (cmd: Command): Command =>
  kmsOptions(trustOptions(cmd))
    .addOption(
      new Option(
        '--kem <file>',
        "the tenant's ML-KEM-768 key file, where the hybrid wrap is used; again for an earlier one",
      ).argParser((file: string, before: string[] | undefined) => [...(before ?? []), file]),
    )
    .addOption(new Option('--defaults-file <file>', 'option file of the account').env('ZT_DEFAULTS_FILE'))
    .option('--account <name>', 'account whose option file is in the clients folder', 'app_user')
    .addOption(new Option('--clients-dir <dir>', 'clients folder').env('CLIENTS_DIR').default('clients'))
    .addOption(
      new Option('--receipts <dir>', 'where receipts are kept').env('RECEIPTS_DIR').default('receipts'),
    )
    .option(
      '--kms-key <key>',
      "the tenant's KMS key: to wrap under it, or where the trust folder does not list it",
    )
    .option('--tenant <tenant>', 'UUID or label; must be the one of the certificate')
    .option('--table <name>', 'protected table', 'users')

const passphraseOption = (cmd: Command): Command =>
  cmd.option('--passphrase-file <file>', 'private file with the passphrase, in place of the prompt')

const inputOption = (cmd: Command): Command =>
  cmd.requiredOption('--input <file>', 'JSON of the person; - is stdin')

const main = command('pq_envelope_cli', 'Seal records into the database, and read them back.', [
  'pq_envelope_cli create --input person.json',
  'pq_envelope_cli read 3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f',
  'pq_envelope_cli import people.csv',
  'pq_envelope_cli find --input - <<< \'{"email":"ada@example.org"}\'',
  'pq_envelope_cli keygen --tenant acme --out clients/acme-kem.json',
  'pq_envelope_cli tenant-key --pq --issuer issuers/acme-issuer.json',
  'pq_envelope_cli seal projects/P/locations/L/keyRings/R/cryptoKeys/K 6f1c2a5e-… --input person.json',
])

inputOption(
  clientOptions(main.command('create').description('seal and write a record, or each of a JSON array')),
).action(async (flags: ClientFlags & { input: string }) => {
  for (const line of await (await load()).create(flags, say)) print(line)
})

clientOptions(
  main.command('read').description('read, check and open a record, or every one').argument('[id]'),
)
  .option('--all', 'every live record, one line of JSON each')
  .option(
    '--verify',
    'check the signature of its last event too, and that it is under an anchor of your copy',
  )
  .addOption(new Option('--anchors <dir>', "your own copy of the store's anchors").env('ANCHORS_DIR'))
  .option(
    '--auditor <file>',
    'option file of an auditor, to read the trail (default: the proof by the receipt)',
  )
  .option('--trail <export>', 'an exported trail')
  .action(async (id: string | undefined, flags: VerifyFlags & { all?: boolean; verify?: boolean }) => {
    if ((id === undefined) !== (flags.all === true))
      throw new ZtError('USAGE', 'read wants either an id or --all')
    if (flags.verify === true) {
      if (id === undefined)
        throw new ZtError('USAGE', '--verify is for one record', {
          hint: '`chain_verify` checks every row and every event at once',
        })
      return print(await (await import('../lib/client/verified.ts')).readVerified(id, flags, say))
    }
    const actions = await load()
    if (id === undefined) await actions.readAll(flags, print, say)
    else print(await actions.read(id, flags, say))
  })

clientOptions(main.command('find').description('find records by what their sealed columns equal'))
  .option('--email <address>', 'an e-mail address')
  .option('--phone <number>', 'a telephone number in international form')
  .option('--name <name>', 'a name, where the table has an index for it')
  .option('--input <file>', 'JSON such as {"email":"ada@example.org"}, in place of arguments; - is stdin')
  .action(async (flags: FindFlags) => (await load()).find(flags, print, say))

inputOption(
  clientOptions(main.command('update').description('replace every member of a record').argument('<id>')),
).action(async (id: string, flags: ClientFlags & { input: string }) =>
  print(await (await load()).update(id, flags, say)),
)

clientOptions(
  main
    .command('erase')
    .description('destroy the key and the cells of a record (backups keep theirs)')
    .argument('<id>'),
)
  .option('--yes', 'do it')
  .action(async (id: string, flags: ClientFlags & { yes?: boolean }) =>
    print(await (await load()).erase(id, flags, say)),
  )

clientOptions(main.command('resend').description('send writes again whose receipt never came')).action(
  async (flags: ClientFlags) => {
    for (const line of await (await load()).resend(flags, say)) print(line)
  },
)

clientOptions(
  main
    .command('import')
    .description('write every record of a CSV or JSON-lines file; - is stdin')
    .argument('<file>'),
)
  .addOption(new Option('--format <format>', 'default: what the input looks like').choices(['csv', 'jsonl']))
  .option('--delimiter <character>', 'of CSV', ',')
  .option('--checkpoint <file>', 'how far it has come (default: FILE.import.json)')
  .option('--rejects <file>', 'which lines were refused, and why (default: FILE.rejects.jsonl)')
  .option('--patience <seconds>', 'how long to wait at a closed gate', '600')
  .action(async (file: string, flags: Omit<ImportFlags, 'patience'> & { patience: string }) => {
    const patience = wholeNumber('--patience', flags.patience, 0)
    const [{ importFile }, { progress }] = await Promise.all([bulk(), import('../lib/progress.ts')])
    const bar = progress('import', 'records')
    const { line, complete } = await importFile(file, { ...flags, patience }, bar, say)
    print(line)
    if (!complete) process.exitCode = 1
  })

clientOptions(main.command('export').description('decrypt every live record into a file'))
  .requiredOption('--out <file>', 'private file that is made; - is stdout')
  .addOption(new Option('--format <format>', 'of the output').choices(['csv', 'jsonl']).default('jsonl'))
  .option('--yes', 'do it: what is written is plaintext')
  .action(async (flags: ExportFlags) => {
    const line = await (await bulk()).exportRows(flags, print, say)
    if (line !== undefined) print(line)
  })

passphraseOption(
  clientOptions(main.command('tenant-key').description("make, wrap and sign the tenant's data keys")),
)
  .option('--issuer <file>', "the tenant's key issuer (default: issuers/LABEL-issuer.json)")
  .option('--purpose <purpose...>', 'record or blind:TABLE.COLUMN (default: all that the tables need)')
  .option('--pq', 'wrap for the ML-KEM-768 key too: both secrets are needed to open')
  .action(async (flags: TenantKeyFlags) => {
    for (const line of await (await load()).tenantKey(flags, say)) print(line)
  })

passphraseOption(
  clientOptions(
    main
      .command('rotate')
      .description(
        'rotate keys: what is asked for, and what was begun or has an older key than the trust folder',
      ),
  ),
)
  .option('--plan', 'say what would be done, and how much of it')
  .option('--dek', 'a new data key for records, and every record key under it')
  .option('--blind <column...>', 'a new blind-index key for TABLE.COLUMN, and its column rewritten')
  .option('--wraps', 'wrap every data key again: after a new version of the KMS key')
  .option('--pq', 'wrap for the ML-KEM-768 key too')
  .option('--issuer <file>', "the tenant's key issuer, for new keys (default: issuers/LABEL-issuer.json)")
  .option('--patience <seconds>', 'how long to wait at a closed gate', '600')
  .action(async (flags: Omit<RotateFlags, 'patience'> & { patience: string }) => {
    const patience = wholeNumber('--patience', flags.patience, 0)
    const { rotate } = await import('../lib/client/rotate_action.ts')
    await rotate({ ...flags, patience }, print, say)
  })

passphraseOption(
  clientOptions(
    main
      .command('shred-epoch')
      .description(
        'renew every key, then destroy the old versions: what was erased dies in backups and binary logs too',
      ),
  ),
)
  .option('--plan', 'say what would be done, and by when erasures are complete')
  .option('--yes', 'do it: backups and sealed records from before lose their data')
  .option('--kms-admin <file>', 'credentials that may make and destroy key versions (default: the same)')
  .option('--issuer <file>', "the tenant's key issuer (default: issuers/LABEL-issuer.json)")
  .option('--patience <seconds>', 'how long to wait at a closed gate', '600')
  .option('--settle <seconds>', 'how long other writers may go on with a retired key', '65')
  .action(async (flags: Omit<ShredFlags, 'patience' | 'settle'> & { patience: string; settle: string }) => {
    const patience = wholeNumber('--patience', flags.patience, 0)
    const settle = wholeNumber('--settle', flags.settle, 0)
    const { shredEpoch } = await import('../lib/client/shred_action.ts')
    await shredEpoch({ ...flags, patience, settle }, print, say)
  })

passphraseOption(trustOptions(main.command('keygen').description("make a tenant's ML-KEM-768 pair")))
  .requiredOption('--tenant <tenant>', 'UUID or label')
  .requiredOption('--out <file>', 'private key file; the .pub and the recovery copy lie beside it')
  .action(async (flags: { tenant: string; out: string; trust: string }) =>
    print(await (await load()).keygen(flags)),
  )

passphraseOption(
  clientOptions(
    main.command('recover').description('open a sealed recovery copy of a key').argument('<copy>'),
  ),
)
  .option('--check', 'a drill: open with the copy what it is for, and write nothing')
  .option('--out <file>', 'write the private key file again')
  .action(async (copy: string, flags: RecoverFlags) =>
    print(await (await import('../lib/client/recover_action.ts')).recover(copy, flags, say)),
  )

kemOption(
  kmsOptions(
    main
      .command('seal', { isDefault: true })
      .description('print a sealed record that needs no database (the default command)')
      .argument('<kms-key>', 'projects/…, gcp-kms://…, pkcs11:token=T;object=K, or file:///… for trials')
      .argument('<tenant>', 'UUID')
      .argument('[full-name]')
      .argument('[role]')
      .argument('[email]')
      .argument('[phone]'),
  ),
)
  .option('--input <file>', 'JSON of the person, in place of arguments; - is stdin')
  .option('--pq', 'wrap for the key of --kem too')
  .option('--table <name>', 'protected table', 'users')
  .action(async (key: string, tenant: string, ...rest: unknown[]) => {
    const [full_name, role, email, phone, flags] = rest as [...(string | undefined)[], SealFlags] as [
      string | undefined,
      string | undefined,
      string | undefined,
      string | undefined,
      SealFlags,
    ]
    print(await (await load()).seal(key, tenant, { full_name, role, email, phone }, flags, say))
  })

kemOption(kmsOptions(main.command('open').description('open a sealed record')))
  .requiredOption('--input <file>', 'the sealed record; - is stdin')
  .action(async (flags: KmsFlags & { kem?: string; input: string }) =>
    print(await (await load()).open(flags, say)),
  )

main
  .command('file-key')
  .description('make a key in a file, for trials: nothing protects it from whoever reads the file')
  .argument('<file>')
  .option('--rotate', 'a new version of it')
  .action(async (file: string, flags: { rotate?: boolean }) =>
    print(await (await import('../lib/client/file_key.ts')).fileKey(file, flags)),
  )

// The program starts itself with it: an HSM's library is loaded in a process of its own.
main.command('pkcs11-module', { hidden: true }).action(async () => {
  const { serve } = await import('../lib/edge/kms_pkcs11/child.ts')
  serve()
})

if (import.meta.main) await runMain(main)
