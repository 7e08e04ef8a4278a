/** Helper threads of a verification, as many as there are cores. */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { ChunkJob, ChunkSummary } from '../core/audit/chunk.ts'
import type {
  Helpers,
  HelperTrust,
  OpenedAnchor,
  SignatureAnswer,
  SignatureJob,
} from '../core/audit/helpers.ts'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import type { EngineName } from './native_engine.ts'

export type Question =
  | { kind: 'start'; engine: EngineName; trust: HelperTrust }
  | { kind: 'chunk'; job: ChunkJob }
  | ({ kind: 'signatures' } & SignatureJob)
  | { kind: 'anchors'; objects: Bytes[] }

export interface Answer {
  id: number
  value: ChunkSummary | SignatureAnswer | OpenedAnchor[] | number | undefined
  /** The engines disagree, or this program is at fault: nothing was judged. */
  error?: string
}

/** In a binary the worker is an entry point of the compile, named from the sources' top. */
const script = import.meta.path.startsWith('/$bunfs/')
  ? './lib/edge/verify_worker.ts'
  : resolve(import.meta.dir, 'verify_worker.ts')

interface Asked {
  resolve: (value: Answer['value']) => void
  reject: (reason: ZtError) => void
}

class Helper {
  readonly #worker = new Worker(script)
  readonly #asked = new Map<number, Asked>()
  #id = 0

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const asked = this.#asked.get(data.id)
      this.#asked.delete(data.id)
      if (data.error === undefined) asked?.resolve(data.value)
      else asked?.reject(new ZtError('INTERNAL', data.error))
    }
    // a worker that fails to load would be waited for for ever
    this.#worker.onerror = event => this.#fail(event.message)
  }

  get busy(): number {
    return this.#asked.size
  }

  ask<T extends Answer['value']>(question: Question): Promise<T> {
    const id = this.#id++
    return new Promise((done, reject) => {
      this.#asked.set(id, { resolve: value => done(value as T), reject })
      this.#worker.postMessage({ id, question })
    })
  }

  #fail(message: string): void {
    const all = [...this.#asked.values()]
    this.#asked.clear()
    for (const { reject } of all) reject(new ZtError('INTERNAL', `helper thread: ${message}`))
  }

  end(): void {
    this.#worker.terminate()
  }
}

export interface Pool extends Helpers {
  end(): void
}

/** @param count threads; default: one a core. @throws MISSING_TOOL as engineOf; INTERNAL where no thread starts */
export async function startPool(
  engine: EngineName,
  trust: HelperTrust,
  count = availableParallelism(),
): Promise<Pool> {
  const helpers = Array.from({ length: count }, () => new Helper())
  const end = () => {
    forget()
    for (const helper of helpers) helper.end()
  }
  const forget = onExit(end)
  const { origin, certificates, logKeys, witnesses } = trust
  const told = { origin, certificates, logKeys, ...(witnesses ? { witnesses } : {}) }
  try {
    await Promise.all(helpers.map(helper => helper.ask({ kind: 'start', engine, trust: told })))
  } catch (thrown) {
    end()
    throw thrown
  }
  const idlest = (): Helper => {
    const [first, ...others] = helpers
    if (!first) throw new ZtError('INTERNAL', 'no helper threads')
    return others.reduce((best, one) => (one.busy < best.busy ? one : best), first)
  }
  return {
    count,
    summarise: job => idlest().ask({ kind: 'chunk', job }),
    signatures: job => idlest().ask({ kind: 'signatures', ...job }),
    anchors: job => idlest().ask({ kind: 'anchors', ...job }),
    end,
  }
}
