/**
 * The end of an epoch of wraps: what lives goes under new data keys, a new version of the KMS key and a new ML-KEM key;
 * then the old ones are destroyed, and with them every old wrap in every backup and binary log. Killed anywhere, it
 * leaves everybody readable: nothing is destroyed before every row was opened with the old versions out of use.
 */
import { equal } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import type { DataKeyRecord } from '../core/envelope/data_key.ts'
import { kemFingerprint } from '../core/envelope/kem.ts'
import { blindPurpose } from '../core/envelope/key_name.ts'
import { ZtError } from '../core/errors.ts'
import { formatTime } from '../core/time.ts'
import type { KmsAdmin } from '../edge/kms_admin.ts'
import { kemKeyOf } from './data_keys.ts'
import type { Patience } from './gate.ts'
import { activeKeys, type RotationParts, type RotationStep, rewriteRow, runRotation } from './rotate.ts'

export interface KeyVersion {
  /** Canonical URI. */
  readonly key: string
  readonly version: number
}

export interface OldVersion extends KeyVersion {
  /** Whether it was in use: it is again where something still needs it. */
  readonly enabled: boolean
}

/** What an unfinished run has to know. */
export interface Epoch {
  /** Erasures before this are covered; by this machine's clock. */
  readonly began: string
  /** The key that everything is wrapped under, and its new version once there is one. */
  readonly key: string
  readonly fresh: number | null
  readonly old: readonly OldVersion[]
  /** Ids of the data keys that were active. */
  readonly dataKeys: readonly string[]
}

export type ShredStep =
  | RotationStep
  | { step: 'new KMS version'; key: string; version?: number }
  | { step: 'every row opens'; rows: number }
  | { step: 'disable KMS version' | 'enable KMS version again'; key: string; version: number }
  | { step: 'destroy KMS version'; key: string; version: number; destroyed: string }

export interface ShredRequest {
  readonly admin: KmsAdmin
  /** Canonical URIs of all keys of the tenant, the one to wrap under first. */
  readonly kmsKeys: readonly string[]
  readonly planOnly: boolean
  readonly patience: Patience
  /** Of an earlier run that did not come to its end. */
  readonly epoch?: Epoch | undefined
  /** Must be durable when it returns. */
  readonly keep: (epoch: Epoch) => void
  /** From now on new wraps are made under this version. */
  readonly wrapUnder: (version: KeyVersion) => void
  /** How long writers go on with a retired key that they have in memory: a minute, and some. */
  readonly settle: () => Promise<void>
  readonly tell: (step: ShredStep) => void
}

/** Or about to be. */
const gone = (state: string): boolean => state.startsWith('DESTROY')
const living = (state: string): boolean => state === 'ENABLED' || state === 'DISABLED'

/** @returns when the last old version is gone for good, and which erasures are complete then */
export async function runShred(
  parts: RotationParts,
  request: ShredRequest,
): Promise<{ erasedBefore: string; complete: string }> {
  const { admin, planOnly, tell, keep } = request
  let epoch = request.epoch ?? (await begin(parts, request))
  if (planOnly) return plan(parts, request, epoch)
  keep(epoch)
  if (epoch.fresh === null) {
    epoch = { ...epoch, fresh: await freshVersion(epoch, admin) }
    keep(epoch)
  }
  const fresh = { key: epoch.key, version: epoch.fresh ?? 0 }
  tell({ step: 'new KMS version', ...fresh })
  await admin.makePrimary(fresh.key, fresh.version)
  request.wrapUnder(fresh)
  await renewKeys(parts, request, epoch)
  await request.settle()
  await proveRows(parts, request)
  await proveKeys(parts, request, epoch)
  return { erasedBefore: epoch.began, complete: await destroyOld(request, epoch) }
}

async function begin(parts: RotationParts, { admin, kmsKeys }: ShredRequest): Promise<Epoch> {
  const [key] = kmsKeys
  if (key === undefined) throw new ZtError('USAGE', 'no KMS key: the trust folder lists none for this tenant')
  const old: OldVersion[] = []
  for (const uri of kmsKeys)
    for (const { number, state } of await admin.versions(uri))
      if (living(state)) old.push({ key: uri, version: number, enabled: state === 'ENABLED' })
  const active = await activeKeys(parts)
  if (active.length === 0) throw new ZtError('NOT_FOUND', 'this tenant has no data key: nothing to shred')
  requireNewKem(
    parts,
    active.map(({ record }) => record),
  )
  const dataKeys = active.map(({ record }) => record.id)
  return { began: formatTime(Date.now() * 1000), key, fresh: null, old, dataKeys }
}

/** The old ML-KEM key must go too: whoever has it from a backup has one of the two secrets. */
function requireNewKem({ tenant }: RotationParts, records: readonly DataKeyRecord[]): void {
  const hybrid = records.filter(({ kemFingerprint: known }) => known !== null)
  if (hybrid.length === 0) return
  const newest = kemFingerprint(kemKeyOf(tenant))
  if (!hybrid.some(({ kemFingerprint: known }) => known !== null && equal(known, newest))) return
  throw new ZtError('CONFLICT', `tenant ${tenant.label} has no new ML-KEM key to go to`, {
    hint: 'make one with `keygen`, hand its .pub to `outside_pki tenant kem`, then name both: --kem NEW --kem OLD',
  })
}

