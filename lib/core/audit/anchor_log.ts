/**
 * Anchors out of what a log host received: lines `TIME ADDRESS <109>1 … AUDIT_CHAIN_HEAD …` (SPEC §4.6). The object is made
 * again from the line and held against the SHA-256 that the line gives; whether it is any good, its signatures say, later.
 */
import { fromBase64, fromUtf8 } from '../bytes.ts'
import { reason, ZtError } from '../errors.ts'
import { parseTime } from '../time.ts'
import { type Anchor, anchorHash, anchorName, formatAnchor, formatAnchorSyslog } from './anchor.ts'
import type { StoredAnchor } from './source.ts'

/** Twice what the log host takes in one message. */
export const logLineMaxChars = 65_536

export type ReceivedAnchor = StoredAnchor & { number: number; sha256: string; receivedAt: number }

const mark = ' AUDIT_CHAIN_HEAD '
const value = '"((?:[^"\\\\\\]]|\\\\["\\\\\\]])*)"'
const linePattern = new RegExp(
  `^<109>1 (\\S+) (\\S{1,255}) anchor_head ([0-9]{1,10}) AUDIT_CHAIN_HEAD \\[ztmysql@32473 origin=${value} number="([0-9]+)" size="([0-9]+)" head="([0-9a-f]{64})" fingerprint="([0-9a-f]{64})" prev="([0-9a-f]{64})" sha256="([0-9a-f]{64})"\\] (\\S+)$`,
)
const receivedPattern =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d)) ([0-9a-f.:]{3,45}|localhost) (<.*)$/

/** Milliseconds since 1970. */
function parseReceived(time: string, sign: string | undefined, hours: string, minutes: string): number {
  const offset = sign === undefined ? 0 : (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
  return Math.floor(parseTime(`${time}Z`, 'time of receipt') / 1000) - offset * 60_000
}

/** The object that a message AUDIT_CHAIN_HEAD is about. @throws BAD_FORMAT where the message is not as anchor_head writes it */
export function parseAnchorSyslog(message: string): { anchor: Anchor; bytes: Uint8Array; sha256: string } {
  const found = linePattern.exec(message)
  if (found === null) throw new ZtError('BAD_FORMAT', 'not a whole line of anchor_head')
  const [
    ,
    time = '',
    host = '',
    pid,
    origin = '',
    number,
    size,
    head = '',
    fingerprint = '',
    prev = '',
    sha256 = '',
  ] = found
  const checkpoint = fromUtf8(fromBase64(found[11] ?? '', 'checkpoint'), 'checkpoint')
  const anchor: Anchor = {
    v: 1,
    origin: origin.replace(/\\(["\\\]])/g, '$1'),
    number: Number(number),
    size: Number(size),
    head,
    fingerprint,
    prev,
    time,
    checkpoint,
  }
  const bytes = formatAnchor(anchor)
  if (anchorHash(bytes) !== sha256)
    throw new ZtError('BAD_FORMAT', `anchor ${anchor.number}: its SHA-256 is not the one that the line gives`)
  if (formatAnchorSyslog(bytes, { host, pid: Number(pid) }) !== message)
    throw new ZtError('BAD_FORMAT', `anchor ${anchor.number}: not written as anchor_head writes it`)
  return { anchor, bytes, sha256 }
}

/** One line of a log host; undefined for what speaks of no anchor. @throws BAD_FORMAT */
export function parseReceivedLine(line: string): ReceivedAnchor | undefined {
  if (!line.includes(mark)) return undefined
  const [, time = '', sign, hours = '0', minutes = '0', , message = ''] = receivedPattern.exec(line) ?? []
  if (message === '')
    throw new ZtError('BAD_FORMAT', 'the time and address of receipt do not stand before the message', {
      hint: 'the log host writes lines by the template of docs/operations.md, "A log host"',
    })
  const { anchor, bytes, sha256 } = parseAnchorSyslog(message)
  return {
    name: anchorName(anchor.number),
    number: anchor.number,
    bytes,
    sha256,
    receivedAt: parseReceived(time, sign, hours, minutes),
  }
}

export interface LogFault {
  /** 1 for the first line. */
  line: number
  detail: string
}

/**
 * Takes lines in the order in which they were received. One that comes again, as it does when a log host was away, is the
 * same anchor with its first time of receipt; another object of the same number is a fault.
 */
export class ReceivedAnchors {
  /** SHA-256 by number: the objects of years are too many to hold. */
  readonly seen: Map<number, string>
  readonly faults: LogFault[] = []
  again = 0
  #line = 0

  /** @param seen those of the files before */
  constructor(seen: Map<number, string> = new Map()) {
    this.seen = seen
  }

  /** The anchor of a line that brings one for the first time. */
  add(line: string): ReceivedAnchor | undefined {
    this.#line += 1
    try {
      return this.#first(parseReceivedLine(line))
    } catch (thrown) {
      this.faults.push({ line: this.#line, detail: reason(thrown) })
      return undefined
    }
  }

  #first(received: ReceivedAnchor | undefined): ReceivedAnchor | undefined {
    if (received === undefined) return undefined
    const { number, sha256 } = received
    const before = this.seen.get(number)
    if (before === undefined) {
      this.seen.set(number, sha256)
      return received
    }
    if (before !== sha256)
      throw new ZtError(
        'BAD_FORMAT',
        `anchor ${number}: another object than the one received before (${before.slice(0, 16)}…, now ${sha256.slice(0, 16)}…)`,
      )
    this.again += 1
    return undefined
  }
}
