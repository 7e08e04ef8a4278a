/** What would stop an installation half-way, found before anything is changed: one plain error each. */
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
} from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import { freeBytes, listenersOn, otherDatabases } from '../../core/host/preflight.ts'
import { errno, fileError } from '../file_error.ts'
import { refuseUnfitLogHost } from './log_shipping.ts'
import { installedPackages, refuseUnfitPackages } from './packages.ts'
import type { Setup } from './setup.ts'

/** Before anything is read. @throws PERMISSION, REFUSED */
export function refuseUnfitProcess(): void {
  if (process.geteuid?.() !== 0)
    throw new ZtError('PERMISSION', 'only root can set up a host', { hint: 'run it with sudo' })
  if (!existsSync('/run/systemd/system'))
    throw new ZtError('REFUSED', 'this system does not run systemd', {
      hint: 'units and timers need it; for a database alone see --layer database',
    })
}

/** Folders that are written to; each must be on a file system that can be. */
const written = ['/etc', '/usr', '/usr/local/sbin', '/var/lib', '/var/log']

function refuseReadOnly(): void {
  for (const path of written)
    try {
      accessSync(path, constants.W_OK)
    } catch (thrown) {
      const error = fileError(thrown, path, 'folder')
      throw new ZtError(error.code, error.message, {
        hint: 'an installation writes there: mount it for writing, then run this again',
        cause: thrown,
      })
    }
}

const mebibytes = (bytes: number): number => Math.floor(bytes / (1 << 20))

function refuseFullDisk(needed: number): void {
  for (const path of ['/usr', '/etc', '/var/lib']) {
    const { bavail, bsize } = statfsSync(path)
    if (bavail * bsize >= needed) continue
    throw new ZtError(
      'DISK_FULL',
      `${path}: ${mebibytes(bavail * bsize)} MiB are free, ${mebibytes(needed)} MiB are needed`,
      { hint: 'free some space and run it again' },
    )
  }
}

/** What a process holds open, by its number; null where it is gone, or not ours to look at. */
function socketsOf(pid: string): string[] | null {
  try {
    const dir = join('/proc', pid, 'fd')
    return readdirSync(dir).map(fd => readlinkSync(join(dir, fd)))
  } catch (thrown) {
    if (['ENOENT', 'EACCES', 'ESRCH'].includes(errno(thrown) ?? '')) return null
    throw thrown
  }
}

interface Holder {
  pid: string
  name: string
}

function holderOf(inodes: string[]): Holder | null {
  const names = inodes.map(inode => `socket:[${inode}]`)
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name)))
    if (socketsOf(pid)?.some(link => names.includes(link)))
      return { pid, name: readFileSync(join('/proc', pid, 'comm'), 'utf8').trim() }
  return null
}

/** Port 3306 in the hands of anything but an installed MySQL. */
function refuseTakenPort(hasMysql: boolean): void {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].filter(existsSync)
  const inodes = tables.flatMap(path => listenersOn(3306, readFileSync(path, 'utf8')))
  if (inodes.length === 0) return
  const holder = holderOf(inodes)
  if (hasMysql && holder?.name === 'mysqld') return
  const who = holder === null ? 'another program' : `${holder.name} (process ${holder.pid})`
  throw new ZtError('REFUSED', `port 3306 is taken by ${who}`, {
    hint: 'end it, or give Zero-Trust MySQL a host of its own',
  })
}

function refuseOtherData(): void {
  const dataDir = '/var/lib/mysql'
  if (!existsSync(dataDir)) return
  const folders = readdirSync(dataDir, { withFileTypes: true }).filter(entry => entry.isDirectory())
  const others = otherDatabases(folders.map(({ name }) => name))
  if (others.length > 0)
    throw new ZtError('REFUSED', `${dataDir} holds other databases: ${others.join(', ')}`, {
      hint: 'give Zero-Trust MySQL a server of its own: it changes settings and accounts for all of it',
    })
}

/** @throws REFUSED, DISK_FULL, PERMISSION, NOT_FOUND; nothing was changed */
export async function preflight(setup: Setup): Promise<void> {
  refuseUnfitLogHost(setup)
  refuseOtherData()
  const { mysql } = await installedPackages()
  refuseTakenPort(mysql !== null)
  await refuseUnfitPackages(setup)
}

/** Beside that, what only matters where something is to be written. */
export async function preflightToWrite(setup: Setup): Promise<void> {
  refuseReadOnly()
  const { mysql } = await installedPackages()
  refuseFullDisk(mysql === null ? freeBytes.install : freeBytes.run)
  await preflight(setup)
}
