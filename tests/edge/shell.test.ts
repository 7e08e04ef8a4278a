/** Programs that are run through bash, from a process that sudo or systemd started: with hardly an environment. */
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const home = mkdtempSync(join(tmpdir(), 'zt-shell-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

async function run(action: string, env: Record<string, string> = {}): Promise<unknown> {
  const script = join(home, 'run.ts')
  const shell = resolve(import.meta.dir, '../../lib/edge/shell.ts')
  writeFileSync(script, `import { $ } from ${JSON.stringify(shell)}\n${action}`)
  const child = Bun.spawn([process.execPath, script], {
    env: { PATH: process.env.PATH ?? '', HOME: home, ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}

test.each([{}, { SHLVL: '0' }, { SSH_CLIENT: '192.0.2.1 1 22' }])(
  'with %p no start-up file of the person is run',
  async env => {
    writeFileSync(join(home, '.bashrc'), 'echo BITTEN')
    const action = "console.log((await $({ input: 'input' })`cat`).stdout)"
    expect(await run(action, env)).toEqual({ stdout: 'input\n', stderr: '', code: 0 })
  },
)

test('one that ends before it has read its input is judged by its exit', async () => {
  const action = `
    const seen = new Set()
    for (let i = 0; i < 20; i++) seen.add((await $({ input: 'x'.repeat(999_999) })\`exit 3\`.nothrow()).exitCode)
    console.log(...seen)`
  expect(await run(action)).toEqual({ stdout: '3\n', stderr: '', code: 0 })
})
