/** The TLS life cycle: a new archive's certificates take the place of those before, or nothing happens (design 4). */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { definitions } from '../../../sql/index.ts'
import { ZtError } from '../../core/errors.ts'
import { refuseStrangerCa } from '../../core/host/reload_tls.ts'
import type { Plan, Step } from '../../core/plan.ts'
import { observeAccounts } from '../accounts.ts'
import { type Asking, applyLocked, type InstallOptions, refuseLeftover, removeArchive } from '../database.ts'
import { accountsStep, desiredAccounts } from '../install/accounts.ts'
import { tlsStep } from '../install/files.ts'
import { settingsOf } from '../install/plan.ts'
import { recordStep } from '../install/record.ts'
import { openTarget, type Target } from '../install/target.ts'
import type { Material } from '../server_material.ts'
import { planSettings } from '../server_settings.ts'
import { refuseCrlOlderThanInPlace } from './crl_in_place.ts'

function refuseOtherAnchorKey({ record, places }: Target, { archive }: Material): void {
  const path = join(places.anchorDir, 'anchor_key.json')
  const recorded = record?.files.find(file => file.path === path)
  const sha256 = createHash('sha256').update(archive.anchorKey).digest('hex')
  if (recorded !== undefined && recorded.sha256 !== sha256)
    throw new ZtError('REFUSED', 'anchor_key.json: the archive brings other signing keys for the anchor', {
      hint: 'reload-tls changes certificates alone: vm_oneclick apply takes the rest',
    })
}

/** @throws REFUSED, NOT_FOUND: before anything is changed */
export function refuseBadSuccessor(target: Target, material: Material, pinned: boolean): void {
  const { record, places, installedOrigin } = target
  if (record === null || installedOrigin === null)
    throw new ZtError('NOT_FOUND', 'nothing is installed here yet', { hint: 'run vm_oneclick apply first' })
  refuseStrangerCa(record.caSha256, material.caSha256, pinned)
  refuseCrlOlderThanInPlace(places.tlsDir, material.archive.crl)
  refuseOtherAnchorKey(target, material)
}

/** Certificates, the accounts that are tied to them, and the record of both. */
async function planReload(target: Target, material: Material): Promise<Plan> {
  const accounts = await observeAccounts(target.connection)
  const wanted = desiredAccounts(target)
  const known = new Set(target.record?.accounts.map(({ account }) => account))
  const added = wanted.filter(({ user }) => !known.has(user)).map(({ user }) => user)
  if (added.length > 0)
    throw new ZtError('REFUSED', `the archive brings new accounts: ${added.join(', ')}`, {
      hint: 'reload-tls changes certificates alone: vm_oneclick apply takes the rest',
    })
  const { tls } = await planSettings(target.connection, settingsOf(target.places, target.hostPart))
  const tied = accountsStep(target, wanted, accounts)
  const steps: Step[] = [await tlsStep(target, material, tls, target.record?.loadedTls ?? null), tied]
  if (tied.changes.length === 0) steps.push(recordStep(target, wanted, accounts))
  return { steps, findings: [], restart: [] }
}

export interface Reloaded {
  origin: string
  plan: Plan
  done: string[]
  serial: string
  serverNotAfter: string
  crlNextUpdate: string
  /** Accounts whose certificate the CRLs revoke. */
  revoked: string[]
  archiveRemoved: boolean
}

export interface ReloadOptions extends InstallOptions, Asking {
  pkiTar: string
  keepArchive?: boolean
}

function reloaded(target: Target, material: Material, plan: Plan): Omit<Reloaded, 'done' | 'archiveRemoved'> {
  const gone = ({ subject }: { subject: string }) =>
    material.revoked.some(serial => subject.endsWith(`/serialNumber=${serial}`))
  return {
    origin: target.origin,
    plan,
    serial: material.server.serial,
    serverNotAfter: material.server.notAfter,
    crlNextUpdate: material.crlNextUpdate,
    revoked: material.archive.accounts.filter(gone).map(({ account }) => account),
  }
}

async function withReload<T>(
  options: ReloadOptions,
  act: (target: Target, material: Material) => Promise<T>,
): Promise<T> {
  const target = await openTarget(options, definitions)
  try {
    const { material } = target
    if (material === null) throw new ZtError('INTERNAL', 'the archive was not read')
    refuseBadSuccessor(target, material, options.caSha256 !== undefined)
    return await act(target, material)
  } finally {
    target.connection.destroy()
  }
}

/** What reloading would change; changes nothing. */
export const planTlsReload = (options: ReloadOptions) =>
  withReload(options, async (target, material) =>
    reloaded(target, material, await planReload(target, material)),
  )

/**
 * Swaps, reloads, proves and ends the sessions of revoked certificates; a failure puts everything back.
 * @throws as openTarget; REFUSED, also where the archive is older than what is in place or of another PKI; TLS
 */
export const reloadTls = (options: ReloadOptions): Promise<Reloaded> =>
  withReload(options, async (target, material) => {
    const plan = () => planReload(target, material)
    const done = await applyLocked(target, options, plan)
    const after = await withReload(options, planReload)
    refuseLeftover(after)
    return {
      ...reloaded(target, material, after),
      done,
      archiveRemoved: removeArchive(options, { from: 'archive' }),
    }
  })
