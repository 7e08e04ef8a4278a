/**
 * Watches the processes of this machine that begin after it, and writes arguments and environment of each, whenever they
 * change, to a file: what anybody who runs `ps` at the right moment would have seen.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'

/** A process has become what it will be once it is as old as this: fork, then exec. */
const youngMs = 200

/** The number that the kernel gave last: to a process, or to a thread, which shows what its process shows. */
const lastPid = (): number => Number(readFileSync('/proc/loadavg', 'latin1').trim().split(' ').at(-1))

/** One blank line between arguments and environment, two between processes; NUL bytes as they are. */
function watch(path: string): never {
  const young = new Map<number, number>()
  const seen = new Set<string>()
  writeFileSync(path, 'ready\n')
  for (let last = lastPid(); ; Bun.sleepSync(4)) {
    const now = performance.now()
    const newest = lastPid()
    for (let pid = newest < last ? 1 : last + 1; pid <= newest; pid++) young.set(pid, now)
    last = newest
    for (const [pid, since] of young) {
      const shown = `${read(pid, 'cmdline')}\n\n${read(pid, 'environ')}\n\n\n`
      if (!seen.has(shown)) appendFileSync(path, Buffer.from(shown, 'latin1'))
      seen.add(shown)
      if (now - since > youngMs) young.delete(pid)
    }
  }
}

function read(pid: number, what: string): string {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'latin1')
  } catch {
    return '' // it has ended, or is another user's
  }
}

/** Starts the watch in a process of its own; `stop` ends it. */
export async function watchProcesses(path: string): Promise<{ stop: () => Promise<void> }> {
  const child = Bun.spawn([process.execPath, import.meta.path, path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  for (let i = 0; i < 500 && !(await Bun.file(path).exists()); i++) await Bun.sleep(20)
  return {
    stop: async () => {
      child.kill()
      await child.exited
    },
  }
}

if (import.meta.main) watch(process.argv[2] ?? '')
