import { describe, expect, test } from 'bun:test'
import {
  chooseProfile,
  contentName,
  countApparmor,
  formatScanSummary,
  parseProfiles,
  parseProviders,
  parseScanSummary,
  type ScanSummary,
} from '../../lib/core/openscap.ts'
import { countResults, failedRules, parseResults } from '../../lib/core/openscap_results.ts'
import { formatScan } from '../../lib/core/openscap_text.ts'

const rule = (name: string, severity: string, result: string) =>
  `<rule-result idref="xccdf_org.ssgproject.content_rule_${name}" role="full" severity="${severity}" weight="1.0">
     <result>${result}</result><check system="x"/></rule-result>`

// As oscap 1.4 writes it, much shortened: the benchmark with its rules, then the result of the test.
const arf = `<arf:asset-report-collection>
  <xccdf-1.2:Rule selected="false" id="xccdf_org.ssgproject.content_rule_a" severity="high">
    <xccdf-1.2:title xml:lang="en-US">Use A &amp; <html:code>B</html:code></xccdf-1.2:title></xccdf-1.2:Rule>
  <xccdf-1.2:Rule id="xccdf_org.ssgproject.content_rule_b" severity="low"><xccdf-1.2:title>No B</xccdf-1.2:title></xccdf-1.2:Rule>
  <TestResult>${rule('a', 'high', 'fail')}${rule('b', 'low', 'pass')}${rule('c', 'medium', 'error')}${rule('d', 'low', 'notselected')}
  <score system="urn:xccdf:scoring:default" maximum="100.000000">72.204636</score></TestResult></arf:asset-report-collection>`

describe('results', () => {
  test('are counted with their titles; an unselected rule is none, and a check that could not tell is no pass', () => {
    const { rules, score } = parseResults(arf)
    expect(score).toBe(72.204636)
    expect(countResults(rules)).toEqual({ pass: 1, fail: 1, error: 1 })
    expect(failedRules(rules)).toEqual([
      { id: 'xccdf_org.ssgproject.content_rule_a', title: 'Use A & B', severity: 'high', result: 'fail' },
      {
        id: 'xccdf_org.ssgproject.content_rule_c',
        title: 'xccdf_org.ssgproject.content_rule_c',
        severity: 'medium',
        result: 'error',
      },
    ])
  })

  test('without a rule, or with a rule that has no known result, are refused', () => {
    expect(() => parseResults('<TestResult></TestResult>')).toThrow("oscap's results have no rule")
    expect(() => parseResults(arf.replace('>fail<', '>fine<'))).toThrow(
      "oscap's results have none for rule xccdf_org.ssgproject.content_rule_a",
    )
  })
})

describe('profiles', () => {
  const profiles = parseProfiles(
    [
      'xccdf_org.ssgproject.content_profile_cis_level1_server:CIS Debian Benchmark for Level 1 - Server',
      'xccdf_org.ssgproject.content_profile_cis_level2_server:CIS Debian Benchmark for Level 2 - Server',
      'xccdf_org.ssgproject.content_profile_standard:Standard: for all\n',
    ].join('\n'),
  )

  test('are chosen by id, by short id, and by the name of a standard', () => {
    expect(chooseProfile(profiles, 'cis', 'x').title).toBe('CIS Debian Benchmark for Level 2 - Server')
    expect(chooseProfile(profiles, 'cis_level1_server', 'x').title).toContain('Level 1')
    expect(chooseProfile(profiles, 'xccdf_org.ssgproject.content_profile_standard', 'x').title).toBe(
      'Standard: for all',
    )
  })

  test('that are not there are named, with those that are', () => {
    expect(() => chooseProfile(profiles, 'stig', 'ssg-debian13-ds.xml')).toThrow(
      'ssg-debian13-ds.xml has no STIG profile',
    )
    expect(() => chooseProfile(profiles, 'pci', 'x')).toThrow('x has no profile "pci"')
    expect(() => parseProfiles('')).toThrow('the content has no profile')
    expect(() => parseProfiles('W: oscap: something else')).toThrow('oscap lists a profile as')
  })
})

test.each([
  ['debian', '13', 'ssg-debian13-ds.xml'],
  ['ubuntu', '24.04', 'ssg-ubuntu2404-ds.xml'],
  ['debian', undefined, undefined],
] as const)('the content for %p %p is %p', (id, versionId, name) => {
  expect(contentName(id, versionId)).toBe(name)
})

test('reads what openssl and AppArmor say', () => {
  const block = (id: string, name: string) =>
    `  ${id}\n    name: ${name}\n    version: 3.5.4\n    status: active\n`
  expect(
    parseProviders(`Providers:\n${block('default', 'OpenSSL Default')}${block('fips', 'FIPS')}`),
  ).toEqual(['default 3.5.4 active', 'fips 3.5.4 active'])
  expect(parseProviders('Providers:\n')).toEqual([])
  expect(countApparmor('/usr/sbin/mysqld (enforce)\nman (complain)\nx (enforce)\n')).toEqual({
    enforce: 2,
    complain: 1,
  })
})

const scan: ScanSummary = {
  v: 1,
  kind: 'ztmysql-scan',
  version: '0.1.0',
  time: '2026-11-24T14:00:00.000000Z',
  host: 'h1',
  system: 'Debian GNU/Linux 13 (trixie)',
  scanner: 'OpenSCAP command line tool (oscap) 1.4.2',
  content: { path: '/usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml', sha256: 'ab' },
  profile: 'xccdf_org.ssgproject.content_profile_cis_level2_server',
  title: 'CIS Debian Benchmark for Level 2 - Server',
  counts: countResults(parseResults(arf).rules),
  score: 72.204636,
  failed: failedRules(parseResults(arf).rules),
  state: { fips: '0', opensslProviders: ['default 3.5.4 active'], apparmor: null, selinux: null },
  files: [{ path: '/var/lib/ztmysql/scan/results.xml', sha256: 'cd' }],
}

test('a summary has one spelling, and reads well', () => {
  expect(parseScanSummary(formatScanSummary(scan), 'x')).toEqual(scan)
  expect(() => parseScanSummary(formatScanSummary(scan).replace('"fail":1', '"fail": 1'), 'x')).toThrow(
    'not in canonical form',
  )
  expect(formatScan(scan)).toBe(
    [
      'CIS Debian Benchmark for Level 2 - Server on h1 (Debian GNU/Linux 13 (trixie))',
      'FAIL  high    a: Use A & B',
      'ERROR  medium  c: xccdf_org.ssgproject.content_rule_c',
      '1 pass, 1 fail, 1 error; score 72.2 of 100',
      'FIPS mode: off',
      'OpenSSL providers: default 3.5.4 active',
      'AppArmor: not running',
      'SELinux: not running',
      'OpenSCAP command line tool (oscap) 1.4.2, /usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml',
      'wrote /var/lib/ztmysql/scan/results.xml',
    ].join('\n'),
  )
})
