/** OpenSCAP scans: which content and profile fit a host, what oscap's results say, and the summary that is kept. */
import { z } from 'zod'
import type { Bytes } from './bytes.ts'
import { ZtError } from './errors.ts'
import { formatCanonical, parseCanonical } from './json.ts'

/** XCCDF 1.2 §6.6.4.2: what a rule's check can end with. */
export const ruleResults = [
  'pass',
  'fail',
  'error',
  'unknown',
  'notapplicable',
  'notchecked',
  'notselected',
  'informational',
  'fixed',
] as const

export const ruleResult = z.enum(ruleResults)
export type RuleResult = z.infer<typeof ruleResult>

const rule = z.strictObject({ id: z.string(), title: z.string(), severity: z.string(), result: ruleResult })
export type Rule = z.infer<typeof rule>

const file = z.strictObject({ path: z.string(), sha256: z.string() })

/** What the host says of the mechanisms that a hardening guide asks for. */
const state = z.strictObject({
  /** /proc/sys/crypto/fips_enabled; null where the kernel has no FIPS mode. */
  fips: z.string().nullable(),
  /** `name version status` of each provider that OpenSSL has loaded; null where there is no OpenSSL command. */
  opensslProviders: z.array(z.string()).nullable(),
  /** Null where the kernel runs none; else how many profiles enforce and how many complain. */
  apparmor: z.strictObject({ enforce: z.int(), complain: z.int() }).nullable(),
  /** `enforcing` or `permissive`; null where the kernel runs none. */
  selinux: z.string().nullable(),
})
export type SecurityState = z.infer<typeof state>

const summary = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-scan'),
  /** Of the program that wrote it. */
  version: z.string(),
  time: z.string(),
  host: z.string(),
  system: z.string(),
  scanner: z.string(),
  content: file,
  profile: z.string(),
  title: z.string(),
  /** Rules by result, those not selected left out. */
  counts: z.record(z.string(), z.int()),
  /** Of 100, as the content weighs its rules. */
  score: z.number().nullable(),
  /** Rules that failed, or whose check could not tell. */
  failed: z.array(rule),
  state,
  /** What is kept beside the summary: the results and the report for people. */
  files: z.array(file),
})
export type ScanSummary = z.infer<typeof summary>

/** Where `openscap_scan` leaves its last results, and the proof suite looks for them. */
export const scanFolder = '/var/lib/ztmysql/scan'
export const summaryName = 'summary.json'
export const scanArfName = 'results.xml'
export const scanMaxBytes = 1 << 22

/** Where a bundle has what the scan found. */
export const scanResultsName = 'openscap/results.xml'
/** Of a thousand rules, several times over. */
export const scanResultsMaxBytes = 4 << 20

/** The observation `scan`, or undefined where it has another shape. */
export const readScanSummary = (value: unknown): ScanSummary | undefined => summary.safeParse(value).data

/** @throws BAD_FORMAT, NEWER_FORMAT */
export const parseScanSummary = (source: Bytes | string, what: string): ScanSummary =>
  parseCanonical(source, summary, what, { maxBytes: scanMaxBytes, newline: true })

export const formatScanSummary = (value: ScanSummary): string => formatCanonical(value, true)

/** Folders that the distributions put SCAP content in. */
export const contentFolders = ['/usr/share/xml/scap/ssg/content', '/usr/share/scap-security-guide']

/** The data stream of a system in the naming of ComplianceAsCode: ssg-debian13-ds.xml, ssg-ubuntu2404-ds.xml. */
export function contentName(id: string, versionId: string | undefined): string | undefined {
  return versionId === undefined ? undefined : `ssg-${id}${versionId.replaceAll('.', '')}-ds.xml`
}

/** The packages that have oscap and the content, by /etc/os-release's ID. */
export function scapPackages(id: string): { scanner: string; content: string } {
  if (id === 'debian') return { scanner: 'openscap-scanner', content: 'ssg-debian' }
  if (id === 'ubuntu') return { scanner: 'openscap-scanner', content: 'ssg-debderived' }
  return { scanner: 'openscap-scanner', content: 'scap-security-guide' }
}

export interface Profile {
  id: string
  title: string
}

/** What `oscap info --profiles` prints: `id:title`, a line each. @throws BAD_FORMAT */
export function parseProfiles(text: string): Profile[] {
  const profiles = text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [, id, title] = /^(xccdf_[A-Za-z0-9_.-]+):(.*)$/.exec(line) ?? []
      if (id === undefined || title === undefined)
        throw new ZtError('BAD_FORMAT', `oscap lists a profile as ${JSON.stringify(line)}`)
      return { id, title }
    })
  if (profiles.length === 0) throw new ZtError('NOT_FOUND', 'the content has no profile')
  return profiles
}

const prefix = /^xccdf_[^_]+_profile_/

/** As people type it: without what every profile's id begins with. */
export const shortId = ({ id }: Profile): string => id.replace(prefix, '')

/** In order of preference, for the names of a whole standard. Level 2 of CIS holds level 1. */
const families: Record<string, string[]> = {
  cis: ['cis_level2_server', 'cis', 'cis_server_l2', 'cis_level1_server', 'cis_server_l1'],
  stig: ['stig', 'stig_gui'],
}

/**
 * The profile that a person names: by its id, its short id, or `cis` or `stig`.
 * @throws NOT_FOUND naming what there is
 */
export function chooseProfile(profiles: Profile[], name: string, content: string): Profile {
  const wanted = [name, ...(families[name] ?? [])]
  const found = wanted
    .map(each => profiles.find(profile => profile.id === each || shortId(profile) === each))
    .find(profile => profile !== undefined)
  if (found) return found
  const what = name in families ? `no ${name.toUpperCase()} profile` : `no profile ${JSON.stringify(name)}`
  throw new ZtError('NOT_FOUND', `${content} has ${what}`, {
    hint: `give --profile one of ${profiles.map(shortId).join(', ')}`,
  })
}

/** The profiles that /sys/kernel/security/apparmor/profiles lists, `name (mode)` a line, by their mode. */
export function countApparmor(text: string): { enforce: number; complain: number } {
  const of = (mode: string) => text.split('\n').filter(line => line.endsWith(`(${mode})`)).length
  return { enforce: of('enforce'), complain: of('complain') }
}

/** What `openssl list -providers` prints: for each an indented name, then its fields. */
export function parseProviders(text: string): string[] {
  return text
    .split(/\n(?= {2}\S)/)
    .slice(1)
    .map(block => {
      const field = (name: string) => new RegExp(`^\\s+${name}: (.*)$`, 'm').exec(block)?.[1] ?? 'unknown'
      return `${block.split('\n')[0]?.trim()} ${field('version')} ${field('status')}`
    })
}
