/** A booted host on which single layers are planned and applied, and what the judge says of what its probes see. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Json } from '../../lib/core/controls/control.ts'
import { hostControls } from '../../lib/core/controls/host.ts'
import type { HostRecord } from '../../lib/core/host/record.ts'
import type { Change, Finding } from '../../lib/core/plan.ts'
import { hostJudgements } from '../../lib/core/proof/host_judgements.ts'
import type { Outcome } from '../../lib/core/proof/outcome.ts'
import type { Ended } from '../../lib/edge/child.ts'
import { must } from './host_command.ts'
import type { TestHost } from './hosts.ts'

export type LayerName = 'firewall' | 'fail2ban' | 'kernel' | 'updates'

export interface Planned {
  changes: Change[]
  findings: Finding[]
}

const entry = resolve(import.meta.dir, 'layers_entry.ts')

const record = (wanted: Partial<HostRecord>): HostRecord => ({
  v: 1,
  kind: 'ztmysql-host',
  version: 'test',
  confDir: '/etc/mysql/mysql.conf.d',
  allowRemote: false,
  allowedCidr: [],
  mysqlSource: 'installed',
  worm: '/var/lib/ztmysql/worm',
  logHost: null,
  ...wanted,
})

/** Copies the program that plans and applies layers to a host. */
export async function pushLayers(host: TestHost): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-layers-'))
  try {
    const out = join(dir, 'layers')
    const safe = ['--no-compile-autoload-dotenv', '--no-compile-autoload-bunfig']
    await must([process.execPath, 'build', '--compile', ...safe, entry, '--outfile', out])
    await host.push([out], '/root')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

export const layerCommand = (verb: 'plan' | 'apply', layer: LayerName, wanted: Partial<HostRecord> = {}) => [
  '/root/layers',
  verb,
  layer,
  JSON.stringify(record(wanted)),
]

export async function planLayer(
  host: TestHost,
  layer: LayerName,
  wanted: Partial<HostRecord> = {},
): Promise<Planned> {
  const plan = JSON.parse(await host.must(...layerCommand('plan', layer, wanted)))
  return {
    changes: plan.steps.flatMap((step: { changes: Change[] }) => step.changes),
    findings: plan.findings,
  }
}

export const tryLayer = (
  host: TestHost,
  layer: LayerName,
  wanted: Partial<HostRecord> = {},
): Promise<Ended> => host.exec(...layerCommand('apply', layer, wanted))

export async function applyLayer(
  host: TestHost,
  layer: LayerName,
  wanted: Partial<HostRecord> = {},
): Promise<void> {
  await host.must(...layerCommand('apply', layer, wanted))
}

/** What the judge of evidence says of a host control, from what its probe sees. */
export async function judgeHost(host: TestHost, id: string): Promise<Outcome> {
  const expect = hostControls.find(control => control.id === id)?.expect
  if (expect?.kind !== 'judgement' || expect.probe === undefined) throw new Error(`no such control: ${id}`)
  const seen: Record<string, Json> = JSON.parse(await host.must('/root/layers', 'facts', expect.probe))
  return hostJudgements[expect.judgement as keyof typeof hostJudgements](seen[expect.probe] ?? null)
}

export const statusOf = async (host: TestHost, id: string): Promise<string> =>
  (await judgeHost(host, id)).status

export const clean: Planned = { changes: [], findings: [] }

/** Lines of a plan, short enough to compare. */
export const lines = ({ changes, findings }: Planned): string[] => [
  ...changes.map(({ item, before, after }) => `${item}: ${before ?? '-'} → ${after ?? '-'}`),
  ...findings.map(({ item, detail }) => `! ${item}: ${detail}`),
]

/** mysqld that listens to everybody, with an account whose password is `right`: as a layer before would leave it. */
export async function openMysqld(host: TestHost): Promise<void> {
  const settings = ['bind-address=*', 'log_error_verbosity=3', 'skip_name_resolve=ON', 'max_connections=300']
  await host.write('/etc/mysql/mysql.conf.d/zz-test.cnf', `[mysqld]\n${settings.join('\n')}\n`)
  await host.must('systemctl', 'restart', 'mysql')
  await host.must('mysql', '-e', "CREATE USER w@'%' IDENTIFIED BY 'right'")
}
