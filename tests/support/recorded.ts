/**
 * A small deployment, made by the chapters of the demo with the compiled binaries, each of them behind a recorder that
 * keeps its arguments, environment and output. Statement logs of the server are on.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'
import * as chapters from '../../lib/edge/demo/chapters.ts'
import { Scene } from '../../lib/edge/demo/scene.ts'
import { type Answer, run } from '../../lib/edge/demo/stage.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { type Mysqld, type MysqldSettings, startMysqld } from '../../lib/edge/mysqld.ts'
import { binary } from './binary.ts'
import { watchProcesses } from './process_watch.ts'

const programs = [
  'outside_pki',
  'pq_envelope_cli',
  'vm_oneclick',
  'anchor_head',
  'proof_suite',
  'chain_verify',
]

const repository = resolve(import.meta.dir, '../..')

/** Every statement goes to the slow log and to performance_schema, whole; connections to the error log. */
const listening = [
  'general_log=ON',
  'general_log_file=general.log',
  'slow_query_log=ON',
  'slow_query_log_file=slow.log',
  'long_query_time=0',
  'log_slow_admin_statements=ON',
  'log_error_verbosity=3',
  'performance_schema_consumer_events_statements_history=ON',
  'performance_schema_consumer_events_statements_history_long=ON',
  'performance_schema_events_statements_history_long_size=5000',
  'performance_schema_max_sql_text_length=65536',
  'performance_schema_max_digest_length=4096',
  'max_digest_length=4096',
]

export class Recorded implements AsyncDisposable {
  readonly dir: string
  readonly scene: Scene
  readonly server: Mysqld
  /** One folder a run: argv, environ, stdout, stderr, code. */
  readonly seen: string
  /** Of every program; nothing may stay there. */
  readonly tmp: string
  #watch: { stop: () => Promise<void> } | undefined
  readonly #forget = onExit(() => this[Symbol.asyncDispose]())

  private constructor(dir: string, scene: Scene, server: Mysqld) {
    this.dir = dir
    this.scene = scene
    this.server = server
    this.seen = join(dir, 'seen')
    this.tmp = join(dir, 'tmp')
  }

  static async make(): Promise<Recorded> {
    const compiled = await Promise.all(programs.map(async name => [name, await binary(name)] as const))
    const dir = mkdtempSync(join(tmpdir(), 'zt-rec-'))
    for (const name of ['tmp', 'seen', 'root', 'root/dist', 'deployment'])
      mkdirSync(join(dir, name), { mode: 0o700 })
    symlinkSync(join(repository, 'scripts'), join(dir, 'root', 'scripts'))
    for (const [name, path] of compiled)
      writeRecorder(join(dir, 'root', 'dist', name), path, join(dir, 'seen'))
    const options = [...listening, `tmpdir=${join(dir, 'tmp')}`]
    const started = await startMysqld({ options })
    let recorded: Recorded | undefined
    return await inTmp(join(dir, 'tmp'), async () => {
      const server: Mysqld = Object.create(started, {
        restart: {
          value: async (settings: MysqldSettings = {}) => {
            await recorded?.dumpStatements()
            const config = `${settings.config ?? ''}\n[mysqld]\n${options.join('\n')}\n`
            await started.restart({ ...settings, config })
          },
        },
      })
      const narrator = { chapter: <T>(_: string, act: () => Promise<T>) => act(), shows: () => undefined }
      const place = { dir: join(dir, 'deployment'), keep: false, root: join(dir, 'root') }
      const scene = await Scene.set(narrator, place, server)
      recorded = new Recorded(dir, scene, server)
      recorded.#watch = await watchProcesses(join(dir, 'ps'))
      try {
        await recorded.#build()
      } catch (thrown) {
        await recorded[Symbol.asyncDispose]()
        throw thrown
      }
      return recorded
    })
  }

  async #build(): Promise<void> {
    const { scene } = this
    await chapters.startKms(scene)
    await chapters.makePki(scene)
    await chapters.install(scene)
    await this.asRoot('SET GLOBAL general_log = ON') // the installer turned it off, as it should
    await chapters.writePeople(scene)
    await chapters.refusals(scene)
  }

  /** A run behind the recorder, to its end. */
  async run(command: string[], options: Parameters<typeof run>[1] = {}): Promise<Answer> {
    return await run(command, { cwd: this.dir, ...options, env: { TMPDIR: this.tmp, ...options.env } })
  }

  async chapter<T>(act: (scene: Scene) => Promise<T>): Promise<T> {
    return await inTmp(this.tmp, () => act(this.scene))
  }

  async asRoot(statement: string): Promise<void> {
    const root = await openMysql({ socket: this.server.socket, user: 'root' })
    try {
      await root.run(statement)
    } finally {
      await root.close()
    }
  }

  /** What performance_schema knows of statements, sessions and errors, a file for each of its tables. */
  async dumpStatements(): Promise<void> {
    const root = await openMysql({ socket: this.server.socket, user: 'root', database: 'performance_schema' })
    const folder = mkdtempSync(join(this.dir, 'performance_schema-'))
    try {
      const tables = await root.query(
        `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'performance_schema'
         AND TABLE_NAME REGEXP 'statements|prepared|threads|processlist|error_log|user_variables|connect_attrs|persisted'`,
      )
      for (const { name } of tables) {
        const rows = await root.query(`SELECT * FROM \`${String(name)}\``)
        const parts = rows.flatMap(row =>
          Object.values(row).flatMap(value => [
            value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value)),
            Buffer.from('\n'),
          ]),
        )
        writeFileSync(join(folder, String(name)), Buffer.concat(parts))
      }
    } finally {
      await root.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forget()
    await this.#watch?.stop()
    await this.scene.processes.end()
    await this.server.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Runs `act` with a temporary folder of one's own, for this process and those that it starts; one at a time. */
async function inTmp<T>(tmp: string, act: () => Promise<T>): Promise<T> {
  const { TMPDIR: before } = process.env
  process.env.TMPDIR = tmp
  try {
    return await act()
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
}

function writeRecorder(path: string, program: string, seen: string): void {
  writeFileSync(
    path,
    `#!/bin/bash
d=$(mktemp -d '${seen}/${program.split('/').at(-1)}-XXXXXXXX')
cat /proc/$$/cmdline > "$d/argv"
cat /proc/$$/environ > "$d/environ"
'${program}' "$@" > "$d/stdout" 2> "$d/stderr"
code=$?
echo $code > "$d/code"
cat "$d/stdout"
cat "$d/stderr" >&2
exit $code
`,
  )
  chmodSync(path, 0o700)
}
