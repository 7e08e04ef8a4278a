/** The README's sessions, run in one shell on a scratch deployment, as a reader would who types them in order. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stopInstance } from '../../lib/edge/mysqld.ts'
import { answersOf, differs, scriptOf, sessionsOf } from '../support/readme.ts'

setDefaultTimeout(600_000) // binaries that are not up to date are compiled first

const root = resolve(import.meta.dir, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'zt-readme-'))
const place = join(scratch, 'zt')
const mysql = join(place, 'mysql')

let shell: Bun.Subprocess | undefined

afterAll(async () => {
  endGroup()
  if (existsSync(join(mysql, 'mysqld.json'))) await stopInstance(mysql) // the session came to no good end
  rmSync(scratch, { recursive: true, force: true })
})

/** Whatever of the session still runs: the shell leads a group of its own. */
function endGroup(): void {
  if (!shell) return
  try {
    process.kill(-shell.pid, 'SIGKILL')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown // nobody is left
  }
}

function freePort(): Promise<number> {
  return new Promise(done => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

test('every command of the README does what the README shows', async () => {
  const steps = sessionsOf(readFileSync(join(root, 'README.md'), 'utf8'))
  expect(steps.length).toBeGreaterThan(20)
  const mark = `end-of-step-${crypto.randomUUID()}`
  const port = String(await freePort())
  // the two things that a reader on a shared machine would change
  const local = (text: string) => text.replaceAll('/tmp/zt', place).replaceAll('9010', port)
  mkdirSync(join(scratch, 'bin'))
  symlinkSync(process.execPath, join(scratch, 'bin', 'bun'))

  const started = Bun.spawn(['bash', '-c', local(scriptOf(steps, mark))], {
    cwd: root,
    env: { PATH: `${join(scratch, 'bin')}:${process.env.PATH}`, HOME: scratch, ...passedOn() },
    stdin: 'ignore',
    detached: true,
    stdout: 'pipe',
    stderr: 'ignore', // the script sends its own to stdout
  })
  shell = started
  const output = await new Response(started.stdout).text()
  await started.exited

  const answers = answersOf(output, mark)
  const wrong = steps.flatMap((step, index) => {
    const answer = answers[index]
    if (!answer) return [`README.md:${step.line}: never came to an end: ${step.command}`]
    const readerLooks = steps[index + 1]?.command === 'echo $?'
    const refused = step.output.some(line => line.startsWith('ERROR ')) // what the stock client says, ending with 1
    const unexpected = !readerLooks && answer.code !== (refused ? 1 : 0)
    const missing = differs(step.output.map(local), answer.lines)
    if (!unexpected && missing === undefined) return []
    return [
      `README.md:${step.line}: $ ${step.command}\nexit ${answer.code}; not there: ${missing}\n${answer.lines.join('\n')}`,
    ]
  })
  expect(wrong.join('\n\n')).toBe('')
})

/** What a machine's own environment says of a MySQL, a cache or a proxy. */
function passedOn(): Record<string, string> {
  const names = ['MYSQLD', 'ZT_CACHE', 'TMPDIR', 'https_proxy', 'http_proxy', 'no_proxy']
  return Object.fromEntries(names.flatMap(name => (process.env[name] ? [[name, process.env[name]]] : [])))
}
