/** A scan's summary for a person. */
import { type Profile, type ScanSummary, shortId } from './openscap.ts'

export const formatProfiles = (profiles: Profile[]): string =>
  profiles.map(profile => `${shortId(profile)}  ${profile.title}`).join('\n')

const severities = ['high', 'medium', 'low', 'unknown']

function formatState({ state }: ScanSummary): string[] {
  const { fips, opensslProviders, apparmor, selinux } = state
  return [
    `FIPS mode: ${fips === null ? 'this kernel has none' : fips === '1' ? 'on' : 'off'}`,
    `OpenSSL providers: ${opensslProviders?.join(', ') ?? 'openssl is not installed'}`,
    `AppArmor: ${apparmor === null ? 'not running' : `${apparmor.enforce} profiles enforce, ${apparmor.complain} complain`}`,
    `SELinux: ${selinux ?? 'not running'}`,
  ]
}

export function formatScan(scan: ScanSummary): string {
  const counts = Object.entries(scan.counts).map(([name, n]) => `${n} ${name}`)
  const place = (severity: string) => (severities.indexOf(severity) + severities.length) % severities.length
  const failed = scan.failed.toSorted((a, b) => place(a.severity) - place(b.severity))
  return [
    `${scan.title} on ${scan.host} (${scan.system})`,
    ...failed.map(({ result, severity, id, title }) => {
      const rule = id.replace(/^xccdf_[^_]+_rule_/, '')
      return `${result.toUpperCase()}  ${severity.padEnd(7)} ${rule}: ${title}`
    }),
    counts.join(', ') + (scan.score === null ? '' : `; score ${scan.score.toFixed(1)} of 100`),
    ...formatState(scan),
    `${scan.scanner}, ${scan.content.path}`,
    ...scan.files.map(({ path }) => `wrote ${path}`),
  ].join('\n')
}
