/** Runs the benchmarks and writes docs/benchmarks/; scripts/bench.ts starts it. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { command, print, runMain, say } from '../../lib/cli.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { machine } from './harness.ts'
import { type Kept, markdown } from './markdown.ts'
import { growthPicture } from './picture.ts'
import { sealBenches } from './seal_bench.ts'
import { startBench } from './start_bench.ts'
import { verifyBenches } from './verify_bench.ts'
import { writeBenches } from './write_bench.ts'

const root = resolve(import.meta.dir, '../..')
const docs = join(root, 'docs/benchmarks')

function main() {
  return command('bench', 'Measure against peers, in one run, and write docs/benchmarks/.', [
    'bench',
    'bench B6 --quick',
  ])
    .argument('[id...]', 'which ones (default: all)')
    .option('--quick', 'small sizes')
    .option('--no-write', 'print only')
    .action(async (ids: string[], { quick = false, write }: { quick?: boolean; write: boolean }) => {
      const work = join(root, '.cache/bench')
      mkdirSync(work, { recursive: true })
      const all = [...writeBenches(work), ...verifyBenches(work), ...sealBenches, startBench]
      const unknown = ids.find(id => !all.some(bench => bench.id === id))
      if (unknown !== undefined)
        throw new ZtError('USAGE', `no benchmark ${unknown}`, {
          hint: `there are: ${all.map(b => b.id).join(', ')}`,
        })
      for (const bench of all.filter(({ id }) => ids.length === 0 || ids.includes(id))) {
        const on = machine()
        const outcomes = await bench.run(quick, say)
        const kept: Kept = { machine: on, outcomes }
        if (write) {
          mkdirSync(docs, { recursive: true })
          writeFileSync(join(docs, `${bench.id}.json`), `${JSON.stringify(kept, null, 1)}\n`)
        }
        print(markdown([kept]))
      }
      if (!write) return
      const kept = readdirSync(docs)
        .filter(name => name.endsWith('.json'))
        .sort((a, b) => Number.parseFloat(a.slice(1)) - Number.parseFloat(b.slice(1)) || (a < b ? -1 : 1))
        .map(name => JSON.parse(readFileSync(join(docs, name), 'utf8')) as Kept)
      const growth = kept.flatMap(({ outcomes }) => outcomes).find(({ id }) => id === 'B7')
      if (growth !== undefined) writeFileSync(join(docs, 'growth.svg'), growthPicture(growth))
      writeFileSync(
        join(docs, 'README.md'),
        `${readFileSync(join(docs, 'HEAD.md'), 'utf8')}\n${markdown(kept)}\n`,
      )
      // the linter of the project reads these files too
      Bun.spawnSync([join(root, 'node_modules/.bin/biome'), 'format', '--write', docs])
    })
}

if (import.meta.main) await runMain(main())
