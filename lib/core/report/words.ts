/** What every report says in the same words. */

import type { Grade, Layer } from '../controls/control.ts'
import { printable } from '../printable.ts'
import type { Report, ReportControl } from './schema.ts'

export const layerTitles: Record<Layer, string> = {
  network: 'Network',
  identity: 'Identity',
  writes: 'Writes',
  data: 'Data',
  audit: 'Audit trail',
  host: 'Host',
  google: 'Google Cloud',
}

export const gradeMeans: Record<Grade, string> = {
  recomputed: "recomputed by the auditor from the trail and the auditor's own anchors",
  'off-host': 'from the WORM store or the KMS, which the host does not control',
  network: 'seen over the network by the collector, from outside the server',
  host: "the host's word: root there can make it say anything",
}

export const verdictWords = {
  pass: 'pass',
  fail: 'FAIL',
  error: 'ERROR',
  'not-applicable': 'n/a',
  exception: 'exception',
} as const

/** One line of text, whoever wrote it: control and direction characters are shown, not obeyed. */
export const line = (text: string): string => printable(text)

/** Controls by layer, in the order of the list; a layer without any is left out. */
export function byLayer(controls: readonly ReportControl[]): [Layer, ReportControl[]][] {
  const layers = [...new Set(controls.map(({ layer }) => layer))]
  return layers.map(layer => [layer, controls.filter(control => control.layer === layer)])
}

export const unmet = ({ controls }: Report): ReportControl[] => controls.filter(({ met }) => !met)

export const sentence = (report: Report): string =>
  report.ok
    ? 'everything asked for holds'
    : `does not hold: ${[...unmet(report).map(({ id }) => id), ...report.unknownObservations.map(id => `unknown observation ${id}`)].join(', ')}`

export const tally = ({ counts }: Report): string =>
  `${counts.pass} pass, ${counts.fail} fail, ${counts.error} error, ${counts.notApplicable} not applicable`

/** `2 days 3 h`, `45 s`: the two largest units. */
export function duration(seconds: number): string {
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ]
  let rest = Math.round(Math.abs(seconds))
  const parts: string[] = []
  for (const [unit, size] of units) {
    const n = Math.floor(rest / size)
    rest -= n * size
    if (n > 0) parts.push(`${n} ${unit}`)
  }
  return parts.slice(0, 2).join(' ') || '0 s'
}

/** To the second, in words that no time zone changes. */
export const moment = (iso: string): string => iso.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC')

/** What the trust folder is worth: whoever could replace it could replace the CA in it. */
export const pinWords = ({ trust }: Report): string =>
  trust.pinned
    ? 'its CA is the one that the auditor pinned'
    : 'its CA was taken from the folder itself: pin it with --ca-sha256'
