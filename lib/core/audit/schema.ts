/** The fingerprint of the schema (SPEC §4.7). */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, utf8 } from '../bytes.ts'
import { lp } from '../lp.ts'

/** One row of schema_snapshot(). */
export interface SchemaObject {
  kind: string
  name: string
  definition: string
}

function compareBytes(a: Bytes, b: Bytes): number {
  const at = a.findIndex((byte, i) => byte !== b[i])
  return at < 0 ? a.length - b.length : (a[at] ?? 0) - (b[at] ?? -1)
}

const order = (a: SchemaObject, b: SchemaObject): number =>
  compareBytes(utf8(a.kind), utf8(b.kind)) || compareBytes(utf8(a.name), utf8(b.name))

/**
 * SHA-256(LP("ztmysql/v1/schema", kind, name, definition, …)) in the order of the bytes of (kind, name), without
 * the rows of the server itself (`server.…`), 32 bytes.
 */
export function schemaFingerprint(objects: readonly SchemaObject[]): Bytes {
  const counted = objects.filter(object => !object.kind.startsWith('server.')).sort(order)
  return sha256(lp('ztmysql/v1/schema', ...counted.flatMap(o => [o.kind, o.name, o.definition])))
}
