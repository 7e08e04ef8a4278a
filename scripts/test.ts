#!/usr/bin/env bun
/**
 * The one test command: compiler, linter, binaries, then bun test with the arguments given. `--host`: binaries and the
 * tests that boot hosts, `--all` more of them; `--vm`: those that boot a virtual machine; `--with-host`: everything, as CI
 * runs it.
 * The last line is `N passed, N failed`, with `, N skipped` where there are any; exit 1 on a failure or where nothing ran.
 * Where hosts were wanted and cannot be booted, `hostless: ` stands before it, and the reason is the line above.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { build, targets } from '../lib/edge/build.ts'
import { onExit, runCleanups } from '../lib/edge/cleanup.ts'

const root = resolve(import.meta.dir, '..')

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** The sums of a JUnit report's root element. @throws where there is none */
export function countJunit(xml: string): Counts {
  const tag = /<testsuites\b[^>]*>/.exec(xml)?.[0]
  const count = (name: string): number => {
    const value = tag && new RegExp(`\\b${name}="(\\d+)"`).exec(tag)?.[1]
    if (value === undefined) throw new Error(`the test report has no ${name}`)
    return Number(value)
  }
  const [tests, failed, skipped] = [count('tests'), count('failures'), count('skipped')]
  return { passed: tests - failed - skipped, failed, skipped }
}

/** The verdict on a whole run: what the closing line says and how the process ends. */
export function verdict(
  counts: Counts,
  checks: boolean[],
  runnerExit: number,
): { line: string; exitCode: 0 | 1 } {
  const ran = counts.passed + counts.failed > 0
  let failed = counts.failed + checks.filter(passed => !passed).length
  if (failed === 0 && (runnerExit !== 0 || !ran)) failed = 1 // an error outside any test, or a filter that found none
  const passed = counts.passed + checks.filter(Boolean).length
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  return { line: `${passed} passed, ${failed} failed${skipped}`, exitCode: failed === 0 ? 0 : 1 }
}

/** @param quiet its output is shown whole once it has ended, so that two do not mix */
async function run(command: string[], env: Record<string, string> = {}, quiet = false): Promise<number> {
  const child = Bun.spawn(command, {
    cwd: root,
    stdio: ['inherit', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
    env: { ...process.env, ...env },
  })
  const forget = onExit(() => child.kill())
  const read = (stream: unknown) => (stream instanceof ReadableStream ? new Response(stream).text() : '')
  const said = await Promise.all([read(child.stdout), read(child.stderr)])
  const exitCode = await child.exited
  forget()
  if (quiet) process.stderr.write(said.join(''))
  return exitCode
}

async function check(name: string, command: string[]): Promise<boolean> {
  const passed =
    (await run([process.execPath, '--bun', join('node_modules', '.bin', name), ...command])) === 0
  console.error(`(${passed ? 'pass' : 'fail'}) ${[name, ...command].join(' ')}`)
  return passed
}

async function buildBinaries(): Promise<boolean> {
  try {
    await build({ root, targets, say: line => console.error(`build: ${line}`) })
    console.error('(pass) build')
    return true
  } catch (thrown) {
    console.error(`(fail) build: ${thrown instanceof Error ? thrown.message : thrown}`)
    return false
  }
}

const nothing: Counts = { passed: 0, failed: 0, skipped: 0 }

/** What bunfig.toml keeps out of `bun test`: it needs root and takes minutes. */
const hostFolder = 'tests/host'
const alsoHosts = '--path-ignore-patterns=none/**'

interface Ran {
  counts: Counts
  exitCode: number
}

async function runTests(args: string[], env: Record<string, string> = {}, quiet = false): Promise<Ran> {
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'report-'))
  const sweep = () => rmSync(folder, { recursive: true, force: true })
  const forget = onExit(sweep)
  try {
    const report = join(folder, 'junit.xml')
    const reporter = ['--reporter=junit', `--reporter-outfile=${report}`]
    // a test that waits for a server on a busy machine is not a failed one
    const exitCode = await run(
      [process.execPath, 'test', '--timeout=300000', ...reporter, ...args],
      env,
      quiet,
    )
    return { counts: existsSync(report) ? countJunit(readFileSync(report, 'utf8')) : nothing, exitCode }
  } finally {
    forget()
    sweep()
  }
}

/** Why this machine cannot boot hosts, or what else a file of tests/support knows of; undefined where it can. */
async function whyHostless(asked = 'host_supported.ts'): Promise<string | undefined> {
  const script = join(root, 'tests/support', asked)
  const child = Bun.spawn([process.execPath, script], { cwd: root, stdout: 'pipe', stderr: 'inherit' })
  const [said, exitCode] = await Promise.all([new Response(child.stdout).text(), child.exited])
  if (exitCode === 0) return undefined
  return said.trim() || `the question ended with exit ${exitCode}`
}

