/** Snapshots of a schema: from a file, a bundle, a folder of them by an anchor's fingerprint, or the live server. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { anchorName, parseAnchor } from '../core/audit/anchor.ts'
import { type SchemaObject, schemaFingerprint } from '../core/audit/schema.ts'
import { parseSnapshot } from '../core/audit/schema_diff.ts'
import { toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { unpackArchive } from './archive.ts'
import { fileError, readRegularFile } from './files.ts'
import { openMysql } from './mysql.ts'
import type { SourceOptions } from './verify.ts'
import { readAnchors } from './verify.ts'

const maxBytes = 64 << 20

export const fingerprintOf = (objects: readonly SchemaObject[]): string => toHex(schemaFingerprint(objects))

/** What schema_snapshot() says now. */
export async function liveSnapshot({ defaultsFile, socket, user }: SourceOptions): Promise<SchemaObject[]> {
  if (defaultsFile === undefined && socket === undefined)
    throw new ZtError('USAGE', 'no server given', { hint: 'give --defaults-file or --socket' })
  const connection = await openMysql(
    socket === undefined ? { defaultsFile: defaultsFile ?? '' } : { socket, user: user ?? 'root' },
  )
  try {
    const [rows] = await connection.call('securedb.schema_snapshot')
    return (rows ?? []).map(row => ({
      kind: String(row.kind),
      name: String(row.name),
      definition: String(row.definition),
    }))
  } finally {
    connection.destroy()
  }
}

async function fromFile(path: string): Promise<SchemaObject[]> {
  const bytes = readRegularFile(path, 'snapshot', maxBytes)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return parseSnapshot(bytes, path)
  const files = await unpackArchive(bytes, path, maxBytes, name => name.length < 200)
  const inside = files.get('schema.json')
  if (!inside) throw new ZtError('BAD_FORMAT', `${path}: a bundle without schema.json`)
  return parseSnapshot(inside, `${path}: schema.json`)
}

export interface SnapshotOptions extends SourceOptions {
  anchors?: string
  /** A folder of snapshots and bundles. */
  snapshots?: string
}

/** @param name `live`, a file or bundle, or the number of an anchor whose fingerprint one of `snapshots` has */
export async function readSnapshot(name: string, options: SnapshotOptions): Promise<SchemaObject[]> {
  if (name === 'live') return liveSnapshot(options)
  if (!/^[0-9]+$/.test(name)) return fromFile(name)
  const { anchors, snapshots } = options
  if (anchors === undefined || snapshots === undefined)
    throw new ZtError('USAGE', `anchor ${name}: its snapshot must be found by its fingerprint`, {
      hint: 'give --anchors, and --snapshots with a folder of snapshots or bundles',
    })
  const object = (await readAnchors(anchors)).find(one => one.name === anchorName(Number(name)))
  if (!object) throw new ZtError('NOT_FOUND', `anchor ${name}: is not in your copy`)
  const { fingerprint } = parseAnchor(object.bytes)
  let names: string[]
  try {
    names = readdirSync(snapshots).sort()
  } catch (thrown) {
    throw fileError(thrown, snapshots, 'snapshots')
  }
  for (const file of names.filter(one => /\.(json|tar\.gz)$/.test(one))) {
    const objects = await fromFile(join(snapshots, file))
    if (fingerprintOf(objects) === fingerprint) return objects
  }
  throw new ZtError(
    'NOT_FOUND',
    `anchor ${name}: no snapshot in ${snapshots} has its fingerprint ${fingerprint}`,
    {
      hint: 'chain_verify schema-snapshot keeps one; each bundle holds one',
    },
  )
}
