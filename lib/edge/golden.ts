/** The release's schema as a server shows it, for sql/golden.json. */
import { definitions, type golden, handwritten } from '../../sql/index.ts'
import { schemaFingerprint } from '../core/audit/schema.ts'
import { toHex } from '../core/bytes.ts'
import { generateObjects } from '../core/sqlgen/objects.ts'
import type { Connection } from './mysql.ts'
import { schemaSnapshot, sha256 } from './schema_state.ts'

/** Reads a server to which this release's schema was applied, and nothing else. */
export async function readGolden(connection: Connection): Promise<typeof golden> {
  const byTable = new Map(definitions.map(d => [d.table, d]))
  const objects = [...handwritten, ...definitions.flatMap(d => generateObjects(d, byTable))]
  const source = new Map(objects.map(o => [`${o.kind} ${o.name}`, toHex(sha256(o.sql))]))
  const snapshot = await schemaSnapshot(connection)
  const [row] = await connection.query('SELECT VERSION() AS version')
  return {
    mysql: String(row?.version).replace(/-.*/, ''),
    fingerprint: toHex(schemaFingerprint(snapshot)),
    objects: snapshot
      .filter(o => !o.kind.startsWith('server.'))
      .map(({ kind, name, definition }) => ({
        kind,
        name,
        source: source.get(`${kind} ${name}`) ?? '',
        live: toHex(sha256(definition)),
      })),
  }
}
