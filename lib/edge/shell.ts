/** The only door to zx: a `$` that the caller's environment cannot bend. */
import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { $ as zx } from 'zx/core'
import { ZtError } from '../core/errors.ts'

const bashes = ['/bin/bash', '/usr/bin/bash', '/usr/local/bin/bash', '/opt/homebrew/bin/bash']

// What bash, bun or zx would obey before the command: files to source, functions and options to import, code to load.
const steering =
  /^(?:ZX_.*|BASH_.*|ENV|SHELLOPTS|BASHOPTS|PS4|IFS|CDPATH|GLOBIGNORE|POSIXLY_CORRECT|BUN_OPTIONS|BUN_BE_BUN|NODE_OPTIONS)$/

/**
 * The environment for a child: this process's, without what steers bash, zx or a runtime, and with the absolute
 * folders of PATH only, so that no program of the current folder runs in place of the system's.
 */
export function childEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !steering.test(name))
  const path = (env.PATH ?? '').split(':').filter(isAbsolute).join(':')
  return { ...Object.fromEntries(kept), PATH: path || '/usr/sbin:/usr/bin:/sbin:/bin' }
}

function bash(): string {
  const found = bashes.find(path => existsSync(path))
  if (found) return found
  throw new ZtError('MISSING_TOOL', 'bash is not installed', { hint: 'install it: apt-get install bash' })
}

/**
 * zx's `$`: quotes what is interpolated, throws ProcessOutput on a non-zero exit, prints nothing by itself.
 * Every option that zx would take from ZX_* variables is set here; the getters are read at each call.
 */
export const $ = zx({
  shell: bash(),
  prefix: 'set -euo pipefail;',
  postfix: '',
  verbose: false,
  quiet: true,
  detached: false,
  preferLocal: false,
  nothrow: false,
  timeout: 0,
  killSignal: 'SIGTERM',
  timeoutSignal: 'SIGTERM',
  get env() {
    return childEnv()
  },
  get cwd() {
    return process.cwd()
  },
})
