/** Proofs to files and from files: the trail, the auditor's folders and the pure provers wired together. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { tableDefinitions } from '../../sql/index.ts'
import { type CheckedAnchor, checkAnchors } from '../core/audit/anchor_check.ts'
import { openAnyCheckpoint } from '../core/audit/checkpoint.ts'
import {
  checkConsistency,
  consistencyMaxBytes,
  formatConsistency,
  parseConsistency,
} from '../core/audit/consistency.ts'
import { eventMaxBytes } from '../core/audit/event.ts'
import { Findings } from '../core/audit/findings.ts'
import { leafHash, verifyInclusion } from '../core/audit/merkle.ts'
import { checkProof, type ProvedEvent } from '../core/audit/proof_check.ts'
import { coveringAnchor, type Proved, proveConsistency, proveEvents } from '../core/audit/prove.ts'
import { isYoung } from '../core/audit/queue_check.ts'
import { parseReceipt, parseReceipts, type Receipt } from '../core/audit/receipt.ts'
import { type KeptReceipt, reportUnproved, sortReceipts } from '../core/audit/receipt_proofs.ts'
import type { StoredAnchor, TrailEvent } from '../core/audit/source.ts'
import {
  formatTlogProof,
  parseTlogProof,
  type TlogProof,
  tlogProofMaxBytes,
} from '../core/audit/tlog_proof.ts'
import { type Bytes, equal, isUuid } from '../core/bytes.ts'
import type { Engine } from '../core/engine.ts'
import { ZtError } from '../core/errors.ts'
import type { Trust } from '../core/trust.ts'
import { readRegularFile, writeFileAtomic } from './files.ts'
import { type EngineName, engineOf } from './native_engine.ts'
import {
  readAnchors,
  readReceipts,
  type SourceOptions,
  type TrustOptions as TrustFolder,
  trustOf,
  withSource,
} from './verify.ts'

type Progress = (done: number, total: number) => void

export interface TrustOptions extends TrustFolder {
  engine?: EngineName
}

export interface ProveOptions extends SourceOptions, TrustOptions {
  anchors: string
}

/** Good anchors of a copy, in order; what is wrong with others is `verify`'s to say. */
export function goodAnchors(
  stored: StoredAnchor[],
  trust: Trust,
  engine: EngineName = 'noble',
): CheckedAnchor[] {
  const limits = { gapSeconds: Number.POSITIVE_INFINITY, engine: engineOf(engine) }
  return checkAnchors(stored, trust, new Findings(), limits)
}

const sameEvent = (id: string) => {
  const member = new TextEncoder().encode(`"id":"${id}"`)
  // an event's id stands right behind its version
  return ({ payload }: TrailEvent): boolean => equal(payload.subarray(7, 7 + member.length), member)
}

/** @param event its number, or its id, which is unique within its tenant */
export async function prove(event: string, options: ProveOptions, onProgress: Progress): Promise<Proved> {
  const number = /^[0-9]{1,15}$/.test(event) ? Number(event) : undefined
  if (number === undefined && !isUuid(event))
    throw new ZtError('USAGE', `${event}: neither the number of an event nor its id`, {
      hint: 'a receipt is named after the id of its event',
    })
  const trust = trustOf(options)
  const anchors = goodAnchors(await readAnchors(options.anchors), trust, options.engine)
  const engine = engineOf(options.engine ?? 'noble')
  const wants = number === undefined ? sameEvent(event) : ({ seq }: TrailEvent) => seq === number
  const found = await withSource(options, source =>
    proveEvents(source, coveringAnchor(source, anchors), wants, { engine, onProgress }),
  )
  const [one, ...others] = found
  if (!one)
    throw new ZtError('NOT_FOUND', `event ${event}: is not in this trail`, {
      hint: 'it may wait to be sealed; a receipt that stays missing is evidence: keep it',
    })
  if (others.length > 0)
    throw new ZtError(
      'REFUSED',
      `event ${event}: several tenants have one of this id: events ${found.map(f => f.seq).join(', ')}`,
      {
        hint: 'name it by its number',
      },
    )
  return one
}

