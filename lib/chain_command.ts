/** What chain_verify does besides judging: proofs, receipts, archives, schemas. */
import { type Command, Option, print, wholeNumber } from './cli.ts'
import type { EngineName } from './edge/native_engine.ts'
import { progress } from './progress.ts'

interface Options {
  trust: string
  anchors: string
  caSha256?: string
  file?: string
  defaultsFile?: string
  socket?: string
  user?: string
  engine: EngineName
  out?: string
  payload?: string
  receipt?: string
  json?: boolean
  zstd?: boolean
  from: string
  to: string
  snapshots?: string
}

export function sourceOptions(cmd: Command, file = true): Command {
  cmd
    .addOption(
      new Option('--defaults-file <file>', "a MySQL option file, the auditor's").env('ZT_DEFAULTS_FILE'),
    )
    .option('--socket <path>', 'unix socket of the server')
    .option('--user <name>', 'MySQL user on the socket', 'root')
  return file ? cmd.option('--file <export>', 'an exported trail instead of a live database') : cmd
}

export function trustOptions(cmd: Command, anchors: 'needed' | 'optional' | 'none' = 'needed'): Command {
  cmd
    .addOption(
      new Option('--trust <dir>', 'the trust folder that outside_pki made')
        .env('TRUST_DIR')
        .makeOptionMandatory(),
    )
    .option('--ca-sha256 <hex>', 'pin of the CA certificate')
    .addOption(
      new Option('--engine <name>', 'whose primitives: noble, the platform’s, or both, which must agree')
        .choices(['noble', 'native', 'both'])
        .default('noble'),
    )
  if (anchors === 'none') return cmd
  const option = new Option('--anchors <dir>', "your own copy of the WORM store's anchors").env('ANCHORS_DIR')
  return cmd.addOption(anchors === 'needed' ? option.makeOptionMandatory() : option)
}

const json = (cmd: Command): Command => cmd.option('--json', 'print JSON')

function addProve(cmd: Command): void {
  json(sourceOptions(trustOptions(cmd.command('prove <event>'))))
    .description('prove that one event is in the log: its number or id → EVENT.tlog-proof')
    .option('--out <file>', 'the proof (default: the id of the event and .tlog-proof)')
    .option('--payload <file>', 'write the bytes of the event too')
    .action(async (name: string, options: Options) => {
      const { prove } = await import('./edge/prove.ts')
      const { formatTlogProof } = await import('./core/audit/tlog_proof.ts')
      const { writeFileAtomic } = await import('./edge/files.ts')
      const { ZtError } = await import('./core/errors.ts')
      const bar = progress('reading', 'events')
      const { event, payload, proof, seq } = await prove(name, options, bar.update)
      bar.stop()
      if (!proof)
        throw new ZtError('NOT_FOUND', `event ${seq}: no anchor of your copy covers it yet`, {
          hint: 'an anchor is made each minute: fetch the anchors again',
        })
      const out = options.out ?? `${event.id}.tlog-proof`
      writeFileAtomic(out, formatTlogProof(proof), 0o644)
      if (options.payload !== undefined) writeFileAtomic(options.payload, payload)
      const said = {
        event: event.id,
        index: seq,
        hashes: proof.path.length,
        out,
        payload: options.payload ?? null,
      }
      print(
        options.json
          ? JSON.stringify(said)
          : `${out}: event ${seq}, ${event.id}, ${proof.path.length} hashes`,
      )
    })
  json(trustOptions(cmd.command('check-proof <file>'), 'optional'))
    .description('check such a proof offline, with the trust folder alone')
    .option('--payload <file>', 'the bytes of the event; - for stdin')
    .option(
      '--receipt <file>',
      'a receipt that holds them, or a file of receipts (.receipts), of which one does',
    )
    .action(async (file: string, options: Options) => {
      const { checkProofFile, readPayloads } = await import('./edge/prove.ts')
      const { printable } = await import('./core/printable.ts')
      const payloads = await readPayloads(options.payload, options.receipt)
      const { event, index, checkpoint, anchor, signedBy } = await checkProofFile(file, payloads, options)
      const at = new Date(checkpoint.timestamp * 1000).toISOString()
      if (options.json)
        return print(
          JSON.stringify({
            ok: true,
            event,
            index,
            signedBy,
            anchor: anchor ?? null,
            checkpoint: { origin: checkpoint.origin, size: checkpoint.size, time: at },
          }),
        )
      const done = event.table === null ? event.action : `${event.action} of ${event.table} ${event.key}`
      print(
        printable(
          `event ${index} of ${checkpoint.origin}: ${done} at ${event.time}, signed by ${signedBy ?? 'nobody'}`,
        ),
      )
      print(
        `it is under the checkpoint of ${checkpoint.size} events that the log signed at ${at}${anchor === undefined ? '' : `, anchor ${anchor} of your copy`}`,
      )
    })
}

