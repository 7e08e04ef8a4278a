/** The second implementation: OpenSSL's and BoringSSL's primitives, as the runtime brings them. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { Bytes } from '../core/bytes.ts'
import { fromHex, toHex } from '../core/bytes.ts'
import { bothEngines, type Engine, noble } from '../core/engine.ts'
import { ZtError } from '../core/errors.ts'

/** Heads of a SubjectPublicKeyInfo before the key's own bytes: RFC 5480, RFC 8410, RFC 9881. */
const heads = {
  p256: fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'head'),
  ed25519: fromHex('302a300506032b6570032100', 'head'),
  mldsa44: fromHex('30820532300b06096086480165030403110382052100', 'head'),
}
type Kind = keyof typeof heads

const keys = new Map<string, KeyObject>()
// a hostile trail names no keys: these are the trust folder's, but a long-lived process sees many of those
const mostKeys = 10_000

function keyOf(kind: Kind, publicKey: Bytes): KeyObject {
  const name = `${kind} ${toHex(publicKey)}`
  let key = keys.get(name)
  if (key === undefined) {
    if (keys.size >= mostKeys) keys.clear()
    key = createPublicKey({ key: Buffer.concat([heads[kind], publicKey]), format: 'der', type: 'spki' })
    keys.set(name, key)
  }
  return key
}

/** n / 2 of P-256, big endian: the largest s that is low. */
const halfOrder = fromHex('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'half order')

function isLow(s: Bytes): boolean {
  for (const [i, limit] of halfOrder.entries()) {
    const byte = s[i] ?? 0
    if (byte !== limit) return byte < limit
  }
  return true
}

/** A key or a signature that does not decode verifies nothing. */
function holds(act: () => boolean): boolean {
  try {
    return act()
  } catch {
    return false
  }
}

export const native: Engine = {
  name: 'native',
  sha256: bytes => new Uint8Array(Bun.SHA256.hash(bytes as NodeJS.TypedArray).buffer),
  p256: (publicKey, message, signature) =>
    signature.length === 64 &&
    publicKey.length === 65 &&
    isLow(signature.subarray(32)) &&
    holds(() =>
      verify('sha256', message, { key: keyOf('p256', publicKey), dsaEncoding: 'ieee-p1363' }, signature),
    ),
  ed25519: (publicKey, message, signature) =>
    signature.length === 64 && holds(() => verify(null, message, keyOf('ed25519', publicKey), signature)),
  mldsa44: (publicKey, message, signature) =>
    signature.length === 2420 && holds(() => verify(null, message, keyOf('mldsa44', publicKey), signature)),
}

export const engineNames = ['noble', 'native', 'both'] as const
export type EngineName = (typeof engineNames)[number]

/** Whether the runtime knows ML-DSA: without it `native` would call every checkpoint forged. */
function hasMldsa(): boolean {
  try {
    keyOf('mldsa44', new Uint8Array(1312))
    return true
  } catch {
    return false
  }
}

/** @throws MISSING_TOOL where the runtime lacks a primitive */
export function engineOf(name: EngineName): Engine {
  if (name === 'noble') return noble
  if (!hasMldsa())
    throw new ZtError('MISSING_TOOL', 'engine native: this runtime has no ML-DSA-44', {
      hint: 'use --engine noble, or the released binary',
    })
  return name === 'native' ? native : bothEngines(noble, native)
}
