/** The tenant's key issuer: its ML-DSA-65 signature (FIPS 204, empty context) says which data keys are genuine. */
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, checkLength, equal, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { lp } from '../lp.ts'
import { keyLength, wipe } from './aead.ts'
import { checkKeyName, type KeyName } from './key_name.ts'

export const issuerSeedLength = 32
export const issuerPublicKeyLength = 1952
export const issuerSignatureLength = 3309

/** Commits to a data key and outlives every re-wrap: HKDF-SHA256, empty salt, 32 bytes (SPEC §3.1). */
export function dekCommit(name: KeyName, dataKey: Bytes): Bytes {
  const prk = extract(sha256, checkLength(dataKey, 'data key', keyLength), new Uint8Array(0))
  try {
    return expand(sha256, prk, lp('ztmysql/v1/dek-commit', name.tenant, name.id), 32)
  } finally {
    wipe(prk)
  }
}

function issueMessage(name: KeyName, commit: Bytes): Bytes {
  checkKeyName(name)
  return lp('ztmysql/v1/key-issue', name.tenant, name.id, name.purpose, checkLength(commit, 'dek_commit', 32))
}

/** 1,952 bytes. @param seed 32 bytes */
export function issuerPublicKey(seed: Bytes): Bytes {
  const pair = ml_dsa65.keygen(checkLength(seed, 'issuer seed', issuerSeedLength))
  wipe(pair.secretKey)
  return pair.publicKey
}

/** SHA-256 of an issuer's public key, 32 bytes. */
export const issuerOf = (publicKey: Bytes): Bytes =>
  sha256(checkLength(publicKey, 'issuer public key', issuerPublicKeyLength))

/** 3,309 bytes over name and dek_commit. Deterministic, so that vectors are; hedging guards against faults alone. */
export function signIssue(seed: Bytes, name: KeyName, commit: Bytes): Bytes {
  const pair = ml_dsa65.keygen(checkLength(seed, 'issuer seed', issuerSeedLength))
  try {
    return ml_dsa65.sign(issueMessage(name, commit), pair.secretKey, { extraEntropy: false })
  } finally {
    wipe(pair.secretKey)
  }
}

export interface Issued extends KeyName {
  readonly dekCommit: Bytes
  readonly issuer: Bytes
  readonly issuerSig: Bytes
}

/**
 * Refuses a data key that none of `issuers` (public keys of that tenant, from the trust folder) signed for `purpose`:
 * whoever can write to the database could have put it there to read what is sealed under it.
 * @throws PLANTED_KEY
 */
export function verifyIssue(key: Issued, purpose: string, issuers: readonly Bytes[]): void {
  const planted = (why: string) =>
    new ZtError('PLANTED_KEY', `data key ${key.id}: ${why}`, {
      hint: 'seal nothing under it: find out who put it into the database, then make one with `pq_envelope_cli tenant-key`',
    })
  if (key.purpose !== purpose) throw planted(`is for ${key.purpose}, not for ${purpose}`)
  const issuer = issuers.find(publicKey => equal(issuerOf(publicKey), key.issuer))
  if (issuer === undefined)
    throw planted(
      `its issuer ${toHex(key.issuer).slice(0, 16)} is not one of this tenant's in the trust folder`,
    )
  if (
    key.issuerSig.length !== issuerSignatureLength ||
    !ml_dsa65.verify(key.issuerSig, issueMessage(key, key.dekCommit), issuer)
  )
    throw planted('its issuer did not sign it')
}
