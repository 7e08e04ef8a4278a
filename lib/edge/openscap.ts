/** Runs oscap on this host and keeps what it found. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { parseOsRelease } from '../core/host/distribution.ts'
import {
  chooseProfile,
  contentFolders,
  contentName,
  countApparmor,
  formatScanSummary,
  type Profile,
  parseProfiles,
  parseProviders,
  type ScanSummary,
  type SecurityState,
  scanArfName,
  scapPackages,
  summaryName,
} from '../core/openscap.ts'
import { countResults, failedRules, parseResults } from '../core/openscap_results.ts'
import { formatTime } from '../core/time.ts'
import { version } from '../version.ts'
import { onExit } from './cleanup.ts'
import { makePrivateDir, writeFileAtomic } from './files.ts'
import { ask, must } from './host/system.ts'
import { sha256Hex } from './owned_files.ts'

interface System {
  id: string
  versionId: string | undefined
  name: string
}

function thisSystem(): System {
  const fields = parseOsRelease(readFileSync('/etc/os-release', 'utf8'))
  const id = fields.get('ID') ?? 'unknown'
  return { id, versionId: fields.get('VERSION_ID'), name: fields.get('PRETTY_NAME') ?? id }
}

const install = (name: string): string =>
  existsSync('/usr/bin/apt-get') ? `apt-get install ${name}` : `dnf install ${name}`

async function scannerVersion({ id }: System): Promise<string> {
  try {
    return (await must('oscap', '--version')).split('\n')[0] ?? 'oscap'
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code !== 'MISSING_TOOL') throw thrown
    throw new ZtError('MISSING_TOOL', 'oscap is not installed', { hint: install(scapPackages(id).scanner) })
  }
}

/** Content can hold scripts, which oscap runs as whoever scans. */
function refuseOpenToOthers(path: string): void {
  const stats = statSync(path)
  const trusted = [0, process.geteuid?.() ?? 0]
  if ((stats.mode & 0o022) === 0 && trusted.includes(stats.uid)) return
  throw new ZtError('PERMISSION', `${path}: others can change it, and a scan runs what is in it`, {
    hint: `chown root ${path}; chmod go-w ${path}`,
  })
}

function findContent({ id, versionId, name }: System): string {
  const wanted = contentName(id, versionId)
  const folders = contentFolders.filter(folder => existsSync(folder))
  const found = folders.map(folder => join(folder, wanted ?? '')).find(path => wanted && existsSync(path))
  if (found !== undefined) return found
  const there = folders.flatMap(folder => readdirSync(folder)).filter(file => file.endsWith('-ds.xml'))
  const pack = scapPackages(id).content
  throw new ZtError(
    'NOT_FOUND',
    `no SCAP content for ${name}${there.length > 0 ? `: there is ${there.join(', ')}` : ''}`,
    {
      hint: `${install(pack)} (${wanted === undefined ? 'no release of it names this system' : `a release that has ${wanted}`}), or give --content FILE`,
    },
  )
}

export interface Content {
  system: System
  scanner: string
  path: string
  profiles: Profile[]
}

/** The scanner, the content for this host and its profiles. @throws MISSING_TOOL, NOT_FOUND, PERMISSION, IO */
export async function openContent(given?: string): Promise<Content> {
  const system = thisSystem()
  const scanner = await scannerVersion(system)
  if (given !== undefined && !existsSync(given)) throw new ZtError('NOT_FOUND', `${given}: no such file`)
  const path = given ?? findContent(system)
  refuseOpenToOthers(path)
  return { system, scanner, path, profiles: parseProfiles(await must('oscap', 'info', '--profiles', path)) }
}

const read = (path: string): string | null => (existsSync(path) ? readFileSync(path, 'utf8').trim() : null)

/** @throws what openssl's refusal is */
export async function observeState(): Promise<SecurityState> {
  const selinux = read('/sys/fs/selinux/enforce')
  const apparmor = read('/sys/kernel/security/apparmor/profiles')
  let opensslProviders: string[] | null = null
  try {
    opensslProviders = parseProviders(await must('openssl', 'list', '-providers'))
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code !== 'MISSING_TOOL') throw thrown
  }
  return {
    fips: read('/proc/sys/crypto/fips_enabled'),
    opensslProviders,
    apparmor: apparmor === null ? null : countApparmor(apparmor),
    selinux: selinux === null ? null : selinux === '1' ? 'enforcing' : 'permissive',
  }
}

/** oscap ends with 2 where a rule did not pass: that is an answer. @throws IO with its words where it did not scan */
async function evaluate(content: Content, profile: Profile, arf: string, report: string): Promise<void> {
  const options = ['--profile', profile.id, '--results-arf', arf, '--report', report]
  const { exitCode, stderr, stdout } = await ask('oscap', 'xccdf', 'eval', ...options, content.path)
  if (exitCode === 0 || exitCode === 2) return
  const words = `${stdout.slice(-400)}\n${stderr}`.split('\n').filter(line => line.trim() !== '')
  throw new ZtError('IO', `oscap xccdf eval: exit ${exitCode}: ${words.slice(-4).join(' | ')}`, {
    hint: 'the content may be cut or damaged: install it again',
  })
}

/** Puts the results in place, the summary last: where it is, what it names is. */
function keep(scan: Omit<ScanSummary, 'files'>, temp: string, out: string): ScanSummary {
  const files = [scanArfName, 'report.html'].map(name => {
    const [from, path] = [join(temp, name), join(out, name)]
    const sha256 = sha256Hex(readFileSync(from))
    renameSync(from, path)
    return { path, sha256 }
  })
  const summary = { ...scan, files }
  writeFileAtomic(join(out, summaryName), formatScanSummary(summary))
  return summary
}

/**
 * Scans this host with a profile of the content; results, report and summary go to `out`, a private folder.
 * @throws NOT_FOUND for a profile that is not there; PERMISSION, IO, BAD_FORMAT
 */
export async function scanHost(content: Content, profileName: string, out: string): Promise<ScanSummary> {
  const profile = chooseProfile(content.profiles, profileName, content.path)
  if (process.geteuid?.() !== 0)
    throw new ZtError('PERMISSION', 'a scan reads what only root can', { hint: 'run it with sudo' })
  makePrivateDir(out)
  const temp = mkdtempSync(join(out, '.scan-'))
  const sweep = () => rmSync(temp, { recursive: true, force: true })
  const forget = onExit(sweep)
  try {
    const [arf, report] = [join(temp, scanArfName), join(temp, 'report.html')]
    await evaluate(content, profile, arf, report)
    const { rules, score } = parseResults(readFileSync(arf, 'utf8'))
    const scan = {
      v: 1 as const,
      kind: 'ztmysql-scan' as const,
      version,
      time: formatTime(Date.now() * 1000),
      host: hostname(),
      system: content.system.name,
      scanner: content.scanner,
      content: { path: content.path, sha256: sha256Hex(readFileSync(content.path)) },
      profile: profile.id,
      title: profile.title,
      counts: countResults(rules),
      score,
      failed: failedRules(rules),
      state: await observeState(),
    }
    return keep(scan, temp, out)
  } finally {
    forget()
    sweep()
  }
}
