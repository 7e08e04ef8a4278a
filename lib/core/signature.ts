/** Signatures of writers and administrators over events (SPEC §4.2): ECDSA P-256/SHA-256, r ‖ s, low S. */
import { p256 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, checkLength } from './bytes.ts'
import { type Engine, noble } from './engine.ts'
import { lp } from './lp.ts'

/** What a signature says: the members of the event, as text; `after` is the row digest, 32 bytes. */
export interface SignedWrite {
  origin: string
  event: string
  action: string
  tenant: string
  table: string
  key: string
  version: number
  wrapVersion: number
  after: Bytes
}

export function eventMessage(w: SignedWrite): Bytes {
  return lp(
    'ztmysql/v1/event',
    w.origin,
    w.event,
    w.action,
    w.tenant,
    w.table,
    w.key,
    String(w.version),
    String(w.wrapVersion),
    checkLength(w.after, 'after', 32),
  )
}

/** 64 bytes. Deterministic (RFC 6979), so that an identical call carries an identical signature. */
export function signWrite(secretKey: Bytes, write: SignedWrite): Bytes {
  return p256.sign(eventMessage(write), checkLength(secretKey, 'secret key', 32), { lowS: true })
}

/** @param publicKey SEC1 point, 33 or 65 bytes. False for a wrong length, a high S or a point off the curve. */
export function verifyWrite(
  publicKey: Bytes,
  write: SignedWrite,
  signature: Bytes,
  engine: Engine = noble,
): boolean {
  return engine.p256(publicKey, eventMessage(write), signature)
}

/** SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes (SPEC §2). */
export const signerOf = (spki: Bytes): Bytes => sha256(spki)
