import { afterAll, setDefaultTimeout } from 'bun:test'
import { runCleanups } from '../../lib/edge/cleanup.ts'

// Tests see no colour and no configuration of the person who runs them.
process.env.NO_COLOR = '1'

// A server or a compiler on a busy two-core machine takes longer than the runner's own 5 s.
setDefaultTimeout(60_000)

afterAll(async () => {
  for (const thrown of await runCleanups()) throw thrown
})

// afterAll does not run when the runner is interrupted
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => {
    runCleanups().finally(() => process.exit(code))
  })
