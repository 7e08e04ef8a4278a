import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'zt-main-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a command whose action is `action`, through bash with `redirect` behind it. */
async function run(
  action: string,
  { redirect = '', args = [] as string[], signal = '' as NodeJS.Signals | '' } = {},
) {
  const script = join(folder, `${crypto.randomUUID()}.ts`)
  const cli = resolve(import.meta.dir, '../../lib/cli.ts')
  const errors = resolve(import.meta.dir, '../../lib/core/errors.ts')
  writeFileSync(
    script,
    `import { command, onExit, print, runMain, say } from ${JSON.stringify(cli)}
import { ZtError } from ${JSON.stringify(errors)}
await runMain(command('tool', 'a test').action(async () => { ${action} }))`,
  )
  const shell = `set -o pipefail; exec "$0" "$@" ${redirect}`
  const child = Bun.spawn(['bash', '-c', shell, process.execPath, script, ...args], {
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let stderr = ''
  const drain = async () => {
    for await (const chunk of child.stderr) {
      if (stderr === '' && signal !== '') child.kill(signal) // its first word says that it is ready
      stderr += Buffer.from(chunk).toString()
    }
  }
  const [stdout] = await Promise.all([new Response(child.stdout).text(), drain()])
  return { exitCode: await child.exited, stdout, stderr }
}

test('ends with the code of the error, one line and a hint', async () => {
  expect(await run("print('so far'); throw new ZtError('DRIFT', 'it differs', { hint: 'look' })")).toEqual({
    exitCode: 1,
    stdout: 'so far\n',
    stderr: 'tool: error: it differs\nhint: look\n',
  })
})

test('keeps to one line each whatever a message holds, and steers no terminal', async () => {
  const message = JSON.stringify('a\nb\u001b[2Jc\u0000')
  expect((await run(`throw new ZtError('REFUSED', ${message}, { hint: ${message} })`)).stderr).toBe(
    'tool: error: a b [2Jc\nhint: a b [2Jc\n',
  )
})

test('prints a stack with --debug alone', async () => {
  const action = "throw new ZtError('IO', 'outer', { cause: new Error('inner') })"
  expect((await run(action)).stderr).toBe(
    'tool: error: outer\nhint: check the disk and the path, then run it again\n',
  )
  const { stderr } = await run(action, { args: ['--debug'] })
  expect(stderr).toContain('Error: inner\n    at ')
})

test.each([
  ['throws later', "setTimeout(() => { throw new Error('boom') }, 5); await Bun.sleep(5000)"],
  ['is rejected unseen', "void Promise.reject(new Error('boom')); await Bun.sleep(5000)"],
])('cleans up and reports in the one format what %s', async (_, action) => {
  expect(await run(`onExit(() => print('cleaned')); ${action}`)).toEqual({
    exitCode: 3,
    stdout: 'cleaned\n',
    stderr: 'tool: error: boom\nhint: run it again with --debug and report what it prints\n',
  })
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)(
  '%s cleans up first, ends with %d, and what the clean-up breaks is no error',
  async (signal, exitCode) => {
    const action = `
    let stop = () => undefined
    onExit(async () => { stop(); await Bun.sleep(20); print('cleaned') })
    say('ready')
    await new Promise((_, reject) => { stop = () => reject(new Error('the child was killed')) })`
    expect(await run(action, { signal })).toEqual({
      exitCode,
      stdout: 'cleaned\n',
      stderr: 'ready\ntool: interrupted\n',
    })
  },
)

test('what the work makes while another clean-up waits is cleaned up too', async () => {
  const action = `
    let goOn = () => undefined
    onExit(async () => { goOn(); await Bun.sleep(20) })
    say('ready')
    await new Promise(resolve => { goOn = resolve })
    onExit(() => print('cleaned, too'))
    await new Promise(() => undefined)`
  const result = await run(action, { signal: 'SIGINT' })
  expect([result.exitCode, result.stdout]).toEqual([130, 'cleaned, too\n'])
})

test('loses nothing of a long output to a slow reader', async () => {
  const action = "for (let i = 0; i < 40; i++) print('x'.repeat(99_999)); print('end')"
  const { stdout, exitCode } = await run(action, { redirect: '| (sleep 0.2; wc -c)' })
  expect([stdout.trim(), exitCode]).toEqual(['4000004', 0])
})

test('goes on with its work when the reader has gone', async () => {
  const action = "for (let i = 0; i < 40; i++) print('x'.repeat(99_999)); say('work done')"
  expect(await run(action, { redirect: '| head -c 3' })).toEqual({
    exitCode: 0,
    stdout: 'xxx',
    stderr: 'work done\n',
  })
})

test('fails when its result finds no space, and not when its talk finds none', async () => {
  expect(await run("print('result')", { redirect: '> /dev/full' })).toEqual({
    exitCode: 3,
    stdout: '',
    stderr: 'tool: error: stdout: no space left on the disk\nhint: free some space and run it again\n',
  })
  expect(await run("say('talk'); print('result')", { redirect: '2> /dev/full' })).toEqual({
    exitCode: 0,
    stdout: 'result\n',
    stderr: '',
  })
})

test('a failing clean-up stops no other and is an error of its own', async () => {
  const action = "onExit(() => print('other')); onExit(() => { throw new Error('stuck') })"
  const result = await run(action)
  expect([result.exitCode, result.stdout]).toEqual([3, 'other\n'])
  expect(result.stderr).toStartWith('clean-up: error: stuck\n')
})