function addConsistency(cmd: Command): void {
  json(sourceOptions(trustOptions(cmd.command('consistency <a> <b>'))))
    .description('prove that anchor B extends anchor A')
    .option('--out <file>', 'write the proof')
    .action(async (a: string, b: string, options: Options) => {
      const { consistency } = await import('./edge/prove.ts')
      const [from, to] = [wholeNumber('A', a), wholeNumber('B', b)]
      const bar = progress('reading', 'events')
      const { hashes, earlier, later } = await consistency(from, to, options, bar.update)
      bar.stop()
      const text = `anchor ${to} (${later} events) extends anchor ${from} (${earlier} events): ${hashes} hashes`
      print(options.json ? JSON.stringify({ ok: true, from, to, earlier, later, hashes }) : text)
    })
  json(trustOptions(cmd.command('check-consistency <file>'), 'none'))
    .description('check such a proof offline')
    .action(async (file: string, options: Options) => {
      const { checkConsistencyFile } = await import('./edge/prove.ts')
      const { from, to, earlier, later } = await checkConsistencyFile(file, options)
      const text = `anchor ${to} (${later} events) extends anchor ${from} (${earlier} events)`
      print(options.json ? JSON.stringify({ ok: true, from, to, earlier, later }) : text)
    })
}

function addReceipts(cmd: Command): void {
  json(sourceOptions(trustOptions(cmd.command('receipts <dir>'))))
    .description('check the proofs beside receipts, and make those that are missing if a trail is given')
    .action(async (dir: string, options: Options) => {
      const { upgradeReceipts } = await import('./edge/prove.ts')
      const { findingsJson, formatFindings } = await import('./core/audit/verdict_text.ts')
      const bar = progress('reading', 'events')
      const { findings, ...report } = await upgradeReceipts(dir, options, bar.update)
      bar.stop()
      const { receipts, proved, upgraded, ok } = report
      print(
        options.json
          ? JSON.stringify({ v: 1, ...report, ...findingsJson(findings) })
          : [
              `receipts    ${receipts}, of which ${proved} are proved, ${upgraded} of them now`,
              ...formatFindings(findings),
            ].join('\n'),
      )
      process.exitCode = ok ? 0 : 1
    })
}

function addFiles(cmd: Command): void {
  sourceOptions(cmd.command('export'), false)
    .description('write the trail and the rows that it speaks of to a file')
    .addOption(new Option('--out <file>', 'the file to write').makeOptionMandatory())
    .option('--zstd', 'pack it; every command that reads an export knows the two apart')
    .action(async (options: Options) => {
      const { exportTrail } = await import('./edge/export_trail.ts')
      const bar = progress('exporting', 'lines')
      const { events, rows } = await exportTrail(options, options.out ?? '', bar.update)
      bar.stop()
      print(`${options.out}: ${events} events, ${rows} rows`)
    })
  sourceOptions(trustOptions(cmd.command('archive')))
    .description('copy a range of events to a file that verifies and proves by itself; nothing is deleted')
    .option('--from <anchor>', 'begin behind this anchor; 0: at the start', '0')
    .addOption(new Option('--to <anchor>', 'up to this anchor').makeOptionMandatory())
    .addOption(new Option('--out <file>', 'the file to write').makeOptionMandatory())
    .option('--zstd', 'pack it')
    .action(async (options: Options) => {
      const { archiveTrail } = await import('./edge/export_trail.ts')
      const [from, to] = [wholeNumber('--from', options.from, 0), wholeNumber('--to', options.to)]
      const bar = progress('archiving', 'events')
      const done = await archiveTrail({ ...options, from, to, out: options.out ?? '' }, bar.update)
      bar.stop()
      print(
        `${options.out}: events ${done.from} to ${done.size - 1}, behind anchor ${from} up to anchor ${to}`,
      )
    })
}

function addSchema(cmd: Command): void {
  sourceOptions(cmd.command('schema-snapshot'), false)
    .description('keep what the server says of its schema, accounts and settings')
    .addOption(new Option('--out <file>', 'the file to write').makeOptionMandatory())
    .action(async (options: Options) => {
      const { fingerprintOf, liveSnapshot } = await import('./edge/schema_snapshots.ts')
      const { formatSnapshot } = await import('./core/audit/schema_diff.ts')
      const { writeFileAtomic } = await import('./edge/files.ts')
      const objects = await liveSnapshot(options)
      writeFileAtomic(options.out ?? '', formatSnapshot(objects))
      print(`${options.out}: ${objects.length} objects, fingerprint ${fingerprintOf(objects)}`)
    })
  json(sourceOptions(cmd.command('schema-diff <a> <b>'), false))
    .description(
      'say in words what changed between two snapshots, bundles, anchors, or the server now (live)',
    )
    .addOption(new Option('--anchors <dir>', 'to name a snapshot by an anchor').env('ANCHORS_DIR'))
    .option('--snapshots <dir>', 'where snapshots and bundles are sought by their fingerprint')
    .action(async (a: string, b: string, options: Options) => {
      const { fingerprintOf, readSnapshot } = await import('./edge/schema_snapshots.ts')
      const { formatSchemaDiff, schemaDiff } = await import('./core/audit/schema_diff.ts')
      const { printable } = await import('./core/printable.ts')
      const [before, after] = [await readSnapshot(a, options), await readSnapshot(b, options)]
      const changes = schemaDiff(before, after)
      if (options.json)
        print(JSON.stringify({ v: 1, from: fingerprintOf(before), to: fingerprintOf(after), changes }))
      else {
        print(`${a}: fingerprint ${fingerprintOf(before)}`)
        print(`${b}: fingerprint ${fingerprintOf(after)}`)
        for (const line of formatSchemaDiff(changes).split('\n')) print(printable(line))
      }
    })
}

/** Everything but `verify`. */
export function addChainCommands(cmd: Command): void {
  addProve(cmd)
  addConsistency(cmd)
  addReceipts(cmd)
  addFiles(cmd)
  addSchema(cmd)
}
