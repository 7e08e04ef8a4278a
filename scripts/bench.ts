/** bench [ID…] [--quick]: runs the benchmarks of tests/bench and writes docs/benchmarks/. Nothing of it is in a binary. */
import { join } from 'node:path'

if (import.meta.main) {
  const main = join(import.meta.dir, '../tests/bench/main.ts')
  const child = Bun.spawn([process.execPath, main, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit'],
  })
  process.exit(await child.exited)
}
