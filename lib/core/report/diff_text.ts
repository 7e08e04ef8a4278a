/** What changed between two bundles, for a terminal. */
import type { Json } from '../controls/control.ts'
import type { BundleDiff, ObservationChange } from '../proof/diff_bundle.ts'
import { type Paint, plain, wrap } from './text.ts'
import { line } from './words.ts'

const clip = (value: Json | undefined): string => {
  const text = value === undefined ? 'nothing' : JSON.stringify(value)
  return line(text.length > 160 ? `${text.slice(0, 160)}…` : text)
}

const observationLines = ({ id, change, values, more }: ObservationChange): string[] => [
  `${change.padEnd(8)} observation ${id}`,
  ...values.flatMap(({ at, before, after }) => [
    ...wrap(`${line(at)}:`, 9),
    ...wrap(`- ${clip(before)}`, 11),
    ...wrap(`+ ${clip(after)}`, 11),
  ]),
  ...(more > 0 ? [`         and ${more} more`] : []),
]

export function formatDiff(diff: BundleDiff, paint: Paint = plain): string {
  const { about, observations, certificates, controls, worse, continues, fault, events } = diff
  return [
    ...about.flatMap(({ name, before, after }) => [
      `${name.padEnd(8)} - ${line(before)}`,
      `         + ${line(after)}`,
    ]),
    ...observations.flatMap(observationLines),
    ...certificates.map(({ path, change, subject }) => `${change.padEnd(8)} ${path}: ${line(subject)}`),
    ...controls.map(({ id, before, after }) =>
      paint(worse.includes(id) ? 'red' : 'green', `control  ${id}: ${before} → ${after}`),
    ),
    '',
    continues
      ? `trail    goes on where the older one ended, ${events} events since`
      : paint('red', `trail    does not go on from the older one: ${line(fault ?? '')}`),
    continues && worse.length === 0
      ? paint('green', 'verdict: the newer bundle continues the older one')
      : paint(
          'red',
          continues
            ? `verdict: no longer as it was: ${worse.join(', ')}`
            : 'verdict: the newer bundle does not continue the older one',
        ),
  ].join('\n')
}
