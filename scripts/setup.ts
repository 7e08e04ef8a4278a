#!/usr/bin/env bun
/**
 * Makes node_modules what bun.lock says, on a machine that has nothing but Bun (or Node: `npx --yes bun@1.4.5 run …`).
 * Imports no package: none may be there yet.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ZtError } from '../lib/core/errors.ts'
import { lockDir } from '../lib/edge/lock.ts'

const root = resolve(import.meta.dir, '..')
const modules = join(root, 'node_modules')
const stamp = join(modules, '.zt-setup')

/** A digest of everything that decides what node_modules holds. */
function wanted(): string {
  const hash = createHash('sha256')
  for (const file of ['package.json', 'bun.lock', 'bunfig.toml']) hash.update(readFileSync(join(root, file)))
  return hash.update(`${Bun.version} ${process.platform} ${process.arch}`).digest('hex')
}

const done = (): boolean => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted()

function checkVersion(): void {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    engines: { bun: string }
  }
  if (Bun.version !== engines.bun)
    console.error(
      `setup: warning: tested with Bun ${engines.bun}, this is ${Bun.version}; binaries will differ`,
    )
}

function install(): void {
  console.error('setup: installing the packages of bun.lock')
  const { exitCode } = Bun.spawnSync([process.execPath, 'install', '--frozen-lockfile', '--silent'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (exitCode !== 0)
    throw new ZtError('UNREACHABLE', `bun install ended with exit code ${exitCode}`, {
      hint: 'it needs the npm registry once: check the network, https_proxy or a registry in ~/.npmrc, and run it again',
    })
}

/** Waits for another set-up of the same folder. */
async function lock(): Promise<() => void> {
  mkdirSync(modules, { recursive: true })
  for (let waited = 0; ; waited++) {
    try {
      return lockDir(modules)
    } catch (thrown) {
      if (!(thrown instanceof ZtError && thrown.code === 'LOCKED') || waited > 600) throw thrown
      if (waited === 0) console.error(`setup: waiting: ${thrown.message}`)
    }
    await Bun.sleep(200)
  }
}

async function setUp(): Promise<void> {
  if (done()) return
  checkVersion()
  const unlock = await lock()
  try {
    if (done()) return
    install()
    writeFileSync(stamp, wanted())
  } finally {
    unlock()
  }
}

if (import.meta.main)
  try {
    await setUp()
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    console.error(`setup: error: ${thrown.message}`)
    if (thrown.hint) console.error(`hint: ${thrown.hint}`)
    process.exit(thrown.exitCode)
  }
