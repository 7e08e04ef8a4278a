/** The report as Markdown, for a ticket or a wiki. Everything that came with the bundle is text, never markup. */
import type { Report, ReportControl } from './schema.ts'
import {
  byLayer,
  duration,
  gradeMeans,
  layerTitles,
  line,
  moment,
  pinWords,
  sentence,
  tally,
  unmet,
  verdictWords,
} from './words.ts'

/** Marks of Markdown, HTML and tables lose their meaning, and nothing becomes a link or a mention by itself. */
export const md = (text: string): string =>
  line(text)
    .replace(/[\\`*_[\]<>|&~#$]/g, mark => `\\${mark}`)
    .replaceAll('://', '\\://')
    .replaceAll('@', '\\@')
    .replace(/\bwww\./gi, found => `${found.slice(0, 3)}\\.`)
    .replace(/^([-+=]|\d+(?=[.)]))/, '\\$1')

/** Text as it is, in a fence of backticks that it cannot close. */
export function code(text: string): string {
  const shown = line(text)
  const fence = '`'.repeat(Math.max(0, ...[...shown.matchAll(/`+/g)].map(([run]) => run.length)) + 1)
  // in a table cell the bar would begin a new cell even inside code
  return `${fence} ${shown.replaceAll('|', '\\|')} ${fence}`
}

const table = (head: string[], rows: string[][]): string[] => [
  `| ${head.join(' | ')} |`,
  `| ${head.map(() => '---').join(' | ')} |`,
  ...rows.map(cells => `| ${cells.join(' | ')} |`),
]

const verdictOf = ({ verdict, met }: ReportControl): string =>
  met || verdict === 'pass' ? verdictWords[verdict] : `**${verdictWords[verdict]}**`

export function formatMarkdown(report: Report): string {
  const { bundle, trail, anchors } = report
  const bad = unmet(report)
  const used = [...new Set(report.controls.map(({ grade }) => grade))]
  return [
    `# Proof report: ${report.ok ? 'holds' : 'does not hold'}`,
    '',
    `**Verdict:** ${md(sentence(report))}. ${tally(report)}; asked for: ${code(report.requirement)}.`,
    '',
    ...table(
      ['', ''],
      [
        ['log', code(bundle.origin)],
        ['host', `${md(bundle.host)}, ${md(bundle.tool)} (${md(bundle.commit)})`],
        [
          'collected',
          `between ${bundle.opened === null ? 'no anchor' : moment(bundle.opened)} and ${bundle.closed === null ? 'no anchor' : moment(bundle.closed)}`,
        ],
        ['nonce', `${code(bundle.nonce)}, chosen by the ${bundle.nonceAsked ? 'auditor' : 'collector'}`],
        ['manifest', code(bundle.digest)],
        ...(bundle.signer === null ? [] : [['signed by', md(bundle.signer)]]),
        ['judged', `${moment(report.judged.at)} by ${md(report.judged.tool)} (${md(report.judged.commit)})`],
        [
          'trust folder',
          `number ${report.trust.serial}, of ${moment(report.trust.time)}; ${pinWords(report)}`,
        ],
        [
          'trail',
          `${trail.events} events, ${trail.rows} rows, ${trail.anchors} anchors, ${trail.signaturesChecked} signatures checked`,
        ],
      ],
    ),
    ...bad.flatMap(control => [
      '',
      `## ${verdictWords[control.verdict]}: ${control.id}`,
      '',
      `${md(control.claim)}.`,
      '',
      md(control.reason),
      ...(control.hint === null ? [] : ['', `Hint: ${md(control.hint)}.`]),
    ]),
    ...(report.unknownObservations.length === 0
      ? []
      : [
          '',
          `Observations of no control of this release: ${report.unknownObservations.map(code).join(', ')}.`,
        ]),
    '',
    '## Controls',
    ...byLayer(report.controls).flatMap(([layer, controls]) => [
      '',
      `### ${layerTitles[layer]}`,
      '',
      ...table(
        ['control', 'verdict', 'grade', 'status', 'claim', 'why'],
        controls.map(c => [c.id, verdictOf(c), c.grade, c.status, md(c.claim), md(c.reason)]),
      ),
    ]),
    '',
    ...used.map(grade => `- *${grade}*: ${gradeMeans[grade]}`),
    '',
    '## Findings in the trail',
    '',
    ...(report.findings.length === 0
      ? ['None.']
      : table(
          ['finding', 'severity', 'where', 'what', 'means'],
          report.findings.map(f => [code(f.code), f.severity, md(f.where), md(f.what), md(f.means)]),
        )),
    '',
    '## Anchors',
    '',
    `${anchors.count} anchors; ${anchors.gaps.length === 0 ? `none came later than ${duration(anchors.limitSeconds)} after the one before` : `${anchors.gaps.length} gaps longer than ${duration(anchors.limitSeconds)} or with numbers missing`}.`,
    ...(anchors.gaps.length === 0
      ? []
      : [
          '',
          ...table(
            ['after', 'before', 'length', 'missing', 'first event after it'],
            anchors.gaps.map(g => [
              `anchor ${g.after}`,
              `anchor ${g.before}`,
              duration(g.seconds),
              String(g.missing),
              String(g.firstEvent),
            ]),
          ),
        ]),
    '',
    '## Certificates',
    '',
    ...table(
      ['name', 'role', 'known from', 'state', 'until', 'days'],
      report.certificates.map(c => [
        md(c.name),
        md(c.role),
        c.source === 'trust' ? 'trust folder' : 'bundle',
        c.state,
        moment(c.notAfter),
        String(c.days),
      ]),
    ),
    ...report.baselines.flatMap(({ title, rows }) => [
      '',
      `## ${title}`,
      '',
      ...table(
        ['row', 'verdict', 'what', 'why'],
        rows.map(r => [r.id, verdictWords[r.verdict], md(r.title), md(r.reason)]),
      ),
    ]),
    '',
  ].join('\n')
}
