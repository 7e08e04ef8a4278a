/** A bar on a terminal for work that takes long; nothing where stderr is piped. */
import { SingleBar } from 'cli-progress'
import { interactive } from './cli.ts'

export interface Progress {
  update(done: number, total: number): void
  stop(): void
}

const quiet: Progress = { update: () => undefined, stop: () => undefined }

/** @param unit what is counted: `events` */
export function progress(label: string, unit: string): Progress {
  if (!interactive()) return quiet
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% | {value}/{total} ${unit} | {eta_formatted} left`,
    clearOnComplete: true,
    hideCursor: true,
    fps: 8,
  })
  let started = false
  return {
    update(done, total) {
      if (!started) bar.start(total, done)
      started = true
      bar.setTotal(Math.max(total, done))
      bar.update(done)
    },
    stop() {
      if (started) bar.stop()
    },
  }
}
