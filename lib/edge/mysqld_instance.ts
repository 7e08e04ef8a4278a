/** Detached servers: found again by their folder, in which `mysqld.json` tells how to reach them. */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { reason, ZtError } from '../core/errors.ts'
import { readPrivateFile, writeFileAtomic } from './files.ts'
import { findMysql } from './mysqld_fetch.ts'
import { launchMysqld } from './mysqld_launch.ts'
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

async function shutDown(dataDir: string): Promise<void> {
  for (const pid of serversOn(dataDir)) signal(pid, 'SIGTERM')
  await waitUntilGone(dataDir, shutdownSeconds)
  await killServers(dataDir)
}

/**
 * Shuts a detached server down in good order if it runs, and starts it on its my.cnf, data and port.
 * @throws NOT_FOUND where no server lives; MYSQL with the error log's last words
 */
export async function restartInstance(dir: string): Promise<ServerRecord> {
  const folder = resolve(dir)
  const { running: _, ...record } = readInstance(folder)
  const { mysqld, version } = await findMysql()
  if (version !== record.version)
    throw new ZtError(
      'CONFLICT',
      `${folder}: its server is MySQL ${record.version}, the one at hand ${version}`,
      {
        hint: 'name the same with MYSQLD',
      },
    )
  await shutDown(join(folder, 'data'))
  let pid = 0
  await launchMysqld({ mysqld, folder, socket: record.socket }, child => {
    pid = child.pid
  })
  const started = { ...record, pid }
  writeFileAtomic(join(folder, 'mysqld.json'), formatRecord(started))
  return started
}

/** Shuts a detached server down in good order and removes it. @throws NOT_FOUND where no server lives */
export async function stopInstance(dir: string): Promise<void> {
  const folder = resolve(dir)
  const { socketDir } = readInstance(folder)
  const dataDir = join(folder, 'data')
  await shutDown(dataDir)
  for (const name of ours) rmSync(join(folder, name), { recursive: true, force: true })
  if (readdirSync(folder).length === 0) rmdirSync(folder)
  if (socketDir !== undefined) await destroy(socketDir)
}