/** @param payloads the event's bytes, or those of the events of one call, of which one is proved */
export async function checkProofFile(
  path: string,
  payloads: readonly Bytes[],
  options: TrustOptions & { anchors?: string },
): Promise<ProvedEvent> {
  const trust = trustOf(options)
  const engine = engineOf(options.engine ?? 'noble')
  const proof = parseTlogProof(readRegularFile(path, 'proof', tlogProofMaxBytes), path)
  const anchors = options.anchors === undefined ? {} : { anchors: await readAnchors(options.anchors) }
  const payload = provedOf(proof, payloads, trust, engine, path)
  return checkProof(proof, payload, { trust, definitions: tableDefinitions, engine, ...anchors }, path)
}

/** The payload that the proof is of. @throws VERIFY_FAILED where there are several and it is of none */
function provedOf(
  proof: TlogProof,
  payloads: readonly Bytes[],
  trust: Trust,
  engine: Engine,
  what: string,
): Bytes {
  const [only, ...others] = payloads
  if (only !== undefined && others.length === 0) return only
  const { size, root } = openAnyCheckpoint(proof.checkpoint, trust, what, engine)
  const found = payloads.find(payload =>
    verifyInclusion(leafHash(payload, engine.sha256), proof.index, size, proof.path, root),
  )
  if (found) return found
  throw new ZtError(
    'VERIFY_FAILED',
    `${what}: none of the ${payloads.length} payloads is event ${proof.index} of the tree of ${size} events`,
  )
}

const receiptsMaxBytes = 1 << 25

/** The payload in a file, on stdin (`-`), or in a receipt; those of all receipts in a file of many (`.receipts`). */
export async function readPayloads(
  payload: string | undefined,
  receipt: string | undefined,
): Promise<Bytes[]> {
  if ((payload === undefined) === (receipt === undefined))
    throw new ZtError('USAGE', 'check-proof wants the bytes of the event', {
      hint: 'give --payload FILE, --payload - or --receipt FILE',
    })
  if (receipt?.endsWith('.receipts'))
    return parseReceipts(readRegularFile(receipt, 'receipts', receiptsMaxBytes), receipt).map(
      one => one.payload,
    )
  if (receipt !== undefined)
    return [parseReceipt(readRegularFile(receipt, 'receipt', 1 << 16), receipt).payload]
  if (payload !== '-') return [readRegularFile(payload ?? '', 'payload', eventMaxBytes)]
  const parts: Bytes[] = []
  let size = 0
  for await (const part of Bun.stdin.stream()) {
    size += part.length
    if (size > eventMaxBytes) throw new ZtError('BAD_FORMAT', `stdin: longer than ${eventMaxBytes} bytes`)
    parts.push(part)
  }
  return [Buffer.concat(parts)]
}

const anchorNamed = (anchors: CheckedAnchor[], number: number): CheckedAnchor => {
  const anchor = anchors.find(one => one.number === number)
  if (!anchor)
    throw new ZtError('NOT_FOUND', `anchor ${number}: no good one of this number is in your copy`, {
      hint: 'fetch the anchors from the store again; run chain_verify to see what is wrong with them',
    })
  return anchor
}

/** Proves that one anchor extends another, and checks the proof before it is written. */
export async function consistency(
  from: number,
  to: number,
  options: ProveOptions & { out?: string },
  onProgress: Progress,
): Promise<{ hashes: number; earlier: number; later: number }> {
  if (from >= to) throw new ZtError('USAGE', `anchor ${from} is not before anchor ${to}`)
  const trust = trustOf(options)
  const engine = engineOf(options.engine ?? 'noble')
  const anchors = goodAnchors(await readAnchors(options.anchors), trust, options.engine)
  const [earlier, later] = [anchorNamed(anchors, from), anchorNamed(anchors, to)]
  const proof = await withSource(options, source =>
    proveConsistency(source, earlier, later, { engine, onProgress }),
  )
  checkConsistency(proof, trust, 'proof', engine)
  if (options.out !== undefined) writeFileAtomic(options.out, formatConsistency(proof), 0o644)
  return { hashes: proof.path.length, earlier: earlier.size, later: later.size }
}