const sum = (a: Ran, b: Ran): Ran => ({
  counts: {
    passed: a.counts.passed + b.counts.passed,
    failed: a.counts.failed + b.counts.failed,
    skipped: a.counts.skipped + b.counts.skipped,
  },
  exitCode: a.exitCode || b.exitCode,
})

const none: Ran = { counts: nothing, exitCode: 0 }

/** All tests in two halves side by side, as most of them wait for a server: the first is shown as it goes, then the other. */
async function runShards(): Promise<Ran> {
  if (availableParallelism() === 1) return runTests([])
  const [shown, kept] = [runTests(['--shard=1/2']), runTests(['--shard=2/2'], {}, true)]
  return sum(await shown, await kept)
}

/** They take longest: begun last, one of them alone would keep everybody waiting. */
const slowest = ['anchor', 'lifecycle', 'openscap', 'firewall'].map(name =>
  join(hostFolder, `${name}.test.ts`),
)

/**
 * A folder of tests that boot hosts, a file a core and one more at a time: much of it is waiting, and each run has a
 * network of its own. Those that stand on the same installed host stay in one process, which makes it once.
 */
export async function runHostTests(folder: string, env: Record<string, string> = {}): Promise<Ran> {
  const found = readdirSync(join(root, folder))
    .filter(name => name.endsWith('.test.ts'))
    .map(name => join(folder, name))
  const files = [
    ...slowest.filter(file => found.includes(file)),
    ...found.filter(file => !slowest.includes(file)),
  ]
  const shares = (file: string) => /\binstallation\(\)/.test(readFileSync(join(root, file), 'utf8'))
  const groups = [files.filter(shares), ...files.filter(file => !shares(file)).map(file => [file])]
  const queue = groups.filter(group => group.length > 0).values()
  let all = none
  const work = async () => {
    for (const group of queue) {
      console.error(`running ${group.join(', ')}`)
      const ran = await runTests([alsoHosts, ...group], env, true)
      all = sum(all, ran)
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), 3) + 1 }, work))
  return all
}

function close(counts: Counts, checks: boolean[], runnerExit: number, hostless?: string): 0 | 1 {
  const { line, exitCode } = verdict(counts, checks, runnerExit)
  console.log(hostless === undefined ? `\n${line}` : `\nno host was booted: ${hostless}\nhostless: ${line}`)
  return exitCode
}

/** `bun run test:host`: exit 3 where this machine cannot boot hosts. */
async function testHosts(args: string[]): Promise<number> {
  const hostless = await whyHostless()
  if (hostless !== undefined) {
    console.log(`\nno host was booted: ${hostless}\nhostless: 0 passed, 0 failed`)
    return 3
  }
  const checks = [await buildBinaries()]
  const filters = args.filter(arg => arg !== '--all')
  const env = { ZT_HOST_ALL: args.includes('--all') ? '1' : '' }
  const tests =
    filters.length > 0 ? await runTests([alsoHosts, ...filters], env) : await runHostTests(hostFolder, env)
  return close(tests.counts, checks, tests.exitCode)
}

/** `bun run test:vm`: what only a machine with a kernel of its own shows. Exit 3 where none can be booted. */
async function testMachines(args: string[]): Promise<number> {
  const why = await whyHostless('vm_machine.ts')
  if (why !== undefined) {
    console.log(`\nno machine was booted: ${why}\nmachineless: 0 passed, 0 failed`)
    return 3
  }
  const checks = [await buildBinaries()]
  const tests = await runTests([alsoHosts, ...(args.length > 0 ? args : ['tests/vm'])])
  return close(tests.counts, checks, tests.exitCode)
}

async function main(args: string[]): Promise<number> {
  if (args[0] === '--host') return testHosts(args.slice(1))
  if (args[0] === '--vm') return testMachines(args.slice(1))
  const withHost = args[0] === '--with-host'
  const checks = [
    await check('tsc', ['--noEmit']),
    await check('biome', ['check', '--error-on-warnings', '.']),
    await buildBinaries(),
  ]
  const filters = withHost ? args.slice(1) : args
  const tests = await (filters.length > 0 ? runTests(filters) : runShards())
  if (!withHost || filters.length > 0) return close(tests.counts, checks, tests.exitCode)
  const hostless = await whyHostless()
  const all = hostless === undefined ? sum(tests, await runHostTests(hostFolder)) : tests
  return close(all.counts, checks, all.exitCode, hostless)
}

if (import.meta.main) {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => void runCleanups().finally(() => process.exit(code)))
  process.exit(await main(process.argv.slice(2)))
}
