/** What a database host says of itself now: for the metrics and the doctor. Nothing is changed; what cannot be seen is null. */
import { createHash, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { reason, ZtError } from '../../core/errors.ts'
import { logFiles, queueFolder, queueName } from '../../core/host/log_shipping.ts'
import type { HostState } from '../../core/host/metrics.ts'
import { binaryPath, timers } from '../../core/host/units.ts'
import type { InstallRecord } from '../../core/install_record.ts'
import { formatCanonical, parseCanonical } from '../../core/json.ts'
import { formatTime } from '../../core/time.ts'
import { commit, version } from '../../version.ts'
import { anchorStatusOf } from '../anchor_database.ts'
import { readRegularFile, writeFileAtomic } from '../files.ts'
import { openRoot, scalar } from '../install/server.ts'
import { installDefaults, readRecord } from '../install/target.ts'
import type { Connection } from '../mysql.ts'
import { binaryDigestPath } from './anchor_unit.ts'
import { optionFolder, readHostRecord } from './setup.ts'
import { ask } from './system.ts'

/** What the database says; `error` alone where it does not answer. */
export interface DatabaseState {
  error: string | null
  trail: HostState['trail']
  limits: HostState['limits']
  scheduler: string | null
  sealerLookedAt: string | null
  verifiedAt: string | null
  keyring: { status: string; error: string | null } | null
  dataFolder: string | null
}

const silent = (error: string): DatabaseState => ({
  error,
  trail: null,
  limits: null,
  scheduler: null,
  sealerLookedAt: null,
  verifiedAt: null,
  keyring: null,
  dataFolder: null,
})

/** Evidence is looked for among so many events, which are read in some milliseconds: at least a week of anchors alone. */
const recentEvents = 20_000

async function keyringOf(connection: Connection): Promise<DatabaseState['keyring']> {
  const rows = await connection.query(
    "SELECT STATUS_VALUE AS value FROM performance_schema.keyring_component_status WHERE STATUS_KEY = 'Component_status'",
  )
  const status = rows[0]?.value
  if (typeof status === 'string') return { status, error: null }
  const wanted = await scalar(connection, '@@default_table_encryption')
  return wanted === '1' ? { status: 'missing', error: 'tables are encrypted and no keyring is loaded' } : null
}

async function readDatabase(connection: Connection): Promise<DatabaseState> {
  const [rows] = await connection.call('securedb.anchor_status')
  const row = rows?.[0]
  const [limits] = await connection.query(
    'SELECT unsealed_seconds AS unsealed, anchor_seconds AS anchor, anchor_warn_seconds AS warn FROM securedb.gate_limits WHERE id = 1',
  )
  const time = (column: string) => `DATE_FORMAT(${column}, '%Y-%m-%dT%H:%i:%s.%fZ')`
  const [seal] = await connection.query(
    `SELECT ${time('looked_at')} AS looked FROM securedb.seal_state WHERE id = 1`,
  )
  const [manifest] = await connection.query(
    `SELECT JSON_UNQUOTE(JSON_EXTRACT(CONVERT(payload USING utf8mb4), '$.time')) AS at FROM securedb.audit_events
     WHERE seq >= (SELECT CAST(size AS SIGNED) - ${recentEvents} FROM securedb.chain_head WHERE id = 1)
       AND payload LIKE '%,"action":"manifest",%' ORDER BY seq DESC LIMIT 1`,
  )
  return {
    error: null,
    trail: row === undefined ? null : anchorStatusOf(row),
    limits:
      limits === undefined
        ? null
        : {
            unsealedSeconds: Number(limits.unsealed),
            anchorSeconds: Number(limits.anchor),
            anchorWarnSeconds: Number(limits.warn),
          },
    scheduler: await scalar(connection, '@@event_scheduler'),
    sealerLookedAt: typeof seal?.looked === 'string' ? seal.looked : null,
    verifiedAt: typeof manifest?.at === 'string' ? manifest.at : null,
    keyring: await keyringOf(connection),
    dataFolder: await scalar(connection, '@@datadir'),
  }
}

export async function observeDatabase(socket: string = installDefaults.socket): Promise<DatabaseState> {
  let connection: Connection | undefined
  try {
    connection = await openRoot(socket)
    return await readDatabase(connection)
  } catch (thrown) {
    return silent(reason(thrown))
  } finally {
    connection?.destroy()
  }
}

/** Ends of certificates in a PEM file; null where there is none or it cannot be read. */
function endOf(path: string): string | null {
  if (!existsSync(path)) return null
  return formatTime(
    Date.parse(new X509Certificate(readRegularFile(path, 'certificate', 1 << 18)).validTo) * 1000,
  )
}

export function installRecord(): InstallRecord | null {
  return readRecord({ confDir: optionFolder() })
}

const checkSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-check'),
  at: z.string(),
  /** Things that were not as installed; null: it could not be told. */
  drift: z.int().nullable(),
})

