/** vm_oneclick as a person runs it, and folders of a host that is thrown away. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const entry = resolve(import.meta.dir, '../../vm/vm_oneclick.ts')

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

export const systemUser: string = Bun.spawnSync(['id', '-un']).stdout.toString().trim()

/** The folders that an installation writes to. */
export interface Host extends Disposable {
  dir: string
  confDir: string
  tlsDir: string
  anchorDir: string
  at(name: string): string
}

export function makeHost(): Host {
  const dir = mkdtempSync(join(tmpdir(), 'zt-host-'))
  const at = (name: string) => join(dir, name)
  return {
    dir,
    confDir: at('conf.d'),
    tlsDir: at('tls'),
    anchorDir: at('anchor'),
    at,
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}

/** Options that put everything into a host's folders. */
export const inHost = (host: Host): string[] => [
  '--layer',
  'database',
  '--conf-dir',
  host.confDir,
  '--tls-dir',
  host.tlsDir,
  '--anchor-dir',
  host.anchorDir,
  '--anchor-user',
  systemUser,
]

/** Runs it from source, with nothing in its environment but PATH and what is given. */
export async function oneclick(args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  const child = Bun.spawn([process.execPath, entry, ...args], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { PATH: process.env.PATH ?? '', ...env },
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}
