/** What is in the database, read as root without the help of its own routines: those may be what is wrong. */
import { createHash } from 'node:crypto'
import { handwritten } from '../../sql/index.ts'
import type { SchemaObject } from '../core/audit/schema.ts'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { type Privilege, privilegesOf } from '../core/grants.ts'
import type { SqlObject } from '../core/sqlgen/objects.ts'
import type { Row } from '../core/tables.ts'
import { type Connection, MysqlError } from './mysql.ts'

export interface SchemaState {
  /** False before the first run, or where it was cut short before the tables stood. */
  started: boolean
  origin: string | null
  /** The server's version. */
  mysql: string
  migrations: Map<string, Bytes>
  objects: SchemaObject[]
  definer: Privilege[] | null
}

export const sha256 = (text: string): Buffer<ArrayBuffer> => createHash('sha256').update(text).digest()

function text(row: Row, name: string): string {
  const value = row[name]
  if (typeof value !== 'string') throw new ZtError('MYSQL', `schema: ${name} is not a text`)
  return value
}

const objectsOf = (rows: Row[]): SchemaObject[] =>
  rows.map(row => ({ kind: text(row, 'kind'), name: text(row, 'name'), definition: text(row, 'definition') }))

/** The procedure that prints the schema for everybody's fingerprint. */
export function snapshotProcedure(): SqlObject {
  const found = handwritten.find(o => o.name === 'schema_snapshot')
  if (found === undefined) throw new ZtError('INTERNAL', 'schema_snapshot: this release has none')
  return found
}

/** The query inside schema_snapshot, for root to ask by itself. */
function snapshotQuery(): string {
  const source = snapshotProcedure().sql
  const from = source.indexOf('  WITH privileges')
  const to = source.lastIndexOf(';\n  COMMIT')
  if (from < 0 || to < 0) throw new ZtError('INTERNAL', 'schema_snapshot: its query was not found')
  return source.slice(from, to)
}

/** Rows of schema_snapshot(), sorted, as its accounts get them (SPEC §4.7). */
export async function schemaSnapshot(connection: Connection): Promise<SchemaObject[]> {
  return objectsOf((await connection.call('securedb.schema_snapshot'))[0] ?? [])
}

async function definerPrivileges(connection: Connection): Promise<Privilege[] | null> {
  try {
    const rows = await connection.query("SHOW GRANTS FOR 'api_definer'@'localhost'")
    return rows.flatMap(row => privilegesOf(String(Object.values(row)[0])))
  } catch (thrown) {
    if (thrown instanceof MysqlError && thrown.errno === 1141) return null // no such account
    throw thrown
  }
}

export async function readState(connection: Connection): Promise<SchemaState> {
  const definer = await definerPrivileges(connection)
  const [server] = await connection.query('SELECT VERSION() AS version')
  const mysql = String(server?.version)
  const tables = await connection.query(
    "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'securedb'",
  )
  const names = new Set(tables.map(row => String(row.name)))
  const empty = { origin: null, mysql, migrations: new Map<string, Bytes>(), definer }
  if (!names.has('gate_limits')) return { started: false, objects: [], ...empty }
  await connection.run('USE securedb')
  const [head] = await connection.query('SELECT origin FROM chain_head WHERE id = 1')
  const applied = await connection.query('SELECT name, sha256 FROM migrations')
  return {
    started: true,
    origin: head === undefined ? null : text(head, 'origin'),
    mysql,
    migrations: new Map(applied.map(row => [text(row, 'name'), row.sha256 as Bytes])),
    objects: objectsOf(await connection.query(snapshotQuery())),
    definer,
  }
}
