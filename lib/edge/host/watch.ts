/** The timer's look for drift: what `check` says, counted and kept for the metrics and the doctor. */
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'
import { formatTime } from '../../core/time.ts'
import { isCompiled } from './binary.ts'
import { writeCheck } from './observe.ts'
import { ask } from './system.ts'

const change = z.object({ item: z.string() })
const saidSchema = z.object({
  steps: z.array(z.object({ changes: z.array(change) })),
  findings: z.array(change),
  restart: z.array(change),
})

/** What is not as installed, by name. @throws what `check` could not do, after it was recorded */
export async function watchDrift(): Promise<string[]> {
  const args = [...(isCompiled() ? [] : [process.argv[1] ?? '']), 'check', '--json']
  const at = formatTime(Date.now() * 1000)
  const { exitCode, stdout, stderr } = await ask(process.execPath, ...args)
  // 0: none, 1: drift; anything else could not look
  const said = exitCode === 0 || exitCode === 1 ? saidSchema.safeParse(parse(stdout)) : undefined
  if (said?.success !== true) {
    writeCheck(at, null)
    const [error = 'it said nothing'] = stderr.split('\n').filter(line => line.includes('error: '))
    throw new ZtError('IO', `vm_oneclick check: exit ${exitCode}: ${error}`, {
      hint: 'run vm_oneclick check by hand',
    })
  }
  const { steps, findings, restart } = said.data
  const items = [...steps.flatMap(step => step.changes), ...findings, ...restart].map(({ item }) => item)
  writeCheck(at, items.length)
  return items
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the schema refuses it, and that is reported
  }
}
