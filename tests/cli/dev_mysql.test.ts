import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseTargets } from '../../lib/edge/mysqld_apt.ts'
import { configText } from '../../lib/edge/mysqld_config.ts'
import { parseServerVersion } from '../../lib/edge/mysqld_fetch.ts'
import { serversOn, sweepServers } from '../../lib/edge/mysqld_process.ts'
import { asRoot, freshServer, type Mysqld, sharedServer } from '../support/mysql.ts'

setDefaultTimeout(180_000) // the first start on a machine fetches MySQL

const root = resolve(import.meta.dir, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'zt-dev-mysql-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

/** Runs dev_mysql as a person would. `env` replaces what it names. */
async function devMysql(args: string[], env: Record<string, string> = {}, stdin = '') {
  const child = Bun.spawn([process.execPath, join(root, 'scripts', 'dev_mysql.ts'), ...args], {
    cwd: scratch,
    env: { ...process.env, ...env },
    stdin: new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { stdout, stderr, code }
}

/** A folder with one program that answers any call with `line`, by the shell's own means as PATH may hold nothing else. */
function fakeProgram(name: string, line: string): string {
  const folder = mkdtempSync(join(scratch, 'bin-'))
  writeFileSync(join(folder, name), `#!/bin/sh\necho '${line}'\n`, { mode: 0o755 })
  return folder
}

/** Waits, up to 20 s, for what a signal sets off. */
async function eventually(holds: () => boolean): Promise<boolean> {
  for (const end = Date.now() + 20_000; Date.now() < end; await Bun.sleep(50)) if (holds()) return true
  return holds()
}

/** Starts a process that owns a server, and reads what it says of it. */
async function startOwner(argv: string[], env: Record<string, string> = {}) {
  const owner = Bun.spawn([process.execPath, ...argv], {
    cwd: root,
    env: { ...process.env, ...env },
    stdout: 'pipe',
    stderr: 'ignore',
  })
  let said = ''
  for await (const chunk of owner.stdout.pipeThrough(new TextDecoderStream())) {
    said += chunk
    const line = said.split('\n').find(text => text.startsWith('{') && text.endsWith('}'))
    if (line) return { owner, ...(JSON.parse(line) as { dir: string; pid: number }) }
  }
  throw new Error(`the owner ended early: ${said}`)
}

const watchdogsOf = (dir: string): number[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(name => {
      const file = `/proc/${name}/cmdline`
      if (!existsSync(file)) return false
      const args = readFileSync(file, 'utf8').split('\0')
      return args.includes('zt-mysql-watchdog') && args.includes(dir)
    })
    .map(Number)

describe('a private server', () => {
  let server: Mysqld

  beforeAll(async () => {
    server = await freshServer({ options: ['max_connections=21'] })
  })
  afterAll(() => server.stop())

  test('lets root in by its socket, without a password', async () => {
    expect(await asRoot(server, 'SELECT CURRENT_USER(), @@port, @@bind_address')).toBe(
      `root@localhost\t${server.port}\t127.0.0.1\n`,
    )
  })

  test('lets root in by no other way', async () => {
    const [mysql = ''] = server.clientCommand
    const args = [
      '--no-defaults',
      '--protocol=tcp',
      '--host=127.0.0.1',
      `--port=${server.port}`,
      '--user=root',
    ]
    const { stderr, exitCode } = Bun.spawnSync([mysql, ...args, '-e', 'SELECT 1'], { stderr: 'pipe' })
    expect(exitCode).toBe(1)
    expect(stderr.toString()).toContain('ERROR 1130 (HY000)')
  })

  test('keeps its files from other users', () => {
    expect([server.dir, server.dataDir].map(mode)).toEqual(['700', '700'])
    expect(['my.cnf', 'error.log'].map(name => mode(join(server.dir, name)))).toEqual(['600', '600'])
    expect(server.socket.length).toBeLessThanOrEqual(100)
  })

  test('has what the deployment stands on: events, binary log, performance schema, two plugins, no X Protocol', async () => {
    const settings =
      '@@event_scheduler, @@log_bin, @@binlog_format, @@performance_schema, @@skip_name_resolve'
    expect(await asRoot(server, `SELECT ${settings}`)).toBe('ON\t1\tROW\t1\t1\n')
    expect(
      await asRoot(
        server,
        `SELECT PLUGIN_NAME, PLUGIN_STATUS FROM information_schema.PLUGINS
         WHERE PLUGIN_NAME IN ('auth_socket', 'mysql_no_login', 'mysqlx') ORDER BY 1`,
      ),
    ).toBe('auth_socket\tACTIVE\nmysqlx\tDISABLED\nmysql_no_login\tACTIVE\n')
  })

  test('is not its neighbour: own port, socket, data and UUID', async () => {
    const neighbour = await sharedServer()
    expect(neighbour.port).not.toBe(server.port)
    expect(neighbour.socket).not.toBe(server.socket)
    expect(await asRoot(neighbour, 'SELECT @@server_uuid')).not.toBe(
      await asRoot(server, 'SELECT @@server_uuid'),
    )
  })

  test('keeps its data, port and settings over a restart, and takes new settings with one', async () => {
    const { port, pid } = server
    await asRoot(server, 'CREATE DATABASE kept; CREATE TABLE kept.t (n INT); INSERT INTO kept.t VALUES (41)')
    await server.restart()
    expect(server.pid).not.toBe(pid)
    expect(await asRoot(server, 'SELECT n, @@port, @@max_connections FROM kept.t')).toBe(`41\t${port}\t21\n`)
    const initFile = join(scratch, 'init.sql')
    writeFileSync(initFile, 'INSERT INTO kept.t VALUES (42);\n')
    await server.restart({
      options: ['max_connections=22'],
      config: '[mysqld]\nsort_buffer_size=65536\n',
      initFile,
    })
    expect(await asRoot(server, 'SELECT SUM(n), @@max_connections, @@sort_buffer_size FROM kept.t')).toBe(
      '83\t22\t65536\n',
    )
  })

  test('recovers from kill -9', async () => {
    await asRoot(
      server,
      'CREATE DATABASE crashed; CREATE TABLE crashed.t (n INT); INSERT INTO crashed.t VALUES (7)',
    )
    await server.kill9()
    expect(server.pid).toBeUndefined()
    await server.restart({})
    expect(await asRoot(server, 'SELECT n FROM crashed.t')).toBe('7\n')
  })

  test('ends with its block, and leaves nothing', async () => {
    let dir: string
    {
      await using brief = await freshServer()
      dir = brief.dir
      expect(serversOn(brief.dataDir)).toEqual([brief.pid ?? 0])
    }
    expect(existsSync(dir)).toBe(false)
    expect(serversOn(join(dir, 'data'))).toEqual([])
  })

  test('that does not start says why, and leaves nothing', async () => {
    const mine = () => readdirSync(join(server.dir, '..')).filter(name => name.startsWith(`${process.pid}-`))
    const before = mine()
    const thrown: unknown = await freshServer({ options: ['no_such_setting=1'] }).catch(error => error)
    expect(thrown).toMatchObject({ code: 'MYSQL' })
    expect(String(thrown)).toContain("[Server] unknown variable 'no_such_setting=1'")
    expect(mine().sort()).toEqual(before.sort())
  })
})

describe('a server whose owner is killed', () => {
  test('goes with it, data and all', async () => {
    const { owner, dir, pid } = await startOwner(['tests/support/mysql_owner.ts'])
    expect(serversOn(join(dir, 'data'))).toEqual([pid])
    owner.kill('SIGKILL')
    expect(await eventually(() => !existsSync(dir) && serversOn(join(dir, 'data')).length === 0)).toBe(true)
    expect(await eventually(() => watchdogsOf(dir).length === 0)).toBe(true)
  })

  test('is swept away at the next start where its watchdog was killed too', async () => {
    const TMPDIR = scratch // where no other process on this machine sweeps first
    const { owner, dir, pid } = await startOwner(['tests/support/mysql_owner.ts'], { TMPDIR })
    for (const watchdog of watchdogsOf(dir)) process.kill(watchdog, 'SIGKILL')
    owner.kill('SIGKILL')
    await owner.exited
    await Bun.sleep(300)
    expect(serversOn(join(dir, 'data'))).toEqual([pid])
    expect(await sweepServers(dirname(dir))).toEqual([dir])
    expect(existsSync(dir)).toBe(false)
    expect(serversOn(join(dir, 'data'))).toEqual([])
  })

  test('stays as long as its owner lives', async () => {
    const { dir, pid } = await sharedServer()
    expect(await sweepServers()).not.toContain(dir)
    expect(serversOn(join(dir, 'data'))).toEqual([pid ?? 0])
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('goes when the test runner gets %s', async (signal, code) => {
    const { owner, dir } = await startOwner(['test', './tests/support/mysql_interrupted.ts'])
    owner.kill(signal)
    expect(await owner.exited).toBe(code)
    expect(existsSync(dir)).toBe(false)
    expect(serversOn(join(dir, 'data'))).toEqual([])
  })
})

describe('dev_mysql', () => {
  test('starts a server that outlives it, finds it again, restarts and stops it', async () => {
    const dir = join(scratch, `a folder # with a name too long for a socket ${'x'.repeat(80)}`)
    const started = await devMysql(['start', '--dir', dir, '--option', 'max_connections=23'])
    expect(started.code).toBe(0)
    const socket = started.stdout.trim()
    expect(socket.length).toBeLessThanOrEqual(100)

    const asked = await devMysql(
      ['client', '--dir', dir, '--', '-N'],
      {},
      'SELECT @@socket, @@max_connections',
    )
    expect(asked.stdout).toBe(`${socket}\t23\n`)
    const status = await devMysql(['status', '--dir', dir, '--json'])
    expect(JSON.parse(status.stdout)).toMatchObject({ dir, socket, pid: serversOn(join(dir, 'data'))[0] })

    const again = await devMysql(['start', '--dir', dir])
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toContain('not empty\nhint: stop the server that lives there')

    await devMysql(['client', '--dir', dir], {}, 'CREATE DATABASE kept')
    const before = serversOn(join(dir, 'data'))
    const restarted = await devMysql(['restart', '--dir', dir])
    expect(restarted).toMatchObject({ code: 0, stdout: `${socket}\n` })
    const [after] = serversOn(join(dir, 'data'))
    expect(before).not.toContain(after)
    const record = await devMysql(['status', '--dir', dir, '--json'])
    expect(JSON.parse(record.stdout)).toMatchObject({ socket, pid: after })
    const kept = await devMysql(['client', '--dir', dir, '--', '-N'], {}, "SHOW DATABASES LIKE 'kept'")
    expect(kept.stdout).toBe('kept\n')

    writeFileSync(join(dir, 'mine'), 'not the server’s')
    expect((await devMysql(['stop', '--dir', dir])).code).toBe(0)
    expect(readdirSync(dir)).toEqual(['mine'])
    expect(existsSync(socket)).toBe(false)
    expect(serversOn(join(dir, 'data'))).toEqual([])

    const gone = await devMysql(['status', '--dir', dir])
    expect(gone).toMatchObject({ code: 3, stdout: '' })
    expect(gone.stderr).toBe(
      `dev_mysql: error: ${dir}: no MySQL server lives there\nhint: check the folder\n`,
    )
  })

  test('names MYSQLD where it points nowhere', async () => {
    const { code, stdout, stderr } = await devMysql(['fetch'], { MYSQLD: '/nowhere/mysqld' })
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toBe(
      'dev_mysql: error: MYSQLD=/nowhere/mysqld: does not exist\n' +
        'hint: set MYSQLD=/path/to/mysqld to a MySQL server of 8.4 or later, or unset it to have one found or fetched\n',
    )
  })

  test('refuses a MYSQLD that is MariaDB', async () => {
    const folder = fakeProgram(
      'mysqld',
      'mysqld  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64',
    )
    const { code, stderr } = await devMysql(['fetch'], { MYSQLD: join(folder, 'mysqld') })
    expect(code).toBe(3)
    expect(stderr).toContain(`MYSQLD=${folder}/mysqld: is MariaDB 10.11.14-MariaDB-0+deb12u2, not MySQL\n`)
  })

  test('takes MySQL from PATH', async () => {
    const { version } = await sharedServer()
    const folder = fakeProgram(
      'mysqld',
      `mysqld  Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)`,
    )
    writeFileSync(join(folder, 'mysql'), '')
    const { code, stdout } = await devMysql(['fetch'], { MYSQLD: '', PATH: `${folder}:${process.env.PATH}` })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${folder}/mysqld\n` })
    expect(version).not.toBe('8.4.6')
  })

  test('gives one error with every reason where none can be had', async () => {
    const mariadb = fakeProgram(
      'mysqld',
      'mysqld  Ver 11.8.2-MariaDB for debian-linux-gnu on x86_64 (Debian)',
    )
    const old = fakeProgram('mysqld', '/usr/sbin/mysqld  Ver 8.0.43 for Linux on x86_64 ((Ubuntu))')
    const env = { MYSQLD: '', PATH: `${mariadb}:${old}`, ZT_CACHE: join(scratch, 'empty') }
    const { code, stdout, stderr } = await devMysql(['fetch'], env)
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr.split('\n').filter(line => line.includes('error:'))).toEqual([
      `dev_mysql: error: no MySQL server to be had: ${mariadb}/mysqld is MariaDB 11.8.2-MariaDB, not MySQL; ` +
        `${old}/mysqld is MySQL 8.0.43, older than 8.4; apt-get is missing, so none can be fetched`,
    ])
    expect(stderr).toContain('hint: set MYSQLD=/path/to/mysqld to a MySQL server of 8.4 or later\n')
    expect(readdirSync(join(scratch, 'empty', 'mysql'))).toEqual([])
  })

  test('names the mirror that cannot be reached, and leaves nothing half-fetched', async () => {
    const folder = fakeProgram('dpkg', '')
    writeFileSync(
      join(folder, 'apt-get'),
      `#!/bin/sh
case "$*" in
*indextargets*) echo 'Packages main trixie http://mirror.invalid/debian/' ;;
*) echo 'E: Failed to fetch http://mirror.invalid/debian/dists/sid/InRelease  Could not resolve' >&2; exit 100 ;;
esac
`,
      { mode: 0o755 },
    )
    const env = { MYSQLD: '', PATH: folder, ZT_CACHE: join(scratch, 'offline') }
    const { code, stderr } = await devMysql(['fetch'], env)
    expect(code).toBe(3)
    expect(stderr).toContain(
      'no MySQL server to be had: cannot fetch it from Debian: http://mirror.invalid/debian: E: Failed to fetch ',
    )
    expect(readdirSync(join(scratch, 'offline', 'mysql'))).toEqual([])
  })
})

describe('what is read of other programs', () => {
  test('is the version of a server, or why it will not do', () => {
    expect(parseServerVersion('/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))')).toEqual({
      version: '9.7.4-2',
    })
    expect(parseServerVersion('mysqld  Ver 10.0.1 for Linux on x86_64')).toEqual({ version: '10.0.1' })
    expect(parseServerVersion('mysqld  Ver 8.3.0 for Linux on x86_64')).toEqual({
      refused: 'is MySQL 8.3.0, older than 8.4',
    })
    expect(parseServerVersion('usage: mysqld [-f]')).toEqual({ refused: 'does not print a MySQL version' })
  })

  test('are the Debian mirrors among the sources of apt', () => {
    expect(
      parseTargets(
        [
          'Packages main trixie https://mirror.example/debian/',
          'Packages main trixie-updates https://other.example/debian/',
          'Packages main trixie-security https://security.example/debian-security/',
          'Packages contrib sid https://contrib.example/debian/',
          'Packages main nodistro https://vendor.example/',
          'Packages main noble https://ubuntu.example/ubuntu/',
          'Translation-en main trixie https://mirror.example/debian/',
          'Packages main trixie cdrom:[Debian]/',
          'Packages main trixie mirror+file:/etc/apt/mirrors/debian.list/',
          'Packages main sid https://mirror.example/debian/',
          '',
        ].join('\n'),
      ),
    ).toEqual(['https://mirror.example/debian', 'mirror+file:/etc/apt/mirrors/debian.list'])
  })
})

describe('my.cnf', () => {
  const place = {
    folder: '/f',
    dataDir: '/f/data',
    socket: '/f/s',
    port: 20001,
    errorLog: '/f/e',
    plugins: ['auth_socket'],
  }

  test('takes single lines alone, so that no option smuggles in another', () => {
    expect(() => configText({ options: ['a=1\nport=3306'] }, place)).toThrow(/not one line/)
    expect(() => configText({ options: [' '] }, place)).toThrow(/not one line/)
  })

  test('takes no path that its quotes cannot hold', () => {
    expect(() => configText({ initFile: '/a"b' }, place)).toThrow(/not one that an option file can hold/)
  })

  test('loads a plugin once, also where the settings load it', () => {
    const text = configText({ options: ['--plugin-load-add=auth_socket=auth_socket.so'] }, place)
    expect(text.match(/auth_socket\.so/g)).toEqual(['auth_socket.so'])
  })

  test('lets the settings win over defaults, and the place over settings', () => {
    const lines = configText({ options: ['port=1', 'log-bin=other'] }, place).split('\n')
    expect(lines.lastIndexOf('log-bin=other')).toBeGreaterThan(lines.lastIndexOf('log-bin=binlog'))
    expect(lines.lastIndexOf('port=20001')).toBeGreaterThan(lines.lastIndexOf('port=1'))
  })
})
