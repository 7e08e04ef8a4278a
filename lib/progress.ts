/** A bar on a terminal for work that takes long; nothing where stderr is piped. */
import { SingleBar } from 'cli-progress'
import { interactive, onLastWord } from './cli.ts'

export interface Progress {
  update(done: number, total: number): void
  stop(): void
}

const quiet: Progress = { update: () => undefined, stop: () => undefined }

/** @param unit what is counted: `events` */
export function progress(label: string, unit: string): Progress {
  if (!interactive()) return quiet
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% | {value}/{total} ${unit} | {rate}/s | {eta_formatted} left`,
    clearOnComplete: true,
    hideCursor: true,
    fps: 8,
  })
  let began = 0
  const rate = (done: number) => ({
    rate: Math.round((done - first) / Math.max(1, (performance.now() - began) / 1000)),
  })
  let first = 0
  let state: 'new' | 'moving' | 'stopped' = 'new'
  const stop = () => {
    if (state === 'moving') bar.stop()
    state = 'stopped'
    onLastWord(undefined)
  }
  return {
    update(done, total) {
      if (state === 'stopped') return
      if (state === 'new') {
        onLastWord(stop) // Ctrl-C or an error would leave the terminal without its cursor
        began = performance.now()
        first = done
        bar.start(total, done, rate(done))
      }
      state = 'moving'
      bar.setTotal(Math.max(total, done))
      bar.update(done, rate(done))
    },
    stop,
  }
}
