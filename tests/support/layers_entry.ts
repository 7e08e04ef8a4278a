#!/usr/bin/env bun
/** Runs single layers on a booted host: `layers_entry plan|apply LAYER RECORD`; `layers_entry facts [PROBE]`: what the probes see. */
import { existsSync } from 'node:fs'
import { command, print, runMain } from '../../lib/cli.ts'
import { formatHostRecord, type HostRecord, hostRecordPath } from '../../lib/core/host/record.ts'
import { applyPlan, type Plan, planJson } from '../../lib/core/plan.ts'
import { writeFileAtomic } from '../../lib/edge/files.ts'
import { fail2banLayer } from '../../lib/edge/host/fail2ban.ts'
import { firewallLayer } from '../../lib/edge/host/firewall.ts'
import { Journal } from '../../lib/edge/host/journal.ts'
import { kernelLayer } from '../../lib/edge/host/kernel.ts'
import type { Host, Layer } from '../../lib/edge/host/steps.ts'
import { updatesLayer } from '../../lib/edge/host/updates.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { putDir } from '../../lib/edge/owned_files.ts'
import { machineProbes } from '../../lib/edge/probe/machine.ts'
import type { ProbeContext } from '../../lib/edge/probe/probe.ts'
import { serverProbes } from '../../lib/edge/probe/server.ts'

const layers: Record<string, (host: Host) => Promise<Layer>> = {
  firewall: firewallLayer,
  fail2ban: fail2banLayer,
  kernel: kernelLayer,
  updates: updatesLayer,
}

const distribution = { id: 'debian', version: 'sid', name: 'Debian sid', hasMysql: true } as const

async function planLayer(name: string, wanted: HostRecord): Promise<Plan> {
  const layer = layers[name]
  if (layer === undefined) throw new Error(`no layer ${name}`)
  return { ...(await layer({ distribution, wanted, journal: new Journal() })), restart: [] }
}

async function facts(only: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {}
  const socket = '/run/mysqld/mysqld.sock'
  const root = existsSync(socket) ? await openMysql({ socket, user: 'root' }) : undefined
  const context = { root } as ProbeContext // they ask the machine and its server alone
  try {
    for (const { id, run } of [...machineProbes, ...serverProbes])
      if (only === '' || id === only) seen[id] = await run(context)
    return seen
  } finally {
    await root?.close()
  }
}

export function main() {
  return command('layers_entry', 'plan or apply one layer', ['layers_entry plan firewall {}'])
    .argument('<verb>')
    .argument('[layer]')
    .argument('[record]')
    .action(async (verb: string, name = '', json = '') => {
      if (verb === 'facts') return print(JSON.stringify(await facts(name)))
      const wanted = JSON.parse(json) as HostRecord
      const plan = await planLayer(name, wanted)
      print(JSON.stringify(planJson(plan)))
      if (verb !== 'apply') return
      await applyPlan(plan)
      putDir({ path: '/etc/ztmysql', mode: 0o755, uid: 0, gid: 0 })
      writeFileAtomic(hostRecordPath, formatHostRecord(wanted), 0o644) // no secret
    })
}

if (import.meta.main) await runMain(main())
