/** A backup into an empty server: judged by the store's anchors before, verified against them after (SPEC §4.16, §8). */
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { linkHash } from '../../core/audit/chain.ts'
import { formatEvent } from '../../core/audit/event.ts'
import type { Verdict } from '../../core/audit/trail_verdict.ts'
import { fromHex, uuidBytes } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import type { BackupHeader } from '../../core/host/backup.ts'
import { planRestore, type RestorePlan, restoreEvent } from '../../core/host/restore.ts'
import { formatTime } from '../../core/time.ts'
import { createExclusive, makePrivateDir } from '../files.ts'
import { openRoot, refuseOtherDatabases, refuseOtherServers } from '../install/server.ts'
import type { Connection } from '../mysql.ts'
import { applySchema } from '../schema.ts'
import { readTrust } from '../trust.ts'
import { judgeTrail, readAnchors } from '../verify.ts'
import { checkBackup, withBackup } from './backup_file.ts'
import { loadBackup, restoreAccounts } from './restore_load.ts'

/** While it stands, securedb is half of a backup: the installer refuses it, the next restore begins anew. */
const marker = 'ztmysql_restoring'

export interface RestoreOptions {
  socket: string
  file: string
  /** Folders: the auditor's copy of the store, and what it is judged by. */
  anchors: string
  trust: string
  caSha256?: string
  /** Go on though anchored events are lost. */
  acceptLoss?: boolean
  /** A new folder for the files in the backup. */
  files?: string
  onProgress?: (done: number, total: number) => void
}

export interface RestoreCheck {
  header: BackupHeader
  sha256: string
  plan: RestorePlan
  rows: number
}

export interface Restored extends RestoreCheck {
  /** Accounts of the backup that are not ours, and were not made. */
  leftOut: string[]
  files: string[]
  verdict: Verdict
}

async function refuseFull(connection: Connection): Promise<void> {
  await refuseOtherServers(connection)
  const rows = await connection.query('SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA')
  const names = rows.map(row => String(row.name))
  if (names.includes(marker)) return
  await refuseOtherDatabases(connection)
  if (names.includes('securedb'))
    throw new ZtError('REFUSED', 'this server has a database securedb already', {
      hint: 'restore into a new server: nothing here drops a trail',
    })
}

const missing = ({ lostEvents, lostFrom, size }: RestorePlan): string =>
  `the backup lacks ${lostEvents} anchored events, ${size - lostEvents} to ${size - 1}, which anchor ${lostFrom} and later ones cover`

/**
 * Reads all of the backup, and judges it by the store; changes nothing.
 * @throws REFUSED where it must not be brought back here; BAD_FORMAT, VERIFY_FAILED
 */
export async function checkRestore(options: RestoreOptions): Promise<RestoreCheck> {
  const { file, trust: folder, anchors, caSha256, acceptLoss = false } = options
  const checked = await withBackup(file, checkBackup)
  const trust = await readTrust(folder, caSha256 === undefined ? {} : { caSha256 })
  const plan = planRestore(checked.header, await readAnchors(anchors), trust)
  if (plan.lostEvents > 0 && !acceptLoss)
    throw new ZtError('REFUSED', missing(plan), {
      hint: 'take a newer backup; if there is none, --accept-loss restores it, and every verifier will name what is missing',
    })
  const connection = await openRoot(options.socket)
  try {
    await refuseFull(connection)
  } finally {
    connection.destroy()
  }
  const { header, sha256, sections } = checked
  const rows = [...sections].reduce((sum, [name, n]) => sum + (name.startsWith('table:') ? n : 0), 0)
  return { header, sha256, plan, rows }
}

