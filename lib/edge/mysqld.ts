/** A real MySQL server of one's own: private, quick to start, gone when its owner is gone. For tests, demo, benchmarks. */
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { makePrivateDir, writeFileAtomic } from './files.ts'
import { configText, type MysqldSettings } from './mysqld_config.ts'
import { copyData, dataTemplate } from './mysqld_data.ts'
import { findMysql } from './mysqld_fetch.ts'
import { formatRecord, type ServerRecord } from './mysqld_instance.ts'
import { launchMysqld } from './mysqld_launch.ts'
import * as processes from './mysqld_process.ts'

export { cacheFolder } from './mysqld_cache.ts'
export type { MysqldSettings } from './mysqld_config.ts'
export { findMysql, mysqlClientCommand } from './mysqld_fetch.ts'
export { readInstance, restartInstance, type ServerRecord, stopInstance } from './mysqld_instance.ts'
export { sweepServers } from './mysqld_process.ts'

export interface MysqldOptions extends MysqldSettings {
  /** Leave it running when this process ends; stopInstance(dir) ends it. */
  detached?: boolean
  /** With `detached`: the folder it lives in, absent or empty (default: a private one under the temporary folder). */
  dir?: string
}

/** A running server. It listens on 127.0.0.1 and on its socket, where root comes in without a password. */
export interface Mysqld extends AsyncDisposable {
  readonly dir: string
  readonly dataDir: string
  readonly socket: string
  readonly port: number
  readonly errorLog: string
  readonly version: string
  readonly mysqld: string
  /** The stock client as root over the socket; append arguments. */
  readonly clientCommand: string[]
  /** The server's process; undefined while it is down. */
  readonly pid: number | undefined
  /** Ends it and removes its folder. `keep`: shuts it down in good order and leaves the data for restart(). */
  stop(options?: { keep?: boolean }): Promise<void>
  /** Shuts it down in good order if it runs, and starts it on the same data and port, with other settings if given. */
  restart(settings?: MysqldSettings): Promise<void>
  /** SIGKILL: a crash. restart() recovers it. */
  kill9(): Promise<void>
}

/** A socket's path is at most 107 bytes; some clients take less. */
const socketMaxBytes = 100
const shutdownSeconds = 60

/** A port nobody listens on, below the range that the kernel gives to outgoing connections. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20000 + Math.floor(Math.random() * 10000)
    const free = await new Promise<boolean>(done => {
      const server = createServer()
      server.once('error', () => done(false))
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)))
    })
    if (free) return port
  }
  throw new ZtError('IO', 'no free port between 20000 and 29999')
}

async function emptyFolder(dir: string): Promise<string> {
  const folder = resolve(dir)
  makePrivateDir(folder)
  if (readdirSync(folder).length > 0)
    throw new ZtError('CONFLICT', `${folder}: not empty`, {
      hint: 'stop the server that lives there, or choose another folder',
    })
  return folder
}

/**
 * Starts a server on a fresh copy of the initialised data directory and waits until it answers. Servers of owners that
 * were killed are swept away first.
 * @throws MISSING_TOOL where no MySQL can be had; MYSQL with the error log's last words
 */
export async function startMysqld(options: MysqldOptions = {}): Promise<Mysqld> {
  const { detached = false, dir } = options
  const programs = await findMysql()
  await processes.sweepServers()
  const template = await dataTemplate(programs)
  const folder = detached && dir !== undefined ? await emptyFolder(dir) : processes.makeServerFolder(detached)
  const dismiss = detached ? undefined : processes.guard(folder)
  const dataDir = join(folder, 'data')
  const errorLog = join(folder, 'error.log')
  const ownSocket = join(folder, 'mysqld.sock')
  const socketDir = ownSocket.length <= socketMaxBytes ? undefined : processes.makeServerFolder(true)
  const socket = socketDir === undefined ? ownSocket : join(socketDir, 'mysqld.sock')
  let settings: MysqldSettings = options
  let port = 0
  let child: Bun.Subprocess | undefined

  const launch = async (): Promise<void> => {
    const file = join(folder, 'my.cnf')
    const fixed = { folder, dataDir, socket, port, errorLog, plugins: template.plugins }
    writeFileAtomic(file, configText(settings, fixed))
    await launchMysqld({ mysqld: programs.mysqld, folder, socket }, started => {
      child = started
    })
  }

  const launchOnFreePort = async (): Promise<void> => {
    for (let tries = 1; ; tries++)
      try {
        port = await freePort()
        return await launch()
      } catch (thrown) {
        const taken = thrown instanceof ZtError && /Address already in use|MY-010262/.test(thrown.message)
        if (!taken || tries === 5) throw thrown
      }
  }

  const end = async (name: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (!child) return
    child.kill(name)
    const slow = setTimeout(() => child?.kill('SIGKILL'), shutdownSeconds * 1000)
    await child.exited
    clearTimeout(slow)
  }

  const remove = async (): Promise<void> => {
    forget()
    child?.kill('SIGKILL')
    await child?.exited
    await processes.destroy(folder)
    if (socketDir !== undefined) await processes.destroy(socketDir)
    await dismiss?.()
  }
  const forget = detached ? () => undefined : onExit(remove)

  const record = (): ServerRecord => ({
    pid: child?.pid ?? 0,
    socket,
    port,
    version: programs.version,
    socketDir,
  })
  try {
    await copyData(template, folder)
    await launchOnFreePort()
    if (detached) writeFileAtomic(join(folder, 'mysqld.json'), formatRecord(record()))
  } catch (thrown) {
    await remove()
    throw thrown
  }

  return {
    dir: folder,
    dataDir,
    socket,
    port,
    errorLog,
    version: programs.version,
    mysqld: programs.mysqld,
    clientCommand: [programs.mysql, '--no-defaults', `--socket=${socket}`, '--user=root'],
    get pid() {
      return child && child.exitCode === null && child.signalCode === null ? child.pid : undefined
    },
    stop: async ({ keep = false } = {}) => (keep ? end('SIGTERM') : remove()),
    restart: async changed => {
      settings = changed ?? settings
      await end('SIGTERM')
      await launch()
      if (detached) writeFileAtomic(join(folder, 'mysqld.json'), formatRecord(record()))
    },
    kill9: () => end('SIGKILL'),
    [Symbol.asyncDispose]: remove,
  }
}
