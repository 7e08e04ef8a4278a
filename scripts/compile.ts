/** Compiles one job in the current folder; build.ts runs it, in a process and a clean environment of its own. */
import { ZtError } from '../lib/core/errors.ts'
import { compile, type Job } from '../lib/edge/compile.ts'

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? '') as Job
  try {
    process.stdout.write(JSON.stringify(await compile(job)))
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    console.error(thrown.message)
    process.exit(1)
  }
}
