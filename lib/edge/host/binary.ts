/** The program itself, where its units find it. */
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import type { Change } from '../../core/plan.ts'
import { version } from '../../version.ts'
import { putFile } from '../owned_files.ts'
import type { Setup } from './setup.ts'
import type { Layer } from './steps.ts'

export const binaryPath = '/usr/local/sbin/vm_oneclick'

/** False where it runs from its sources: there is no single file then that could be installed. */
export const isCompiled = (): boolean => import.meta.url.includes('/$bunfs/')

function describe(path: string): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return null
  const digest = stats.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'no file'
  return `${(stats.mode & 0o7777).toString(8).padStart(4, '0')} ${stats.uid}:${stats.gid} sha256:${digest.slice(0, 16)}`
}

function changes(): Change[] {
  if (!isCompiled()) return []
  const own = describe(process.execPath)?.split(' ').at(-1)
  const before = describe(binaryPath)
  const after = `0755 0:0 ${own}`
  return before === after ? [] : [{ item: binaryPath, before, after }]
}

export async function binaryLayer({ journal }: Setup): Promise<Layer> {
  const step = {
    id: 'binary',
    description: `install this program (${version}) where its units find it`,
    changes: changes(),
    apply: async () => {
      if (!existsSync(binaryPath)) journal.keep({ kind: 'file', name: binaryPath, before: null })
      putFile({ path: binaryPath, mode: 0o755, uid: 0, gid: 0, bytes: readFileSync(process.execPath) })
    },
  }
  return { steps: [step], findings: [] }
}
