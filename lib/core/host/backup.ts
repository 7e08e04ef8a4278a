/** The lines of a backup file (SPEC §8): a header, sections with their digests, and a closing line over all. */
import { z } from 'zod'
import { type Bytes, fromBase64, toBase64 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { hex32, originText, timeText } from '../trust_files.ts'

const count = z.int().nonnegative()

const headerSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-backup'),
  origin: originText,
  time: timeText,
  /** Of this program. */
  release: z.string().max(100),
  mysql: z.string().max(100),
  /** The trail: events, and curr_hash of the last. */
  size: count,
  head: hex32,
  /** The newest anchor that the store had acknowledged; 0 and zeros for none. */
  anchor: count,
  anchorSha256: hex32,
  /** Whether the private keys of server and anchor are in it. */
  keys: z.boolean(),
})
export type BackupHeader = z.infer<typeof headerSchema>

const columnText = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/i)
const sectionSchema = z.strictObject({
  section: z.string().regex(/^(?:table:)?[a-z][a-z0-9_]{0,63}$/),
  /** Name, and whether its values are bytes (in base64) or text. */
  columns: z.array(z.tuple([columnText, z.enum(['bytes', 'text'])])).min(1),
})
export type BackupSection = z.infer<typeof sectionSchema>

const endSchema = z.strictObject({ end: z.string(), lines: count, sha256: hex32 })
const closingSchema = z.strictObject({
  closing: z.literal(true),
  sections: count,
  lines: count,
  sha256: hex32,
})

export type BackupValue = string | Bytes | null

const newline = { newline: true }

export const formatBackupHeader = (h: Omit<BackupHeader, 'v' | 'kind'>): string => {
  const { origin, time, release, mysql, size, head, anchor, anchorSha256, keys } = h
  return formatCanonical(
    { v: 1, kind: 'ztmysql-backup', origin, time, release, mysql, size, head, anchor, anchorSha256, keys },
    true,
  )
}
export const parseBackupHeader = (line: string, what: string): BackupHeader =>
  parseCanonical(line, headerSchema, `${what}: first line`, newline)

export const formatBackupSection = ({ section, columns }: BackupSection): string =>
  formatCanonical({ section, columns }, true)
export const parseBackupSection = (line: string, what: string): BackupSection =>
  parseCanonical(line, sectionSchema, what, newline)

export type BackupEnd = z.infer<typeof endSchema>
export const formatBackupEnd = ({ end, lines, sha256 }: BackupEnd): string =>
  formatCanonical({ end, lines, sha256 }, true)
export const parseBackupEnd = (line: string, what: string): BackupEnd =>
  parseCanonical(line, endSchema, what, newline)

export type BackupClosing = Omit<z.infer<typeof closingSchema>, 'closing'>
export const formatBackupClosing = ({ sections, lines, sha256 }: BackupClosing): string =>
  formatCanonical({ closing: true, sections, lines, sha256 }, true)
export const parseBackupClosing = (line: string, what: string): BackupClosing =>
  parseCanonical(line, closingSchema, what, newline)

/** One row: a JSON array in the order of the section's columns. */
export const formatBackupRow = (values: readonly BackupValue[]): string =>
  `${JSON.stringify(values.map(value => (value instanceof Uint8Array ? toBase64(value) : value)))}\n`

/** @throws BAD_FORMAT, BAD_LENGTH */
export function parseBackupRow(line: string, columns: BackupSection['columns'], what: string): BackupValue[] {
  const bad = (): never => {
    throw new ZtError('BAD_FORMAT', `${what}: not a row of its section`)
  }
  let values: unknown
  try {
    values = JSON.parse(line)
  } catch {
    return bad() // the parser's own words quote what it read
  }
  if (!Array.isArray(values) || values.length !== columns.length) return bad()
  return columns.map(([name, type], i) => {
    const value: unknown = values[i]
    if (value === null) return null
    if (typeof value !== 'string') return bad()
    return type === 'bytes' ? fromBase64(value, `${what}: ${name}`) : value
  })
}

/**
 * Tables that hold what a restore brings back, parents first, beside the protected ones. Contexts, the boot id and the
 * sealer's health belong to one run of one server.
 */
export const backedUpTables = [
  'chain_head',
  'anchor_state',
  'gate_limits',
  'server_state',
  'restore_state',
  'audit_events',
  'audit_pending',
] as const
