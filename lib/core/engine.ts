/** The primitives that a verifier checks with, behind one interface: noble's by default, another's to compare with. */
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, equal } from './bytes.ts'
import { ZtError } from './errors.ts'

export interface Engine {
  readonly name: string
  /** 32 bytes. */
  sha256(bytes: Bytes): Bytes
  /** ECDSA P-256/SHA-256, r ‖ s of 64 bytes with low S. @param publicKey SEC1 point */
  p256(publicKey: Bytes, message: Bytes, signature: Bytes): boolean
  /** RFC 8032. */
  ed25519(publicKey: Bytes, message: Bytes, signature: Bytes): boolean
  /** FIPS 204, empty context. */
  mldsa44(publicKey: Bytes, message: Bytes, signature: Bytes): boolean
}

/** noble throws on points that do not decode and on numbers out of range: that is no signature. */
function holds(verify: () => boolean): boolean {
  try {
    return verify()
  } catch {
    return false
  }
}

export const noble: Engine = {
  name: 'noble',
  sha256,
  p256: (publicKey, message, signature) =>
    signature.length === 64 && holds(() => p256.verify(signature, message, publicKey, { lowS: true })),
  ed25519: (publicKey, message, signature) =>
    holds(() => ed25519.verify(signature, message, publicKey, { zip215: false })),
  mldsa44: (publicKey, message, signature) => holds(() => ml_dsa44.verify(signature, message, publicKey)),
}

/** Asks both and throws where they disagree: then one of them is wrong, and nothing was judged. */
export function bothEngines(a: Engine, b: Engine): Engine {
  const agree = <T>(what: string, x: T, same: boolean): T => {
    if (same) return x
    throw new ZtError(
      'INTERNAL',
      `engines ${a.name} and ${b.name} disagree about a ${what}: nothing was judged`,
      {
        hint: 'one of them is at fault: report it with the trail, and judge with the other one',
      },
    )
  }
  const verdict =
    (what: 'p256' | 'ed25519' | 'mldsa44') =>
    (publicKey: Bytes, message: Bytes, signature: Bytes): boolean => {
      const [x, y] = [a[what](publicKey, message, signature), b[what](publicKey, message, signature)]
      return agree(`${what} signature`, x, x === y)
    }
  return {
    name: `${a.name} and ${b.name}`,
    sha256: bytes => {
      const [x, y] = [a.sha256(bytes), b.sha256(bytes)]
      return agree('SHA-256', x, equal(x, y))
    },
    p256: verdict('p256'),
    ed25519: verdict('ed25519'),
    mldsa44: verdict('mldsa44'),
  }
}
