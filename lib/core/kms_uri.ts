/** Names of KMS keys. The scheme names the provider, and the canonical text is the only form that is stored. */
import { ZtError } from './errors.ts'
import { formatPkcs11Name, parsePkcs11Name, pkcs11Example, readPkcs11Uri } from './pkcs11_uri.ts'

export interface KmsUri {
  /** The scheme. */
  readonly provider: string
  /** What the provider calls the key: what follows `PROVIDER://`, or `pkcs11:`. */
  readonly name: string
}

export const googleProviders = ['gcp-kms', 'gcp-kms-emulator'] as const
export type GoogleProvider = (typeof googleProviders)[number]

// Project: an id, a number, or a legacy `domain:id`. The rest: Cloud KMS resource names, at most 63 characters.
const googleName =
  /^projects\/(?:[a-z][a-z0-9.-]{0,62}:)?[a-z0-9][a-z0-9-]{0,62}\/locations\/[a-z0-9][a-z0-9-]{0,62}\/keyRings\/[a-zA-Z0-9_-]{1,63}\/cryptoKeys\/[a-zA-Z0-9_-]{1,63}$/

/** An absolute path of plain characters that names one file in one way. */
const filePath = /^(?=.{1,255}$)(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~@+-]+)+$/

/** Of a provider that has no stricter rule. */
const plainName = /^[A-Za-z0-9._~@:/-]{1,255}$/

const hints: Record<string, string> = {
  pkcs11: `a key is named ${pkcs11Example}`,
  file: 'a key file of trials is named file:///absolute/path, of letters, digits and . _ ~ @ + -',
}
const googleHint = 'a key is named gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K'

// What came is shown only so far as it could be a name: a pasted secret or control character is not repeated.
const shown = (text: string): string =>
  /^[\x21-\x7e]{1,300}$/.test(text) && text.includes('projects/') ? `"${text}"` : 'what was given'

/** The canonical text of a key. Inverse of parseKmsUri. */
export function formatKmsUri({ provider, name }: KmsUri): string {
  return provider === 'pkcs11' ? `pkcs11:${name}` : `${provider}://${name}`
}

/** The resource name that Cloud KMS knows: `projects/…/cryptoKeys/K`. @throws REFUSED where the key is not Google's */
export function kmsKeyName(uri: KmsUri): string {
  if (isGoogle(uri.provider)) return uri.name
  throw new ZtError('REFUSED', `kms key ${formatKmsUri(uri)}: is not a key of Google Cloud KMS`)
}

const isGoogle = (provider: string): provider is GoogleProvider =>
  (googleProviders as readonly string[]).includes(provider)

/**
 * A key from its canonical text; a bare name or a key version is refused. A scheme that this release does not know is
 * accepted, so that it reads trust folders of later ones: openKms refuses it. @throws BAD_FORMAT
 */
export function parseKmsUri(text: string): KmsUri {
  const [, provider, slashes, name = ''] = /^([a-z][a-z0-9-]{1,31}):(\/\/)?(.*)$/s.exec(text) ?? []
  if (provider === undefined || (slashes === undefined) !== (provider === 'pkcs11'))
    throw new ZtError('BAD_FORMAT', `kms key: ${shown(text)} names no known provider`, { hint: googleHint })
  if (provider === 'pkcs11') parsePkcs11Name(name)
  else {
    const grammar = isGoogle(provider) ? googleName : provider === 'file' ? filePath : plainName
    if (!grammar.test(name)) {
      const version = name.includes('/cryptoKeyVersions/') ? ' (name the key, not one of its versions)' : ''
      throw new ZtError('BAD_FORMAT', `kms key: ${shown(name)} is not the name of a key${version}`, {
        hint: hints[provider] ?? googleHint,
      })
    }
  }
  return { provider, name }
}

/** Refuses the one of Google and its emulator that is not configured. @throws REFUSED */
export function requireProvider(uri: KmsUri, configured: GoogleProvider): void {
  if (!isGoogle(uri.provider) || uri.provider === configured) return
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
 * The canonical text of a key that a person named: a bare `projects/…/cryptoKeys/K` belongs to the configured one of
 * Google and its emulator, which one with a scheme of theirs must agree with. How a machine reaches a PKCS#11 token,
 * behind `?`, falls away. @throws BAD_FORMAT, REFUSED
 */
export function canonicalKmsUri(input: string, configured: GoogleProvider): string {
  if (input.startsWith('pkcs11:'))
    return formatKmsUri({
      provider: 'pkcs11',
      name: formatPkcs11Name(readPkcs11Uri(input.slice('pkcs11:'.length)).name),
    })
  const uri = parseKmsUri(input.startsWith('projects/') ? `${configured}://${input}` : input)
  requireProvider(uri, configured)
  return formatKmsUri(uri)
}
