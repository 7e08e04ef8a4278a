/** AES-256-GCM with the version named in the ciphertext, so that rotation leaves old ciphertext readable. */
import { gcm } from '@noble/ciphers/aes.js'
import { type Bytes, concat, fromBase64, random } from '../../core/bytes.ts'
import { lp } from '../../core/lp.ts'
import { RpcError } from './errors.ts'
import type { CryptoKey, KeyVersion } from './state.ts'

/** First byte of every ciphertext. */
const blobFormat = 1
const headerBytes = 1 + 4 + 12

const context = (keyName: string, number: number, aad: Bytes): Bytes =>
  lp('zt-kms-emulator/v1', keyName, String(number), aad)

function materialOf(keyName: string, version: KeyVersion): Bytes {
  if (version.state !== 'ENABLED' || version.material === null)
    throw new RpcError(
      'FAILED_PRECONDITION',
      `${keyName}/cryptoKeyVersions/${version.number} is not enabled, current state is: ${version.state}.`,
    )
  return fromBase64(version.material, 'key material', 32)
}

/** format 1 ‖ version u32 BE ‖ nonce 12 ‖ AES-256-GCM(plaintext) with tag; AAD = LP(label, key, version, aad). */
export function seal(keyName: string, version: KeyVersion, plaintext: Bytes, aad: Bytes): Bytes {
  const header = new Uint8Array(headerBytes)
  header[0] = blobFormat
  new DataView(header.buffer).setUint32(1, version.number)
  header.set(random(12), 5)
  const cipher = gcm(materialOf(keyName, version), header.subarray(5), context(keyName, version.number, aad))
  return concat(header, cipher.encrypt(plaintext))
}

/** Plaintext and the number of the version that made the blob. */
export function open(
  keyName: string,
  key: CryptoKey,
  blob: Bytes,
  aad: Bytes,
): { plaintext: Bytes; number: number } {
  const refused = new RpcError(
    'INVALID_ARGUMENT',
    "Decryption failed: verify that 'name' refers to the correct CryptoKey and that the additional data is the same.",
  )
  if (blob.length < headerBytes + 16 || blob[0] !== blobFormat) throw refused
  const number = new DataView(blob.buffer, blob.byteOffset).getUint32(1)
  const version = key.versions.find(candidate => candidate.number === number)
  if (version === undefined) throw refused
  const material = materialOf(keyName, version)
  try {
    const cipher = gcm(material, blob.subarray(5, headerBytes), context(keyName, number, aad))
    return { plaintext: cipher.decrypt(blob.subarray(headerBytes)), number }
  } catch {
    throw refused
  }
}
