import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import { build, plan, type Targets, targets } from '../../lib/edge/build.ts'
import { sourceCommit } from '../../lib/edge/git.ts'
import { version } from '../../lib/version.ts'
import { binary } from '../support/binary.ts'
import { fixtureEntry } from '../support/fixture_entry.ts'

const root = resolve(import.meta.dir, '../..')
const fixtures: Targets = { fixture: { entry: 'outside/fixture.ts' }, absent: { entry: 'vm/absent.ts' } }
const silent = () => undefined

let base: string // beside node_modules, so that its files can be linked rather than copied
let empty: string
let top: string
let fixture: string
beforeAll(async () => {
  mkdirSync(join(root, '.cache'), { recursive: true })
  base = mkdtempSync(join(root, '.cache', 'build-test-'))
  empty = mkdtempSync(join(tmpdir(), 'zt-empty-'))
  top = tree('a')
  expect(await make(top)).toEqual(['fixture'])
  fixture = join(top, 'dist/fixture')
})
afterAll(() => {
  rmSync(base, { recursive: true, force: true })
  rmSync(empty, { recursive: true, force: true })
})

/** A tree of its own with the real library, the real packages and the fixture as its only entry. */
function tree(name: string): string {
  const top = join(base, name)
  mkdirSync(join(top, 'outside'), { recursive: true })
  for (const path of ['lib', 'scripts/compile.ts', 'package.json', 'bun.lock', 'tsconfig.json', '.gitignore'])
    cpSync(join(root, path), join(top, path), { recursive: true })
  writeFileSync(join(top, 'outside/fixture.ts'), fixtureEntry)
  const { exitCode } = Bun.spawnSync(['cp', '-al', join(root, 'node_modules'), join(top, 'node_modules')])
  expect(exitCode).toBe(0)
  return top
}

const make = (top: string, names: string[] = []) =>
  build({ root: top, targets: fixtures, say: silent }, names)

