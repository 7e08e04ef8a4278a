/** The hash chain over the events' payloads (SPEC §4.3). */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat } from '../bytes.ts'
import { lp } from '../lp.ts'
import { checkOrigin } from '../origin.ts'

/** SHA-256 of bytes. An argument where a verifier may bring a faster one than noble's. */
export type Hash = (bytes: Bytes) => Bytes

/** `prev_hash` of event 0: SHA-256(LP("ztmysql/v1/genesis", origin)), 32 bytes. */
export function genesisHash(origin: string): Bytes {
  return sha256(lp('ztmysql/v1/genesis', checkOrigin(origin)))
}

/** `curr_hash` = SHA-256(prev_hash ‖ payload), 32 bytes. */
export function linkHash(prev: Bytes, payload: Bytes, hash: Hash = sha256): Bytes {
  return hash(concat(prev, payload))
}
