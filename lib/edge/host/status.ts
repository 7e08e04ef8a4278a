/** What a host says of itself, beside the database: its record, keyring, units and their sandboxes. */
import { existsSync } from 'node:fs'
import type { HostRecord } from '../../core/host/record.ts'
import { type Status, statusOfDatabase } from '../database.ts'
import { exposureOf } from './anchor_unit.ts'
import { keyringStatus } from './keyring.ts'
import type { Setup } from './setup.ts'
import { type UnitState, unitState } from './system.ts'

export interface HostStatus {
  host: HostRecord | null
  keyring: string
  units: (UnitState & { name: string })[]
  /** `1.2 of 10, OK` of systemd's own judge. */
  exposure: Record<string, string>
  /** null while mysqld does not run. */
  database: Status | null
}

const watched = ['mysql.service', 'fail2ban.service', 'rsyslog.service', 'ztmysql-anchor.timer']
const fenced = { mysqld: 'mysql.service', 'the anchor': 'ztmysql-anchor.service' } as const

/** As systemd-analyze security judges the units that are fenced in: 0 is closed, 10 open. */
export async function exposures(): Promise<Record<string, string>> {
  const all = await Promise.all(
    Object.entries(fenced).map(async ([name, unit]) => [name, await exposureOf(unit)] as const),
  )
  return Object.fromEntries(
    all.flatMap(([unit, found]) =>
      found === null ? [] : [[unit, `${found.score.toFixed(1)} of 10, ${found.verdict}`]],
    ),
  )
}

export async function hostStatus({ database, recorded }: Setup): Promise<HostStatus> {
  const states = watched.map(async name => ({ name, ...(await unitState(name)) }))
  return {
    host: recorded,
    keyring: await keyringStatus(),
    units: await Promise.all(states),
    exposure: await exposures(),
    database: existsSync(database.socket) ? await statusOfDatabase(database) : null,
  }
}