async function run(
  path: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
) {
  const child = Bun.spawn([path, ...args], {
    cwd: options.cwd ?? empty,
    env: { PATH: process.env.PATH ?? '', ...options.env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { exitCode: await child.exited, stdout, stderr }
}

async function refusal(promise: Promise<unknown>): Promise<ZtError> {
  try {
    await promise
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

describe('a compiled entry', () => {
  test('runs from an empty folder, says version and source, and nothing else', async () => {
    expect(await run(fixture, ['--version'])).toEqual({
      exitCode: 0,
      stdout: `fixture ${version} (no-commit)\n`,
      stderr: '',
    })
    const result = await run(fixture, [])
    expect([result.exitCode, result.stderr]).toEqual([0, ''])
    expect(JSON.parse(result.stdout).planted).toBeNull()
  })

  test('has the same bytes from another folder, and the checksum that SHA256SUMS says', async () => {
    const other = tree('deeper/and/with a space/b')
    expect(await make(other)).toEqual(['fixture'])
    const sums = readFileSync(join(top, 'dist/SHA256SUMS'), 'utf8')
    expect(sums).toMatch(/^[0-9a-f]{64} {2}fixture\n$/)
    expect(readFileSync(join(other, 'dist/SHA256SUMS'), 'utf8')).toBe(sums)
    const check = Bun.spawnSync(['sha256sum', '--check', '--strict', 'SHA256SUMS'], {
      cwd: join(other, 'dist'),
    })
    expect(check.stdout.toString()).toBe('fixture: OK\n')
    expect(readFileSync(fixture).includes(base)).toBe(false)
  })

  test('obeys nothing that is planted in the folder it runs in', async () => {
    const trap = mkdtempSync(join(tmpdir(), 'zt-trap-'))
    const plant = (path: string, text: string) => {
      mkdirSync(dirname(join(trap, path)), { recursive: true })
      writeFileSync(join(trap, path), text)
    }
    const bite = `require('node:fs').appendFileSync(${JSON.stringify(join(trap, 'bitten'))}, __filename + '\\n')`
    for (const name of ['.env', '.env.local', '.env.production', '.env.development'])
      plant(name, 'PLANTED=yes\nZX_PREFIX="echo bitten;"\n')
    plant('bunfig.toml', 'preload = ["./bite.js"]\n')
    plant('bite.js', bite)
    plant('package.json', '{"imports": {"#x": "./bite.js"}, "main": "./bite.js"}')
    plant('tsconfig.json', '{"compilerOptions": {"paths": {"*": ["./bite.js"]}}}')
    // Every package there is, the one that mysql2 asks for, and names that a runtime looks up.
    const packages = readdirSync(join(root, 'node_modules')).flatMap(name =>
      name.startsWith('@')
        ? readdirSync(join(root, 'node_modules', name)).map(sub => `${name}/${sub}`)
        : [name],
    )
    for (const name of [
      ...packages,
      'cardinal',
      'bluebird',
      'node-fetch',
      'long',
      'bufferutil',
      'supports-color',
    ])
      if (!name.startsWith('.')) plant(`node_modules/${name}/index.js`, bite)
    for (const tool of ['grep', 'env', 'bash']) {
      plant(tool, `#!/bin/sh\necho ${tool} >> ${join(trap, 'bitten')}\n`)
      chmodSync(join(trap, tool), 0o755)
    }
    const result = await run(fixture, [], { cwd: trap, env: { PATH: `.::${process.env.PATH}` } })
    expect(result.stderr).toBe('')
    expect(JSON.parse(result.stdout).planted).toBeNull()
    expect(existsSync(join(trap, 'bitten'))).toBe(false)
    rmSync(trap, { recursive: true })
  })

  test("takes neither shell, prefix nor start-up file from the caller's environment", async () => {
    writeFileSync(join(empty, 'start.sh'), 'echo BITTEN >&2; alias bitten=yes\n')
    const hostile = {
      ZX_PREFIX: 'echo BITTEN;',
      ZX_POSTFIX: '; echo BITTEN',
      ZX_SHELL: '/bin/false',
      ZX_VERBOSE: 'true',
      ZX_TIMEOUT: '1ms',
      ZX_CWD: '/',
      ZX_PREFER_LOCAL: 'true',
      BASH_ENV: join(empty, 'start.sh'),
      ENV: join(empty, 'start.sh'),
      'BASH_FUNC_env%%': '() { echo BITTEN; }',
      'BASH_FUNC_grep%%': '() { echo BITTEN; }',
      SHELLOPTS: 'xtrace:verbose',
      PS4: '$(echo BITTEN >&2)',
      INNOCENT: 'kept',
    }
    const result = await run(fixture, [], { env: hostile })
    rmSync(join(empty, 'start.sh'))
    expect([result.exitCode, result.stderr]).toEqual([0, ''])
    const { shell } = JSON.parse(result.stdout) as { shell: string }
    expect(shell).not.toContain('BITTEN')
    expect(shell).toMatch(/^pipefail\s+on\nit's quoted\n/)
    expect(shell).toContain('\nINNOCENT=kept\n')
    expect(shell).toContain(`\nPWD=${empty}\n`)
  })

  test('ends a wrong option with one line, a hint and exit code 2', async () => {
    expect(await run(fixture, ['--nonsense'])).toEqual({
      exitCode: 2,
      stdout: '',
      stderr: "fixture: error: unknown option '--nonsense'\nhint: fixture --help\n",
    })
  })
})

describe('a build', () => {
  test('compiles again only what changed', async () => {
    const stale = async () => (await plan({ root: top, targets: fixtures, say: silent })).stale
    const whileChanged = async (path: string) => {
      const before = readFileSync(join(top, path))
      writeFileSync(join(top, path), `${before}\n`)
      const names = await stale()
      writeFileSync(join(top, path), before)
      return names
    }
    expect(await make(top)).toEqual([])
    for (const path of [
      'outside/fixture.ts',
      'lib/core/errors.ts',
      'package.json',
      'bun.lock',
      'lib/edge/compile.ts',
    ])
      expect([path, await whileChanged(path)]).toEqual([path, ['fixture']])
    for (const path of ['lib/core/lp.ts', '.gitignore'])
      expect([path, await whileChanged(path)]).toEqual([path, []])
    renameSync(fixture, `${fixture}.away`)
    expect(await stale()).toEqual(['fixture'])
    cpSync(`${fixture}.away`, fixture) // the same bytes, but nobody vouches for them
    expect(await stale()).toEqual(['fixture'])
    renameSync(`${fixture}.away`, fixture)
    expect(await stale()).toEqual([])
  })

  test('that fails leaves the old binary and no scraps, and refuses what would be looked for at run time', async () => {
    mkdirSync(join(top, '.cache/build/scratch'), { recursive: true })
    writeFileSync(join(top, '.cache/build/scratch/fixture'), 'of a build that was killed')
    writeFileSync(join(top, '.c460ed4864ed2df8-00000000.bun-build'), 'of a compiler that was killed')
    const before = readFileSync(join(top, 'dist/SHA256SUMS'))
    const entry = readFileSync(join(top, 'outside/fixture.ts'))
    appendFileSync(join(top, 'outside/fixture.ts'), '\nexport const x = await import(process.argv[2])\n')
    const error = await refusal(make(top))
    expect(error.code).toBe('REFUSED')
    expect(error.message).toContain('will not be bundled')
    expect(error.hint).toBe('look at outside/fixture.ts and what it imports')
    expect(readFileSync(join(top, 'dist/SHA256SUMS'))).toEqual(before)
    expect(readdirSync(join(top, 'dist')).sort()).toEqual(['SHA256SUMS', 'fixture'])
    expect(readdirSync(join(top, '.cache/build'))).toEqual(['fixture.json'])
    expect(readdirSync(top).filter(name => name.endsWith('.bun-build'))).toEqual([])
    writeFileSync(join(top, 'outside/fixture.ts'), entry)
    expect(await make(top)).toEqual([])
  })

  test('refuses a name that is none, or whose entry does not exist', async () => {
    const error = await refusal(make(top, ['absent']))
    expect([error.code, error.message, error.hint]).toEqual([
      'BAD_INPUT',
      'no such binary: absent',
      'there are: fixture',
    ])
  })
})

describe('the commit that a binary names', () => {
  const git = (top: string, ...args: string[]): string => {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'commit.gpgsign=false']
    const { exitCode, stdout } = Bun.spawnSync(['git', ...identity, ...args], { cwd: top })
    expect(exitCode).toBe(0)
    return stdout.toString().trim()
  }

  test('is 12 digits, dirty for any change, and no-commit outside a repository', async () => {
    const top = join(base, 'repository')
    mkdirSync(top)
    const commit = () => sourceCommit(top, silent)
    expect(await commit()).toBe('no-commit') // although a folder above is a repository
    git(top, 'init', '-q')
    expect(await commit()).toBe('no-commit')
    writeFileSync(join(top, 'a'), '1')
    git(top, 'add', 'a')
    git(top, 'commit', '-q', '-m', 'one')
    const head = git(top, 'rev-parse', 'HEAD').slice(0, 12)
    expect(await commit()).toBe(head)
    writeFileSync(join(top, 'b'), '2')
    expect(await commit()).toBe(`${head}-dirty`)
    rmSync(join(top, 'b'))
    writeFileSync(join(top, 'a'), '3')
    expect(await commit()).toBe(`${head}-dirty`)
  })

  test('is an error where the repository cannot be read', async () => {
    const top = join(base, 'broken')
    mkdirSync(join(top, '.git'), { recursive: true })
    expect((await refusal(sourceCommit(top, silent))).code).toBe('IO')
  })
})

const present = Object.keys(targets).filter(name => existsSync(join(root, targets[name]?.entry ?? '')))

describe.each(present)('dist/%s', name => {
  test('names itself, its version and its commit, and prints help with examples', async () => {
    const path = await binary(name)
    const result = await run(path, ['--version'])
    expect(result.stdout).toMatch(
      new RegExp(`^${name} ${version} \\((?:[0-9a-f]{12}(?:-dirty)?|no-commit)\\)\\n$`),
    )
    expect([result.exitCode, result.stderr]).toEqual([0, ''])
    const help = await run(path, ['--help'])
    expect([help.exitCode, help.stderr]).toEqual([0, ''])
    expect(help.stdout).toContain(`Usage: ${name}`)
    expect(help.stdout).toContain('Examples:')
  })

  test('starts within five times an empty program', async () => {
    const path = await binary(name)
    const median = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN
    const timed = (command: string[]) => {
      const began = performance.now()
      expect(Bun.spawnSync(command, { cwd: empty, stdout: 'ignore', stderr: 'ignore' }).exitCode).toBe(0)
      return performance.now() - began
    }
    const [nothing, versions]: [number[], number[]] = [[], []]
    for (let i = 0; i < 11; i++) {
      nothing.push(timed([process.execPath, '-e', '0'])) // in turns, so that a busy moment hits both
      versions.push(timed([path, '--version']))
    }
    expect(median(versions) / median(nothing)).toBeLessThanOrEqual(5)
  })
})
