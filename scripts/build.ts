#!/usr/bin/env bun
/** Compiles the entries to standalone binaries in dist/, with their checksums in dist/SHA256SUMS. */
import { resolve } from 'node:path'
import { command, print, runMain, say } from '../lib/cli.ts'
import { build, targets } from '../lib/edge/build.ts'

export function main() {
  return command('build', 'compile the entries to standalone binaries in dist/', [
    'bun run build',
    'bun run build outside_pki chain_verify',
  ])
    .argument('[name...]', `binaries to build, by default all: ${Object.keys(targets).join(', ')}`)
    .action(async (names: string[]) => {
      const root = resolve(import.meta.dir, '..')
      const compiled = await build({ root, targets, say: line => say(`build: ${line}`) }, names)
      print(compiled.length === 0 ? 'dist/ is up to date' : `built ${compiled.join(', ')} in dist/`)
    })
}

if (import.meta.main) await runMain(main())
