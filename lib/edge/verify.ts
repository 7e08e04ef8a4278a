/** Wires a trail's source, the auditor's folders and the pure verifier together. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { goldenFingerprints, tableDefinitions } from '../../sql/index.ts'
import { anchorName, anchorNumber } from '../core/audit/anchor.ts'
import { checkAnchors } from '../core/audit/anchor_check.ts'
import { type Base, baseMaxBytes, formatBase, parseBase } from '../core/audit/base.ts'
import {
  formatExportEnd,
  formatExportEvent,
  formatExportHeader,
  formatExportQueued,
  formatExportRow,
} from '../core/audit/export.ts'
import { Findings } from '../core/audit/findings.ts'
import { requireGrounds } from '../core/audit/grounds.ts'
import { baseOf } from '../core/audit/prove.ts'
import { parseReceipt, parseReceipts, type Receipt } from '../core/audit/receipt.ts'
import type { StoredAnchor, TrailSource } from '../core/audit/source.ts'
import { type Verdict, verifyTrail } from '../core/audit/trail_verdict.ts'
import { toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import type { Trust } from '../core/trust.ts'
import { openExport } from './export_file.ts'
import { fileError, readRegularFile, writeFileAtomic } from './files.ts'
import { type Connection, openMysql } from './mysql.ts'
import { type EngineName, engineOf } from './native_engine.ts'
import { openLiveTrail } from './trail.ts'
import { readTrust } from './trust.ts'
import { startPool } from './verify_pool.ts'
import { openWorm } from './worm.ts'

export interface SourceOptions {
  file?: string
  defaultsFile?: string
  socket?: string
  user?: string
  /** How long a live server may stand still, in seconds. */
  idle?: number
}

type Progress = (done: number, total: number) => void

/** Runs `use` on the source that the options name, and closes it. */
export async function withSource<T>(
  options: SourceOptions,
  use: (source: TrailSource) => Promise<T>,
): Promise<T> {
  if (options.file !== undefined) return use(await openExport(options.file, tableDefinitions))
  if (options.defaultsFile === undefined && options.socket === undefined)
    throw new ZtError('USAGE', 'no trail given', { hint: 'give --defaults-file, --socket or --file' })
  const connection: Connection = await openMysql(
    options.socket === undefined
      ? { ...(options.defaultsFile === undefined ? {} : { defaultsFile: options.defaultsFile }) }
      : { socket: options.socket, user: options.user ?? 'root' },
  )
  try {
    const result = await use(await openLiveTrail(connection, tableDefinitions, options.idle))
    await connection.close()
    return result
  } finally {
    connection.destroy() // a server that stands still never says goodbye
  }
}

/** Every object of a copy of the WORM store, or the newest `most` by name. @throws NOT_FOUND */
export async function readAnchors(dir: string, most = Number.POSITIVE_INFINITY): Promise<StoredAnchor[]> {
  const worm = openWorm(dir)
  const anchors: StoredAnchor[] = []
  const names = await worm.list()
  if (names.length > 0 && names.every(name => anchorNumber(name) === undefined))
    throw new ZtError('NOT_FOUND', `${dir}: holds no anchors`, {
      hint: 'name the folder with your copy of the WORM store: anchor-0000000001.json and on',
    })
  for (const name of names.slice(Math.max(0, names.length - most))) {
    const object = await worm.get(name)
    if (object) anchors.push({ name, bytes: object.bytes, receivedAt: object.receivedAt })
  }
  return anchors
}

/** Every receipt of a client's folder; calls whose answer never came (`*.pending`) are not receipts. */
export async function readReceipts(dir: string): Promise<Receipt[]> {
  const found = await readdir(dir).catch(thrown => {
    throw fileError(thrown, dir, 'receipts')
  })
  const names = found.filter(name => name.endsWith('.json')).sort()
  const single = names.map(name =>
    parseReceipt(readRegularFile(join(dir, name), 'receipt', 1 << 16), name, name),
  )
  const many = found.filter(name => name.endsWith('.receipts')).sort()
  return [
    ...single,
    ...many.flatMap(name => parseReceipts(readRegularFile(join(dir, name), 'receipts', 1 << 25), name)),
  ]
}

export interface TrustOptions {
  trust: string
  caSha256?: string
}

