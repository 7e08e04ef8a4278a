/** The database of a deployment on one server: planned, made, kept and checked (design 5). */
import { existsSync, unlinkSync } from 'node:fs'
import { definitions } from '../../sql/index.ts'
import { toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { expiryWarnings } from '../core/host/expiry.ts'
import { applyPlan, type Finding, type Plan, type Progress, pendingSteps } from '../core/plan.ts'
import { readSignedOrder } from '../core/server_archive.ts'
import type { Value } from '../core/tables.ts'
import { type AnchorStatus, anchorStatusOf } from './anchor_database.ts'
import { fileError, lockDir, readRegularFile } from './files.ts'
import { ordersStep } from './install/orders.ts'
import { planTarget } from './install/plan.ts'
import { type InstallOptions, openTarget, type Target } from './install/target.ts'
import { putDir } from './owned_files.ts'
import type { Places } from './server_files.ts'

export { type InstallOptions, installDefaults } from './install/target.ts'

export interface Installation {
  plan: Plan
  origin: string
  serverVersion: string
  /** Whether an archive was read, or the record of the last installation stood in for it. */
  from: 'archive' | 'record'
  places: Places
  hostPart: string
  anchorUser: string
}

export interface ApplyOptions extends InstallOptions, Asking {
  /** Leave the archive where it is; else it is unlinked once everything in it is in place. */
  keepArchive?: boolean
}

export interface Applied extends Installation {
  /** Ids of the steps that were done. */
  done: string[]
  /** Some settings are taken up only when mysqld starts again. */
  restartNeeded: boolean
  archiveRemoved: boolean
}

async function withTarget<T>(options: InstallOptions, act: (target: Target) => Promise<T>): Promise<T> {
  const target = await openTarget(options, definitions)
  try {
    return await act(target)
  } finally {
    target.connection.destroy()
  }
}

const installation = (target: Target, plan: Plan): Installation => ({
  plan,
  origin: target.origin,
  serverVersion: target.serverVersion,
  from: target.material === null ? 'record' : 'archive',
  places: target.places,
  hostPart: target.hostPart,
  anchorUser: target.anchorUser,
})

/** What an installation would change, what waits for a restart, what a person must look at. Changes nothing. */
export const planDatabase = (options: InstallOptions): Promise<Installation> =>
  withTarget(options, async target => installation(target, await planTarget(target)))

export interface Status extends Installation {
  serverName: string | null
  serverNotAfter: string | null
  crlNextUpdate: string | null
  /** One row of anchor_status() (SPEC §5.4), bytes in hex; null before the first installation. */
  trail: Record<string, string | number | bigint | null> | null
  /** The same, read strictly. */
  anchors: AnchorStatus | null
  /** What is about to expire. */
  warnings: Finding[]
}

const plain = (value: Value): string | number | bigint | null =>
  value instanceof Uint8Array ? toHex(value) : value

/** The plan, and what the trail and the certificates say of themselves. */
export const statusOfDatabase = (options: InstallOptions): Promise<Status> =>
  withTarget(options, async target => {
    const plan = await planTarget(target)
    const [rows] =
      target.installedOrigin === null ? [] : await target.connection.call('securedb.anchor_status')
    const row = rows?.[0]
    return {
      ...installation(target, plan),
      serverName: target.record?.serverName ?? null,
      serverNotAfter: target.record?.serverNotAfter ?? null,
      crlNextUpdate: target.record?.crlNextUpdate ?? null,
      trail:
        row === undefined
          ? null
          : Object.fromEntries(Object.entries(row).map(([name, v]) => [name, plain(v)])),
      anchors: row === undefined ? null : anchorStatusOf(row),
      warnings: target.record === null ? [] : expiryWarnings(target.record, Date.now()),
    }
  })

/** The lock of the folder of option files, which is made where it is missing. */
function lockPlaces(target: Target): () => void {
  const { confDir } = target.places
  if (!existsSync(confDir))
    putDir({ path: confDir, mode: 0o750, uid: target.owners.root.uid, gid: target.owners.mysqld.gid })
  return lockDir(confDir)
}

export interface Asking {
  /** Asked with the plan before anything changes; false ends it. */
  confirm?(plan: Plan): Promise<boolean>
  progress?: Progress
}

/** Plans under the lock, asks, applies. Returns the ids of the steps that were done. */
export async function applyLocked(
  target: Target,
  asking: Asking,
  plan: (target: Target) => Promise<Plan>,
): Promise<string[]> {
  const release = lockPlaces(target)
  try {
    const wanted = await plan(target)
    if (pendingSteps(wanted).length > 0 && asking.confirm && !(await asking.confirm(wanted)))
      throw new ZtError('REFUSED', 'not confirmed: nothing was changed', {
        hint: 'give --yes to apply the plan',
      })
    return (await applyPlan(wanted, asking.progress)).map(step => step.id)
  } finally {
    release()
  }
}

/**
 * Plans, asks, applies, and plans once more to see that nothing is left. Run again it changes nothing.
 * @throws what openTarget throws before anything is changed; the error of a step, which names it; REFUSED if not confirmed;
 * LOCKED while another run is at work
 */
export async function installDatabase(options: ApplyOptions): Promise<Applied> {
  const done = await withTarget(options, target => applyLocked(target, options, planTarget))
  const after = await planDatabase(options)
  refuseLeftover(after.plan)
  return {
    ...after,
    done,
    restartNeeded: after.plan.restart.length > 0,
    archiveRemoved: removeArchive(options, after),
  }
}

export function refuseLeftover(plan: Plan): void {
  const left = pendingSteps(plan).flatMap(step => step.changes.map(change => change.item))
  if (left.length > 0)
    throw new ZtError('INTERNAL', `applied, and yet it differs: ${left.join(', ')}`, {
      hint: 'see vm_oneclick plan; perhaps somebody else changes the server at the same time',
    })
}

export interface OrderOptions extends Asking {
  socket: string
  confDir: string
  /** Files with one signed order each, in the order in which they were made. */
  files: string[]
}

const orderMaxBytes = 1 << 20

const planOrdersOf =
  (files: string[]) =>
  async (target: Target): Promise<Plan> => {
    if (target.installedOrigin === null)
      throw new ZtError('NOT_FOUND', 'no database is installed here', { hint: 'run vm_oneclick apply first' })
    const orders = files.map(file =>
      readSignedOrder(definitions, readRegularFile(file, 'order', orderMaxBytes), target.origin, file),
    )
    return { steps: [await ordersStep(target, orders)], findings: [], restart: [] }
  }

/** What further orders would change. */
export const planOrders = ({ files, ...options }: OrderOptions): Promise<Plan> =>
  withTarget(options, planOrdersOf(files))

/** Applies further orders to an installed database, and nothing else. Known ones are passed over. */
export const applyOrders = ({ files, ...options }: OrderOptions): Promise<{ done: string[]; plan: Plan }> =>
  withTarget(options, async target => {
    const done = await applyLocked(target, options, planOrdersOf(files))
    const plan = await planOrdersOf(files)(target)
    refuseLeftover(plan)
    return { done, plan }
  })

export function removeArchive(
  { pkiTar, keepArchive }: Pick<ApplyOptions, 'pkiTar' | 'keepArchive'>,
  { from }: Pick<Installation, 'from'>,
): boolean {
  if (pkiTar === undefined || keepArchive === true || from !== 'archive') return false
  try {
    unlinkSync(pkiTar)
    return true
  } catch (thrown) {
    throw fileError(thrown, pkiTar, 'everything is in place, but the archive')
  }
}
