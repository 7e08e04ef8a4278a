/** Real MySQL servers for tests. One process runs many test files: they share one server unless they need their own. */
import { type Mysqld, type MysqldOptions, startMysqld } from '../../lib/edge/mysqld.ts'

export type { Mysqld, MysqldOptions, MysqldSettings } from '../../lib/edge/mysqld.ts'

let shared: Promise<Mysqld> | undefined

/**
 * The one server of this test process, started when something first asks; the preload ends it. Take databases and
 * accounts of your own names in it, and change no global setting.
 */
export async function sharedServer(): Promise<Mysqld> {
  shared ??= startMysqld()
  const server = await shared
  if (server.pid !== undefined) return server
  shared = startMysqld() // a test of clean-ups may have ended it
  return shared
}

/** A throw-away server: `await using server = await freshServer()` ends it with the block. */
export const freshServer = (options: MysqldOptions = {}): Promise<Mysqld> => startMysqld(options)

/** What the stock client says to `sql` as root, in batch form: lines of tab-separated values, without names. */
export async function asRoot(server: Mysqld, sql: string): Promise<string> {
  const child = Bun.spawn([...server.clientCommand, '--batch', '--skip-column-names'], {
    stdin: new Blob([sql]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (code !== 0) throw new Error(`mysql ended with ${code}: ${stderr}`)
  return stdout
}