async function plan(
  parts: RotationParts,
  request: ShredRequest,
  epoch: Epoch,
): Promise<{ erasedBefore: string; complete: string }> {
  const { admin, tell } = request
  tell({ step: 'new KMS version', key: epoch.key })
  await runRotation(parts, { ...(await rotation(parts, request, epoch)), planOnly: true })
  let complete = 0
  for (const { key, version } of epoch.old) {
    const at = Date.now() + (await admin.destroySeconds(key)) * 1000
    complete = Math.max(complete, at)
    tell({ step: 'destroy KMS version', key, version, destroyed: new Date(at).toISOString() })
  }
  return { erasedBefore: epoch.began, complete: new Date(complete).toISOString() }
}

/** The version that a killed run made, or a new one. */
async function freshVersion({ key, old }: Epoch, admin: KmsAdmin): Promise<number> {
  const newest = Math.max(0, ...old.flatMap(one => (one.key === key ? [one.version] : [])))
  const made = (await admin.versions(key)).find(one => one.number > newest && !gone(one.state))
  const number = made?.number ?? (await admin.create(key))
  const state = (await admin.versions(key)).find(one => one.number === number)?.state
  if (state !== 'ENABLED')
    throw new ZtError('KMS', `kms: version ${number} of ${key} is ${state ?? 'not there'}`, {
      hint: 'the KMS may still be making it: wait a minute, then run the same command again',
    })
  return number
}

async function rotation(parts: RotationParts, request: ShredRequest, epoch: Epoch) {
  const active = (await activeKeys(parts)).map(({ record }) => record)
  const fresh = active.flatMap(({ id, purpose }) => (epoch.dataKeys.includes(id) ? [purpose] : []))
  return {
    fresh: [...new Set(fresh)],
    wraps: false,
    kmsKey: epoch.key,
    hybrid: false,
    planOnly: false,
    patience: request.patience,
    tell: request.tell,
  }
}

/** A new data key for each purpose: what was erased is under the old ones alone, whoever holds their wraps. */
async function renewKeys(parts: RotationParts, request: ShredRequest, epoch: Epoch): Promise<void> {
  // A rotation that was begun before is finished by the first pass; the second replaces what it chose.
  for (let pass = 0; pass < 3; pass += 1) {
    const next = await rotation(parts, request, epoch)
    if (next.fresh.length === 0) return
    await runRotation(parts, next)
  }
  if ((await rotation(parts, request, epoch)).fresh.length > 0)
    throw new ZtError('CONFLICT', 'old data keys are still active: somebody else rotates at the same time', {
      hint: 'wait until it has finished, then run the same command again; nothing was destroyed',
    })
}

/** Opens every live row, under an active data key and found by the present index, until a pass had nothing to mend. */
async function proveRows(parts: RotationParts, request: ShredRequest): Promise<void> {
  for (let mended = 1; mended > 0; ) {
    mended = 0
    let rows = 0
    const active = new Set((await activeKeys(parts)).map(({ record }) => record.id))
    for (const def of parts.definitions.values()) {
      if (!def.sealed) continue
      const blind = def.columns.flatMap(column => (column.kind === 'blind' ? [column] : []))
      for (const { of } of blind) parts.keys.forget(blindPurpose(def.table, of))
      for await (const page of parts.reader.pages(def))
        for (const row of page) {
          rows += 1
          if (!active.has(String(row.dek_id)))
            throw new ZtError(
              'CONFLICT',
              `${def.table} ${row[def.key.name]}: is under a key that is not active`,
              {
                hint: 'run the same command again; nothing was destroyed',
              },
            )
          const names = blind.map(({ name }) => name)
          if (await rewriteRow(parts, request, def, names, row)) mended += 1
        }
    }
    if (mended === 0) request.tell({ step: 'every row opens', rows })
  }
}

/** Takes the old versions out of use, and opens every active data key without them; else they come back. */
async function proveKeys(parts: RotationParts, { admin, tell }: ShredRequest, { old }: Epoch): Promise<void> {
  try {
    for (const { key, version } of old) {
      if ((await stateOf(admin, { key, version })) !== 'ENABLED') continue
      tell({ step: 'disable KMS version', key, version })
      await admin.setEnabled(key, version, false)
    }
    for (const { record } of await activeKeys(parts)) wipe(await parts.keys.openRecord(record))
  } catch (thrown) {
    for (const { key, version, enabled } of old) {
      if (!enabled || (await stateOf(admin, { key, version })) !== 'DISABLED') continue
      tell({ step: 'enable KMS version again', key, version })
      await admin.setEnabled(key, version, true)
    }
    throw thrown
  }
}

async function stateOf(admin: KmsAdmin, { key, version }: KeyVersion): Promise<string | undefined> {
  return (await admin.versions(key)).find(({ number }) => number === version)?.state
}

/** @returns the latest end of any version that was destroyed, now or before */
async function destroyOld({ admin, kmsKeys, tell }: ShredRequest, { old }: Epoch): Promise<string> {
  let complete = ''
  for (const { key, version } of old) {
    if (!living((await stateOf(admin, { key, version })) ?? '')) continue
    tell({ step: 'destroy KMS version', key, version, destroyed: await admin.destroy(key, version) })
  }
  for (const key of kmsKeys)
    for (const { state, destroyed } of await admin.versions(key))
      if (gone(state) && destroyed !== null && destroyed > complete) complete = destroyed
  return complete
}
