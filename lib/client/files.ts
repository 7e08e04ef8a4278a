/** A client from what lies on the disk: option file, certificate, trust folder, key files. */

import { basename } from 'node:path'
import { tableDefinitions } from '../../sql/index.ts'
import { type Bytes, fromBase64, fromUtf8, toHex } from '../core/bytes.ts'
import { kemFingerprint, kemPublicKey, kemPublicKeyLength } from '../core/envelope/kem.ts'
import { type KeyFile, parseIssuerFile, parseKemFile } from '../core/envelope/key_files.ts'
import { openSealedFile } from '../core/envelope/sealed_file.ts'
import { ZtError } from '../core/errors.ts'
import { googleProviders, parseKmsUri } from '../core/kms_uri.ts'
import { parseClientConfig } from '../core/mycnf.ts'
import type { Trust, TrustedTenant } from '../core/trust.ts'
import { readPrivateFile, readRegularFile } from '../edge/files.ts'
import { type KmsOptions, openKms, resolveKmsKey, withKeyAccess } from '../edge/kms.ts'
import { readKmsConfig } from '../edge/kms_config.ts'
import { readTrust } from '../edge/trust.ts'
import { type Client, openClient } from './client.ts'
import { type Identity, readIdentity } from './identity.ts'

export interface ClientFiles {
  /** `[client]` option file whose ssl-cert and ssl-key are this client's. */
  readonly defaultsFile: string
  readonly trustDir: string
  readonly caSha256?: string | undefined
  readonly receiptsDir: string
  /** As a person names it; beside those of the trust folder. */
  readonly kmsKey?: string | undefined
  /** Private ML-KEM key file, or the present one and then earlier ones. */
  readonly kemFile?: string | readonly string[] | undefined
  /** Private ML-KEM keys in memory, in place of files. */
  readonly kemSeeds?: readonly Bytes[]
  /** UUID or label; must be the certificate's. */
  readonly tenant?: string | undefined
  readonly kms?: KmsOptions
  /** The version of a KMS key to wrap under, where not its primary one. */
  readonly kmsVersion?: (key: string) => number | undefined
  readonly warn?: (line: string) => void
}

const pemMaxBytes = 1 << 16

/** @throws as readPrivateFile, readTrust, readIdentity; BAD_INPUT where the option file names no certificate */
export function openClientFiles(files: ClientFiles): { client: Client; trust: Trust; identity: Identity } {
  const trust = readTrust(files.trustDir, { caSha256: files.caSha256 })
  const identity = identityOf(trust, files.defaultsFile)
  if (files.tenant !== undefined && ![identity.tenant.id, identity.tenant.label].includes(files.tenant))
    throw new ZtError(
      'REFUSED',
      `the certificate of ${identity.account} belongs to tenant ${identity.tenant.label}, not to ${files.tenant}`,
      { hint: 'name the option file of an account of that tenant with --defaults-file' },
    )
  const [kemSeed, ...earlierKemSeeds] =
    files.kemSeeds ?? [files.kemFile ?? []].flat().map(path => readKemSeed(path, identity.tenant))
  const client = openClient({
    mysql: { defaultsFile: files.defaultsFile },
    trust,
    identity,
    definitions: tableDefinitions,
    receiptsDir: files.receiptsDir,
    kmsKeys: kmsKeysOf(identity.tenant, files),
    openKms: async first => {
      const kms = await openKms(first, withKeyAccess(files.kms ?? {}, files.kmsKey))
      const { kmsVersion } = files
      if (kmsVersion === undefined) return kms
      return { ...kms, encrypt: (key, text, aad) => kms.encrypt(key, text, aad, kmsVersion(key)) }
    },
    kemSeed,
    earlierKemSeeds,
    ...(files.warn === undefined ? {} : { warn: files.warn }),
  })
  return { client, trust, identity }
}

function identityOf(trust: Trust, defaultsFile: string): Identity {
  const text = fromUtf8(readPrivateFile(defaultsFile, 'defaults file'), defaultsFile)
  const { sslCert, sslKey } = parseClientConfig(text, defaultsFile)
  if (sslCert === undefined || sslKey === undefined)
    throw new ZtError('BAD_INPUT', `${defaultsFile}: names no ssl-cert and ssl-key`, {
      hint: 'use an option file that outside_pki wrote to clients/',
    })
  return readIdentity(
    trust,
    {
      certificate: fromUtf8(readRegularFile(sslCert, 'certificate', pemMaxBytes), sslCert),
      certificatePath: sslCert,
      key: fromUtf8(readPrivateFile(sslKey, 'private key'), sslKey),
      keyPath: sslKey,
    },
    Date.now() * 1000,
  )
}

/** The named key first, then the tenant's; last those of the one of Google and its emulator that is not configured. */
export function kmsKeysOf(
  tenant: TrustedTenant,
  { kmsKey, kms }: Pick<ClientFiles, 'kmsKey' | 'kms'>,
): string[] {
  const named = kmsKey === undefined ? [] : [resolveKmsKey(kmsKey, kms)]
  const { provider: configured } = readKmsConfig(kms)
  const foreign: readonly string[] = googleProviders.filter(known => known !== configured)
  const [mine, others] = [false, true].map(away =>
    tenant.kmsKeys.filter(uri => foreign.includes(parseKmsUri(uri).provider) === away),
  ) as [string[], string[]]
  return [...new Set([...named, ...mine, ...others])]
}

/** 64 bytes. @throws REFUSED where the file is another tenant's */
export function readKemSeed(path: string, tenant: Pick<TrustedTenant, 'id' | 'label'>): Bytes {
  const file = parseKemFile(readPrivateFile(path, 'ML-KEM key'), path)
  return seedOf(file, path, tenant)
}

function seedOf(file: KeyFile, path: string, tenant: Pick<TrustedTenant, 'id' | 'label'>): Bytes {
  if (file.tenant === tenant.id) return file.seed
  throw new ZtError('REFUSED', `${path}: is the key of tenant ${file.tenant}, not of ${tenant.label}`, {
    hint: 'name the file that belongs to this tenant',
  })
}

/** The public key in a private key file or in the `.pub` file beside it, 1,184 bytes. */
export function readKemPublicKey(path: string, tenant: string): Bytes {
  const bytes = readRegularFile(path, 'ML-KEM key', 1 << 16)
  const text = fromUtf8(bytes, path)
  if (!text.startsWith('{')) return fromBase64(text.replace(/\n$/, ''), path, kemPublicKeyLength)
  return kemPublicKey(readKemSeed(path, { id: tenant, label: tenant }))
}

/** First 16 hex digits of a KEM key's fingerprint, for people. */
export const shortFingerprint = (publicKey: Bytes): string => toHex(kemFingerprint(publicKey)).slice(0, 16)

/** The issuer's seed, 32 bytes, from its sealed file. @throws BAD_PASSPHRASE, REFUSED (another tenant's) */
export function readIssuerSeed(path: string, passphrase: string, tenant: TrustedTenant): Bytes {
  const name = basename(path)
  const inner = openSealedFile(name, readPrivateFile(path, 'issuer key'), passphrase)
  try {
    return seedOf(parseIssuerFile(inner, name), path, tenant)
  } finally {
    inner.fill(0)
  }
}
