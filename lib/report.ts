/** Verdicts and controls for people and programs: a table that fits a terminal, Markdown, JSON. */
import Table from 'cli-table3'
import { bold, green, red, yellow } from './cli.ts'
import { printable, verdictJson } from './core/audit/verdict_text.ts'
import { controls } from './core/controls/index.ts'
import type { Judged } from './core/proof/judge.ts'
import type { Status } from './core/proof/outcome.ts'
import { satisfies } from './core/proof/profile.ts'
import type { BundleVerdict } from './core/proof/verify_bundle.ts'

const plainBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
}

const words: Record<Status, string> = {
  pass: green('pass'),
  fail: red('FAIL'),
  error: red('ERROR'),
  'not-applicable': yellow('n/a'),
}

function table(head: string[], rows: string[][]): string {
  const made = new Table({
    head,
    chars: plainBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 1 },
  })
  made.push(...rows)
  return made.toString().replace(/ +$/gm, '')
}

/** The control matrix with verdicts and grades. */
export const matrixText = (judged: Judged[]): string =>
  table(
    ['control', 'verdict', 'grade', 'status'].map(title => bold(title)),
    judged.map(({ control, status }) => [control.id, words[status], control.grade, control.status]),
  )

/** Verdict of a bundle; what failed comes last, with its reason. */
export function reportText(verdict: BundleVerdict): string {
  const { judged, manifest, profile } = verdict
  const bad = judged.filter(one => !satisfies(one, profile))
  const reasons = (list: Judged[]): string[] =>
    list.map(
      ({ control, status, reason }) =>
        `${words[status]} ${control.id}: ${control.claim}\n     ${printable(reason)}`,
    )
  const count = (status: Status): number => judged.filter(one => one.status === status).length
  return [
    `log        ${manifest.origin}`,
    `host       ${printable(manifest.host)}, ${printable(manifest.tool)} (${printable(manifest.commit)})`,
    `collected  between ${verdict.opened || 'no anchor'} and ${verdict.closed || 'no anchor'}, nonce ${manifest.nonce}`,
    '',
    matrixText(judged),
    '',
    ...reasons(judged.filter(one => one.status === 'not-applicable')),
    ...reasons(bad.filter(one => one.status !== 'not-applicable')),
    '',
    `${count('pass')} pass, ${count('fail')} fail, ${count('error')} error, ${count('not-applicable')} not applicable; profile ${profile}`,
    verdict.ok
      ? green('verdict: everything asked for holds')
      : red(`verdict: does not hold: ${bad.map(one => one.control.id).join(', ')}`),
  ].join('\n')
}

/** Shape of `proof_suite verify --json`, version 1. */
export function reportJson(verdict: BundleVerdict): object {
  const { ok, profile, manifest, opened, closed, judged, trail } = verdict
  const { files: _files, ...about } = manifest
  return {
    v: 1,
    ok,
    profile,
    bundle: about,
    opened,
    closed,
    controls: judged.map(one => ({
      id: one.control.id,
      layer: one.control.layer,
      status: one.status,
      grade: one.control.grade,
      required: !satisfies({ ...one, status: 'fail' }, profile),
      reason: one.reason,
    })),
    trail: verdictJson(trail),
  }
}

const columns = ['control', 'grade', 'status', 'claim', 'enforced by']
const cells = () => controls.map(c => [c.id, c.grade, c.status, c.claim, c.enforcedBy])

export const controlsText = (): string =>
  table(
    columns.map(title => bold(title)),
    cells(),
  )

/** The matrix in the README. */
export const controlsMarkdown = (): string =>
  [columns, columns.map(() => '---'), ...cells()].map(row => `| ${row.join(' | ')} |`).join('\n')
