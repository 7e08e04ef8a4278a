/** Compiles one job in the current folder; build.ts runs it, in a process and a clean environment of its own. */
import { compile, type Job } from '../lib/edge/compile.ts'

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? '') as Job
  process.stdout.write(JSON.stringify(await compile(job)))
}
