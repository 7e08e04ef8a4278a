/** Anchors: a checkpoint with its place in the chain of anchors, as one object of the WORM store (SPEC §4.6). */
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { type Bytes, toBase64, toHex, utf8 } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { isOrigin } from '../origin.ts'
import { isTime, parseTime } from '../time.ts'
import { type Checkpoint, openCheckpoint, type TrustedLog } from './checkpoint.ts'
import type { Event } from './event.ts'

export const anchorMaxBytes = 16_384

/** `prev` of the first anchor. */
export const noPredecessor = '0'.repeat(64)

const hex32 = z.string().regex(/^[0-9a-f]{64}$/)

const anchorSchema = z.strictObject({
  v: z.literal(1),
  origin: z.string().refine(isOrigin),
  number: z.int().positive(),
  /** Events covered; the last of them is the anchor's own. */
  size: z.int().positive(),
  /** curr_hash of the last event covered. */
  head: hex32,
  /** Schema fingerprint. */
  fingerprint: hex32,
  /** SHA-256 of the previous anchor object. */
  prev: hex32,
  /** Whole seconds, the host's word. */
  time: z.string().refine(text => isTime(text) && text.endsWith('.000000Z')),
  /** Signed note. */
  checkpoint: z.string(),
})

export type Anchor = z.infer<typeof anchorSchema>

/** `anchor-` + the number in ten digits + `.json`. */
export function anchorName(number: number): string {
  if (!Number.isSafeInteger(number) || number < 1 || number > 9_999_999_999)
    throw new ZtError('BAD_INPUT', `anchor number ${number}: expected 1 to 9999999999`)
  return `anchor-${String(number).padStart(10, '0')}.json`
}

/** The number in an object's name, or undefined where it is no anchor's. */
export function anchorNumber(name: string): number | undefined {
  const number = Number(/^anchor-([0-9]{10})\.json$/.exec(name)?.[1] ?? 0)
  return number === 0 ? undefined : number
}

/** The bytes of an anchor object. @throws BAD_FORMAT on what would not parse */
export function formatAnchor(anchor: Anchor): Bytes {
  const { v, origin, number, size, head, fingerprint, prev, time, checkpoint } = anchor
  const text = formatCanonical({ v, origin, number, size, head, fingerprint, prev, time, checkpoint }, true)
  parseCanonical(text, anchorSchema, 'anchor', { maxBytes: anchorMaxBytes, newline: true })
  return utf8(text)
}

/** An anchor from its bytes; nothing of it is verified. @throws BAD_FORMAT, NEWER_FORMAT */
export function parseAnchor(bytes: Bytes, what = 'anchor'): Anchor {
  return parseCanonical(bytes, anchorSchema, what, { maxBytes: anchorMaxBytes, newline: true })
}

/** SHA-256 of an anchor object, hex: what the next one names as `prev`. */
export const anchorHash = (bytes: Bytes): string => toHex(sha256(bytes))

/**
 * The checkpoint of an anchor whose signatures verify and which says what the anchor says: origin, size, time.
 * Number, head, fingerprint and prev are bound by the anchor's event (isEventOf), once that is under the root.
 * @throws BAD_FORMAT, BAD_LENGTH, BAD_SIGNATURE
 */
export function openAnchor(anchor: Anchor, log: TrustedLog, engine: Engine = noble): Checkpoint {
  const what = `anchor ${anchor.number}`
  const checkpoint = openCheckpoint(anchor.checkpoint, log, anchor.number, what, engine)
  if (anchor.origin !== checkpoint.origin)
    throw new ZtError('BAD_SIGNATURE', `${what}: names log ${anchor.origin}, signed is ${checkpoint.origin}`)
  if (anchor.size !== checkpoint.size)
    throw new ZtError('BAD_SIGNATURE', `${what}: says ${anchor.size} events, signed are ${checkpoint.size}`)
  if (parseTime(anchor.time, `${what}: time`) !== checkpoint.timestamp * 1_000_000)
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: says ${anchor.time}, signed is second ${checkpoint.timestamp}`,
    )
  return checkpoint
}

/** True if `event`, the last one that the anchor covers, is the anchor's own, and `head` (hex) its curr_hash. */
export function isEventOf(anchor: Anchor, event: Event, head: string): boolean {
  return (
    event.action === 'anchor' &&
    event.data.number === anchor.number &&
    event.data.fingerprint === anchor.fingerprint &&
    event.data.prev === anchor.prev &&
    head === anchor.head
  )
}

const escapeParam = (text: string): string => text.replace(/["\\\]]/g, found => `\\${found}`)

/** Who says so in the syslog line: RFC 5424 §6.2.4 to §6.2.6. */
export interface SyslogSource {
  host: string
  pid: number
}

/** Facility 13 (log audit), severity 5 (notice): RFC 5424 §6.2.1. */
const priority = 13 * 8 + 5

/**
 * The RFC 5424 message AUDIT_CHAIN_HEAD of an anchor object; its message is the checkpoint in base64. The object can be
 * made again from it, byte for byte (anchor_log.ts).
 */
export function formatAnchorSyslog(bytes: Bytes, source: SyslogSource): string {
  const anchor = parseAnchor(bytes)
  const host = /^[\x21-\x7e]{1,255}$/.test(source.host) ? source.host : '-'
  const data = Object.entries({
    origin: anchor.origin,
    number: anchor.number,
    size: anchor.size,
    head: anchor.head,
    fingerprint: anchor.fingerprint,
    prev: anchor.prev,
    sha256: anchorHash(bytes),
  }).map(([name, value]) => `${name}="${escapeParam(String(value))}"`)
  const header = `<${priority}>1 ${anchor.time} ${host} anchor_head ${source.pid} AUDIT_CHAIN_HEAD`
  return `${header} [ztmysql@32473 ${data.join(' ')}] ${toBase64(utf8(anchor.checkpoint))}`
}
