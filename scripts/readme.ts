/** readme: writes the part of README.md that is made from data, the matrix of controls between its two markers. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { command, runMain, say } from '../lib/cli.ts'
import { ZtError } from '../lib/core/errors.ts'

const path = resolve(dirname(Bun.fileURLToPath(import.meta.url)), '..', 'README.md')
const begin = '<!-- controls: written by bun scripts/readme.ts -->'
const end = '<!-- end of controls -->'

/** The page with `matrix` between its markers. @throws BAD_FORMAT where a marker is missing or there twice */
export function withControls(page: string, matrix: string): string {
  const [before, rest, more] = page.split(begin)
  const [, after, another] = rest?.split(end) ?? []
  if (before === undefined || after === undefined || more !== undefined || another !== undefined)
    throw new ZtError('BAD_FORMAT', 'README.md: expected one pair of markers for the controls', {
      hint: `put back the lines ${begin} and ${end}`,
    })
  return `${before}${begin}\n${matrix.trim()}\n${end}${after}`
}

const main = command(
  'readme',
  'Write the part of README.md that is made from data: the matrix of controls.',
  ['bun scripts/readme.ts', 'bun scripts/readme.ts --check'],
)
  .option('--check', 'change nothing; end with 1 if the matrix is not as it should be')
  .action(async ({ check = false }: { check?: boolean }) => {
    const { controlsMarkdown } = await import('../lib/report.ts')
    const { writeFileAtomic } = await import('../lib/edge/files.ts')
    const before = readFileSync(path, 'utf8')
    const after = withControls(before, controlsMarkdown())
    if (before === after) return say('readme: as it should be')
    if (check)
      throw new ZtError('DRIFT', 'README.md: its matrix is not that of lib/core/controls', {
        hint: 'write it again: bun scripts/readme.ts',
      })
    writeFileAtomic(path, after, 0o644) // readable: it is no secret
    say('readme: written')
  })

if (import.meta.main) await runMain(main)
