/** Processes that the demo starts beside itself, and how it ends them or leaves them running. */
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { onExit } from '../cleanup.ts'
import { childEnv } from '../shell.ts'

export const processRecord = z.strictObject({
  name: z.string(),
  pid: z.int().positive(),
  startTime: z.string(),
})
export type ProcessRecord = z.infer<typeof processRecord>

/** When a process started, in clock ticks since boot: tells it from a later one with its number. Empty: it is gone. */
function startTimeOf(pid: number): string {
  const path = `/proc/${pid}/stat`
  if (!existsSync(path)) return ''
  const text = readFileSync(path, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** Ends a process by SIGTERM, then SIGKILL after five seconds; another one that was given its number is left alone. */
export async function endProcess({ pid, startTime }: ProcessRecord): Promise<void> {
  const runs = () => startTime !== '' && startTimeOf(pid) === startTime
  if (!runs()) return
  process.kill(pid, 'SIGTERM')
  for (let i = 0; i < 50 && runs(); i++) await Bun.sleep(100)
  if (runs()) process.kill(pid, 'SIGKILL')
}

/** Starts processes that end with this one, however it ends, unless release() is called. */
export class Processes {
  readonly started: ProcessRecord[] = []
  #released = false

  start(name: string, command: string[], env: Record<string, string> = {}): ProcessRecord {
    const child = Bun.spawn(command, {
      env: { ...childEnv(), ...env },
      stdio: ['ignore', 'ignore', 'ignore'],
      detached: true, // Ctrl-C on the terminal is for the demo, which ends its own in order
    })
    child.unref()
    const record = { name, pid: child.pid, startTime: startTimeOf(child.pid) }
    this.started.push(record)
    onExit(() => (this.#released ? undefined : endProcess(record)))
    return record
  }

  /** They outlive this process from now on. */
  release(): void {
    this.#released = true
  }

  async end(): Promise<void> {
    for (const one of [...this.started].reverse()) await endProcess(one)
  }
}
