/** The binaries: which there are, which are stale, and how they and their checksums come about. */
import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { runClean } from './child.ts'
import { onExit } from './cleanup.ts'
import type { Job } from './compile.ts'
import { lockDir, writeFileAtomic } from './files.ts'
import { sourceCommit } from './git.ts'

/** The entries by the name of their binary, and the worker files that a binary must carry besides. */
export type Targets = Record<string, { entry: string; workers?: string[] }>

export const targets: Targets = {
  outside_pki: { entry: 'outside/outside_pki.ts' },
  outside_gcp_setup: { entry: 'outside/outside_gcp_setup.ts' },
  pq_envelope_cli: { entry: 'outside/pq_envelope_cli.ts' },
  vm_oneclick: { entry: 'vm/vm_oneclick.ts' },
  anchor_head: { entry: 'vm/anchor_head.ts' },
  proof_suite: { entry: 'vm/proof_suite.ts' },
  chain_verify: { entry: 'scripts/chain_verify.ts', workers: ['lib/edge/verify_worker.ts'] },
  openscap_scan: { entry: 'scripts/openscap_scan.ts' },
}

/** `root`: the sources' top folder, which holds dist/ and .cache/; `say` gets one line of progress at a time. */
export interface Site {
  root: string
  targets: Targets
  say: (line: string) => void
}

