/** The state file: read again whenever it changed, changed under a lock, so that server and commands share it. */
import { statSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { lockDir, makePrivateDir, readPrivateFile, writeFileAtomic } from '../files.ts'
import { emptyState, formatState, parseState, type State } from './state.ts'

const lockWaitMs = 10_000

export class StateStore {
  readonly path: string
  #state: State = emptyState()
  #seen = ''

  constructor(path: string) {
    this.path = path
  }

  /** The state as it stands on the disk; empty where there is no file yet. Not to be changed. @throws as parseState, readPrivateFile */
  read(): State {
    const stats = statSync(this.path, { throwIfNoEntry: false, bigint: true })
    const seen = stats === undefined ? 'none' : `${stats.ino}:${stats.mtimeNs}:${stats.size}`
    if (seen !== this.#seen) {
      this.#state =
        stats === undefined
          ? emptyState()
          : parseState(readPrivateFile(this.path, 'kms emulator state').toString('utf8'), this.path)
      this.#seen = seen
    }
    return this.#state
  }

  /** Changes a copy of the newest state and puts it in place whole; what throws changes nothing. @throws LOCKED after 10 s */
  async update<T>(change: (state: State) => T): Promise<T> {
    const release = await this.#lock()
    try {
      const state = structuredClone(this.read())
      const result = change(state)
      writeFileAtomic(this.path, formatState(state), 0o600)
      return result
    } finally {
      release()
    }
  }

  async #lock(): Promise<() => void> {
    const folder = `${this.path}.lock`
    makePrivateDir(folder)
    for (const start = performance.now(); ; await Bun.sleep(5 + Math.random() * 20))
      try {
        return lockDir(folder)
      } catch (thrown) {
        const busy = thrown instanceof ZtError && thrown.code === 'LOCKED'
        if (!busy || performance.now() - start > lockWaitMs) throw thrown
      }
  }
}