/** @throws UNTRUSTED for a folder that its CA did not sign, or whose CA is not the pinned one: nothing is judged by it */
export function trustOf({ trust, caSha256 }: TrustOptions): Trust {
  try {
    return readTrust(trust, { caSha256 })
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.exitCode !== 1) throw thrown
    throw new ZtError('UNTRUSTED', thrown.message, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    })
  }
}

export interface JudgeOptions extends SourceOptions, TrustOptions {
  anchors: string
  receipts?: string
  signatures: 'last' | 'all'
  gapSeconds: number
  asOf?: number
  /** The number of an anchor, or a file that `saveBase` made. */
  since?: string
  /** Where to keep what a later run can begin at, if this one finds nothing. */
  saveBase?: string
  only?: 'chain'
  engine?: EngineName
  /** Threads that help; 0: none. Default: one a core. */
  threads?: number
}

export async function judgeTrail(
  options: JudgeOptions,
  onProgress: Progress,
  onAnchors?: Progress,
): Promise<Verdict> {
  const trust = trustOf(options)
  const receipts = options.receipts === undefined ? [] : await readReceipts(options.receipts)
  // before the snapshot is taken: an anchor made meanwhile would make an honest trail look cut
  const anchors = await readAnchors(options.anchors)
  const { engine: name = 'noble', threads, saveBase } = options
  const engine = engineOf(name)
  requireGrounds(anchors, trust, options.anchors, engine)
  const helpers = threads === 0 ? undefined : await startPool(name, trust, threads)
  try {
    const verdict = await withSource(options, async source =>
      verifyTrail(source, {
        trust,
        anchors,
        ...(options.asOf === undefined ? {} : { asOf: options.asOf }),
        ...(options.since === undefined
          ? {}
          : { since: await baseFor(options.since, source, anchors, trust, name) }),
        ...(options.only === undefined ? {} : { only: options.only }),
        receipts,
        definitions: tableDefinitions,
        golden: goldenFingerprints,
        now: Date.now(),
        signatures: options.signatures,
        gapSeconds: options.gapSeconds,
        engine,
        ...(helpers ? { helpers } : {}),
        onProgress,
        ...(onAnchors ? { onAnchors } : {}),
      }),
    )
    if (saveBase !== undefined && verdict.ok && verdict.base)
      writeFileAtomic(saveBase, formatBase(verdict.base), 0o644)
    return verdict
  } finally {
    helpers?.end()
  }
}

/** A base from a file, or made from the trail's own events up to an anchor, whose root they must have. */
async function baseFor(
  since: string,
  source: TrailSource,
  anchors: StoredAnchor[],
  trust: Trust,
  engine: EngineName,
): Promise<Base> {
  if (!/^[0-9]+$/.test(since)) return parseBase(readRegularFile(since, 'base', baseMaxBytes), since)
  const limits = { gapSeconds: Number.POSITIVE_INFINITY, engine: engineOf(engine) }
  const wanted = anchors.filter(({ name }) => name === anchorName(Number(since)))
  const [anchor] = checkAnchors(wanted, trust, new Findings(), { ...limits, from: Number(since) })
  if (!anchor)
    throw new ZtError('NOT_FOUND', `--since ${since}: no good anchor of this number is in your copy`, {
      hint: 'name one that is, or a file that --save-base made',
    })
  return baseOf(source, anchor, { engine: engineOf(engine) })
}

/** The lines of an export (SPEC §4.9). */
export async function* exportLines(
  source: TrailSource,
  onCount: (events: number, rows: number) => void,
): AsyncGenerator<string> {
  let events = 0
  let rows = 0
  let queued = 0
  const { origin, from, size, head } = source
  if (head === undefined) throw new ZtError('INTERNAL', 'this source has no head to export')
  yield formatExportHeader({ origin, from, size, head: toHex(head) })
  for await (const batch of source.events()) {
    events += batch.length
    onCount(events, rows)
    yield batch.map(formatExportEvent).join('')
  }
  for await (const batch of source.pending?.() ?? []) {
    queued += batch.length
    yield batch.map(formatExportQueued).join('')
  }
  for await (const batch of source.rows?.() ?? []) {
    rows += batch.length
    onCount(events, rows)
    yield batch
      .map(stored => {
        const def = tableDefinitions.get(stored.table)
        if (!def) throw new ZtError('INTERNAL', `no definition of ${stored.table}`)
        return formatExportRow(def, stored)
      })
      .join('')
  }
  yield formatExportEnd({ events, queued, rows })
}
