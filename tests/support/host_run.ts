/**
 * One test run's own ground: a name that no other run has (owner's pid, its start, its pid namespace) for the network
 * namespaces, control groups and folders of its hosts, and how they go away: at its end, or by the next run's sweep.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'
import { errno } from '../../lib/edge/file_error.ts'
import { cacheFolder } from '../../lib/edge/mysqld_cache.ts'
import { pidNamespace, startTicks } from '../../lib/edge/mysqld_process.ts'
import { call } from './host_command.ts'

export const hostsFolder = (): string => join(cacheFolder(), 'hosts')
const runsFolder = (): string => join(hostsFolder(), 'runs')

/** `zt-<pid>-<start>-<pid namespace>`: before it may stand nothing, behind it `-NAME`. */
const owned = /^zt-(\d+)-(\d+)-(\d+)(?:-[a-z0-9]+)?$/

export const runName = `zt-${process.pid}-${startTicks(process.pid)}-${pidNamespace()}`
export const named = (name: string): string => `${runName}-${name}`

/** The control groups' folder of this machine, version 2. */
export function cgroupRoot(): string | undefined {
  const line = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find(each => each.split(' ')[2] === 'cgroup2')
  return line?.split(' ')[1]
}

/** Folders below first: a control group goes once it is empty. */
function removeCgroup(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name))
  rmdirSync(path)
}

/** Ends all that runs in a host's control group, and removes the group. */
export async function endCgroup(name: string): Promise<void> {
  const root = cgroupRoot()
  if (root === undefined) return
  const path = join(root, name)
  if (!existsSync(path)) return
  writeFileSync(join(path, 'cgroup.kill'), '1')
  for (let tries = 0; ; tries++)
    try {
      return removeCgroup(path)
    } catch (thrown) {
      if (errno(thrown) !== 'EBUSY' || tries > 500) throw thrown // the killed are still leaving
      await Bun.sleep(20)
    }
}

const isOver = (name: string): boolean => {
  const [, pid, ticks, namespace] = owned.exec(name) ?? []
  return pid !== undefined && namespace === pidNamespace() && startTicks(Number(pid)) !== Number(ticks)
}

async function remove(chosen: (name: string) => boolean): Promise<void> {
  const root = cgroupRoot()
  for (const name of root ? readdirSync(root) : []) if (chosen(name)) await endCgroup(name)
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : [])
    if (chosen(name)) await call(['ip', 'netns', 'del', name])
  for (const name of existsSync(runsFolder()) ? readdirSync(runsFolder()) : [])
    if (chosen(name)) rmSync(join(runsFolder(), name), { recursive: true, force: true })
}

/** Removes what runs left behind that were killed. */
export const sweepRuns = (): Promise<void> => remove(isOver)

/** The names of the other runs on this cache that are going on. */
export const otherRuns = (): string[] =>
  existsSync(runsFolder()) ? readdirSync(runsFolder()).filter(name => name !== runName && !isOver(name)) : []

let folder: string | undefined

/** This run's folder, made at the first call, which sweeps; removed with all of this run at its end. */
export async function runFolder(): Promise<string> {
  if (folder !== undefined) return folder
  const made = join(runsFolder(), runName)
  folder = made
  onExit(async () => {
    folder = undefined
    await remove(name => name === runName || name.startsWith(`${runName}-`))
  })
  mkdirSync(made, { recursive: true })
  await sweepRuns()
  return made
}
