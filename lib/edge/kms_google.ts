/** Google Cloud KMS, or the emulator where KMS_EMULATOR_HOST selects it, never silently. */
import type { Bytes } from '../core/bytes.ts'
import { kmsKeyName, parseKmsUri, requireProvider } from '../core/kms_uri.ts'
import type { KmsProvider } from './kms.ts'
import { callKms } from './kms_call.ts'
import { makeClient, prepareClient } from './kms_client.ts'
import { type KmsConfig, readKmsConfig, readToken } from './kms_config.ts'
import { type CallSettings, decrypt, encrypt } from './kms_exchange.ts'

/** Google's credentials (ADC) are looked up here. Calls may name any key of the same provider. */
export const openGoogle: KmsProvider = async ({ keyUri, selection, limits, warn }) => {
  const config = readKmsConfig(selection)
  requireProvider(parseKmsUri(keyUri), config.provider)
  warnOnce(config, warn)
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
      return call('encrypt', key, settings => encrypt(client, name, plaintext, aad, settings))
    },
    decrypt: async (key, ciphertext, aad) => {
      const name = ownName(key, config)
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
