/** How this machine reaches a KMS. Light: loads no client, so that any command may ask. */
import { isIPv6 } from 'node:net'
import { isAbsolute } from 'node:path'
import { ZtError } from '../core/errors.ts'
import type { GoogleProvider } from '../core/kms_uri.ts'
import { readPkcs11Uri } from '../core/pkcs11_uri.ts'
import { readPrivateFile } from './files.ts'

export interface KmsSelection {
  /** Default: process.env. Read: KMS_EMULATOR_HOST, KMS_EMULATOR_TOKEN_FILE, PKCS11_MODULE, PKCS11_PIN_FILE. */
  env?: Readonly<Record<string, string | undefined>>
  /** `host:port` of the emulator; goes before KMS_EMULATOR_HOST. */
  emulatorHost?: string
  /** Accepts an emulator on another machine: plaintext and token cross the network in clear. */
  allowRemoteEmulator?: boolean
  /** Private file with the emulator's bearer token; goes before KMS_EMULATOR_TOKEN_FILE. */
  tokenFile?: string
  /** Absolute path of the PKCS#11 module; goes before PKCS11_MODULE. */
  pkcs11Module?: string | undefined
  /** Private file with the PIN of the token; goes before PKCS11_PIN_FILE. Without one it is asked for. */
  pinFile?: string | undefined
  /** The program that serves the module; tests put one there that misbehaves. */
  pkcs11Program?: readonly string[]
}

/**
 * The selection with what a `pkcs11:` URI that a person typed says of this machine, behind `?`. A stored URI says
 * nothing of it. @throws BAD_FORMAT
 */
export function withKeyAccess<T extends KmsSelection>(selection: T, keyInput: string | undefined): T {
  if (keyInput?.startsWith('pkcs11:') !== true) return selection
  const { modulePath, pinFile } = readPkcs11Uri(keyInput.slice('pkcs11:'.length)).access
  return {
    ...selection,
    ...(modulePath === undefined ? {} : { pkcs11Module: modulePath }),
    ...(pinFile === undefined ? {} : { pinFile }),
  }
}

/** @throws USAGE where no module is named, or by a relative path */
export function readPkcs11Access(selection: KmsSelection): { module: string; pinFile: string | undefined } {
  const env = selection.env ?? process.env
  const module = selection.pkcs11Module ?? (env.PKCS11_MODULE || undefined)
  const hint = 'name the library of the HSM: --pkcs11-module /usr/lib/….so, or PKCS11_MODULE'
  if (module === undefined) throw new ZtError('USAGE', 'pkcs11: no module is named', { hint })
  if (!isAbsolute(module))
    throw new ZtError('USAGE', `pkcs11: module ${module}: not an absolute path`, { hint })
  return { module, pinFile: selection.pinFile ?? (env.PKCS11_PIN_FILE || undefined) }
}

export interface KmsConfig {
  readonly provider: GoogleProvider
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

/** The emulator's bearer token: one line of URL-safe characters in a private file. @throws as readPrivateFile, BAD_FORMAT */
export function readToken(path: string): string {
  const text = readPrivateFile(path, 'kms emulator token').toString('latin1').replace(/\n$/, '')
  if (!/^[A-Za-z0-9_-]{16,512}$/.test(text))
    throw new ZtError('BAD_FORMAT', `kms emulator token ${path}: not one line of URL-safe characters`, {
      hint: 'use the file that `kms_emulator grant --token-file` wrote',
    })
  return text
}
