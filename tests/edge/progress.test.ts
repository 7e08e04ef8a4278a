/** The bar of a long command on a terminal (util-linux script makes one). */
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const dir = mkdtempSync(join(tmpdir(), 'zt-bar-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

test.each([
  ['Ctrl-C', 'await new Promise(() => undefined)', '\x03', 130, 'tool: interrupted'],
  ['an error', "throw new ZtError('IO', 'broken')", '', 3, 'tool: error: broken'],
  ['its end', 'bar.stop()', '', 0, undefined],
] as const)('after %s it is gone, and the cursor is back', async (_, then, key, wanted, said) => {
  const lib = resolve(import.meta.dir, '../../lib')
  const entry = join(dir, 'bar.ts')
  writeFileSync(
    entry,
    `import { command, runMain } from ${JSON.stringify(`${lib}/cli.ts`)}
import { ZtError } from ${JSON.stringify(`${lib}/core/errors.ts`)}
import { progress } from ${JSON.stringify(`${lib}/progress.ts`)}
await runMain(command('tool', 'x').action(async () => {
  const bar = progress('working', 'steps')
  bar.update(1, 2)
  ${then}
}), ['bun', 'tool'])`,
  )
  const child = Bun.spawn(['script', '-qefc', `${process.execPath} ${entry}`, '/dev/null'], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, TERM: 'xterm' },
  })
  let shown = ''
  let pressed = false
  for await (const chunk of child.stdout) {
    shown += Buffer.from(chunk).toString()
    if (pressed || key === '' || !shown.includes('1/2 steps')) continue
    pressed = true
    child.stdin.write(key)
    child.stdin.flush()
  }
  expect(await child.exited).toBe(wanted)
  const [hidden, back] = ['\x1b[?25l', '\x1b[?25h'].map(code => shown.lastIndexOf(code))
  expect(hidden).toBeGreaterThanOrEqual(0)
  expect(back).toBeGreaterThan(Number(hidden))
  if (said !== undefined) expect(shown.slice(back)).toContain(said)
})
