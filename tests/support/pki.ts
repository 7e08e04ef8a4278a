/** PKI folders for tests: made once a run, copied for whoever changes them. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'
import { createPki, rewritePki } from '../../lib/edge/pki.ts'

export const passphrase = 'a passphrase for tests alone'

let made: Promise<string> | undefined

async function make(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-pki-'))
  const clean = () => rmSync(dir, { recursive: true, force: true })
  process.on('exit', clean)
  onExit(clean)
  await createPki(join(dir, 'pki'), {
    passphrase,
    serverNames: ['db.example', '192.0.2.7'],
    tenants: [{ label: 'tenant-a', account: 'app_user' }],
  })
  return join(dir, 'pki')
}

/** A folder of the standard story that nobody may change. */
export function sharedPki(): Promise<string> {
  made ??= make()
  return made
}

/** A copy of it at `dir`, to be changed. */
export async function copyPki(dir: string): Promise<string> {
  cpSync(await sharedPki(), dir, { recursive: true })
  await rewritePki(dir, {}) // option files name the folder
  return dir
}
