/**
 * openscap_scan: scans this host with OpenSCAP against a published hardening guide, and keeps results, report and a
 * summary where the proof suite finds them. Exit 0: every rule passed. 1: some did not. 3: could not scan.
 */
import { type Command, command, print, runMain, say } from '../lib/cli.ts'
import { scanFolder } from '../lib/core/openscap.ts'

interface Options {
  content?: string
  profile: string
  out: string
  list?: boolean
  json?: boolean
}

async function run({ content, profile, out, list, json }: Options): Promise<void> {
  const { openContent, scanHost } = await import('../lib/edge/openscap.ts')
  const { formatProfiles, formatScan } = await import('../lib/core/openscap_text.ts')
  const opened = await openContent(content)
  if (list) {
    print(json ? JSON.stringify(opened.profiles) : formatProfiles(opened.profiles))
    return
  }
  say(`scanning with ${opened.path} (a minute or more)`)
  const scan = await scanHost(opened, profile, out)
  print(json ? JSON.stringify(scan) : formatScan(scan))
  process.exitCode = scan.failed.length > 0 ? 1 : 0
}

function main(): Command {
  return command('openscap_scan', 'Scan this host with OpenSCAP, and keep the results as evidence.', [
    'sudo openscap_scan',
    'openscap_scan --list',
    'sudo openscap_scan --profile cis_level1_server --json',
    'sudo openscap_scan --content ./ssg-debian13-ds.xml --profile stig',
  ])
    .option('--content <file>', 'SCAP data stream (default: the one installed for this system)')
    .option('--profile <name>', 'cis, stig, or a name that --list prints', 'cis')
    .option('--out <dir>', 'private folder for results.xml (ARF), report.html and summary.json', scanFolder)
    .option('--list', 'print the profiles and end')
    .option('--json', 'print JSON')
    .action(run)
}

if (import.meta.main) await runMain(main())
