/** What every probe is given and how its answer becomes an observation, stored before anybody judges it. */
import { hostname } from 'node:os'
import type { Bytes } from '../../core/bytes.ts'
import type { Grade, Json } from '../../core/controls/control.ts'
import { reason, ZtError } from '../../core/errors.ts'
import type { Observation } from '../../core/proof/observation.ts'
import { formatTime } from '../../core/time.ts'
import type { Connection } from '../mysql.ts'
import { MysqlError } from '../mysql.ts'
import type { ProbeIdentity } from './identity.ts'

export interface ProbeContext {
  origin: string
  /** Two accounts of two fixture tenants. */
  own: ProbeIdentity
  neighbour: ProbeIdentity
  /** Root by the local socket; absent where the collector is not on the host. */
  root: Connection | undefined
  /** The settings' own paths, for the judge. */
  install: { tlsDir: string; confDir: string; bindAddress: string } | undefined
  /** A text that a client wrote encrypted, to be sought in the clear. */
  canary: string | undefined
  /** Puts a file beside the observations, which the judge reads too. */
  attach: (path: string, bytes: Bytes) => void
}

export interface Probe {
  id: string
  grade: Grade
  /** What is done, for a person to do again. */
  command: (context: ProbeContext) => string
  identity: (context: ProbeContext) => string
  run: (context: ProbeContext) => Promise<Json>
}

/** What the server answered to one attempt: its error, or how many rows came. */
export async function attempt(act: () => Promise<unknown>): Promise<{ [name: string]: Json }> {
  try {
    const answer = await act()
    return { rows: Array.isArray(answer) ? answer.length : 0 }
  } catch (thrown) {
    if (thrown instanceof MysqlError)
      return { errno: thrown.errno, sqlState: thrown.sqlState, message: thrown.message }
    throw thrown // no answer of the server: the probe could not run
  }
}

/** For a probe that this collector, on this machine, cannot make. */
export const notApplicable = (why: string): Json => ({ not_applicable: why })

export async function observe(probe: Probe, context: ProbeContext): Promise<Observation> {
  const head = {
    v: 1 as const,
    id: probe.id,
    time: formatTime(Date.now() * 1000),
    host: hostname(),
    identity: probe.identity(context),
    grade: probe.grade,
    command: probe.command(context),
  }
  try {
    return { ...head, result: await probe.run(context) }
  } catch (thrown) {
    return { ...head, error: thrown instanceof ZtError ? thrown.message : reason(thrown) }
  }
}
