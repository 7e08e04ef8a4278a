/** `pq_envelope_cli shred-epoch`: from options to one line of JSON a step; what an unfinished run knows lies in a file. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { equal } from '../core/bytes.ts'
import { kemPublicKey } from '../core/envelope/kem.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import { parseKmsUri } from '../core/kms_uri.ts'
import type { Trust, TrustedTenant } from '../core/trust.ts'
import { lockDir, makePrivateDir, readPrivateFile, removeFile, writeFileAtomic } from '../edge/files.ts'
import { openKmsAdmin } from '../edge/kms_admin.ts'
import { type KmsSelection, readKmsConfig } from '../edge/kms_config.ts'
import { readPassphrase } from '../edge/prompt.ts'
import { wipeFile } from '../edge/wipe_file.ts'
import { type ClientFlags, type Warn, withClient } from './actions.ts'
import { kemKeyOf } from './data_keys.ts'
import { kmsKeysOf, readIssuerSeed, readKemSeed } from './files.ts'
import { recoveryCopyOf } from './keygen.ts'
import type { Epoch, KeyVersion } from './shred.ts'

export interface ShredFlags extends ClientFlags {
  plan?: boolean
  yes?: boolean
  issuer?: string
  passphraseFile?: string
  kmsAdmin?: string
  /** Seconds. */
  patience: number
  /** Seconds. */
  settle: number
}

const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-epoch'),
  tenant: z.string(),
  began: z.string(),
  key: z.string(),
  fresh: z.int().positive().nullable(),
  old: z.array(z.strictObject({ key: z.string(), version: z.int().positive(), enabled: z.boolean() })),
  dataKeys: z.array(z.string()),
})

const memory = (flags: ShredFlags): string => join(flags.receipts, 'shred.epoch')

function readEpoch(flags: ShredFlags, tenant: string): Epoch | undefined {
  const path = memory(flags)
  if (!existsSync(path)) return undefined
  const bounds = { maxBytes: 1 << 24, newline: true }
  const {
    tenant: owner,
    began,
    key,
    fresh,
    old,
    dataKeys,
  } = parseCanonical(readPrivateFile(path, 'epoch'), schema, `epoch ${path}`, bounds)
  if (owner !== tenant) throw new ZtError('REFUSED', `epoch ${path}: is of another tenant`)
  return { began, key, fresh, old, dataKeys }
}

/** Destroying a version that others wrap under would end their data too. */
function requireOwnKeys(trust: Trust, tenant: TrustedTenant, keys: readonly string[]): void {
  for (const other of trust.tenants)
    for (const key of keys)
      if (other.id !== tenant.id && other.kmsKeys.includes(key))
        throw new ZtError(
          'REFUSED',
          `${key}: is also a key of tenant ${other.label}, which would lose its data`,
          {
            hint: 'give each tenant a KMS key of its own: rotate --kms-key NEW, and take the shared one from the trust folder',
          },
        )
}

/** @throws REFUSED where versions of a key are made and destroyed by other tools than ours */
function requireAdministered(keys: readonly string[], selection: KmsSelection): void {
  const { provider } = readKmsConfig(selection)
  for (const key of keys)
    if (parseKmsUri(key).provider !== provider)
      throw new ZtError('REFUSED', `${key}: its versions cannot be destroyed from here`, {
        hint: 'see docs/keys.md: rotate everything to a new key, then destroy the old one with the tools of its provider',
      })
}

/** Private ML-KEM key files of the tenant's earlier pairs, among those that were named. */
function oldKemFiles(flags: ShredFlags, tenant: TrustedTenant): string[] {
  if (tenant.kems.length === 0) return []
  const newest = kemKeyOf(tenant)
  return (flags.kem ?? []).filter(path => !equal(kemPublicKey(readKemSeed(path, tenant)), newest))
}

export async function shredEpoch(
  flags: ShredFlags,
  print: (line: string) => void,
  warn: Warn,
): Promise<void> {
  if ((flags.plan === true) === (flags.yes === true))
    throw new ZtError(
      'USAGE',
      'old key versions would be destroyed: every backup from before loses its data',
      {
        hint: 'nothing was changed: --plan says what would be done, --yes does it',
      },
    )
  let under: KeyVersion | undefined
  const use = async ({
    client,
    trust,
    identity: { tenant },
  }: Parameters<Parameters<typeof withClient>[2]>[0]) => {
    const kms = { allowRemoteEmulator: flags.allowRemoteEmulator === true, warn }
    const kmsKeys = kmsKeysOf(tenant, { kmsKey: flags.kmsKey, kms })
    requireAdministered(kmsKeys, kms)
    requireOwnKeys(trust, tenant, kmsKeys)
    makePrivateDir(flags.receipts)
    const release = lockDir(flags.receipts)
    const admin = await openKmsAdmin({ ...kms, credentialsFile: flags.kmsAdmin })
    let seed: Uint8Array | undefined
    try {
      if (flags.yes === true) {
        const issuer = flags.issuer ?? join('issuers', `${tenant.label}-issuer.json`)
        const passphrase = await readPassphrase({
          file: flags.passphraseFile,
          prompt: `Passphrase of ${issuer}`,
        })
        seed = readIssuerSeed(issuer, passphrase, tenant)
        for (const writes of client.pendingBatches()) await client.resendBatch(writes)
      }
      const done = await client.shredEpoch(
        {
          admin,
          kmsKeys,
          planOnly: flags.plan === true,
          patience: { seconds: flags.patience, warn },
          epoch: readEpoch(flags, tenant.id),
          keep: epoch => {
            const body = { v: 1, kind: 'ztmysql-epoch', tenant: tenant.id, ...epoch }
            writeFileAtomic(memory(flags), formatCanonical(body, true))
          },
          wrapUnder: version => {
            under = version
          },
          settle: () => Bun.sleep(flags.settle * 1000),
          tell: step => print(JSON.stringify(step)),
        },
        seed,
      )
      for (const file of oldKemFiles(flags, tenant))
        for (const path of [file, recoveryCopyOf(file)]) {
          if (!existsSync(path)) continue
          print(JSON.stringify({ step: 'remove ML-KEM key', file: path }))
          if (flags.yes === true) wipeFile(path)
        }
      if (flags.yes === true) removeFile(memory(flags))
      print(
        JSON.stringify({
          erasedBefore: done.erasedBefore,
          completeAt: done.complete,
          planned: flags.plan === true,
        }),
      )
    } finally {
      seed?.fill(0)
      await admin.close()
      release()
    }
  }
  await withClient(flags, warn, use, {
    kmsVersion: key => (key === under?.key ? under.version : undefined),
  })
}
