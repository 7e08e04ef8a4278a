/** The versions of a KMS key, for whoever may make and destroy them: never an identity that reads or writes rows. */
import type { KeyManagementServiceClient } from '@google-cloud/kms'
import { ZtError } from '../core/errors.ts'
import { parseKmsUri, requireProvider } from '../core/kms_uri.ts'
import { callKms, DamagedAnswer, defaultLimits } from './kms_call.ts'
import { makeClient, prepareClient } from './kms_client.ts'
import { type KmsSelection, readKmsConfig, readToken } from './kms_config.ts'
import type { CallSettings } from './kms_exchange.ts'

export interface KmsVersion {
  readonly number: number
  /** As the KMS says: ENABLED, DISABLED, DESTROY_SCHEDULED, DESTROYED, PENDING_GENERATION, … */
  readonly state: string
  /** When its material goes, or went; ISO 8601, null for none. */
  readonly destroyed: string | null
}

export interface KmsAdmin {
  /** Every version of a key (canonical URI), by number. @throws as Kms.encrypt */
  versions(keyUri: string): Promise<KmsVersion[]>
  /** How long a destroyed version can still be restored. */
  destroySeconds(keyUri: string): Promise<number>
  /** A new version, which is not primary yet. @returns its number */
  create(keyUri: string): Promise<number>
  makePrimary(keyUri: string, version: number): Promise<void>
  setEnabled(keyUri: string, version: number, enabled: boolean): Promise<void>
  /** Schedules its end. @returns when that is, ISO 8601 */
  destroy(keyUri: string, version: number): Promise<string>
  close(): Promise<void>
}

export interface KmsAdminOptions extends KmsSelection {
  /** Google: a credentials file; the emulator: a token file. Default: those of the environment. */
  credentialsFile?: string | undefined
}

type Stamp = { seconds?: unknown; nanos?: unknown } | null | undefined

const isoOf = (stamp: Stamp): string | null =>
  stamp?.seconds === undefined || stamp.seconds === null
    ? null
    : new Date(Number(stamp.seconds) * 1000 + Math.floor(Number(stamp.nanos ?? 0) / 1e6)).toISOString()

interface VersionAnswer {
  name?: string | null
  state?: unknown
  destroyTime?: Stamp
  destroyEventTime?: Stamp
}

const numberOf = (name: string | null | undefined, key: string): number => {
  const prefix = `${key}/cryptoKeyVersions/`
  const digits = name?.startsWith(prefix) === true ? name.slice(prefix.length) : ''
  if (!/^[1-9]\d{0,9}$/.test(digits)) throw new DamagedAnswer('it names a version of another key')
  return Number(digits)
}

const versionOf = (answer: VersionAnswer, key: string): KmsVersion => ({
  number: numberOf(answer.name, key),
  state: String(answer.state),
  destroyed: isoOf(answer.destroyEventTime) ?? isoOf(answer.destroyTime),
})

/** @throws as openKms */
export async function openKmsAdmin(options: KmsAdminOptions = {}): Promise<KmsAdmin> {
  const config = readKmsConfig(options)
  const tokenFile = options.credentialsFile ?? config.tokenFile
  const emulator = config.provider === 'gcp-kms-emulator'
  const headers: Record<string, string> =
    emulator && tokenFile !== undefined ? { authorization: `Bearer ${readToken(tokenFile)}` } : {}
  const client = await makeClient(config, options.credentialsFile)
  const connected = await prepareClient(client, config, defaultLimits.connectMs)

  const call = <T>(
    verb: string,
    keyUri: string,
    ask: (client: KeyManagementServiceClient, key: string, settings: CallSettings) => Promise<T>,
  ): Promise<T> => {
    const uri = parseKmsUri(keyUri)
    requireProvider(uri, config.provider)
    if (uri.provider !== config.provider)
      throw new ZtError('REFUSED', `kms key ${keyUri}: its versions are not administered from here`, {
        hint: 'make a new key with the tools of its provider, move with `rotate --kms-key`, and destroy the old one there',
      })
    const name = keyUri.slice(`${uri.provider}://`.length)
    return callKms(`kms: ${verb} ${keyUri} at ${config.endpoint}`, defaultLimits, connected, timeout =>
      ask(client, name, { timeout, retry: null, otherArgs: { headers: { ...headers } } }),
    )
  }
  const named = (key: string, version: number) => `${key}/cryptoKeyVersions/${version}`

  return {
    versions: uri =>
      call('list the versions of', uri, async (kms, key, settings) => {
        const [answers] = await kms.listCryptoKeyVersions({ parent: key }, settings)
        return answers.map(answer => versionOf(answer, key)).toSorted((a, b) => a.number - b.number)
      }),
    destroySeconds: uri =>
      call('look at', uri, async (kms, key, settings) => {
        const [answer] = await kms.getCryptoKey({ name: key }, settings)
        const seconds = Number(answer.destroyScheduledDuration?.seconds ?? Number.NaN)
        if (!Number.isSafeInteger(seconds)) throw new DamagedAnswer('it names no duration')
        return seconds
      }),
    create: uri =>
      call('make a version of', uri, async (kms, key, settings) => {
        const [answer] = await kms.createCryptoKeyVersion({ parent: key, cryptoKeyVersion: {} }, settings)
        return numberOf(answer.name, key)
      }),
    makePrimary: (uri, version) =>
      call('make a version primary of', uri, async (kms, key, settings) => {
        await kms.updateCryptoKeyPrimaryVersion({ name: key, cryptoKeyVersionId: String(version) }, settings)
      }),
    setEnabled: (uri, version, enabled) =>
      call(`${enabled ? 'enable' : 'disable'} a version of`, uri, async (kms, key, settings) => {
        await kms.updateCryptoKeyVersion(
          {
            cryptoKeyVersion: { name: named(key, version), state: enabled ? 'ENABLED' : 'DISABLED' },
            updateMask: { paths: ['state'] },
          },
          settings,
        )
      }),
    destroy: (uri, version) =>
      call('destroy a version of', uri, async (kms, key, settings) => {
        const [answer] = await kms.destroyCryptoKeyVersion({ name: named(key, version) }, settings)
        const { state, destroyed } = versionOf(answer, key)
        if (destroyed === null || !['DESTROY_SCHEDULED', 'DESTROYED'].includes(state))
          throw new ZtError('KMS', `kms: version ${version} of ${uri} is ${state} after it was destroyed`, {
            hint: 'see the KMS for what became of it, then run it again',
          })
        return destroyed
      }),
    close: () => client.close(),
  }
}
