/** Processes of development servers: who owns which, and that none outlives its owner. Linux's /proc is the source. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { errno } from './file_error.ts'
import { makePrivateDir } from './files.ts'

/** Runs a command to its end, output captured. A Ctrl-C or SIGTERM of ours ends it too. */
export async function run(
  argv: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn(argv, {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env },
  })
  const forget = onExit(async () => {
    child.kill()
    await child.exited // so that it writes no more where the next clean-up removes
  })
  try {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { code, stdout, stderr }
  } finally {
    forget()
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'latin1')
  } catch (thrown) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errno(thrown) ?? '')) return undefined // gone, or another's
    throw thrown
  }
}

/** When a process began, in clock ticks since boot; undefined once it is gone or a zombie. With the pid it is unique. */
export function startTicks(pid: number): number | undefined {
  const stat = readProc(`${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') // the name before it may hold blanks
  return fields === undefined || fields[0] === 'Z' ? undefined : Number(fields[19])
}

/** The servers on a data directory, found by their command line: a pid file may be stale or not yet written. */
export function serversOn(dataDir: string): number[] {
  const wanted = `--datadir=${dataDir}`
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(name => readProc(`${name}/cmdline`)?.split('\0').includes(wanted))
    .map(Number)
}

/** Sends a signal; a process that has gone meanwhile is fine. */
export function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name)
  } catch (thrown) {
    if (errno(thrown) !== 'ESRCH') throw thrown
  }
}

/** Waits until no server runs on a data directory; false after `seconds`. */
export async function waitUntilGone(dataDir: string, seconds: number): Promise<boolean> {
  for (const end = Date.now() + seconds * 1000; serversOn(dataDir).length > 0; await Bun.sleep(20))
    if (Date.now() > end) return false
  return true
}

/** Kills what runs on a data directory. */
export async function killServers(dataDir: string): Promise<void> {
  for (const pid of serversOn(dataDir)) signal(pid, 'SIGKILL')
  if (!(await waitUntilGone(dataDir, 10)))
    throw new ZtError('IO', `a server on ${dataDir} survives SIGKILL`, {
      hint: 'its disk may hang: see dmesg',
    })
}

/** Kills what runs on `folder/data` and removes the folder. */
export async function destroy(folder: string): Promise<void> {
  await killServers(join(folder, 'data'))
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 }) // a watchdog or another sweep may be at it too
}

export const pidNamespace = (): string => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'

/** `<owner's pid>-<its start>-<its pid namespace>-<random>`: whose a folder is stands in its name, from the first moment. */
const ownName = /^(\d+)-(\d+)-(\d+)-\w+$/

/** A folder of this user's for servers: short, as a socket's path must stay below 108 bytes. */
function baseFolder(): string {
  const name = `zt-mysql-${process.geteuid?.() ?? 0}`
  const base = join(tmpdir(), name)
  const folder = base.length <= 40 ? base : join('/tmp', name)
  makePrivateDir(folder)
  return folder
}

/** A new private folder for a server that this process owns, or (`kept`) that nobody sweeps away. */
export function makeServerFolder(kept: boolean): string {
  const owner = `${process.pid}-${startTicks(process.pid)}-${pidNamespace()}`
  return mkdtempSync(join(baseFolder(), `${kept ? 'kept' : owner}-`))
}

/** Ends the servers, and removes the folders, of owners that are gone (killed before they could clean up). */
export async function sweepServers(base = baseFolder()): Promise<string[]> {
  const swept: string[] = []
  for (const name of readdirSync(base)) {
    const [, pid, ticks, namespace] = ownName.exec(name) ?? []
    if (pid === undefined || namespace !== pidNamespace()) continue // kept, or its owner's pid means nothing here
    if (startTicks(Number(pid)) === Number(ticks)) continue
    await destroy(join(base, name))
    swept.push(join(base, name))
  }
  return swept
}

/**
 * Reads until its owner is gone (end of file, SIGKILL included) or says `leave`; then kills the servers whose working
 * folder is $1/data and removes $1. A shell that merely stands there has no --datadir.
 */
const watchdog = `
trap '' INT TERM HUP
read -r word
[ "$word" = leave ] && exit 0
for process in /proc/[0-9]*; do
  [ "$process/cwd" -ef "$1/data" ] || continue
  grep -q -e --datadir= "$process/cmdline" 2>/dev/null || continue
  pid=\${process#/proc/}
  kill -KILL "$pid"
  tries=0
  while [ "$process/cwd" -ef "$1/data" ] && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
done
rm -rf "$1"
`

/** Has a tiny shell of its own session end the folder's server should this process die. Returns how to dismiss it. */
export function guard(folder: string): () => Promise<void> {
  const child = Bun.spawn(['/bin/sh', '-c', watchdog, 'zt-mysql-watchdog', folder], {
    cwd: '/',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
    detached: true, // a Ctrl-C in the terminal must not reach it
  })
  child.unref()
  return async () => {
    child.stdin.write('leave\n')
    await child.stdin.end()
    await child.exited
  }
}
