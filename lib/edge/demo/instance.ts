/** A running deployment of the demo: where everything is, and how to end it. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'
import { readRegularFile, writeFileAtomic } from '../files.ts'
import { stopInstance } from '../mysqld.ts'

const processRecord = z.strictObject({ name: z.string(), pid: z.int().positive(), startTime: z.string() })

const shape = z.strictObject({
  v: z.literal(1),
  mysql: z.strictObject({ host: z.string(), port: z.int(), socket: z.string() }),
  clientsDir: z.string(),
  kms: z.strictObject({ endpoint: z.string(), keyName: z.string() }),
  wormDir: z.string(),
  trustDir: z.string(),
  receipts: z.string(),
  bundle: z.string(),
  tenants: z.array(
    z.strictObject({
      id: z.string(),
      label: z.string(),
      account: z.string(),
      kmsKey: z.string(),
      kmsTokenFile: z.string(),
      receipts: z.string(),
    }),
  ),
  pids: z.record(z.string(), z.int().positive()),
  processes: z.array(processRecord),
})

export type Instance = z.infer<typeof shape>
export type ProcessRecord = z.infer<typeof processRecord>

export const instancePath = (dir: string): string => join(dir, 'instance.json')
export const mysqlDir = (dir: string): string => join(dir, 'mysql')

export function writeInstance(dir: string, instance: Instance): void {
  writeFileAtomic(instancePath(dir), `${JSON.stringify(shape.parse(instance), null, 2)}\n`)
}

/** @throws NOT_FOUND, BAD_FORMAT */
export function readInstance(dir: string): Instance {
  const path = instancePath(dir)
  const parsed = shape.safeParse(JSON.parse(readRegularFile(path, 'instance', 1 << 20).toString('utf8')))
  if (!parsed.success)
    throw new ZtError('BAD_FORMAT', `${path}: not made by this release`, { hint: 'remove the folder' })
  return parsed.data
}

/** When a process started, in clock ticks since boot: tells it from a later one with its number. Empty: it is gone. */
export function startTimeOf(pid: number): string {
  const path = `/proc/${pid}/stat`
  if (!existsSync(path)) return ''
  const text = readFileSync(path, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** Ends a process by SIGTERM, then SIGKILL after five seconds; a number that was given to another one is left alone. */
export async function endProcess({ pid, startTime }: ProcessRecord): Promise<void> {
  const runs = () => startTime !== '' && startTimeOf(pid) === startTime
  if (!runs()) return
  process.kill(pid, 'SIGTERM')
  for (let i = 0; i < 50 && runs(); i++) await Bun.sleep(100)
  if (runs()) process.kill(pid, 'SIGKILL')
}

/** Ends everything that runs for an instance; its files stay, for whoever wants to look. */
export async function stopAll(dir: string): Promise<void> {
  const { processes } = readInstance(dir)
  for (const one of [...processes].reverse()) await endProcess(one)
  await stopInstance(mysqlDir(dir))
  rmSync(instancePath(dir))
}
