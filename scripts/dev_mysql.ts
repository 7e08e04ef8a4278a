#!/usr/bin/env bun
/**
 * A private MySQL server by hand, of the kind that tests and demo start for themselves. It runs until `stop`.
 * `start` prints its socket, by which root comes in without a password.
 */
import { join } from 'node:path'
import { command, print, runMain, say } from '../lib/cli.ts'

const load = () => import('../lib/edge/mysqld.ts')

/** What a person needs to reach a server. */
interface Reach {
  dir: string
  socket: string
  port: number
  pid: number
  version: string
}

function show(reach: Reach & { running: boolean }, json: boolean): void {
  if (json) {
    print(JSON.stringify(reach))
    return
  }
  const { running, dir, socket, port, pid, version } = reach
  print(socket)
  say(
    running
      ? `MySQL ${version} on 127.0.0.1:${port}, process ${pid}, in ${dir}`
      : `MySQL ${version} in ${dir} is down`,
  )
}

const main = command('dev_mysql', 'start, look at and stop a private MySQL server', [
  'dev_mysql start',
  'dev_mysql client -- -e "SELECT VERSION()"',
  'MYSQLD=/usr/sbin/mysqld dev_mysql start --dir /tmp/mine --option max_connections=20',
  'dev_mysql stop',
])

const inFolder = (name: string, summary: string) =>
  main
    .command(name)
    .description(summary)
    .option('--dir <folder>', 'the folder it lives in (default: dev_mysql in the cache folder)')

const folderOf = async (dir?: string): Promise<string> =>
  dir ?? join((await load()).cacheFolder(), 'dev_mysql')

inFolder('start', 'start a server and print its socket')
  .option('--option <name=value...>', 'a line for its my.cnf', [])
  .option('--json', 'print all about it as JSON')
  .action(async (o: { dir?: string; option: string[]; json?: boolean }) => {
    const { startMysqld } = await load()
    const server = await startMysqld({ detached: true, dir: await folderOf(o.dir), options: o.option })
    const { dir, socket, port, pid = 0, version } = server
    show({ dir, socket, port, pid, version, running: true }, o.json === true)
    if (!o.json) say(`client: ${server.clientCommand.join(' ')}`)
  })

inFolder('status', 'print its socket and whether it runs; exit 1 if it does not')
  .option('--json', 'print all about it as JSON')
  .action(async (o: { dir?: string; json?: boolean }) => {
    const dir = await folderOf(o.dir)
    const { socket, port, pid, version, running } = (await load()).readInstance(dir)
    show({ dir, socket, port, pid, version, running }, o.json === true)
    if (!running) process.exitCode = 1
  })

inFolder('client', 'run the stock mysql client, as root unless told otherwise')
  .argument('[arguments...]', 'of mysql, after --')
  .option('--defaults-file <file>', 'as the account of this option file, over the network')
  .action(async (rest: string[], o: { dir?: string; defaultsFile?: string }) => {
    const { mysqlClientCommand, readInstance } = await load()
    const asRoot = async (): Promise<string[]> => {
      const { socket } = readInstance(await folderOf(o.dir))
      return ['--no-defaults', `--socket=${socket}`, '--user=root']
    }
    const who = o.defaultsFile === undefined ? await asRoot() : [`--defaults-file=${o.defaultsFile}`]
    const argv = [...(await mysqlClientCommand()), ...who, ...rest]
    process.exitCode = await Bun.spawn(argv, { stdio: ['inherit', 'inherit', 'inherit'] }).exited
  })

inFolder('restart', 'shut it down, start it on the same data and option files, and print its socket').action(
  async (o: { dir?: string }) => {
    const dir = await folderOf(o.dir)
    const { socket, port, pid, version } = await (await load()).restartInstance(dir)
    show({ dir, socket, port, pid, version, running: true }, false)
  },
)

inFolder('stop', 'shut it down and remove its data').action(async (o: { dir?: string }) => {
  const dir = await folderOf(o.dir)
  await (await load()).stopInstance(dir)
  say(`stopped ${dir}`)
})

main
  .command('fetch')
  .description('have a MySQL ready without starting it: print its mysqld')
  .action(async () => print((await (await load()).findMysql()).mysqld))

if (import.meta.main) await runMain(main)
