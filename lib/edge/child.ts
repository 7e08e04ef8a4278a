import { onExit } from './cleanup.ts'

export interface Ended {
  exitCode: number
  stdout: string
  stderr: string
}

/** Runs a program without a shell, in `cwd`, with PATH as its only environment; Ctrl-C ends it too. */
export async function runClean(command: string[], cwd: string): Promise<Ended> {
  const env = { PATH: process.env.PATH ?? '' }
  const child = Bun.spawn(command, { cwd, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const forget = onExit(() => child.kill())
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  forget()
  return { exitCode, stdout, stderr }
}
