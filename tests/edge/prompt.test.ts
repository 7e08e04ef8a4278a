import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

let dir: string
const lib = resolve(import.meta.dir, '../../lib')
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-prompt-'))
  writeFileSync(
    join(dir, 'ask.ts'),
    `import { command, runMain } from ${JSON.stringify(`${lib}/cli.ts`)}
import { askYes, readPassphrase } from ${JSON.stringify(`${lib}/edge/prompt.ts`)}
const kind = process.argv.pop()
const isNew = kind === 'new'
await runMain(command('ask', 'x').action(async () => {
  if (kind === 'yes') return console.log('SAID ' + (await askYes('Secret: ')))
  const got = await readPassphrase({ prompt: 'Secret', isNew })
  console.log('GOT ' + Buffer.from(got).toString('hex'))
}), process.argv)`,
  )
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Types at a terminal of its own (util-linux script makes one); what it shows comes back. */
async function type(keys: string, kind: 'new' | 'old' | 'yes'): Promise<{ shown: string; code: number }> {
  const child = Bun.spawn(
    ['script', '-qefc', `${process.execPath} ${join(dir, 'ask.ts')} ${kind}`, '/dev/null'],
    { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe', env: { ...process.env, TERM: 'dumb' } },
  )
  const reader = child.stdout.getReader()
  let shown = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    shown += new TextDecoder().decode(value)
    if (keys !== '' && shown.includes('Secret: ')) {
      child.stdin.write(keys)
      child.stdin.flush()
      keys = ''
    }
  }
  return { shown, code: await child.exited }
}

const hex = (text: string) => Buffer.from(text).toString('hex')

test('what is typed is not shown, and erase works on whole characters', async () => {
  const { shown, code } = await type('hunteé\x7fr2\r', 'old')
  expect(code).toBe(0)
  expect(shown).toContain(`GOT ${hex('hunter2')}`)
  expect(shown).not.toContain('hunte')
}, 30_000)

test('a new passphrase is asked for twice, and normalised', async () => {
  const { shown } = await type('twelve cha\u0308rs\rtwelve ch\u00e4rs\r', 'new')
  expect(shown).toContain('Again: ')
  expect(shown).toContain(`GOT ${hex('twelve ch\u00e4rs')}`)
}, 30_000)

test('two different ones, and a short one, are refused', async () => {
  const different = await type('twelve chars\rtwelve charz\r', 'new')
  expect([different.code, different.shown.includes('the two passphrases differ')]).toEqual([2, true])
  const short = await type('short\r', 'new')
  expect([short.code, short.shown.includes('shorter than 12 characters')]).toEqual([2, true])
}, 30_000)

test('Ctrl-C ends it as a signal does', async () => {
  const { shown, code } = await type('secr\x03', 'old')
  expect([code, shown.includes('ask: interrupted'), shown.includes('secr')]).toEqual([130, true, false])
}, 30_000)

test('y alone is yes; an end of input is no; Ctrl-C ends the question as a signal does', async () => {
  for (const [keys, wanted, said] of [
    ['y\r', 0, 'SAID true'],
    ['n\r', 0, 'SAID false'],
    ['\r', 0, 'SAID false'],
    ['\x04', 0, 'SAID false'],
    ['\x03', 130, 'ask: interrupted'],
  ] as const) {
    const { shown, code } = await type(keys, 'yes')
    expect([keys, code, shown.includes(said), shown.includes('error')]).toEqual([keys, wanted, true, false])
  }
}, 60_000)
