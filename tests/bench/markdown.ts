import type { Machine, Outcome } from './harness.ts'

export interface Kept {
  machine: Machine
  outcomes: Outcome[]
}

const number = (n: number): string =>
  n >= 1000 ? Math.round(n).toLocaleString('en') : n >= 10 ? n.toFixed(1) : n.toPrecision(3)

function outcomeText(outcome: Outcome, machine: Machine): string {
  const { id, title, quick, unit, rounds, sides, ratios, notes } = outcome
  return [
    `## ${id}: ${title}`,
    '',
    `${machine.date}, ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Bun ${machine.bun}; load ${machine.load} when it began${quick ? '; small size (`--quick`)' : ''}. ${rounds} rounds.`,
    '',
    `| side | median, ${unit} | spread |`,
    '| --- | --- | --- |',
    ...sides.map(side => `| ${side.name} | ${number(side.median)} | ±${Math.round(side.spread * 100)} % |`),
    '',
    '| ratio | median | lowest to highest | wanted | reached |',
    '| --- | --- | --- | --- | --- |',
    ...ratios.map(
      r =>
        `| ${r.what} | **${number(r.value)}** | ${number(r.lowest)} to ${number(r.highest)} | ${r.wanted ?? ''} | ${r.reached === null ? '' : r.reached ? 'yes' : 'no'} |`,
    ),
    ...(notes.length > 0 ? ['', ...notes.map(note => `- ${note}`)] : []),
  ].join('\n')
}

export const markdown = (kept: readonly Kept[]): string =>
  kept.flatMap(({ machine, outcomes }) => outcomes.map(outcome => outcomeText(outcome, machine))).join('\n\n')
