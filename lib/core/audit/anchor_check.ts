import type { Bytes } from '../bytes.ts'
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
import type { TrustedLog } from './checkpoint.ts'
import type { Findings } from './findings.ts'
import type { Helpers, OpenedAnchor } from './helpers.ts'
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
  /** What other threads found in anchors, by the object's SHA-256; those that are not in it are opened here. */
  opened?: ReadonlyMap<string, OpenedAnchor> | undefined
}

/** An object by itself: the part of checkAnchors that takes its time, and may be done on any thread. */
export function openObject(bytes: Bytes, trust: TrustedLog, engine?: Engine): OpenedAnchor {
  try {
    const anchor = parseAnchor(bytes)
    if (anchor.origin !== trust.origin) return undefined
    try {
      return { checkpoint: openAnchor(anchor, trust, engine) }
    } catch (thrown) {
      if (thrown instanceof ZtError && thrown.code === 'INTERNAL') throw thrown // no engine's verdict
      return { fault: reason(thrown) }
    }
  } catch (thrown) {
    if (!(thrown instanceof ZtError) || thrown.code === 'INTERNAL') throw thrown
    return undefined
  }
}

const jobSize = 16

/** Has all of them opened by helpers. @param from as in AnchorLimits */
export async function openByHelpers(
  stored: readonly StoredAnchor[],
  helpers: Helpers,
  from = 1,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<Map<string, OpenedAnchor>> {
  const wanted = stored.filter(({ name }) => (anchorNumber(name) ?? from) >= from)
  const opened = new Map<string, OpenedAnchor>()
  const running: { objects: Bytes[]; answer: Promise<OpenedAnchor[]> }[] = []
  const settle = async (most: number) => {
    while (running.length > most) {
      const [first] = running.splice(0, 1)
      if (!first) return
      const answers = await first.answer
      for (const [i, bytes] of first.objects.entries()) opened.set(anchorHash(bytes), answers[i])
      onProgress(opened.size, wanted.length)
    }
  }
  for (let i = 0; i < wanted.length; i += jobSize) {
    const objects = wanted.slice(i, i + jobSize).map(({ bytes }) => bytes)
    running.push({ objects, answer: helpers.anchors({ objects }) })
    await settle(3 * helpers.count)
  }
  await settle(0)
  return opened
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
  const { from = 1, engine, opened } = limits
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

    const signed = opened?.get(prev) ?? openObject(object.bytes, trust, engine)
    if (signed === undefined || 'fault' in signed) {
      findings.add('ANCHOR_SIGNATURE', `anchor ${anchor.number}`, signed?.fault ?? 'cannot be opened')
      continue
    }
    const checked = {
      ...anchor,
      checkpointRoot: signed.checkpoint.root,
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
