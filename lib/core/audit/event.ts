/** Events of the trail: one line of canonical JSON, stored as the bytes that are hashed (SPEC §4.1). */
import { type Bytes, fromBase64, fromHex, fromUtf8, isUuid, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { isOrigin } from '../origin.ts'
import type { SignedWrite } from '../signature.ts'
import { isTime } from '../time.ts'

export const rowActions = ['create', 'update', 'erase', 'retire', 'rewrap'] as const
export const serverActions = [
  'genesis',
  'migration',
  'schema',
  'server',
  'restore',
  'anchor',
  'nonce',
  'manifest',
] as const
export type RowAction = (typeof rowActions)[number]
export type ServerAction = (typeof serverActions)[number]

interface Head {
  v: 1
  /** UUID, chosen by the writer. */
  id: string
  /** YYYY-MM-DDTHH:MM:SS.ffffffZ, the server's word. */
  time: string
  /** SESSION_USER() of the caller. */
  actor: string
  /** Connection number. */
  conn: number
}

/**
 * A write to a protected table, signed by its writer. One without signature parses, since triggers record what root
 * writes by hand too: it is the verifier's to report (SIG_MISSING).
 */
export interface RowEvent extends Head {
  tenant: string
  table: string
  action: RowAction
  key: string
  ver: number
  wver: number
  scheme: string
  /** Hex of 32 bytes; null for a `create` and only there. */
  before: string | null
  /** Hex of 32 bytes. */
  after: string
  /** Base64 of 64 bytes, r ‖ s. */
  sig: string | null
  /** Hex of 32 bytes; null where `sig` is. */
  signer: string | null
  data: null
}

interface Unsigned extends Head {
  tenant: null
  table: null
  key: null
  ver: null
  wver: null
  scheme: null
  before: null
  after: null
  sig: null
  signer: null
}

/** What each server action carries, in this order. */
export interface ServerData {
  genesis: { origin: string }
  migration: { name: string; sha256: string }
  schema: { release: string; fingerprint: string }
  /** What runs, as the server says: its version, and a digest of what is loaded into it (SPEC §4.15). */
  server: { mysql: string; digest: string; announced: boolean; until: string | null }
  /** The trail before this event came from a backup; `number`, `sha256`, `size` are of the last anchor of the store. */
  restore: { number: number; sha256: string; size: number; from: number; head: string; backup: string }
  anchor: { number: number; fingerprint: string; prev: string }
  nonce: { nonce: string }
  manifest: { digest: string }
}

/** An action that the server makes by itself, unsigned. */
export type ServerEvent = {
  [A in ServerAction]: Unsigned & { action: A; data: ServerData[A] }
}[ServerAction]

export type Event = RowEvent | ServerEvent
export type AnchorEvent = Extract<ServerEvent, { action: 'anchor' }>

/** Longer than any event that the procedures can make; the length comes from whoever stored it. */
export const eventMaxBytes = 4096

export const isRowEvent = (event: Event): event is RowEvent => event.data === null

type Check = (value: unknown) => boolean

const matches =
  (pattern: RegExp): Check =>
  value =>
    typeof value === 'string' && pattern.test(value)
const isCount: Check = value => Number.isSafeInteger(value) && (value as number) >= 0
const isPositive: Check = value => Number.isSafeInteger(value) && (value as number) >= 1
const isNull: Check = value => value === null
const isHex32 = matches(/^[0-9a-f]{64}$/)
const uuid: Check = value => typeof value === 'string' && isUuid(value)
// 64 bytes: the last character before the padding carries four zero bits, or the base64 is not canonical
const isSignature = matches(/^[A-Za-z0-9+/]{85}[AQgw]==$/)
const text = (max: number): Check => matches(new RegExp(`^[\\s\\S]{1,${max}}$`))

const members = [
  'v',
  'id',
  'time',
  'actor',
  'conn',
  'tenant',
  'table',
  'action',
  'key',
  'ver',
  'wver',
  'scheme',
  'before',
  'after',
  'sig',
  'signer',
  'data',
]
const memberList = members.join()

const headChecks: [string, Check][] = [
  ['id', uuid],
  ['time', value => typeof value === 'string' && isTime(value)],
  ['actor', text(300)],
  ['conn', isCount],
]

const rowChecks: [string, Check][] = [
  ...headChecks,
  ['tenant', uuid],
  ['table', matches(/^[a-z][a-z0-9_]{0,40}$/)],
  ['key', text(200)],
  ['ver', isPositive],
  ['wver', isPositive],
  ['scheme', matches(/^[a-z_]+\/[1-9][0-9]*$/)],
  ['before', value => value === null || isHex32(value)],
  ['after', isHex32],
  ['sig', value => value === null || isSignature(value)],
  ['signer', value => value === null || isHex32(value)],
  ['data', isNull],
]

const serverChecks: [string, Check][] = [
  ...headChecks,
  ...['tenant', 'table', 'key', 'ver', 'wver', 'scheme', 'before', 'after', 'sig', 'signer'].map(
    (name): [string, Check] => [name, isNull],
  ),
]

const dataChecks: Record<ServerAction, [string, Check][]> = {
  genesis: [['origin', value => typeof value === 'string' && isOrigin(value)]],
  migration: [
    ['name', text(200)],
    ['sha256', isHex32],
  ],
  schema: [
    ['release', text(100)],
    ['fingerprint', isHex32],
  ],
  server: [
    ['mysql', text(100)],
    ['digest', isHex32],
    ['announced', value => typeof value === 'boolean'],
    ['until', value => value === null || (typeof value === 'string' && isTime(value))],
  ],
  restore: [
    ['number', isCount],
    ['sha256', isHex32],
    ['size', isCount],
    ['from', isPositive],
    ['head', isHex32],
    ['backup', isHex32],
  ],
  anchor: [
    ['number', isPositive],
    ['fingerprint', isHex32],
    ['prev', isHex32],
  ],
  nonce: [['nonce', isHex32]],
  manifest: [['digest', isHex32]],
}

const isServerAction = (action: unknown): action is ServerAction =>
  serverActions.some(known => known === action)

function refuse(what: string, member: string): never {
  throw new ZtError('BAD_FORMAT', `${what}: member ${member} is not what an event may have there`)
}

function applyChecks(object: Record<string, unknown>, checks: [string, Check][], what: string): void {
  for (const [name, check] of checks) if (!check(object[name])) refuse(what, name)
}

function isObject(value: unknown, memberNames: string): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.keys(value).join() === memberNames
}

