/** The KMS: Google's, or the emulator where KMS_EMULATOR_HOST selects it, never silently. */
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import {
  canonicalKmsUri,
  type KmsProvider,
  kmsKeyName,
  parseKmsUri,
  requireProvider,
} from '../core/kms_uri.ts'
import { callKms, defaultLimits, type KmsLimits } from './kms_call.ts'
import { makeClient, prepareClient } from './kms_client.ts'
import { type KmsConfig, type KmsSelection, readKmsConfig, readToken } from './kms_config.ts'
import { type CallSettings, decrypt, encrypt } from './kms_exchange.ts'

export { type KmsSelection, resolveKmsKey } from './kms_config.ts'

export interface Kms {
  /** 'gcp-kms' or 'gcp-kms-emulator'. */
  readonly provider: string
  /**
   * Ciphertext of `plaintext` under the key's primary version, bound to `aad`; each 1 byte or more, together at most
   * 8 KiB. `keyUri` is canonical. @param version under this one: a new primary takes hours to be everywhere's
   * @throws DENIED, UNREACHABLE, TLS, KMS; REFUSED for another provider's key; BAD_LENGTH, BAD_FORMAT
   */
  encrypt(keyUri: string, plaintext: Bytes, aad: Bytes, version?: number): Promise<Bytes>
  /** Plaintext of what this key (any enabled version) made with this `aad`. @throws as encrypt */
  decrypt(keyUri: string, ciphertext: Bytes, aad: Bytes): Promise<Bytes>
  close(): Promise<void>
}

export interface OpenedKms extends Kms {
  readonly provider: KmsProvider
  /** The canonical URI of the key that openKms was given: what belongs into a sealed record. */
  readonly keyUri: string
  /** `host:port` that is called. */
  readonly endpoint: string
}

export interface KmsOptions extends KmsSelection {
  limits?: Partial<KmsLimits>
  /** Where the emulator's warning goes. Default: stderr. */
  warn?: (line: string) => void
}

/** Cloud KMS, HSM keys: plaintext and additional data together. */
const maxInputBytes = 8_192
/** Above any ciphertext of 8 KiB; a stored record that claims more is not sent. */
const maxCiphertextBytes = 16_384

/**
 * A connection to the KMS that the environment selects. `keyInput` is canonical, or a bare `projects/…/cryptoKeys/K`.
 * Google's credentials (ADC) are looked up here; the KMS itself is first called by encrypt or decrypt.
 * @throws BAD_INPUT, BAD_FORMAT, REFUSED (another provider's key), DENIED or UNREACHABLE (credentials), as readToken
 */
export async function openKms(keyInput: string, options: KmsOptions = {}): Promise<OpenedKms> {
  const config = readKmsConfig(options)
  const keyUri = canonicalKmsUri(keyInput, config.provider)
  const limits = { ...defaultLimits, ...options.limits }
  warnOnce(config, options.warn ?? (line => process.stderr.write(`${line}\n`)))
  const headers: Record<string, string> =
    config.tokenFile === undefined ? {} : { authorization: `Bearer ${readToken(config.tokenFile)}` }
  const client = await makeClient(config)
  const connected = await prepareClient(client, config, limits.connectMs)

  const call = (verb: string, key: string, attempt: (settings: CallSettings) => Promise<Bytes>) =>
    callKms(`kms: ${verb} with ${key} at ${config.endpoint}`, limits, connected, timeout =>
      // gax's own repeats are off: they go on for minutes with what cannot succeed, a wrong certificate for one.
      attempt({ timeout, retry: null, otherArgs: { headers: { ...headers } } }),
    )

  return {
    provider: config.provider,
    keyUri,
    endpoint: config.endpoint,
    encrypt: async (key, plaintext, aad, version) => {
      const bare = ownName(key, config)
      const name = version === undefined ? bare : `${bare}/cryptoKeyVersions/${version}`
      checkLengths('plaintext', plaintext, aad, maxInputBytes - aad.length)
      return call('encrypt', key, settings => encrypt(client, name, plaintext, aad, settings))
    },
    decrypt: async (key, ciphertext, aad) => {
      const name = ownName(key, config)
      checkLengths('ciphertext', ciphertext, aad, maxCiphertextBytes)
      return call('decrypt', key, settings => decrypt(client, name, ciphertext, aad, settings))
    },
    close: () => client.close(),
  }
}

const warned = new Set<string>()

function warnOnce(config: KmsConfig, warn: (line: string) => void): void {
  if (config.provider !== 'gcp-kms-emulator' || warned.has(config.endpoint)) return
  warned.add(config.endpoint)
  warn(`kms: using the emulator at ${config.endpoint}, not Google: keys are not protected by an HSM`)
}

function ownName(keyUri: string, config: KmsConfig): string {
  const uri = parseKmsUri(keyUri)
  requireProvider(uri, config.provider)
  return kmsKeyName(uri)
}

/** Refused here, so that no KMS ever answers without AAD, and no quota pays for what it would refuse. */
function checkLengths(what: string, bytes: Bytes, aad: Bytes, maxBytes: number): void {
  if (aad.length === 0 || aad.length > maxInputBytes)
    throw new ZtError(
      'BAD_LENGTH',
      `kms: additional data: expected 1 to ${maxInputBytes} bytes, got ${aad.length}`,
    )
  if (bytes.length === 0 || bytes.length > maxBytes)
    throw new ZtError('BAD_LENGTH', `kms: ${what}: expected 1 to ${maxBytes} bytes, got ${bytes.length}`)
}
