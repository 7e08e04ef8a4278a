/**
 * chain_verify: holds a trail (live database or export) against the auditor's own anchors, trust folder and receipts.
 * Exit 0: nothing found. 1: something was. 3: could not judge. It never takes a key or a count from what it judges.
 */
import { addChainCommands, sourceOptions, trustOptions } from '../lib/chain_command.ts'
import { type Command, command, Option, print, runMain, say, wholeNumber } from '../lib/cli.ts'
import type { EngineName } from '../lib/edge/native_engine.ts'
import { progress } from '../lib/progress.ts'

interface Options {
  trust: string
  anchors: string
  caSha256?: string
  receipts?: string
  file?: string
  defaultsFile?: string
  socket?: string
  user?: string
  signatures: 'last' | 'all'
  gap: string
  asOf?: string
  since?: string
  saveBase?: string
  only?: 'chain'
  engine: EngineName
  threads?: string
  idle: string
  json?: boolean
  out?: string
}

function main(): Command {
  const cmd = command(
    'chain_verify',
    'Verify the audit trail of a zero-trust MySQL against anchors and receipts.',
    [
      'chain_verify --trust trust --anchors anchors --defaults-file clients/auditor.cnf',
      'chain_verify --trust trust --anchors anchors --file trail.ndjson --json',
      'chain_verify export --defaults-file clients/auditor.cnf --out trail.ndjson',
      'chain_verify prove EVENT --trust trust --anchors anchors --file trail.ndjson',
      'chain_verify check-proof EVENT.tlog-proof --trust trust --receipt receipts/EVENT.json',
      'chain_verify anchors-from-log received.log --out anchors',
    ],
  )
  sourceOptions(trustOptions(cmd.command('verify', { isDefault: true })))
    .description('judge a trail (the default)')
    .option('--receipts <dir>', "a client's receipts")
    .addOption(
      new Option('--signatures <which>', "check the signature of each row's last event, or of all")
        .choices(['last', 'all'])
        .default('last'),
    )
    .option('--gap <seconds>', 'longest time between two anchors', '300')
    .option('--as-of <number>', 'leave anchors after this one out: the export is older than they are')
    .option(
      '--since <base>',
      'begin behind what was verified before: a file of --save-base, or an anchor’s number',
    )
    .option('--save-base <file>', 'keep where a later run can begin, if this one finds nothing')
    .addOption(
      new Option(
        '--only <what>',
        'chain: hashes, tree and anchors, no rows and no writers’ signatures',
      ).choices(['chain']),
    )
    .option('--idle <seconds>', 'how long a live server may send nothing', '120')
    .option('--threads <number>', 'helper threads; 0: none (default: one a core)')
    .option('--json', 'print the verdict as JSON')
    .action(async ({ asOf, gap, threads, idle, ...options }: Options) => {
      const { judgeTrail } = await import('../lib/edge/verify.ts')
      const { formatVerdict, verdictJson } = await import('../lib/core/audit/verdict_text.ts')
      const gapSeconds = wholeNumber('--gap', gap)
      const limit = {
        idle: wholeNumber('--idle', idle),
        ...(asOf === undefined ? {} : { asOf: wholeNumber('--as-of', asOf) }),
        ...(threads === undefined ? {} : { threads: wholeNumber('--threads', threads, 0) }),
      }
      const [anchors, bar] = [progress('checking', 'anchors'), progress('verifying', 'events')]
      const onEvents = (done: number, total: number) => {
        anchors.stop()
        bar.update(done, total)
      }
      const verdict = await judgeTrail({ ...options, ...limit, gapSeconds }, onEvents, anchors.update)
      anchors.stop()
      bar.stop()
      print(options.json ? JSON.stringify(verdictJson(verdict)) : formatVerdict(verdict))
      process.exitCode = verdict.ok ? 0 : 1
    })
  addChainCommands(cmd)
  cmd
    .command('anchors-from-log <file...>')
    .description('write the anchors that a log host received to a folder for --anchors; oldest file first')
    .addOption(new Option('--out <dir>', 'the folder to make').makeOptionMandatory())
    .option('--json', 'print JSON')
    .action(async (files: string[], { out = '', json }: Options) => {
      const { anchorsFromLog } = await import('../lib/edge/anchors_from_log.ts')
      const { anchors, first, last, again, faults } = await anchorsFromLog(files, out)
      if (json) print(JSON.stringify({ out, anchors, first, last, again, faults }))
      else print(`${out}: ${anchors} anchors, ${first} to ${last}; ${again} lines were received again`)
      for (const { file, line, detail } of faults) say(`FAIL ${file}:${line}: ${detail}`)
      process.exitCode = faults.length > 0 ? 1 : 0
    })
  cmd
    .command('findings')
    .description('print every finding and what it means, as Markdown')
    .action(async () => {
      const { findingsMarkdown } = await import('../lib/core/audit/verdict_text.ts')
      print(findingsMarkdown())
    })
  return cmd
}

if (import.meta.main) await runMain(main())
