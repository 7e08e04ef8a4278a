/** The source of the entry that the build's tests compile: it loads what real entries load and tells what it sees. */
export const fixtureEntry = `#!/usr/bin/env bun
import { command, print, runMain } from '../lib/cli.ts'

export function main() {
  return command('fixture', 'tell what the binary sees', ['fixture']).action(async () => {
    const { $ } = await import('../lib/edge/shell.ts')
    await import('mysql2/promise')
    const shell = await $\`set -o | grep pipefail; alias; echo \${"it's quoted"}; env\`
    print(JSON.stringify({ planted: process.env.PLANTED ?? null, nodeEnv: process.env.NODE_ENV, shell: shell.stdout }))
  })
}

if (import.meta.main) await runMain(main())
`
