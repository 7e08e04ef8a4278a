import { join, resolve } from 'node:path'
import { build, targets } from '../../lib/edge/build.ts'

const root = resolve(import.meta.dir, '../..')
const built = new Map<string, Promise<string>>()

/** The path of dist/NAME, compiled from the sources as they are now (once a test run). */
export function binary(name: string): Promise<string> {
  const path =
    built.get(name) ??
    build({ root, targets, say: () => undefined }, [name]).then(() => join(root, 'dist', name))
  built.set(name, path)
  return path
}