/** The event that says so, and where anchors go on, in one transaction. */
async function sayRestored(connection: Connection, { header, sha256, plan }: RestoreCheck): Promise<void> {
  const now = formatTime(Date.now() * 1000)
  const { threadId: conn } = connection.info()
  const event = restoreEvent(plan, header, { backup: sha256, time: now, actor: 'root@localhost', conn })
  const payload = formatEvent(event)
  const prev = fromHex(header.head, 'head', 32)
  const curr = linkHash(prev, payload)
  const hash = fromHex(plan.sha256, 'sha256', 32)
  const { size } = header
  await connection.run('START TRANSACTION')
  await connection.run(
    'INSERT INTO audit_events (seq, tenant_id, evt_id, prev_hash, payload, curr_hash) VALUES (?, ?, ?, ?, ?, ?)',
    [size, new Uint8Array(16), uuidBytes(event.id), prev, payload, curr],
  )
  await connection.run('UPDATE chain_head SET size = ?, head = ? WHERE id = 1', [size + 1, curr])
  // the gate stays closed until an anchor of this server has reached the store
  await connection.run('REPLACE INTO anchor_state VALUES (1, ?, ?, ?, ?, NULL)', [
    plan.number,
    size + 1,
    plan.number,
    hash,
  ])
  await connection.run('REPLACE INTO restore_state VALUES (1, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))', [
    plan.number,
    hash,
    plan.size,
    size,
    plan.base?.size ?? 0,
    plan.base?.root ?? new Uint8Array(32),
  ])
  await connection.run('COMMIT')
}

/** The rows must end where the header says: the next event is linked to it. */
async function refuseOtherHead(connection: Connection, { size, head }: BackupHeader): Promise<void> {
  const rows = await connection.query(
    `SELECT h.size, h.head, (SELECT COUNT(*) FROM audit_events) AS events,
       (SELECT e.curr_hash FROM audit_events e ORDER BY e.seq DESC LIMIT 1) AS last FROM chain_head h WHERE h.id = 1`,
  )
  const [row] = rows
  const hex = (value: unknown): string =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : ''
  if (
    Number(row?.size) !== size ||
    Number(row?.events) !== size ||
    hex(row?.head) !== head ||
    hex(row?.last) !== head
  )
    throw new ZtError(
      'VERIFY_FAILED',
      `the trail in the backup does not end with event ${size - 1} and head ${head}`,
      {
        hint: 'the backup was changed, or its source was: take an older one',
      },
    )
}

function putFiles(folder: string | undefined, files: [string, Uint8Array][]): string[] {
  if (folder === undefined) return []
  return files.map(([name, bytes]) => {
    if (!/^(?:[a-z]+\/){0,2}[a-zA-Z0-9_-]+\.(?:json|pem)$/.test(name))
      throw new ZtError('BAD_FORMAT', `the backup has a file ${JSON.stringify(name)}, which is not ours`)
    const path = join(folder, name)
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    createExclusive(path, new Uint8Array(bytes))
    return path
  })
}

/**
 * Safe to interrupt: the next run begins anew. Verified afterwards; the caller judges the verdict.
 * @throws as checkRestore, before anything is changed
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  if (options.files !== undefined) makePrivateDir(options.files)
  const check = await checkRestore(options)
  const connection = await openRoot(options.socket)
  try {
    await connection.run(`CREATE DATABASE IF NOT EXISTS ${marker}`)
    await connection.run('DROP DATABASE IF EXISTS securedb')
    let rows = 0
    const { accounts, files } = await withBackup(options.file, async open => {
      const backup = await open()
      const loaded = await loadBackup(connection, backup, n => {
        rows += n
        options.onProgress?.(rows, check.rows)
      })
      if (backup.sha256() !== check.sha256)
        throw new ZtError('BAD_FORMAT', `backup ${options.file}: changed while it was read`)
      return loaded
    })
    await refuseOtherHead(connection, check.header)
    await sayRestored(connection, check)
    await applySchema(connection, { origin: check.header.origin })
    const leftOut = await restoreAccounts(connection, accounts)
    const put = putFiles(options.files, files)
    await connection.call('securedb.seal_due')
    await connection.run(`DROP DATABASE ${marker}`)
    return { ...check, leftOut, files: put, verdict: await verifyRestored(options) }
  } finally {
    connection.destroy()
  }
}

/** Longer than anybody waits with a restore: the gap before it is for the auditor to see, not for this run to fail on. */
const anyGap = 10 * 366 * 86_400

const verifyRestored = ({ socket, trust, anchors, caSha256 }: RestoreOptions): Promise<Verdict> =>
  judgeTrail(
    {
      socket,
      trust,
      anchors,
      signatures: 'last',
      gapSeconds: anyGap,
      threads: 0, // the standalone binary has no file for a helper
      ...(caSha256 === undefined ? {} : { caSha256 }),
    },
    () => undefined,
  )

/** What speaks against a restored log, beside the loss that was accepted. */
export const unexplained = ({ findings }: Verdict) =>
  findings.kept.filter(({ severity, code }) => severity === 'fail' && code !== 'RESTORE_LOSS')
