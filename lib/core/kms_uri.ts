/** Names of KMS keys: `PROVIDER://projects/P/locations/L/keyRings/R/cryptoKeys/K`, the only form that is stored. */
import { ZtError } from './errors.ts'

export const kmsProviders = ['gcp-kms', 'gcp-kms-emulator'] as const
export type KmsProvider = (typeof kmsProviders)[number]

export interface KmsUri {
  readonly provider: KmsProvider
  readonly project: string
  readonly location: string
  readonly keyRing: string
  readonly key: string
}

// Project: an id, a number, or a legacy `domain:id`. The rest: Cloud KMS resource names, at most 63 characters.
const namePattern =
  /^projects\/((?:[a-z][a-z0-9.-]{0,62}:)?[a-z0-9][a-z0-9-]{0,62})\/locations\/([a-z0-9][a-z0-9-]{0,62})\/keyRings\/([a-zA-Z0-9_-]{1,63})\/cryptoKeys\/([a-zA-Z0-9_-]{1,63})$/

const hint = 'a key is named gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K'

// What came is shown only so far as it could be a name: a pasted secret or control character is not repeated.
const shown = (text: string): string =>
  /^[\x21-\x7e]{1,300}$/.test(text) && text.includes('projects/') ? `"${text}"` : 'what was given'

/** The resource name that Cloud KMS knows: `projects/…/cryptoKeys/K`. */
export function kmsKeyName(uri: KmsUri): string {
  return `projects/${uri.project}/locations/${uri.location}/keyRings/${uri.keyRing}/cryptoKeys/${uri.key}`
}

/** The canonical text of a key. Inverse of parseKmsUri. */
export function formatKmsUri(uri: KmsUri): string {
  return `${uri.provider}://${kmsKeyName(uri)}`
}

/** A key from its canonical text; a bare name, a key version or any other scheme is refused. @throws BAD_FORMAT */
export function parseKmsUri(text: string): KmsUri {
  const split = text.indexOf('://')
  const provider = kmsProviders.find(known => known === text.slice(0, split))
  if (split < 0 || provider === undefined)
    throw new ZtError('BAD_FORMAT', `kms key: ${shown(text)} names no known provider`, { hint })
  return withProvider(provider, text.slice(split + 3))
}

function withProvider(provider: KmsProvider, name: string): KmsUri {
  const [, project, location, keyRing, key] = namePattern.exec(name) ?? []
  if (!project || !location || !keyRing || !key) {
    const version = name.includes('/cryptoKeyVersions/') ? ' (name the key, not one of its versions)' : ''
    throw new ZtError('BAD_FORMAT', `kms key: ${shown(name)} is not the name of a key${version}`, { hint })
  }
  return { provider, project, location, keyRing, key }
}

/** Refuses a key of another provider than the configured one. @throws REFUSED */
export function requireProvider(uri: KmsUri, configured: KmsProvider): void {
  if (uri.provider === configured) return
  throw new ZtError(
    'REFUSED',
    configured === 'gcp-kms'
      ? `kms key ${formatKmsUri(uri)}: belongs to the emulator, which is not configured`
      : `kms key ${formatKmsUri(uri)}: belongs to Google, but the emulator is configured`,
    {
      hint:
        configured === 'gcp-kms'
          ? 'set KMS_EMULATOR_HOST=host:port to use the emulator'
          : 'unset KMS_EMULATOR_HOST to use Google Cloud KMS',
    },
  )
}

/**
 * The canonical text of a key that a person named: a bare `projects/…/cryptoKeys/K` belongs to the configured
 * provider, one with a scheme must agree with it. @throws BAD_FORMAT, REFUSED
 */
export function canonicalKmsUri(input: string, configured: KmsProvider): string {
  const uri = input.startsWith('projects/') ? withProvider(configured, input) : parseKmsUri(input)
  requireProvider(uri, configured)
  return formatKmsUri(uri)
}
