/** Detached servers: found again by their folder, in which `mysqld.json` tells how to reach them. */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { reason, ZtError } from '../core/errors.ts'
import { readPrivateFile } from './files.ts'
import { destroy, killServers, serversOn, signal, waitUntilGone } from './mysqld_process.ts'

const shape = z.strictObject({
  pid: z.int().positive(),
  socket: z.string(),
  port: z.int().min(1).max(65535),
  version: z.string(),
  /** Where the socket lies, when the server's own folder has too long a path for one. */
  socketDir: z.string().optional(),
})

export type ServerRecord = z.infer<typeof shape>

export const formatRecord = (record: ServerRecord): string => `${JSON.stringify(record, null, 2)}\n`

/**
 * The detached server of a folder; `running` is asked of the system, not of the file.
 * @throws NOT_FOUND where no server lives
 */
export function readInstance(dir: string): ServerRecord & { running: boolean } {
  const folder = resolve(dir)
  const file = join(folder, 'mysqld.json')
  if (!existsSync(file))
    throw new ZtError('NOT_FOUND', `${folder}: no MySQL server lives there`, { hint: 'check the folder' })
  let record: ServerRecord
  try {
    record = shape.parse(JSON.parse(readPrivateFile(file, 'server record').toString()))
  } catch (thrown) {
    if (thrown instanceof ZtError) throw thrown
    throw new ZtError('BAD_FORMAT', `${file}: ${reason(thrown)}`, { cause: thrown })
  }
  return { ...record, running: serversOn(join(folder, 'data')).length > 0 }
}

const shutdownSeconds = 60

/** What a server makes in its folder: nothing else there is removed, as the folder was chosen by a person. */
const ours = ['data', 'my.cnf', 'error.log', 'mysqld.sock', 'mysqld.sock.lock', 'mysqld.pid', 'mysqld.json']

/** Shuts a detached server down in good order and removes it. @throws NOT_FOUND where no server lives */
export async function stopInstance(dir: string): Promise<void> {
  const folder = resolve(dir)
  const { socketDir } = readInstance(folder)
  const dataDir = join(folder, 'data')
  for (const pid of serversOn(dataDir)) signal(pid, 'SIGTERM')
  await waitUntilGone(dataDir, shutdownSeconds)
  await killServers(dataDir)
  for (const name of ours) rmSync(join(folder, name), { recursive: true, force: true })
  if (readdirSync(folder).length === 0) rmdirSync(folder)
  if (socketDir !== undefined) await destroy(socketDir)
}