/** What a binary was made from, kept in .cache/build/NAME.json. */
interface Stamp {
  setting: string
  inputs: Record<string, string>
  binary: { sha256: string; size: number; mtimeMs: number }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

function hashes(root: string, paths: string[]): Record<string, string> {
  const digest = (path: string) =>
    existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'absent'
  return Object.fromEntries(paths.map(path => [path, digest(join(root, path))]))
}

const binaryOf = (site: Site, name: string): string => join(site.root, 'dist', name)
const stampOf = (site: Site, name: string): string => join(site.root, '.cache/build', `${name}.json`)

/** The stamp of the binary that is there; undefined where there is none, or something else touched it. */
function readStamp(site: Site, name: string): Stamp | undefined {
  const there = statSync(binaryOf(site, name), { throwIfNoEntry: false })
  if (!there || !existsSync(stampOf(site, name))) return undefined
  const stamp = JSON.parse(readFileSync(stampOf(site, name), 'utf8')) as Stamp
  return stamp.binary.size === there.size && stamp.binary.mtimeMs === there.mtimeMs ? stamp : undefined
}

/** What every binary depends on besides its own inputs: compiler, machine, packages, how we compile, the commit. */
function settingOf(site: Site, commit: string): string {
  const shared = [
    'bun.lock',
    'tsconfig.json',
    'lib/edge/build.ts',
    'lib/edge/compile.ts',
    'scripts/compile.ts',
  ]
  return JSON.stringify([Bun.version, Bun.revision, process.arch, commit, hashes(site.root, shared)])
}

function upToDate(site: Site, name: string, setting: string): boolean {
  const stamp = readStamp(site, name)
  if (stamp?.setting !== setting) return false
  const now = hashes(site.root, Object.keys(stamp.inputs))
  return Object.entries(stamp.inputs).every(([path, digest]) => now[path] === digest)
}

/** `present`: the names whose entry exists; `stale`: those to compile. */
export interface Plan {
  present: string[]
  stale: string[]
  commit: string
  setting: string
}

async function make(site: Site, name: string, job: Job, setting: string): Promise<void> {
  const began = Date.now()
  const script = join(site.root, 'scripts/compile.ts')
  const command = [process.execPath, '--no-env-file', script, JSON.stringify(job)]
  const { exitCode, stdout, stderr } = await runClean(command, site.root)
  if (exitCode !== 0)
    throw new ZtError('REFUSED', `${name} does not compile:\n${stderr.trim()}`, {
      hint: `look at ${job.entry} and what it imports`,
    })
  // Packages are part of the setting, by the lockfile.
  const inputs = (JSON.parse(stdout) as string[]).filter(path => !/(^|\/)node_modules\//.test(path))
  const digest = await sha256(job.outfile)
  renameSync(job.outfile, binaryOf(site, name))
  const { size, mtimeMs } = statSync(binaryOf(site, name))
  const stamp: Stamp = {
    setting,
    inputs: hashes(site.root, inputs),
    binary: { sha256: digest, size, mtimeMs },
  }
  // An input saved while the compiler read it leaves in doubt which text went in: no stamp, so that the next run compiles.
  if (inputs.every(path => statSync(join(site.root, path)).mtimeMs < began))
    writeFileAtomic(stampOf(site, name), JSON.stringify(stamp), 0o644)
  else rmSync(stampOf(site, name), { force: true })
  site.say(`compiled dist/${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
}

async function makeAll(site: Site, { stale, commit, setting }: Plan): Promise<void> {
  const scratch = join(site.root, '.cache/build/scratch')
  const sweep = () => {
    rmSync(scratch, { recursive: true, force: true })
    for (const name of readdirSync(site.root))
      if (/^\.[0-9a-f]+-[0-9a-f]+\.bun-build$/.test(name)) rmSync(join(site.root, name)) // 100 MB of a compiler that was killed
  }
  sweep()
  mkdirSync(scratch)
  const forget = onExit(sweep)
  const queue = stale.entries()
  const work = async () => {
    for (const [index, name] of queue) {
      site.say(`compiling ${name} (${index + 1}/${stale.length})`)
      const { entry = '', workers = [] } = site.targets[name] ?? {}
      await make(site, name, { entry, workers, commit, outfile: join(scratch, name) }, setting)
    }
  }
  const results = await Promise.allSettled(Array.from({ length: Math.min(4, availableParallelism()) }, work))
  forget()
  sweep()
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function writeSums(site: Site, names: string[]): Promise<void> {
  const lines: string[] = []
  for (const name of names.toSorted())
    if (existsSync(binaryOf(site, name)))
      lines.push(`${readStamp(site, name)?.binary.sha256 ?? (await sha256(binaryOf(site, name)))}  ${name}\n`)
  writeFileAtomic(join(site.root, 'dist/SHA256SUMS'), lines.join(''), 0o644)
}

/** Waits for another build of the same tree: tests and demo may start at once. */
async function lockPatiently(folder: string, say: Site['say']): Promise<() => void> {
  const deadline = Date.now() + 180_000
  for (let told = false; ; told = true) {
    try {
      return lockDir(folder)
    } catch (thrown) {
      if (!(thrown instanceof ZtError && thrown.code === 'LOCKED') || Date.now() > deadline) throw thrown
      if (!told) say(`waiting: ${thrown.message}`)
    }
    await Bun.sleep(200)
  }
}

/** Which of `names` (every one whose entry exists, where none are given) are to be compiled. @throws BAD_INPUT */
export async function plan(site: Site, names: string[] = []): Promise<Plan> {
  const present = Object.keys(site.targets).filter(name =>
    existsSync(join(site.root, site.targets[name]?.entry ?? '')),
  )
  const unknown = names.find(name => !present.includes(name))
  if (unknown !== undefined)
    throw new ZtError('BAD_INPUT', `no such binary: ${unknown}`, { hint: `there are: ${present.join(', ')}` })
  const commit = await sourceCommit(site.root, site.say)
  const setting = settingOf(site, commit)
  const wanted = names.length > 0 ? names : present
  return { present, commit, setting, stale: wanted.filter(name => !upToDate(site, name, setting)) }
}

/** Compiles what is stale and writes dist/SHA256SUMS. Returns what was compiled. @throws as plan; REFUSED by the compiler */
export async function build(site: Site, names: string[] = []): Promise<string[]> {
  mkdirSync(join(site.root, '.cache/build'), { recursive: true })
  mkdirSync(join(site.root, 'dist'), { recursive: true })
  const unlock = await lockPatiently(join(site.root, '.cache/build'), site.say)
  try {
    const planned = await plan(site, names)
    await makeAll(site, planned)
    await writeSums(site, planned.present)
    return planned.stale
  } finally {
    unlock()
  }
}
