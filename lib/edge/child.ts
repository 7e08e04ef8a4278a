import { isAbsolute } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { errno } from './file_error.ts'

export interface Ended {
  exitCode: number
  stdout: string
  stderr: string
}

/**
 * The absolute folders of PATH, so that no program of the current folder runs in place of the system's, and after them
 * the system's own, should PATH be empty.
 */
export function safePath(env: NodeJS.ProcessEnv = process.env): string {
  const given = (env.PATH ?? '').split(':').filter(isAbsolute)
  return [...new Set([...given, '/usr/sbin', '/usr/bin', '/sbin', '/bin'])].join(':')
}

/**
 * Runs a program without a shell, in `cwd`, with PATH as its only environment; Ctrl-C ends it too.
 * @throws MISSING_TOOL
 */
export async function runClean(command: string[], cwd: string): Promise<Ended> {
  const child = start(command, cwd)
  const forget = onExit(() => child.kill())
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  forget()
  return { exitCode, stdout, stderr }
}

function start(command: string[], cwd: string) {
  try {
    const env = { PATH: safePath() }
    return Bun.spawn(command, { cwd, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  } catch (thrown) {
    if (errno(thrown) !== 'ENOENT') throw thrown
    throw new ZtError('MISSING_TOOL', `${command[0]}: not found`, { cause: thrown })
  }
}
