/** The report for a terminal: 80 columns, what failed last, with a hint. */
import type { Report, ReportControl, ReportVerdict } from './schema.ts'
import { line, pinWords, sentence, tally, unmet, verdictWords } from './words.ts'

export type Paint = (colour: 'red' | 'green' | 'yellow' | 'bold', text: string) => string

export const plain: Paint = (_colour, text) => text

const width = 80
const colours = { pass: 'green', fail: 'red', error: 'red', 'not-applicable': 'yellow' } as const

/** Words of `text` in lines of at most 80 columns, each behind `indent` blanks; a longer word is cut. */
export function wrap(text: string, indent: number): string[] {
  const room = width - indent
  const words = text.split(' ').flatMap(word => word.match(new RegExp(`.{1,${room}}`, 'gu')) ?? [''])
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= room)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map(text => `${' '.repeat(indent)}${text}`)
}

const labelled = (label: string, text: string): string[] => {
  const [first = '', ...rest] = wrap(line(text), 11)
  return [`${label.padEnd(11)}${first.trimStart()}`, ...rest]
}

function matrix(controls: readonly ReportControl[], paint: Paint): string[] {
  const widest = Math.max(...controls.map(({ id }) => id.length))
  const row = (id: string, verdict: string, grade: string, status: string): string =>
    `${id.padEnd(widest)}  ${verdict}  ${grade.padEnd(10)}  ${status}`
  const verdict = (kind: ReportVerdict): string => paint(colours[kind], verdictWords[kind].padEnd(7))
  return [
    paint('bold', row('control', 'verdict', 'grade', 'status')),
    ...controls.map(c => row(c.id, verdict(c.verdict), c.grade, c.status)),
  ]
}

function explained(control: ReportControl, paint: Paint): string[] {
  return [
    '',
    `${paint(colours[control.verdict], verdictWords[control.verdict])} ${control.id}`,
    ...wrap(control.claim, 5),
    ...wrap(line(control.reason), 5),
    ...(control.hint === null ? [] : wrap(`hint: ${control.hint}`, 5)),
  ]
}

/** Controls that nobody looked at: those with one reason in common are told together. */
function absentees(controls: readonly ReportControl[], paint: Paint): string[] {
  const groups = Map.groupBy(controls, ({ reason, hint }) => JSON.stringify([reason, hint]))
  return [...groups.values()].flatMap(group => {
    const [first, ...others] = group
    if (first === undefined || others.length === 0) return group.flatMap(control => explained(control, paint))
    const verdict = verdictWords[first.verdict]
    const [ids = '', ...more] = wrap(group.map(({ id }) => id).join(', '), verdict.length + 1)
    return [
      '',
      `${paint(colours[first.verdict], verdict)} ${ids.trimStart()}`,
      ...more,
      ...wrap(line(first.reason), 5),
      ...(first.hint === null ? [] : wrap(`hint: ${first.hint}`, 5)),
    ]
  })
}

function baselineTable({ baselines }: Report, paint: Paint): string[] {
  const widest = Math.max(...baselines.map(({ title }) => title.length))
  const columns = (title: string, numbers: (string | number)[]): string =>
    `${title.padEnd(widest)}${numbers.map(n => String(n).padStart(9)).join('')}`
  return [
    paint('bold', columns('baseline', ['pass', 'fail', 'except', 'unseen'])),
    ...baselines.map(({ title, rows }) => {
      const count = (...kinds: string[]): number =>
        rows.filter(({ verdict }) => kinds.includes(verdict)).length
      const numbers = [count('pass'), count('fail', 'error'), count('exception'), count('not-applicable')]
      return columns(title, numbers)
    }),
  ]
}

export function formatText(report: Report, paint: Paint = plain): string {
  const { bundle, trail, controls, findings } = report
  const bad = unmet(report)
  const absent = controls.filter(({ verdict, met }) => verdict === 'not-applicable' && met)
  // what nobody asked for and still fails is worth a look, before what was asked for
  const tolerated = controls.filter(
    ({ verdict, met }) => met && verdict !== 'pass' && verdict !== 'not-applicable',
  )
  const worth = findings.filter(({ severity }) => severity !== 'fail')
  return [
    `log        ${bundle.origin}`,
    ...labelled('host', `${bundle.host}, ${bundle.tool} (${bundle.commit})`),
    `collected  between ${bundle.opened ?? 'no anchor'}`,
    `           and     ${bundle.closed ?? 'no anchor'}`,
    `nonce      ${bundle.nonce}`,
    ...(bundle.nonceAsked ? [] : ['           (the collector chose it: name your own with --nonce)']),
    `manifest   ${bundle.digest}`,
    ...(bundle.signer === null ? [] : labelled('signed by', bundle.signer)),
    ...labelled(
      'trail',
      `${trail.events} events, ${trail.rows} rows, ${trail.anchors} anchors, ${trail.signaturesChecked} signatures checked`,
    ),
    ...labelled('trust', `folder number ${report.trust.serial}; ${pinWords(report)}`),
    '',
    ...matrix(controls, paint),
    '',
    ...baselineTable(report, paint),
    ...absentees(absent, paint),
    ...tolerated.flatMap(control => explained(control, paint)),
    ...worth.flatMap(({ severity, code, where, what }) => [
      '',
      `${severity} ${code}`,
      ...wrap(line(`${where}: ${what}`), 5),
    ]),
    ...report.unknownObservations.flatMap(id => [
      '',
      `${paint('red', 'ERROR')} observation ${id}`,
      ...wrap('no control of this release looks at it', 5),
      ...wrap('hint: judge it with the release that collected it', 5),
    ]),
    ...bad.flatMap(control => explained(control, paint)),
    '',
    ...wrap(`${tally(report)}; profile ${report.requirement}`, 0),
    paint(report.ok ? 'green' : 'red', `verdict: ${sentence(report)}`),
  ].join('\n')
}
