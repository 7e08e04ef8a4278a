/** The list of controls for people: a table, and Markdown for the README. Verdicts are printed by lib/core/report. */
import Table from 'cli-table3'
import { bold } from './cli.ts'
import { controls } from './core/controls/index.ts'

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

function table(head: string[], rows: string[][]): string {
  const made = new Table({
    head,
    chars: plainBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 1 },
  })
  made.push(...rows)
  return made.toString().replace(/ +$/gm, '')
}

const columns = ['control', 'grade', 'status', 'claim', 'enforced by']
const cells = () =>
  controls.map(c => [
    c.id,
    c.grade,
    c.triedOn === undefined ? c.status : `${c.status}; tried on ${c.triedOn}`,
    c.claim,
    c.enforcedBy,
  ])

export const controlsText = (): string =>
  table(
    columns.map(title => bold(title)),
    cells(),
  )

/** The matrix in the README. */
export const controlsMarkdown = (): string =>
  [columns, columns.map(() => '---'), ...cells()].map(row => `| ${row.join(' | ')} |`).join('\n')
