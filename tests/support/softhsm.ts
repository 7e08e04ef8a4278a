/** A token of SoftHSM2 in a folder of its own, with keys that the token made and does not give away. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'

const modules = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
]
const found = modules.find(path => existsSync(path))
const missing = [
  ...(found === undefined ? ['softhsm2'] : []),
  ...(Bun.which('softhsm2-util') === null ? ['softhsm2'] : []),
  ...(Bun.which('pkcs11-tool') === null ? ['opensc'] : []),
]

/** Why there is no token here; undefined where there is one. */
export const noSofthsm =
  missing.length === 0 ? undefined : `not installed: ${[...new Set(missing)].join(', ')} (apt-get install)`

export const tokenLabel = 'zt test'

export interface TestToken {
  readonly dir: string
  readonly module: string
  readonly pin: string
  readonly pinFile: string
  /** The canonical URI of a key. */
  uri(object: string): string
  /** A fresh AES-256 key. @param more further options of pkcs11-tool */
  generate(object: string, id: string, more?: readonly string[]): void
  destroy(object: string, id: string): void
  /** Ends the token, and takes SOFTHSM2_CONF out of the environment. */
  stop(): void
}

function run(command: readonly string[]): void {
  const { exitCode, stderr, stdout } = Bun.spawnSync([...command], { env: process.env })
  if (exitCode !== 0) throw new Error(`${command[0]}: ${stderr}${stdout}`)
}

/** A token with a user PIN. The module finds it by SOFTHSM2_CONF, which is set for this process and its children. */
export function startTestToken(pin = 'canary-pin-5309'): TestToken {
  if (found === undefined || noSofthsm !== undefined) throw new Error(noSofthsm ?? 'no SoftHSM2')
  const dir = mkdtempSync(join(tmpdir(), 'zt-hsm-'))
  const pinFile = join(dir, 'pin')
  mkdirSync(join(dir, 'tokens'))
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 })
  writeFileSync(
    join(dir, 'softhsm2.conf'),
    `directories.tokendir = ${join(dir, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  )
  const before = process.env.SOFTHSM2_CONF
  process.env.SOFTHSM2_CONF = join(dir, 'softhsm2.conf')
  run([
    'softhsm2-util',
    '--init-token',
    '--free',
    '--label',
    tokenLabel,
    '--pin',
    pin,
    '--so-pin',
    'so-pin-1',
  ])
  const tool = (...args: string[]) =>
    run(['pkcs11-tool', '--module', found, '--token-label', tokenLabel, '--login', '--pin', pin, ...args])
  const stop = () => {
    forget()
    if (before === undefined) delete process.env.SOFTHSM2_CONF
    else process.env.SOFTHSM2_CONF = before
    rmSync(dir, { recursive: true, force: true })
  }
  const forget = onExit(stop)
  return {
    dir,
    module: found,
    pin,
    pinFile,
    uri: object => `pkcs11:token=zt%20test;object=${object}`,
    generate: (object, id, more = ['--sensitive']) =>
      tool('--keygen', '--key-type', 'AES:32', '--label', object, '--id', id, ...more),
    destroy: (object, id) => tool('--delete-object', '--type', 'secrkey', '--label', object, '--id', id),
    stop,
  }
}
