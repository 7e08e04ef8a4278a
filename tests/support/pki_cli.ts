/** Runs outside_pki from its source as a user would, in a folder of the test's own. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const entry = resolve(import.meta.dir, '../../outside/outside_pki.ts')
export const command = [process.execPath, entry]

/** Not ASCII alone: it must reach OpenSSL and scrypt as the same bytes everywhere. */
export const cliPassphrase = 'korrekt hörse battery staple'

export interface Result {
  code: number
  out: string
  err: string
}

export class PkiCli {
  readonly base = mkdtempSync(join(tmpdir(), 'zt-cli-pki-'))
  /** A folder of the standard story, not to be changed; `make` makes it. */
  readonly dir = join(this.base, 'pki')
  #copies = 0

  constructor() {
    writeFileSync(this.at('pass.txt'), `${cliPassphrase}\n`, { mode: 0o600 })
  }

  at(name: string): string {
    return join(this.base, name)
  }

  /** With nothing of this process's environment. */
  async run(args: readonly string[], program: readonly string[] = command): Promise<Result> {
    const child = Bun.spawn([...program, ...args], {
      cwd: this.base,
      env: { PATH: process.env.PATH ?? '', HOME: this.base, NO_COLOR: '1' },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
    return { code, out, err }
  }

  /** On a folder, with its passphrase. */
  pki(folder: string, ...args: string[]): Promise<Result> {
    return this.run([...args, '--dir', folder, '--passphrase-file', this.at('pass.txt')])
  }

  make(...args: string[]): Promise<Result> {
    return this.pki(this.dir, ...args)
  }

  copy(): string {
    const copy = this.at(`copy${++this.#copies}`)
    cpSync(this.dir, copy, { recursive: true })
    return copy
  }

  clean(): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}
