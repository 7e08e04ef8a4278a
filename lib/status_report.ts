/** What `vm_oneclick status` says, as lines of a label and a text. */
import { green, print, yellow } from './cli.ts'
import { trailLines } from './core/anchor_text.ts'
import { restoredText } from './core/host/restore.ts'
import { driftLines, type Plan } from './core/plan.ts'
import type { Status } from './edge/database.ts'
import type { HostStatus } from './edge/host/status.ts'

export type Line = [label: string, text: string]

export const databaseLines = (status: Omit<Status, 'plan' | 'places'>): Line[] => [
  ['log', status.origin],
  ['server', `${status.serverName ?? 'not installed'}, MySQL ${status.serverVersion}`],
  [
    'certificate',
    `until ${status.serverNotAfter ?? 'unknown'}; CRL until ${status.crlNextUpdate ?? 'unknown'}`,
  ],
  ...status.warnings.map(({ item, detail }): Line => ['warning', yellow(`${item}: ${detail}`)]),
  ...(status.anchors === null ? [] : trailLines(status.anchors, Date.now())),
  ...(status.anchors?.restored ? [['restored', yellow(restoredText(status.anchors.restored))] as Line] : []),
]

export function hostLines({ host, keyring, units, exposure }: Omit<HostStatus, 'database'>): Line[] {
  const open = host?.allowRemote
    ? `port 3306 open to ${host.allowedCidr.join(', ')}`
    : 'port 3306 closed to others'
  return [
    ['host', host === null ? 'not installed' : `${open}; anchors go to ${host.worm}`],
    ['at rest', `keyring ${keyring}`],
    ...units.map(({ name, enabled, active }): Line => [name.replace(/\..*/, ''), `${enabled}, ${active}`]),
    ...Object.entries(exposure).map(([name, text]): Line => ['sandbox', `${name} ${text}`]),
  ]
}

export function planLines(plan: Plan): Line[] {
  const drift = driftLines(plan)
  const none: Line[] = drift.some(([label]) => label === 'drift') ? [] : [['drift', green('none')]]
  return [...none, ...drift.map(([label, text]): Line => [label, yellow(text)])]
}

export function printLines(lines: Line[]): void {
  const width = Math.max(13, ...lines.map(([label]) => label.length + 2))
  for (const [label, text] of lines) print(`${label.padEnd(width)}${text}`)
}
