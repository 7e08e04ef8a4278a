/** A trail that goes on from a backup says so, and what it lost on the way is found (SPEC §4.16). */
import { type Bytes, toHex } from '../bytes.ts'
import type { CheckedAnchor } from './anchor_check.ts'
import type { ServerEvent } from './event.ts'
import type { Findings } from './findings.ts'

export type RestoreEvent = Extract<ServerEvent, { action: 'restore' }>

/** What the chain knows where the event stands. */
export interface RestorePlace {
  seq: number
  /** curr_hash of the event before. */
  prev: Bytes
  /** Every anchor of the copy, in order. */
  anchors: readonly CheckedAnchor[]
  /** Those that no event up to here has met. */
  ahead: readonly CheckedAnchor[]
}

/**
 * Reports what the restore says and what was lost by it. Returns the anchors whose events are gone: nothing that comes
 * can meet them. One that was invented to hide a rewriting names them all the same.
 */
export function judgeRestore(
  { data }: RestoreEvent,
  { seq, prev, anchors, ahead }: RestorePlace,
  findings: Findings,
): CheckedAnchor[] {
  const where = `event ${seq}`
  if (data.from !== seq || data.head !== toHex(prev))
    findings.add(
      'RESTORE_LOSS',
      where,
      `a restore of ${data.from} events to head ${data.head} is not this one`,
    )
  const last = anchors.find(anchor => anchor.number === data.number)
  if (data.number > 0 && (last === undefined || last.sha256 !== data.sha256 || last.size !== data.size))
    findings.add(
      'RESTORE_LOSS',
      where,
      `goes on from anchor ${data.number}, ${data.size} events, ${data.sha256}, which is not in this copy of the store`,
    )
  const lost = ahead.filter(anchor => anchor.number <= data.number)
  const [first, newest] = [lost[0], lost.at(-1)]
  const told = `restored from the backup ${data.backup} of ${seq} events, when the newest anchor was ${data.number}`
  if (first === undefined || newest === undefined) findings.add('LOG_RESTORED', where, told)
  else
    findings.add(
      'RESTORE_LOSS',
      where,
      `${told}: events ${seq} to ${newest.size - 1}, ${newest.size - seq} in all, which ${
        first === newest
          ? `anchor ${first.number} covers`
          : `anchors ${first.number} to ${newest.number} cover`
      }, are lost`,
    )
  return lost
}

/** Each anchor covers more than the one before it, but for the first after a restore. */
export function checkGrowth(
  anchors: readonly CheckedAnchor[],
  restoredAfter: ReadonlySet<number>,
  findings: Findings,
): void {
  for (const [i, anchor] of anchors.entries()) {
    const last = anchors[i - 1]
    if (last && anchor.size <= last.size && !restoredAfter.has(last.number))
      findings.add(
        'ANCHOR_FORK',
        `anchor ${anchor.number}`,
        `covers ${anchor.size} events, anchor ${last.number} ${last.size}`,
      )
  }
}

/** The anchors that may cover an event: without those of a lost branch, and as long as they grow. */
export function covering(
  anchors: readonly CheckedAnchor[],
  lost: ReadonlySet<number>,
): readonly CheckedAnchor[] {
  const kept = lost.size === 0 ? anchors : anchors.filter(anchor => !lost.has(anchor.number))
  const end = kept.findIndex((anchor, i) => i > 0 && anchor.size <= (kept[i - 1]?.size ?? 0))
  return end < 0 ? kept : kept.slice(0, end)
}
