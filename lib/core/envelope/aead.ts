/** AES-256-GCM (SP 800-38D) as every sealed thing here uses it: nonce 12 ‖ ciphertext ‖ tag 16. */
import { gcm } from '@noble/ciphers/aes.js'
import { type Bytes, checkLength, concat, random } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { nonceLength, tagLength } from '../tables.ts'

/** Random bytes of a length. Anything but `random` is for vectors alone: a nonce that repeats gives the key away. */
export type Entropy = (length: number) => Bytes

export const keyLength = 32
/** A sealed text is this much longer than its plaintext. */
export const sealOverhead = nonceLength + tagLength

/** @param key 32 bytes */
export function seal(key: Bytes, plaintext: Bytes, aad: Bytes, entropy: Entropy = random): Bytes {
  const nonce = checkLength(entropy(nonceLength), 'nonce', nonceLength)
  return concat(nonce, gcm(checkLength(key, 'key', keyLength), nonce, aad).encrypt(plaintext))
}

/**
 * @param length of the plaintext, where only one is allowed
 * @throws BAD_LENGTH; DECRYPT_FAILED where key, AAD or a byte of `sealed` is not what it was sealed with
 */
export function open(key: Bytes, sealed: Bytes, aad: Bytes, what: string, length?: number): Bytes {
  checkLength(key, `key of ${what}`, keyLength)
  if (length !== undefined) checkLength(sealed, what, sealOverhead + length)
  else if (sealed.length < sealOverhead)
    throw new ZtError('BAD_LENGTH', `${what}: expected at least ${sealOverhead} bytes, got ${sealed.length}`)
  try {
    return gcm(key, sealed.subarray(0, nonceLength), aad).decrypt(sealed.subarray(nonceLength))
  } catch (cause) {
    throw new ZtError('DECRYPT_FAILED', `${what}: does not open: another key or place, or it was changed`, {
      cause,
    })
  }
}

/** Overwrites secrets that are no longer needed. Copies that the runtime made are beyond reach. */
export function wipe(...secrets: (Bytes | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}
