import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { lockDir } from '../../lib/edge/files.ts'
import { readPki } from '../../lib/edge/pki.ts'
import { cliPassphrase, PkiCli } from '../support/pki_cli.ts'

setDefaultTimeout(120_000) // key derivation is slow on purpose

const cli = new PkiCli()
const { at } = { at: (name: string) => cli.at(name) }
const passwords: string[] = []
beforeAll(async () => {
  expect((await cli.make('--tenant', 'acme', '--account', 'acme_app')).code).toBe(0)
  for (const { password } of readPki(cli.dir).accounts) if (password !== null) passwords.push(password)
  writeFileSync(at('wrong.txt'), 'another passphrase\n', { mode: 0o600 })
  writeFileSync(at('short.txt'), 'short\n', { mode: 0o600 })
  writeFileSync(at('loose.txt'), `${cliPassphrase}\n`)
  chmodSync(at('loose.txt'), 0o644)
})
afterAll(() => cli.clean())

/** What is wrong, the arguments (`folder` is a copy that they may spoil), the exit code, what the error says. */
type Case = [string, (folder: string) => string[], number, RegExp]

const on = (folder: string, ...args: string[]) => [
  ...args,
  '--dir',
  folder,
  '--passphrase-file',
  at('pass.txt'),
]
const fresh = (...args: string[]) => on(at('new'), ...args)

const cases: Case[] = [
  [
    'a wrong passphrase',
    f => ['crl', '--dir', f, '--passphrase-file', at('wrong.txt')],
    3,
    /wrong passphrase/,
  ],
  ['no terminal and no file', f => ['crl', '--dir', f], 2, /--passphrase-file/],
  ['no such folder', () => on(at('nowhere'), 'crl'), 3, /hint: name it with --dir, or make one/],
  ['an unknown tenant', f => on(f, 'issue', 'x', '--tenant', 'nobody'), 3, /known: acme, probe-a, probe-b/],
  ['an unknown account', f => on(f, 'renew', 'nobody'), 3, /account nobody: unknown/],
  [
    'an account that exists',
    f => on(f, 'issue', 'acme_app', '--role', 'auditor'),
    1,
    /exists, as app of tenant acme/,
  ],
  ['neither tenant nor role', f => on(f, 'issue', 'x'), 2, /either --tenant or --role/],
  ['a bad account', f => on(f, 'issue', 'Bad@Name', '--role', 'auditor'), 2, /expected a-z/],
  ['a bad KMS key', f => on(f, 'tenant', 'kms-key', 'acme', 'aws-kms://x'), 3, /names no known provider/],
  ['no such request', f => on(f, 'renew', 'acme_app', '--csr', at('none.csr')), 3, /no such file/],
  [
    'a request that is none',
    f => on(f, 'renew', 'acme_app', '--csr', at('pass.txt')),
    2,
    /not a PKCS#10 request/,
  ],
  ['days out of range', f => on(f, 'renew', 'acme_app', '--days', '9999'), 2, /expected 1 to 825/],
  ['days that are no number', f => on(f, 'renew', 'acme_app', '--days', '1e3'), 2, /whole number/],
  ['an unknown command', f => on(f, 'bogus'), 2, /hint: outside_pki --help/],
  ['a bad server name', () => fresh('--server-name', 'a b'), 2, /neither a DNS name/],
  ['a bad tenant label', () => fresh('--tenant', 'A'), 2, /tenant "A"/],
  [
    'a short passphrase',
    () => ['--dir', at('new'), '--passphrase-file', at('short.txt')],
    2,
    /shorter than 12/,
  ],
  [
    'a loose passphrase file',
    () => ['--dir', at('new'), '--passphrase-file', at('loose.txt')],
    3,
    /chmod 600/,
  ],
  [
    'a folder in use by others',
    () => ['--dir', cli.base, '--passphrase-file', at('pass.txt')],
    1,
    /not empty/,
  ],
  [
    'a folder that others can read',
    f => {
      chmodSync(f, 0o755)
      return ['list', '--dir', f]
    },
    3,
    /chmod 700/,
  ],
  [
    'a state that others can read',
    f => {
      chmodSync(join(f, 'pki.json'), 0o644)
      return ['list', '--dir', f]
    },
    3,
    /chmod 600/,
  ],
  [
    'a damaged state',
    f => {
      appendFileSync(join(f, 'pki.json'), 'x')
      return ['list', '--dir', f]
    },
    3,
    /from a backup/,
  ],
  [
    'a cut state',
    f => {
      writeFileSync(join(f, 'pki.json'), readFileSync(join(f, 'pki.json')).subarray(0, 500))
      return on(f, 'crl')
    },
    3,
    /from a backup/,
  ],
  [
    'a link to a folder',
    f => {
      symlinkSync(f, `${f}.link`)
      return ['list', '--dir', `${f}.link`]
    },
    3,
    /symbolic link/,
  ],
  [
    'a missing CA key',
    f => {
      rmSync(join(f, 'ca'), { recursive: true })
      return on(f, 'crl')
    },
    3,
    /no such file/,
  ],
]

test.each(cases)(
  '%s: one error, a hint, the exit code, no secret, nothing left behind',
  async (_, args, code, says) => {
    const folder = cli.copy()
    const result = await cli.run(args(folder))
    expect(result.err).toMatch(says)
    expect(result.err).toMatch(/^outside_pki: error: [^\n]+\nhint: [^\n]+\n$/)
    expect([result.code, result.out]).toEqual([code, ''])
    expect(existsSync(at('new'))).toBe(false)
    for (const secret of [cliPassphrase, ...passwords]) expect(result.err).not.toContain(secret)
    expect(readdirSync(folder).filter(name => name.startsWith('.'))).toEqual([])
  },
)

test('a second run at the same time is told who holds the folder', async () => {
  const folder = cli.copy()
  const release = lockDir(folder)
  try {
    const second = await cli.pki(folder, 'crl')
    expect([second.code, second.err.split('\n')[0]]).toEqual([
      3,
      `outside_pki: error: ${folder}: in use by process ${process.pid}`,
    ])
  } finally {
    release()
  }
})