export async function checkConsistencyFile(
  path: string,
  options: TrustOptions,
): Promise<{ from: number; to: number; earlier: number; later: number }> {
  const trust = trustOf(options)
  const proof = parseConsistency(readRegularFile(path, 'proof', consistencyMaxBytes), path)
  const { earlier, later } = checkConsistency(proof, trust, path, engineOf(options.engine ?? 'noble'))
  return { from: proof.from, to: proof.to, earlier: earlier.size, later: later.size }
}

export interface ReceiptReport {
  ok: boolean
  receipts: number
  /** With a proof that verifies, those made now included. */
  proved: number
  /** Proofs made now. */
  upgraded: number
  findings: Findings
}

const proofPath = (dir: string, receipt: Receipt): string => join(dir, `${receipt.event.id}.tlog-proof`)

/** Checks the proofs beside receipts, and makes those that are missing where a trail is at hand. */
export async function upgradeReceipts(
  dir: string,
  options: ProveOptions,
  onProgress: Progress,
): Promise<ReceiptReport> {
  const trust = trustOf(options)
  const engine = engineOf(options.engine ?? 'noble')
  const stored = await readAnchors(options.anchors)
  const findings = new Findings()
  const receipts = await readReceipts(dir)
  const kept = receipts.map(
    (receipt): KeptReceipt => ({ receipt, proof: readProof(proofPath(dir, receipt)) }),
  )
  const judging = { trust, definitions: tableDefinitions, anchors: stored, engine }
  const { proved, unproved } = sortReceipts(kept, judging, findings)
  const hasTrail =
    options.file !== undefined || options.defaultsFile !== undefined || options.socket !== undefined
  let upgraded = 0
  if (!hasTrail) reportUnproved(unproved, Date.now(), findings)
  else if (unproved.length > 0) {
    const sought = new Map(
      unproved.map(receipt => [Buffer.from(receipt.payload).toString('latin1'), receipt]),
    )
    const ids = new Set(unproved.map(({ event }) => `"id":"${event.id}"`))
    const wants = ({ payload }: TrailEvent) =>
      ids.has(Buffer.from(payload.subarray(7, 50)).toString('latin1')) &&
      sought.has(Buffer.from(payload).toString('latin1'))
    const anchors = goodAnchors(stored, trust, options.engine)
    await withSource(options, async source => {
      const made = await proveEvents(source, coveringAnchor(source, anchors), wants, { engine, onProgress })
      for (const { payload, proof, seq } of made) {
        const key = Buffer.from(payload).toString('latin1')
        const receipt = sought.get(key)
        if (!receipt) continue
        sought.delete(key)
        if (proof) {
          checkProof(proof, payload, judging)
          writeFileAtomic(proofPath(dir, receipt), formatTlogProof(proof), 0o644)
          upgraded++
        } else
          findings.add(
            'RECEIPT_PENDING',
            `receipt ${receipt.event.id}`,
            `event ${seq} is not under an anchor yet`,
          )
      }
      for await (const batch of source.pending?.() ?? [])
        for (const payload of batch) {
          const receipt = sought.get(Buffer.from(payload).toString('latin1'))
          if (!receipt) continue
          sought.delete(Buffer.from(payload).toString('latin1'))
          findings.add('RECEIPT_PENDING', `receipt ${receipt.event.id}`, 'not sealed yet')
        }
    })
    for (const { event } of sought.values())
      if (isYoung(event.time, Date.now()))
        findings.add('RECEIPT_PENDING', `receipt ${event.id}`, 'not sealed yet')
      else
        findings.add(
          'RECEIPT_MISSING',
          `receipt ${event.id}`,
          `acknowledged at ${event.time}, not in the trail`,
        )
  }
  return {
    ok: findings.clean,
    receipts: receipts.length,
    proved: proved.length + upgraded,
    upgraded,
    findings,
  }
}

function readProof(path: string): Bytes | undefined {
  if (!existsSync(path)) return undefined
  return readRegularFile(path, 'proof', tlogProofMaxBytes)
}
