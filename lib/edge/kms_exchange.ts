/**
 * One request and its answer, with a CRC32C over every field in both directions
 * (https://cloud.google.com/kms/docs/data-integrity-guidelines) and the name of the key that did the work.
 */
import type { KeyManagementServiceClient } from '@google-cloud/kms'
import type { Bytes } from '../core/bytes.ts'
import { crc32c } from '../core/crc32c.ts'
import { ZtError } from '../core/errors.ts'
import { DamagedAnswer } from './kms_call.ts'

/** What gax takes beside a request: deadline in ms, no repeats of its own, metadata. */
export interface CallSettings {
  timeout: number
  retry: null
  otherArgs: { headers: Record<string, string> }
}

const checksum = (bytes: Bytes) => ({ value: crc32c(bytes) })

type Int64 = { value?: number | { toString(): string } | string | null } | null | undefined

/** The answer's field, if its checksum is there and right. Int64 arrives as text. */
function checked(field: unknown, crc: Int64, what: string): Bytes {
  if (!(field instanceof Uint8Array)) throw new DamagedAnswer(`no ${what}`)
  if (crc?.value === undefined || crc.value === null) throw new DamagedAnswer(`no checksum of the ${what}`)
  if (String(crc.value) !== String(crc32c(field)))
    throw new DamagedAnswer(`CRC32C of the ${what} does not match`)
  return new Uint8Array(field)
}

/** Encrypts under the primary version of the key `name`, or the version that it names. @throws DamagedAnswer, KMS on another key's answer, GoogleError */
export async function encrypt(
  client: KeyManagementServiceClient,
  name: string,
  plaintext: Bytes,
  aad: Bytes,
  settings: CallSettings,
): Promise<Bytes> {
  const [answer] = await client.encrypt(
    {
      name,
      plaintext,
      plaintextCrc32c: checksum(plaintext),
      additionalAuthenticatedData: aad,
      additionalAuthenticatedDataCrc32c: checksum(aad),
    },
    settings,
  )
  if (answer.verifiedPlaintextCrc32c !== true)
    throw new DamagedAnswer('the KMS did not verify the checksum of the plaintext')
  if (answer.verifiedAdditionalAuthenticatedDataCrc32c !== true)
    throw new DamagedAnswer('the KMS did not verify the checksum of the additional data')
  requireVersionOf(name, answer.name ?? '')
  const ciphertext = checked(answer.ciphertext, answer.ciphertextCrc32c, 'ciphertext')
  if (ciphertext.length <= plaintext.length) throw new DamagedAnswer('the ciphertext is shorter than its tag')
  return ciphertext
}

/** Decrypts; the KMS finds the version. @throws DamagedAnswer, GoogleError */
export async function decrypt(
  client: KeyManagementServiceClient,
  name: string,
  ciphertext: Bytes,
  aad: Bytes,
  settings: CallSettings,
): Promise<Bytes> {
  const [answer] = await client.decrypt(
    {
      name,
      ciphertext,
      ciphertextCrc32c: checksum(ciphertext),
      additionalAuthenticatedData: aad,
      additionalAuthenticatedDataCrc32c: checksum(aad),
    },
    settings,
  )
  return checked(answer.plaintext, answer.plaintextCrc32c, 'plaintext')
}

/** An answer made with another key would never open again, or would open for somebody else. */
function requireVersionOf(name: string, answered: string): void {
  if (name.includes('/cryptoKeyVersions/') && answered === name) return
  const prefix = `${name}/cryptoKeyVersions/`
  if (answered.startsWith(prefix) && /^[1-9]\d*$/.test(answered.slice(prefix.length))) return
  const shown = answered.replace(/[^\x21-\x7e]/g, '?').slice(0, 300)
  throw new ZtError('KMS', `kms: encrypt with ${name}: the answer was made with another key: "${shown}"`, {
    hint: 'nothing of it was used: find out what stands between this client and the KMS',
  })
}
