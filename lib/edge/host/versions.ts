/** A change of MySQL or of what is loaded into it is said in the trail by whoever made it, or is a finding. */
import { existsSync } from 'node:fs'
import { toHex } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { type Running, serverChanges } from '../../core/host/versions.ts'
import type { Change, Step } from '../../core/plan.ts'
import { openRoot, scalar } from '../install/server.ts'
import type { Connection } from '../mysql.ts'
import { announceServer } from '../schema.ts'
import type { Setup } from './setup.ts'
import type { Layer } from './steps.ts'

const asBytes = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array(0))

/** What runs, and what the trail knows; null before the schema has a place for it. */
export async function observeServer(
  connection: Connection,
): Promise<{ running: Running; known: Running | null } | null> {
  const ready = await scalar(
    connection,
    `(SELECT COUNT(*) FROM information_schema.ROUTINES
      WHERE ROUTINE_SCHEMA = 'securedb' AND ROUTINE_NAME IN ('observe_server', 'record_server'))`,
  )
  if (ready !== '2') return null
  await connection.run('CALL securedb.observe_server(@ztmysql_version, @ztmysql_digest)')
  const [now] = await connection.query('SELECT @ztmysql_version AS mysql, @ztmysql_digest AS digest')
  const [row] = await connection.query('SELECT mysql, digest FROM securedb.server_state WHERE id = 1')
  const read = (found: typeof row): Running => ({
    mysql: String(found?.mysql),
    digest: toHex(asBytes(found?.digest)),
  })
  return { running: read(now), known: row === undefined ? null : read(row) }
}

/** @param expected steps of the same plan that change what is loaded */
export async function serverStep(connection: Connection, expected: Step[] = []): Promise<Step> {
  const observed = await observeServer(connection)
  const changes: Change[] = observed === null ? [] : serverChanges(observed.running, observed.known)
  const first = expected.find(step => step.changes.length > 0)
  if (changes.length === 0 && observed !== null && first !== undefined)
    changes.push({ item: 'event server', before: 'before the change', after: `after step ${first.id}` })
  return {
    id: 'server',
    description: 'announce in the trail which MySQL and plugins run',
    changes,
    apply: () => announceServer(connection),
  }
}

/** After the restart of an upgrade, and before the anchor looks. */
export async function versionsLayer({ database }: Setup): Promise<Layer & { close(): void }> {
  if (!existsSync(database.socket)) return { steps: [], findings: [], close: () => undefined }
  const connection = await openRoot(database.socket)
  return { steps: [await serverStep(connection)], findings: [], close: () => connection.destroy() }
}

export interface Announced extends Running {
  minutes: number
}

/** Opens a time in which a change of MySQL or its plugins is announced. @throws NOT_FOUND */
export async function announceChange(socket: string, minutes: number): Promise<Announced> {
  const connection = await openRoot(socket)
  try {
    const observed = await observeServer(connection)
    if (observed === null)
      throw new ZtError('NOT_FOUND', 'no database of this release is installed here', {
        hint: 'run vm_oneclick apply first',
      })
    await announceServer(connection, minutes)
    return { ...observed.running, minutes }
  } finally {
    connection.destroy()
  }
}
