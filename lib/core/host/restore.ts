/** Whether a backup may be brought back, by the auditor's copy of the store: what is lost, and where the trail goes on. */
import { type CheckedAnchor, checkAnchors } from '../audit/anchor_check.ts'
import type { TrustedLog } from '../audit/checkpoint.ts'
import { type Finding, Findings } from '../audit/findings.ts'
import type { StoredAnchor } from '../audit/source.ts'
import { type Bytes, newUuid } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { BackupHeader } from './backup.ts'

export interface RestorePlan {
  /** The newest anchor of the store; 0, zeros and 0 for none. */
  number: number
  sha256: string
  size: number
  /** The newest anchored tree that the backup has. */
  base: { size: number; root: Bytes } | null
  /** Events under anchors that the backup lacks. */
  lostEvents: number
  /** The first anchor that covers some of them. */
  lostFrom: number | null
}

/** A gap is no reason not to restore: there is one whenever somebody has to. */
const tolerated: readonly Finding['code'][] = ['HEARTBEAT_GAP', 'ANCHOR_LATE']

const noHash = '0'.repeat(64)

/**
 * @throws REFUSED where the backup is of another log, or of another past than the store; VERIFY_FAILED where the copy of
 * the store does not hold by itself
 */
export function planRestore(header: BackupHeader, stored: StoredAnchor[], trust: TrustedLog): RestorePlan {
  if (header.origin !== trust.origin)
    throw new ZtError(
      'REFUSED',
      `the backup is of the log ${header.origin}, the trust folder of ${trust.origin}`,
      {
        hint: 'take the trust folder of this deployment',
      },
    )
  const findings = new Findings()
  const anchors = checkAnchors(stored, trust, findings, { gapSeconds: 300 })
  const bad = findings.kept.find(({ severity, code }) => severity === 'fail' && !tolerated.includes(code))
  if (bad !== undefined)
    throw new ZtError('VERIFY_FAILED', `your copy of the store: ${bad.code}: ${bad.where}: ${bad.what}`, {
      hint: 'fetch the copy again, whole: the numbers go on from its newest anchor',
    })
  refuseOtherPast(header, anchors)
  const last = anchors.at(-1)
  const kept = anchors.filter(({ size }) => size <= header.size)
  const base = kept.at(-1)
  const lost = anchors.find(({ size }) => size > header.size)
  return {
    number: last?.number ?? 0,
    sha256: last?.sha256 ?? noHash,
    size: last?.size ?? 0,
    base: base === undefined ? null : { size: base.size, root: base.checkpointRoot as Bytes },
    lostEvents: Math.max(0, (last?.size ?? 0) - header.size),
    lostFrom: lost?.number ?? null,
  }
}

function refuseOtherPast({ anchor, anchorSha256, size }: BackupHeader, anchors: CheckedAnchor[]): void {
  if (anchor === 0) return
  const known = anchors.find(({ number }) => number === anchor)
  if (known?.sha256 === anchorSha256 && known.size <= size) return
  const why =
    known === undefined ? 'is not in your copy of the store' : 'is another one in your copy of the store'
  throw new ZtError('REFUSED', `the backup knows anchor ${anchor}, which ${why}`, {
    hint: 'bring the whole copy of the store: a restore without it would use its numbers again',
  })
}

/** Payload of the event that says so (SPEC §4.16). */
export function restoreEvent(
  plan: RestorePlan,
  { size, head }: BackupHeader,
  { backup, time, actor, conn }: { backup: string; time: string; actor: string; conn: number },
) {
  const none = null
  return {
    v: 1 as const,
    id: newUuid(),
    time,
    actor,
    conn,
    tenant: none,
    table: none,
    action: 'restore' as const,
    key: none,
    ver: none,
    wver: none,
    scheme: none,
    before: none,
    after: none,
    sig: none,
    signer: none,
    data: { number: plan.number, sha256: plan.sha256, size: plan.size, from: size, head, backup },
  }
}

/** For a status: the log that this one was, and what it lost. */
export function restoredText(restored: {
  number: number
  anchoredSize: number
  restoredSize: number
}): string {
  const { number, anchoredSize, restoredSize } = restored
  const lost =
    anchoredSize > restoredSize
      ? `; events ${restoredSize} to ${anchoredSize - 1}, which were anchored, are lost`
      : ', and nothing that was anchored is lost'
  return `from a backup of ${restoredSize} events, when anchor ${number} was the newest${lost}`
}
