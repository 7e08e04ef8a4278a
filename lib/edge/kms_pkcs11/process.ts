/** The process that holds the module, from its client's side: one request at a time, each with a deadline. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { Bytes } from '../../core/bytes.ts'
import { reason } from '../../core/errors.ts'
import { onExit } from '../cleanup.ts'
import { DamagedAnswer, isStatusName, KmsFailure } from '../kms_call.ts'
import { childEnv } from '../shell.ts'
import { FrameReader, formatFrame, textPart } from './frames.ts'

/** Hidden command of the compiled program. */
export const moduleCommand = 'pkcs11-module'

/** A compiled program starts itself; from the sources it is the file beside this one. */
const ownCommand = (): string[] =>
  import.meta.path.startsWith('/$bunfs/')
    ? [process.execPath, moduleCommand]
    : [process.execPath, join(import.meta.dir, 'main.ts')]

export interface ModuleProcess {
  /** The answer's parts behind `done` or `open`. @throws KmsFailure, DamagedAnswer; after a deadline it is dead */
  ask(request: readonly (Bytes | string)[], timeoutMs: number): Promise<Bytes[]>
  readonly alive: boolean
  kill(): void
}

export function startModule(command: readonly string[] = ownCommand()): ModuleProcess {
  const [program = '', ...args] = command
  // The environment stays, or a module would not find its configuration. stderr goes nowhere: modules say what they like.
  const child = spawn(program, args, {
    stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
    detached: true,
    env: childEnv(),
  })
  const input = child.stdin as Writable
  const output = child.stdio[3] as Readable
  const reader = new FrameReader()
  let alive = true
  let waiting: { resolve: (parts: Bytes[]) => void; reject: (thrown: Error) => void } | undefined

  const settle = (thrown: Error | undefined, parts: Bytes[] = []): void => {
    const who = waiting
    waiting = undefined
    if (thrown === undefined) who?.resolve(parts)
    else who?.reject(thrown)
  }
  const end = (why: string): void => {
    alive = false
    forget()
    settle(new KmsFailure('UNAVAILABLE', why, 'see the log of the module, and whether the token is there'))
  }
  const kill = (): void => {
    alive = false
    forget()
    child.kill('SIGKILL')
  }
  const forget = onExit(kill)

  child.on('error', thrown => end(`the process with the module does not start: ${reason(thrown)}`))
  child.on('exit', (code, signal) =>
    end(`the process with the module ended (${signal ?? `exit code ${code}`})`),
  )
  input.on('error', () => kill()) // it has ended: 'exit' tells why
  output.on('data', (chunk: Buffer) => {
    try {
      for (const parts of reader.push(chunk)) settle(undefined, parts)
    } catch (thrown) {
      settle(new DamagedAnswer(reason(thrown)))
      kill()
    } finally {
      chunk.fill(0)
    }
  })

  const exchange = (request: readonly (Bytes | string)[], timeoutMs: number): Promise<Bytes[]> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        kill()
        settle(new KmsFailure('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`))
      }, timeoutMs)
      waiting = {
        resolve: parts => {
          clearTimeout(timer)
          resolve(parts)
        },
        reject: thrown => {
          clearTimeout(timer)
          reject(thrown)
        },
      }
      const frame = formatFrame(request)
      input.write(frame, () => frame.fill(0))
    })

  return {
    get alive() {
      return alive
    },
    kill,
    ask: async (request, timeoutMs) => {
      const [kind, ...parts] = await exchange(request, timeoutMs)
      const said = kind === undefined ? '' : textPart([kind], 0)
      if (said === 'done' || said === 'open') return parts
      if (said === 'damaged') throw new DamagedAnswer(textPart(parts, 0))
      const status = said === 'failed' ? textPart(parts, 0) : ''
      if (!isStatusName(status)) throw new DamagedAnswer('the answer is none')
      throw new KmsFailure(status, textPart(parts, 1), textPart(parts, 2) || undefined)
    },
  }
}
