import type { Engine } from '../engine.ts'
import { reason, ZtError } from '../errors.ts'
import {
  type Anchor,
  anchorHash,
  anchorName,
  anchorNumber,
  noPredecessor,
  openAnchor,
  parseAnchor,
} from './anchor.ts'
import type { Checkpoint, TrustedLog } from './checkpoint.ts'
import type { Findings } from './findings.ts'
import type { StoredAnchor } from './source.ts'

/** An anchor whose form, signatures and place in its own chain have been checked. */
export type CheckedAnchor = Anchor & {
  /** Signed root, 32 bytes. */
  checkpointRoot: Uint8Array
  /** Of the object, hex. */
  sha256: string
  receivedAt: number | null
}

export interface AnchorLimits {
  /** Longest time between two anchors' arrival, and between making and arrival. */
  gapSeconds: number
  /** The first one to look at, trusted as it is: what was before it was verified before. */
  from?: number | undefined
  engine?: Engine | undefined
}

/**
 * Checks a copy of the WORM store by itself: form, origin, both signatures by the keys that the trust folder
 * names for the number, numbering without gaps from 1, each one naming its predecessor's bytes, and the heartbeat.
 */
export function checkAnchors(
  stored: StoredAnchor[],
  trust: TrustedLog,
  findings: Findings,
  limits: AnchorLimits,
): CheckedAnchor[] {
  const good: CheckedAnchor[] = []
  const { from = 1, engine } = limits
  let expected = from
  let prev: string | undefined = from === 1 ? noPredecessor : undefined
  let last: CheckedAnchor | undefined
  for (const object of [...stored].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if ((anchorNumber(object.name) ?? from) < from) continue
    const where = object.name
    let anchor: Anchor
    try {
      anchor = parseAnchor(object.bytes)
    } catch (thrown) {
      findings.add('ANCHOR_FORMAT', where, reason(thrown))
      continue
    }
    if (anchorName(anchor.number) !== object.name) {
      findings.add('ANCHOR_FORMAT', where, `holds anchor ${anchor.number}`)
      continue
    }
    if (anchor.origin !== trust.origin) {
      findings.add(
        'ORIGIN_MISMATCH',
        where,
        `names the log ${anchor.origin}, the trust folder ${trust.origin}`,
      )
      continue
    }
    if (anchor.number > expected)
      findings.add('ANCHOR_MISSING', `anchor ${expected}`, missing(expected, anchor.number - 1, last))
    else if (prev !== undefined && anchor.prev !== prev)
      findings.add(
        'ANCHOR_CHAIN',
        `anchor ${anchor.number}`,
        `names predecessor ${anchor.prev}, it is ${prev}`,
      )
    expected = anchor.number + 1
    prev = anchorHash(object.bytes)

    let checkpoint: Checkpoint
    try {
      checkpoint = openAnchor(anchor, trust, engine)
    } catch (thrown) {
      if (thrown instanceof ZtError && thrown.code === 'INTERNAL') throw thrown // no engine's verdict
      findings.add('ANCHOR_SIGNATURE', `anchor ${anchor.number}`, reason(thrown))
      continue
    }
    const checked = {
      ...anchor,
      checkpointRoot: checkpoint.root,
      sha256: prev,
      receivedAt: object.receivedAt,
    }
    checkHeartbeat(checked, last, findings, limits)
    good.push(checked)
    last = checked
  }
  return good
}

const missing = (from: number, to: number, last: CheckedAnchor | undefined): string =>
  `${from === to ? `anchor ${from} is` : `anchors ${from} to ${to} are`} not in the store; ` +
  `the first event covered only afterwards is event ${last?.size ?? 0}`

function checkHeartbeat(
  anchor: CheckedAnchor,
  last: CheckedAnchor | undefined,
  findings: Findings,
  { gapSeconds }: AnchorLimits,
): void {
  if (anchor.receivedAt === null) return
  const where = `anchor ${anchor.number}`
  const late = (anchor.receivedAt - Date.parse(anchor.time)) / 1000
  if (late > gapSeconds)
    findings.add('ANCHOR_LATE', where, `made at ${anchor.time}, received ${Math.round(late)} s later`)
  if (last?.receivedAt == null) return
  const gap = (anchor.receivedAt - last.receivedAt) / 1000
  if (gap > gapSeconds)
    findings.add(
      'HEARTBEAT_GAP',
      where,
      `received ${Math.round(gap)} s after anchor ${last.number}; the first event covered after the gap is event ${last.size}`,
    )
}
