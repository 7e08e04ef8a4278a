/** How far an import has come: kept beside its input, so that the same command goes on where it was killed. */
import { existsSync } from 'node:fs'
import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { type Bytes, fromBase64, fromHex, toBase64, toHex, utf8, uuidText } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import { lp } from '../core/lp.ts'
import { readPrivateFile, writeFileAtomic } from '../edge/files.ts'

const count = z.int().min(0)
const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-import'),
  origin: z.string(),
  tenant: z.string(),
  table: z.string(),
  seed: z.string(),
  records: count,
  digest: z.string(),
  rejectsBytes: count,
  written: count,
  present: count,
  rejected: count,
})

export interface Checkpoint {
  readonly origin: string
  readonly tenant: string
  readonly table: string
  /** 32 bytes: what the ids of its rows are made with. */
  readonly seed: Bytes
  /** Records of the input that are dealt with, and a digest over them: another input must not go on here. */
  records: number
  digest: Bytes
  rejectsBytes: number
  written: number
  present: number
  rejected: number
}

/** The seed of an account's imports into a table: the same file has the same ids again, and nobody else can compute them. */
export function importSeed(secretKey: Bytes, origin: string, tenant: string, table: string): Bytes {
  return hkdf(sha256, secretKey, new Uint8Array(0), lp('ztmysql/v1/import', origin, tenant, table), 32)
}

/** A UUID of version 8 (RFC 9562 §5.8). */
function derivedUuid(seed: Bytes, message: Bytes): string {
  const b = hmac(sha256, seed, message).slice(0, 16)
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x80
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80
  return uuidText(b)
}

/** Id of the row that a record makes: one for equal records. A plain digest would let the database guess what they hold. */
export const rowId = (seed: Bytes, members: string): string =>
  derivedUuid(seed, lp('ztmysql/v1/import-row', members))

/** Id of the event by which the record of this line makes its row: tells a second run from a second line. */
export const eventId = (seed: Bytes, row: string, line: number): string =>
  derivedUuid(seed, lp('ztmysql/v1/import-event', row, String(line)))

export const nextDigest = (digest: Bytes, record: Bytes): Bytes =>
  sha256
    .create()
    .update(digest)
    .update(utf8(`${record.length} `))
    .update(record)
    .digest()

export function readCheckpoint(path: string): Checkpoint | undefined {
  if (!existsSync(path)) return undefined
  const parsed = parseCanonical(readPrivateFile(path, 'checkpoint'), schema, `checkpoint ${path}`, {
    maxBytes: 1 << 16,
    newline: true,
  })
  const { v: _v, kind: _kind, ...rest } = parsed
  return {
    ...rest,
    seed: fromBase64(parsed.seed, `checkpoint ${path}: seed`, 32),
    digest: fromHex(parsed.digest, `checkpoint ${path}: digest`, 32),
  }
}

/** @throws REFUSED where it belongs to another log, tenant or table */
export function requireSame(
  checkpoint: Checkpoint,
  path: string,
  expected: Pick<Checkpoint, 'origin' | 'tenant' | 'table'>,
): void {
  for (const what of ['origin', 'tenant', 'table'] as const)
    if (checkpoint[what] !== expected[what])
      throw new ZtError('REFUSED', `checkpoint ${path}: is of another ${what}`, {
        hint: 'name another file with --checkpoint',
      })
}

export function writeCheckpoint(path: string, { seed, digest, ...rest }: Checkpoint): void {
  const { origin, tenant, table, records, rejectsBytes, written, present, rejected } = rest
  const text = formatCanonical(
    {
      v: 1,
      kind: 'ztmysql-import',
      origin,
      tenant,
      table,
      seed: toBase64(seed),
      records,
      digest: toHex(digest),
      rejectsBytes,
      written,
      present,
      rejected,
    },
    true,
  )
  writeFileAtomic(path, text)
}
