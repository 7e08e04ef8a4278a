import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import { makePrivateDir } from '../files.ts'

export interface DemoFolder {
  path: string
  remove: () => void
}

/** The folder of a run: the caller's, absent or empty, or one of its own. @throws CONFLICT */
export function demoFolder(dir?: string): DemoFolder {
  if (dir === undefined) {
    const path = mkdtempSync(join(tmpdir(), 'zt-demo-'))
    return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
  }
  const path = resolve(dir)
  makePrivateDir(path)
  if (readdirSync(path).length > 0)
    throw new ZtError('CONFLICT', `${path}: not empty`, {
      hint: 'choose an empty folder, or end what runs there with --stop',
    })
  const remove = (): void => {
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true })
  }
  return { path, remove }
}
