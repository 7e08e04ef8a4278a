/** mysqld as a service of the host: running, confined, and started again where its options changed. */
import { existsSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import type { Step } from '../../core/plan.ts'
import { settingsOf } from '../install/plan.ts'
import { openRoot } from '../install/server.ts'
import { installDefaults } from '../install/target.ts'
import { planSettings } from '../server_settings.ts'
import type { Setup } from './setup.ts'
import { type Layer, unitStep } from './steps.ts'
import { must } from './system.ts'

export const mysqlUnit = 'mysql.service'

/** Enabled and running; while it is not installed that is what its package sees to. */
export async function serviceLayer(setup: Setup): Promise<Layer> {
  const step = await unitStep(setup, {
    id: 'mysql-service',
    description: 'start mysqld, now and at each boot',
    unit: mysqlUnit,
    run: true,
  })
  return { steps: [step], findings: [] }
}

export async function mysqldLayer(_setup: Setup): Promise<Layer> {
  return { steps: [], findings: [] }
}

/** What mysqld takes up only when it starts again. Its sessions end. */
export async function restartLayer(setup: Setup): Promise<Layer> {
  const { database } = setup
  const places = { ...installDefaults, ...database }
  const settings = settingsOf(places, database.hostPart ?? installDefaults.hostPart, true)
  if (!existsSync(database.socket)) return { steps: [], findings: [] }
  const connection = await openRoot(database.socket)
  try {
    const { restart } = await planSettings(connection, settings)
    const step: Step = {
      id: 'restart',
      description: 'restart mysqld, which ends its sessions',
      changes: restart,
      apply: restartMysql,
    }
    return { steps: [step], findings: [] }
  } finally {
    connection.destroy()
  }
}

async function restartMysql(): Promise<void> {
  await must('systemctl', 'restart', mysqlUnit)
  if (!existsSync(installDefaults.socket))
    throw new ZtError('IO', `${mysqlUnit} was started and there is no ${installDefaults.socket}`)
}