export const checkPath = '/var/lib/ztmysql/check.json'

export function writeCheck(at: string, drift: number | null): void {
  writeFileAtomic(checkPath, formatCanonical({ v: 1, kind: 'ztmysql-check', at, drift }, true), 0o644)
}

export function readCheck(): HostState['check'] {
  if (!existsSync(checkPath)) return null
  const { at, drift } = parseCanonical(
    readRegularFile(checkPath, 'result of the last check', 4096),
    checkSchema,
    checkPath,
    { newline: true },
  )
  return { at, drift }
}

/** Lines in rsyslog's queue for the log host, by the file in which it keeps the queue's state. */
export function queuedLines(): number {
  const path = join(queueFolder, `${queueName}.qi`)
  if (!existsSync(path)) return 0
  const text = readRegularFile(path, 'state of the queue', 1 << 16).toString('latin1')
  return Number(/^\+iQueueSize:2:[0-9]+:([0-9]+):$/m.exec(text)?.[1] ?? 0)
}

export interface UnitLook {
  enabled: string
  active: string
  result: string
}

/** As `systemctl show` says; `not-found` where there is none. */
export async function lookAtUnit(unit: string): Promise<UnitLook> {
  const { stdout } = await ask(
    'systemctl',
    'show',
    unit,
    '-p',
    'UnitFileState',
    '-p',
    'ActiveState',
    '-p',
    'Result',
    '-p',
    'LoadState',
  )
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const found = value('LoadState') !== 'not-found'
  return {
    enabled: found ? value('UnitFileState') : 'not-found',
    active: value('ActiveState'),
    result: value('Result'),
  }
}

/** Whether the program at its place is the one that the installer put there. */
export function lookAtBinary(): 'same' | 'changed' | 'unknown' {
  if (!existsSync(binaryDigestPath) || !existsSync(binaryPath)) return 'unknown'
  const wanted = readRegularFile(binaryDigestPath, 'digest of the program', 4096).toString('utf8')
  const digest = createHash('sha256').update(readFileSync(binaryPath)).digest('hex')
  return wanted === `${digest}  ${binaryPath}\n` ? 'same' : 'changed'
}

export interface HostLook extends HostState {
  database: DatabaseState
}

/** @throws NOT_FOUND where no host was set up here */
export async function observeHost(): Promise<HostLook> {
  const host = readHostRecord()
  if (host === null)
    throw new ZtError('NOT_FOUND', 'this host was not set up by vm_oneclick', {
      hint: 'run vm_oneclick apply',
    })
  const record = installRecord()
  const database = await observeDatabase()
  const units = await Promise.all(
    timers.map(async unit => [unit, (await lookAtUnit(unit)).active === 'active'] as const),
  )
  const { tlsDir } = record ?? installDefaults
  return {
    version,
    commit,
    database,
    trail: database.trail,
    limits: database.limits,
    certificates: {
      server: record?.serverNotAfter ?? null,
      ca: endOf(join(tlsDir, 'ca.pem')),
      ...(host.logHost === null ? {} : { log_client: endOf(logFiles.cert) }),
    },
    crlNextUpdate: record?.crlNextUpdate ?? null,
    verifiedAt: database.verifiedAt,
    check: readCheck(),
    queuedLines: host.logHost === null ? null : queuedLines(),
    units: Object.fromEntries(units),
  }
}
