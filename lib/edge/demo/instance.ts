/** A deployment that the demo left running: where everything is, and how to end it. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'
import { readRegularFile, writeFileAtomic } from '../files.ts'
import { stopInstance } from '../mysqld.ts'
import { endProcess, processRecord } from './processes.ts'

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
      /** Ids of the people that were written. */
      people: z.array(z.string()),
    }),
  ),
  pids: z.record(z.string(), z.int().positive()),
  processes: z.array(processRecord),
})

export type Instance = z.infer<typeof shape>

const instancePath = (dir: string): string => join(dir, 'instance.json')
export const mysqlDir = (dir: string): string => join(dir, 'mysql')

export function writeInstance(dir: string, instance: Instance): void {
  writeFileAtomic(instancePath(dir), `${JSON.stringify(shape.parse(instance), null, 2)}\n`)
}

/** @throws NOT_FOUND, BAD_FORMAT */
export function readInstance(dir: string): Instance {
  const path = instancePath(dir)
  const text = readRegularFile(path, 'instance', 1 << 20).toString('utf8')
  const parsed = shape.safeParse(text.startsWith('{') ? JSON.parse(text) : null)
  if (parsed.success) return parsed.data
  throw new ZtError('BAD_FORMAT', `${path}: not made by this release`, { hint: 'remove the folder by hand' })
}

/** Ends everything that runs for an instance; its files stay, for whoever wants to look. */
export async function stopAll(dir: string): Promise<void> {
  const { processes } = readInstance(dir)
  for (const one of [...processes].reverse()) await endProcess(one)
  await stopInstance(mysqlDir(dir))
  rmSync(instancePath(dir))
}
