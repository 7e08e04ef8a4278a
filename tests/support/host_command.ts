/** Commands that build and drive test hosts: run to their end, output captured, ended with the test run. */
import { type Ended, safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'

export interface Given {
  stdin?: string | Uint8Array | Blob | ReadableStream
  env?: Record<string, string>
}

/** Runs a program without a shell. Exit 127 with the reason on stderr where it is not installed. */
export async function call(argv: string[], { stdin, env = {} }: Given = {}): Promise<Ended> {
  if (Bun.which(argv[0] ?? '', { PATH: safePath() }) === null)
    return { exitCode: 127, stdout: '', stderr: `${argv[0]}: not installed` }
  const child = Bun.spawn(argv, {
    stdin: typeof stdin === 'string' ? Buffer.from(stdin) : (stdin ?? 'ignore'),
    stdout: 'pipe',
    stderr: 'pipe',
    env: { PATH: safePath(), LC_ALL: 'C.UTF-8', ...env },
  })
  const forget = onExit(() => child.kill())
  try {
    const [stdout, stderr, exitCode] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { exitCode, stdout, stderr }
  } finally {
    forget()
  }
}

/** What an ended command printed. @throws with its last words where it failed */
export function succeeded(what: string, { exitCode, stdout, stderr }: Ended): string {
  if (exitCode === 0) return stdout
  const words = `${stdout}\n${stderr}`.split('\n').filter(line => line.trim() !== '')
  throw new Error(`${what}: exit ${exitCode}: ${words.slice(-12).join('\n')}`)
}

export const must = async (argv: string[], given: Given = {}): Promise<string> =>
  succeeded(argv.join(' '), await call(argv, given))
