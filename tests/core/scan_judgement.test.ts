/** A scan in a bundle: what oscap wrote must be what the summary says, and a stranger's results cost nobody time. */
import { expect, test } from 'bun:test'
import { utf8 } from '../../lib/core/bytes.ts'
import type { Json } from '../../lib/core/controls/control.ts'
import { type Rule, scanResultsMaxBytes } from '../../lib/core/openscap.ts'
import { countResults, failedRules, parseTestResult, testResultIn } from '../../lib/core/openscap_results.ts'
import type { Evidence } from '../../lib/core/proof/outcome.ts'
import { judgeScan } from '../../lib/core/proof/scan_judgement.ts'

const profile = 'xccdf_org.ssgproject.content_profile_cis_level2_server'
const rule = (name: string, result: string) =>
  `<rule-result idref="rule_${name}" role="full" severity="high"><result>${result}</result></rule-result>`
const testResult = (rules: string) =>
  `<TestResult xmlns="http://checklists.nist.gov/xccdf/1.2" id="x"><profile idref="${profile}"/>${rules}<score system="urn:xccdf:scoring:default" maximum="100.000000">72.5</score></TestResult>\n`
const sound = testResult(
  rule('a', 'pass') + rule('b', 'fail') + rule('c', 'error') + rule('d', 'notselected'),
)

const rules: Rule[] = parseTestResult(sound).rules.map(each => ({ ...each, title: `title of ${each.id}` }))
const summary = {
  v: 1,
  kind: 'ztmysql-scan',
  version: '0.1.0',
  time: '2026-11-24T14:00:00.000000Z',
  host: 'h1',
  system: 'Debian GNU/Linux 13 (trixie)',
  scanner: 'oscap 1.4.2',
  content: { path: '/ssg-debian13-ds.xml', sha256: 'ab' },
  profile,
  title: 'CIS Level 2',
  counts: countResults(rules),
  score: 72.5,
  failed: failedRules(rules),
  state: { fips: '0', opensslProviders: null, apparmor: null, selinux: null },
  files: [{ path: '/var/lib/ztmysql/scan/results.xml', sha256: 'cd' }],
}

const judged = (change: object = {}, scan: string | undefined = sound) =>
  judgeScan(
    { ...summary, ...change } as unknown as Json,
    {
      scan: scan === undefined ? undefined : utf8(scan),
    } as Evidence,
  )

test('is told with its counts where results and summary agree', () => {
  expect(judged()).toEqual({
    status: 'pass',
    reason: 'CIS Level 2, scanned 2026-11-24T14:00:00.000000Z: 1 rules pass, 1 fail, 1 error',
  })
})

test('fails where they do not, or where one of them is missing', () => {
  const without = judgeScan(summary as unknown as Json, { scan: undefined } as Evidence)
  expect([without.status, without.reason]).toEqual(['fail', 'the bundle has no openscap/results.xml'])
  for (const [change, scan, says] of [
    [{}, sound.replace('>fail<', '>pass<'), 'count other rules'],
    [{}, sound.replace('rule_b', 'rule_x'), 'name other failed rules'],
    [{}, sound.replace('72.5', '99.5'), 'count other rules'],
    [{}, sound.replace('level2', 'level1'), 'the results are of profile'],
    [{}, sound.replace('>fail<', '>fine<'), 'have none for rule rule_b'],
    [{}, '<TestResult></TestResult>', 'have no rule'],
    [{ counts: { pass: 3 } }, sound, 'count other rules'],
    [{ failed: [] }, sound, 'name other failed rules'],
    [{ more: 1 }, sound, 'another shape'],
  ] as const) {
    const { status, reason } = judged(change, scan)
    expect([status, reason]).toEqual(['fail', expect.stringContaining(says)])
  }
})

test('is cut out of what oscap wrote as it stands there', () => {
  const arf = `<arf:x><Benchmark><Rule id="r"><title>T</title></Rule></Benchmark>${sound}</arf:x>`
  expect(testResultIn(arf)).toBe(sound)
  expect(() => testResultIn('<arf:x/>')).toThrow('no TestResult')
  expect(() => testResultIn('<TestResult >')).toThrow('TestResult has no end')
})

test.each([
  ['tags that never end', '<rule-result '],
  ['elements that never end', '<rule-result a="b">'],
  ['results without end', '<result>'],
  ['prefixes', 'x:'],
  ['profiles', '<profile '],
  ['scores', '<score >'],
])('is judged whatever its writer repeats: %s', (_what, part) => {
  // a reader whose time grows with the square would not come back from this
  expect(judged({}, part.repeat(scanResultsMaxBytes / part.length)).status).toBe('fail')
})
