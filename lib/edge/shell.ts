/** The only door to zx: a `$` that the caller's environment cannot bend. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { quote, $ as zx } from 'zx/core'
import { ZtError } from '../core/errors.ts'
import { safePath } from './child.ts'
import { onExit } from './cleanup.ts'
import { errno } from './file_error.ts'

const bashes = ['/bin/bash', '/usr/bin/bash', '/usr/local/bin/bash', '/opt/homebrew/bin/bash']

// What bash, bun or zx would obey before the command: files to source, functions and options to import, code to load.
const steering =
  /^(?:ZX_.*|BASH_.*|ENV|SHELLOPTS|BASHOPTS|PS4|IFS|CDPATH|GLOBIGNORE|POSIXLY_CORRECT|BUN_OPTIONS|BUN_BE_BUN|NODE_OPTIONS)$/

/**
 * The environment for a child: this process's, without what steers bash, zx or a runtime, and with safePath. SHLVL says
 * that bash is no first shell: as one whose stdin is a socket, as ours is, or that SSH_CLIENT is set for, it would run
 * ~/.bashrc. sudo and systemd drop the variable.
 */
export function childEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !steering.test(name))
  return { ...Object.fromEntries(kept), PATH: safePath(env), SHLVL: '1' }
}

function bash(): string {
  const found = bashes.find(path => existsSync(path))
  if (found) return found
  throw new ZtError('MISSING_TOOL', 'bash is not installed', { hint: 'install it: apt-get install bash' })
}

/** The child leads a group, which ends with this process whatever ends it: bash alone would leave its command behind. */
function spawnOwned(file: string, args: string[], options: SpawnOptions): ChildProcess {
  const child = spawn(file, args, { ...options, detached: true })
  const forget = onExit(() => {
    if (child.pid !== undefined) killGroup(child.pid)
  })
  child.once('close', forget)
  child.stdin?.on('error', thrown => {
    if (errno(thrown) !== 'EPIPE') throw thrown // one that ends before it has read its input tells why by its exit
  })
  return child
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (thrown) {
    if (errno(thrown) !== 'ESRCH') throw thrown // it has ended by itself
  }
}

/** Every option that zx would take from ZX_* variables; the getters are read at each call. */
const settings = (env: () => NodeJS.ProcessEnv) => ({
  shell: bash(),
  prefix: 'set -euo pipefail;',
  postfix: '',
  quote, // zx itself sets none where PATH has no bash
  spawn: spawnOwned as typeof spawn,
  verbose: false,
  quiet: true,
  detached: false,
  preferLocal: false,
  nothrow: false,
  timeout: 0,
  killSignal: 'SIGTERM' as const,
  timeoutSignal: 'SIGTERM' as const,
  get env() {
    return env()
  },
  get cwd() {
    return process.cwd()
  },
})

/** zx's `$`: quotes what is interpolated, throws ProcessOutput on a non-zero exit, prints nothing by itself. */
export const $ = zx(settings(childEnv))

/** The same `$` with an environment of its own. */
export const shellOf = (env: NodeJS.ProcessEnv) => zx(settings(() => env))

/** Whether a program is on PATH. */
export function isInstalled(tool: string): boolean {
  return Bun.which(tool, { PATH: safePath() }) !== null
}
