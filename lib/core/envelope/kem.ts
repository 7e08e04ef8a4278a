/** ML-KEM-768 (FIPS 203): the leg of the hybrid wrap that no KMS holds. */
import { sha256 } from '@noble/hashes/sha2.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { type Bytes, checkLength, random } from '../bytes.ts'
import { reason, ZtError } from '../errors.ts'
import { type Entropy, wipe } from './aead.ts'

export const kemSeedLength = 64
export const kemPublicKeyLength = 1184
export const kemCiphertextLength = 1088

/** 1,184 bytes. @param seed d ‖ z, 64 bytes */
export function kemPublicKey(seed: Bytes): Bytes {
  const pair = ml_kem768.keygen(checkLength(seed, 'KEM seed', kemSeedLength))
  wipe(pair.secretKey)
  return pair.publicKey
}

/** SHA-256 of the public key, 32 bytes. */
export const kemFingerprint = (publicKey: Bytes): Bytes =>
  sha256(checkLength(publicKey, 'KEM public key', kemPublicKeyLength))

/** @throws BAD_LENGTH, BAD_FORMAT on a key that FIPS 203 §7.2 refuses */
export function encapsulate(
  publicKey: Bytes,
  entropy: Entropy = random,
): { ciphertext: Bytes; secret: Bytes } {
  checkLength(publicKey, 'KEM public key', kemPublicKeyLength)
  try {
    const { cipherText, sharedSecret } = ml_kem768.encapsulate(publicKey, entropy(32))
    return { ciphertext: cipherText, secret: sharedSecret }
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `KEM public key: refused: ${reason(cause)}`, { cause })
  }
}

/** 32 bytes. A changed ciphertext gives another secret, not an error (implicit rejection): wrap_commit finds it. */
export function decapsulate(seed: Bytes, ciphertext: Bytes): Bytes {
  const pair = ml_kem768.keygen(checkLength(seed, 'KEM seed', kemSeedLength))
  try {
    return ml_kem768.decapsulate(
      checkLength(ciphertext, 'kem_ciphertext', kemCiphertextLength),
      pair.secretKey,
    )
  } finally {
    wipe(pair.secretKey)
  }
}
