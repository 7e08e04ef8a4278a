/** The database as a layer of the host: planned on the server where it runs, else predicted from the archive. */
import { existsSync } from 'node:fs'
import { definitions } from '../../../sql/index.ts'
import type { Change } from '../../core/plan.ts'
import { planTarget, predictInstallation } from '../install/plan.ts'
import { openTarget } from '../install/target.ts'
import type { Setup } from './setup.ts'
import type { Layer } from './steps.ts'

export interface DatabaseLayer extends Layer {
  /** What mysqld takes up only when it starts again. */
  restart: Change[]
  close(): Promise<void>
}

const nothingToClose = (): Promise<void> => Promise.resolve()

/** The caller closes it once its steps are done. */
export async function databaseLayer(setup: Setup): Promise<DatabaseLayer> {
  const { database, installed, material } = setup
  if (!existsSync(database.socket)) {
    if (installed === null && material !== null)
      return { ...(await predictInstallation(database, material)), close: nothingToClose }
    const item = 'mysqld'
    const detail = 'does not run: settings, accounts, grants and routines cannot be compared'
    return { steps: [], findings: [{ item, detail }], restart: [], close: nothingToClose }
  }
  const target = await openTarget(database, definitions)
  try {
    const close = () => target.connection.close()
    return { ...(await planTarget(target)), close }
  } catch (thrown) {
    target.connection.destroy()
    throw thrown
  }
}
