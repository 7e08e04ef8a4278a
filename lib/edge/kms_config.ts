/** Which KMS the environment selects. Light: loads no client, so that any command may ask. */
import { isIPv6 } from 'node:net'
import { ZtError } from '../core/errors.ts'
import { canonicalKmsUri, type KmsProvider } from '../core/kms_uri.ts'
import { readPrivateFile } from './files.ts'

export interface KmsSelection {
  /** Default: process.env. Read: KMS_EMULATOR_HOST, KMS_EMULATOR_TOKEN_FILE. */
  env?: Readonly<Record<string, string | undefined>>
  /** `host:port` of the emulator; goes before KMS_EMULATOR_HOST. */
  emulatorHost?: string
  /** Accepts an emulator on another machine: plaintext and token cross the network in clear. */
  allowRemoteEmulator?: boolean
  /** Private file with the emulator's bearer token; goes before KMS_EMULATOR_TOKEN_FILE. */
  tokenFile?: string
}

export interface KmsConfig {
  readonly provider: KmsProvider
  readonly host: string
  readonly port: number
  /** `host:port`, for messages. */
  readonly endpoint: string
  readonly tokenFile: string | undefined
}

const loopback = /^127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}$/

/** @throws BAD_INPUT where the emulator is not on this machine or its address is malformed */
export function readKmsConfig(selection: KmsSelection = {}): KmsConfig {
  const env = selection.env ?? process.env
  const address = selection.emulatorHost ?? env.KMS_EMULATOR_HOST ?? ''
  if (address === '')
    return {
      provider: 'gcp-kms',
      host: 'cloudkms.googleapis.com',
      port: 443,
      endpoint: 'cloudkms.googleapis.com:443',
      tokenFile: undefined,
    }
  const { host, port } = parseAddress(address)
  if (!loopback.test(host) && host !== '::1' && selection.allowRemoteEmulator !== true)
    throw new ZtError('BAD_INPUT', `kms emulator: ${host} is not a loopback address`, {
      hint: 'run the emulator on this machine, or pass --allow-remote-emulator and accept an unencrypted link',
    })
  const literal = isIPv6(host) ? `[${host}]` : host
  return {
    provider: 'gcp-kms-emulator',
    host: literal,
    port,
    endpoint: `${literal}:${port}`,
    tokenFile: selection.tokenFile ?? (env.KMS_EMULATOR_TOKEN_FILE || undefined),
  }
}

function parseAddress(text: string): { host: string; port: number } {
  const [, v6, name, digits = ''] = /^(?:\[([0-9a-f:]+)\]|([A-Za-z0-9.-]+)):([1-9]\d{0,4})$/.exec(text) ?? []
  const host = v6 !== undefined && isIPv6(v6) ? v6 : name
  if (host === undefined || Number(digits) > 65_535)
    throw new ZtError('BAD_INPUT', 'kms emulator: the address is not host:port', {
      hint: 'for example KMS_EMULATOR_HOST=127.0.0.1:9010',
    })
  // `localhost` is an address here, never a look-up that could lead elsewhere.
  return { host: host === 'localhost' ? '127.0.0.1' : host, port: Number(digits) }
}

/** The canonical URI of a key as a person named it, under the selected provider. @throws BAD_FORMAT, BAD_INPUT, REFUSED */
export function resolveKmsKey(input: string, selection: KmsSelection = {}): string {
  return canonicalKmsUri(input, readKmsConfig(selection).provider)
}

/** The emulator's bearer token: one line of URL-safe characters in a private file. @throws as readPrivateFile, BAD_FORMAT */
export function readToken(path: string): string {
  const text = readPrivateFile(path, 'kms emulator token').toString('latin1').replace(/\n$/, '')
  if (!/^[A-Za-z0-9_-]{16,512}$/.test(text))
    throw new ZtError('BAD_FORMAT', `kms emulator token ${path}: not one line of URL-safe characters`, {
      hint: 'use the file that `kms_emulator grant --token-file` wrote',
    })
  return text
}
