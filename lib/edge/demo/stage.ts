/** How the demo runs things: compiled binaries as a user would, whose answers are held against what must come. */
import { ZtError } from '../../core/errors.ts'
import { onExit } from '../cleanup.ts'
import { childEnv } from '../shell.ts'

export interface Narrator {
  chapter<T>(title: string, act: () => Promise<T>): Promise<T>
  /** One thing that was seen, under its chapter. */
  shows(text: string): void
}

export interface Answer {
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  input?: string
}

/** Runs a program to its end; whatever its exit, the answer is returned. */
export async function run(command: string[], options: RunOptions = {}): Promise<Answer> {
  const child = Bun.spawn(command, {
    env: { ...childEnv(), NO_COLOR: '1', ...options.env },
    stdin: options.input === undefined ? 'ignore' : new TextEncoder().encode(options.input),
    stdout: 'pipe',
    stderr: 'pipe',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const forget = onExit(async () => {
    child.kill()
    await child.exited // so that it writes no more where the next clean-up removes
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  forget()
  return { code, stdout, stderr }
}

/** Runs a program that must exit with `code`. @throws VERIFY_FAILED with what it said */
export async function expectRun(
  command: string[],
  { code = 0, ...options }: RunOptions & { code?: number } = {},
): Promise<Answer> {
  const answer = await run(command, options)
  if (answer.code === code) return answer
  const said = (answer.stderr || answer.stdout).trim().slice(-2000)
  throw new ZtError('VERIFY_FAILED', `${command.join(' ')}: exit ${answer.code}, expected ${code}: ${said}`)
}

/** The server's or program's own words of a refusal. @throws VERIFY_FAILED unless it was refused as it must be */
export function refusal(what: string, answer: Answer, pattern: RegExp): string {
  const words = /ERROR [^\n]*|[a-z_]+: error: [^\n]*/.exec(answer.stderr)?.[0] ?? lastLine(answer.stderr)
  if (answer.code !== 0 && pattern.test(answer.stderr)) return `${what}: ${words}`
  throw new ZtError(
    'VERIFY_FAILED',
    `${what}: expected a refusal like ${pattern}, got exit ${answer.code}: ${words}`,
  )
}

export const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? ''