/** Throws unless `value` has the shape of an event, members in order included. */
function checkEvent(value: unknown, what: string): Event {
  if (!isObject(value, memberList))
    throw new ZtError('BAD_FORMAT', `${what}: other members than an event has`)
  if (value.v !== 1)
    throw typeof value.v === 'number' && value.v > 1
      ? new ZtError('NEWER_FORMAT', `${what}: format version ${value.v}, this program knows 1`, {
          hint: 'use a newer release of this program',
        })
      : new ZtError('BAD_FORMAT', `${what}: unknown format version`)
  const action = value.action
  if (rowActions.some(known => known === action)) {
    applyChecks(value, rowChecks, what)
    if ((value.before === null) !== (action === 'create')) refuse(what, 'before')
    if ((value.sig === null) !== (value.signer === null)) refuse(what, 'signer')
    return value as unknown as RowEvent
  }
  if (!isServerAction(action)) throw new ZtError('BAD_FORMAT', `${what}: unknown action`)
  applyChecks(value, serverChecks, what)
  const checks = dataChecks[action]
  if (!isObject(value.data, checks.map(([name]) => name).join())) refuse(what, 'data')
  applyChecks(value.data, checks, `${what}: data`)
  return value as unknown as ServerEvent
}

/** The payload of an event: the bytes that are stored and hashed. @throws BAD_FORMAT on what would not parse. */
export function formatEvent(event: Event): Bytes {
  const bytes = utf8(JSON.stringify(checkEvent(event, 'event')))
  if (bytes.length > eventMaxBytes)
    throw new ZtError('BAD_FORMAT', `event: longer than ${eventMaxBytes} bytes`)
  return bytes
}

/** An event from its payload. What parses re-prints to the same bytes. @throws BAD_FORMAT, NEWER_FORMAT */
export function parseEvent(payload: Bytes, what = 'event'): Event {
  if (payload.length > eventMaxBytes)
    throw new ZtError('BAD_FORMAT', `${what}: longer than ${eventMaxBytes} bytes`)
  const source = fromUtf8(payload, what)
  let raw: unknown
  try {
    raw = JSON.parse(source)
  } catch {
    throw new ZtError('BAD_FORMAT', `${what}: not JSON`) // the parser's own words quote what it read
  }
  const event = checkEvent(raw, what)
  if (JSON.stringify(event) !== source)
    throw new ZtError('BAD_FORMAT', `${what}: not in canonical form (spelling or repeated members)`)
  return event
}

/**
 * What the signature of a row event must say, and the signature: 64 bytes, signer 32 bytes (SPEC §4.2).
 * Undefined where it has none.
 */
export function signedWrite(
  event: RowEvent,
  origin: string,
): { write: SignedWrite; signature: Bytes; signer: Bytes } | undefined {
  if (event.sig === null || event.signer === null) return undefined
  return {
    write: {
      origin,
      event: event.id,
      action: event.action,
      tenant: event.tenant,
      table: event.table,
      key: event.key,
      version: event.ver,
      wrapVersion: event.wver,
      after: fromHex(event.after, 'after', 32),
    },
    signature: fromBase64(event.sig, 'sig', 64),
    signer: fromHex(event.signer, 'signer', 32),
  }
}
