/** The KMS of a key: its URI picks the provider. Each provider is one file, and one line here. */
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { canonicalKmsUri, parseKmsUri } from '../core/kms_uri.ts'
import { defaultLimits, type KmsLimits } from './kms_call.ts'
import { type KmsSelection, readKmsConfig, withKeyAccess } from './kms_config.ts'

export { type KmsSelection, withKeyAccess } from './kms_config.ts'

/** What a provider opens for one key. */
export interface Kms {
  /** The scheme of its keys' URIs, such as 'gcp-kms'. */
  readonly provider: string
  /**
   * Ciphertext of `plaintext` under the key's newest version, bound to `aad`; each 1 byte or more, together at most
   * 8 KiB. `keyUri` is canonical, and the one that was opened (Google's takes others of Google too).
   * @param version under this one: a new primary takes hours to be everywhere's
   * @throws DENIED, UNREACHABLE, TLS, KMS; REFUSED for another key or provider; BAD_LENGTH, BAD_FORMAT
   */
  encrypt(keyUri: string, plaintext: Bytes, aad: Bytes, version?: number): Promise<Bytes>
  /** Plaintext of what this key (any version that is left) made with this `aad`. @throws as encrypt */
  decrypt(keyUri: string, ciphertext: Bytes, aad: Bytes): Promise<Bytes>
  close(): Promise<void>
}

export interface OpenedKms extends Kms {
  /** The canonical URI of the key that openKms was given: what belongs into a sealed record. */
  readonly keyUri: string
  /** What is called, for messages: `host:port`, or a path. */
  readonly endpoint: string
}

export interface KmsOptions extends KmsSelection {
  limits?: Partial<KmsLimits>
  /** Where warnings go. Default: stderr. */
  warn?: (line: string) => void
}

/** A key to be opened, and how. */
export interface KmsRequest {
  /** Canonical, of one of the provider's schemes. */
  readonly keyUri: string
  readonly selection: KmsSelection
  readonly limits: KmsLimits
  readonly warn: (line: string) => void
}

/** Lengths and AAD were checked before encrypt and decrypt of what it returns are called. */
export type KmsProvider = (request: KmsRequest) => Promise<OpenedKms>

const providers: Record<string, () => Promise<KmsProvider>> = {
  'gcp-kms': async () => (await import('./kms_google.ts')).openGoogle,
  'gcp-kms-emulator': async () => (await import('./kms_google.ts')).openGoogle,
  pkcs11: async () => (await import('./kms_pkcs11.ts')).openPkcs11,
  file: async () => (await import('./kms_file.ts')).openFileKms,
}
export const kmsProviders = Object.keys(providers)

/** Cloud KMS, HSM keys: plaintext and additional data together. The others take no more. */
export const kmsMaxInputBytes = 8_192
/** Above any ciphertext of 8 KiB; a stored record that claims more is not sent. */
const maxCiphertextBytes = 16_384

/** The canonical URI again, of a provider that this release has. @throws BAD_FORMAT */
export function requireKnownProvider(keyUri: string): string {
  const { provider } = parseKmsUri(keyUri)
  if (provider in providers) return keyUri
  throw new ZtError('BAD_FORMAT', `kms key: ${provider}:// names no known provider`, {
    hint: `this release knows ${kmsProviders.join(', ')}`,
  })
}

/** The canonical URI of a key as a person named it, under the selected provider. @throws BAD_FORMAT, BAD_INPUT, REFUSED */
export function resolveKmsKey(input: string, selection: KmsSelection = {}): string {
  return requireKnownProvider(canonicalKmsUri(input, readKmsConfig(selection).provider))
}

/**
 * A connection to the KMS of a key, named by its canonical URI, a bare `projects/…/cryptoKeys/K`, or a `pkcs11:` URI with
 * a query. Credentials are looked up here; the KMS itself is first called by encrypt or decrypt.
 * @throws BAD_INPUT, BAD_FORMAT, REFUSED (not the configured one of Google and its emulator), DENIED or UNREACHABLE
 *   (credentials), USAGE (no module, no PIN), as readPrivateFile
 */
export async function openKms(keyInput: string, options: KmsOptions = {}): Promise<OpenedKms> {
  const { limits, warn, ...given } = options
  const selection = withKeyAccess(given, keyInput)
  const keyUri = resolveKmsKey(keyInput, selection)
  const provider = await providers[parseKmsUri(keyUri).provider]?.()
  if (provider === undefined) throw new ZtError('INTERNAL', `kms: ${keyUri}: no provider`)
  const kms = await provider({
    keyUri,
    selection,
    limits: { ...defaultLimits, ...limits },
    warn: warn ?? (line => process.stderr.write(`${line}\n`)),
  })
  return {
    ...kms,
    encrypt: async (key, plaintext, aad, version) => {
      checkLengths('plaintext', plaintext, aad, kmsMaxInputBytes - aad.length)
      return kms.encrypt(key, plaintext, aad, version)
    },
    decrypt: async (key, ciphertext, aad) => {
      checkLengths('ciphertext', ciphertext, aad, maxCiphertextBytes)
      return kms.decrypt(key, ciphertext, aad)
    },
  }
}

/** Refused here, so that no KMS ever answers without AAD, and no quota pays for what it would refuse. */
function checkLengths(what: string, bytes: Bytes, aad: Bytes, maxBytes: number): void {
  if (aad.length === 0 || aad.length > kmsMaxInputBytes)
    throw new ZtError(
      'BAD_LENGTH',
      `kms: additional data: expected 1 to ${kmsMaxInputBytes} bytes, got ${aad.length}`,
    )
  if (bytes.length === 0 || bytes.length > maxBytes)
    throw new ZtError('BAD_LENGTH', `kms: ${what}: expected 1 to ${maxBytes} bytes, got ${bytes.length}`)
}

/** For a provider that opens one key: another one is not its business. @throws REFUSED */
export function requireOpened(keyUri: string, opened: string): void {
  if (keyUri === opened) return
  throw new ZtError('REFUSED', `kms key ${keyUri}: was not opened, but ${opened}`, {
    hint: 'open each key by itself',
  })
}
