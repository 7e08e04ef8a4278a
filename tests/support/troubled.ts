/**
 * The compiled programs on a deployment of their own, run as on a bad day: interrupted, on a full disk, by a person whose
 * umask closes nothing. Whatever happens, what is left behind must be whole.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'
import { Scene } from '../../lib/edge/demo/scene.ts'
import type { Answer } from '../../lib/edge/demo/stage.ts'
import { type Mysqld, startMysqld } from '../../lib/edge/mysqld.ts'
import { binary } from './binary.ts'

const root = resolve(import.meta.dir, '../..')
const programs = [
  'outside_pki',
  'pq_envelope_cli',
  'vm_oneclick',
  'anchor_head',
  'proof_suite',
  'chain_verify',
]

/** What a run leaves only while it is at work. */
const passing = /^\.zt-|\.tmp$|^\.lock$|^\.staged$|^\.committed$|^zt-/

const codes = { SIGINT: 130, SIGTERM: 143 } as const
export type Signal = keyof typeof codes

export interface Invocation {
  program: string
  args: readonly string[]
  env?: Record<string, string>
  input?: string
}

export class Troubled implements AsyncDisposable {
  readonly dir: string
  readonly scene: Scene
  readonly server: Mysqld
  /** Of the programs and of the server; empty whenever none is at work. */
  readonly tmp: string
  readonly #forget = onExit(() => this[Symbol.asyncDispose]())

  private constructor(dir: string, scene: Scene, server: Mysqld, tmp: string) {
    this.dir = dir
    this.scene = scene
    this.server = server
    this.tmp = tmp
  }

  static async make(): Promise<Troubled> {
    await Promise.all(programs.map(binary))
    const dir = mkdtempSync(join(tmpdir(), 'zt-bad-'))
    const tmp = join(dir, 'tmp')
    for (const name of ['tmp', 'deployment']) mkdirSync(join(dir, name), { mode: 0o700 })
    const server = await startMysqld({ options: [`tmpdir=${tmp}`] })
    const narrator = { chapter: <T>(_: string, act: () => Promise<T>) => act(), shows: () => undefined }
    const scene = await Scene.set(narrator, { dir: join(dir, 'deployment'), keep: false, root }, server)
    return new Troubled(dir, scene, server, tmp)
  }

  /** Starts a program behind a few words of bash, which it replaces. */
  #start({ program, args, env = {}, input = '' }: Invocation, first: string) {
    return Bun.spawn(['bash', '-c', `${first}; exec "$@"`, 'bash', this.scene.binary(program), ...args], {
      cwd: this.dir,
      env: { PATH: process.env.PATH ?? '', TMPDIR: this.tmp, NO_COLOR: '1', ...env },
      stdin: new TextEncoder().encode(input),
      stdout: 'pipe',
      stderr: 'pipe',
    })
  }

  /** To its end. `first`: what bash does before it becomes the program. */
  async run(invocation: Invocation, first = 'umask 000'): Promise<Answer> {
    return await answerOf(this.#start(invocation, first))
  }

  /**
   * Interrupts a command a little later each time, until it is through before the signal comes; `check` after each run.
   * Returns the answers of the interrupted runs, and the last one.
   */
  async interrupt(
    invocation: Invocation,
    check: (answer: Answer) => unknown = () => undefined,
  ): Promise<{ cut: Answer[]; last: Answer }> {
    const cut: Answer[] = []
    for (let [delay, runs] = [120, 0]; ; delay *= 2.2, runs++) {
      const signal: Signal = runs % 2 === 0 ? 'SIGINT' : 'SIGTERM'
      const child = this.#start(invocation, 'umask 000')
      const timer = setTimeout(() => child.kill(signal), delay)
      const answer = await answerOf(child)
      clearTimeout(timer)
      await check(answer)
      if (answer.code === 0) return { cut, last: answer }
      const before = child.signalCode === signal // it had not begun yet
      const said = answer.stderr.split('\n').at(-2) ?? ''
      const wanted = before ? '' : `${invocation.program}: interrupted`
      const whole = /^$|\n$/.test(answer.stdout) // what was done may have been told, in whole lines
      if (answer.code !== codes[signal] || !whole || said !== wanted || this.left().length > 0)
        throw new Error(`${signal} after ${delay} ms: ${JSON.stringify({ ...answer, left: this.left() })}`)
      if (!before) cut.push(answer)
    }
  }

  /** Runs a command with more and more room for each file, until it is through. Returns what the runs without said. */
  async fill(invocation: Invocation): Promise<string[]> {
    const said: string[] = []
    for (const kib of [0, 1, 16, 2048]) {
      // the kernel's limit of a file stands for a disk: it ends in the middle of a write, too
      const answer = await this.run(invocation, `umask 000; ulimit -f ${kib}; trap "" XFSZ`)
      const left = this.left()
      if (answer.code === 0 && left.length === 0) return said
      const clear = new RegExp(
        `(^|\\n)${invocation.program}: error: [^\\n]*larger than the file-size limit[^\\n]*\\nhint: [^\\n]+\\n$`,
      )
      if (answer.code !== 3 || answer.stdout !== '' || !clear.test(answer.stderr) || left.length > 0)
        throw new Error(`a disk of ${kib} KiB: ${JSON.stringify({ ...answer, left })}`)
      said.push(answer.stderr)
    }
    throw new Error(`still too large: ${invocation.program} ${invocation.args.join(' ')}`)
  }

  /** What lies around that should have gone with the run that made it. */
  left(): string[] {
    return [
      ...readdirSync(this.tmp),
      ...readdirSync(this.scene.options.dir, { recursive: true })
        .map(String)
        .filter(path => passing.test(path.split('/').at(-1) ?? '')),
    ]
  }

  /** Files and folders that others than their owner could read or change, as paths with modes. */
  open(): string[] {
    return readdirSync(this.scene.options.dir, { recursive: true })
      .map(String)
      .flatMap(path => {
        const mode = statSync(this.scene.at(path)).mode & 0o777
        return (mode & 0o077) === 0 ? [] : [`${path} ${mode.toString(8)}`]
      })
      .sort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forget()
    await this.scene.processes.end()
    await this.server.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

async function answerOf(child: Bun.ReadableSubprocess): Promise<Answer> {
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}
