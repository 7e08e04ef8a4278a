/** The record of a data key as `data_keys` stores it, and the way back to the key (SPEC §3.1, §3.2). */
import { type Bytes, checkLength, equal } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { Row, Value } from '../tables.ts'
import { wipe } from './aead.ts'
import { dekCommit } from './issuer.ts'
import { checkKeyName, type KeyName } from './key_name.ts'
import { checkLegs, type Suite, suites, unwrapKey, type Wrap } from './wrap.ts'

export interface DataKeyRecord extends KeyName, Wrap {
  /** 32 bytes. */
  readonly dekCommit: Bytes
  /** SHA-256 of the issuer's public key; null where no issuer signed (a key used by its maker in one run). */
  readonly issuer: Bytes | null
  readonly issuerSig: Bytes | null
}

/** The own columns of `data_keys`. */
export function dataKeyColumns(record: DataKeyRecord): Row {
  return {
    purpose: record.purpose,
    suite: record.suite,
    kms_key: record.kmsKey,
    kms_ciphertext: record.kmsCiphertext,
    kem_ciphertext: record.kemCiphertext,
    kem_fingerprint: record.kemFingerprint,
    sealed_key: record.sealedKey,
    wrap_commit: record.wrapCommit,
    dek_commit: record.dekCommit,
    issuer: record.issuer,
    issuer_sig: record.issuerSig,
  }
}

const text = (value: Value | undefined, name: string): string => {
  if (typeof value === 'string') return value
  throw new ZtError('BAD_FORMAT', `data key: ${name} is not text`)
}

const maybeBytes = (value: Value | undefined, name: string, length?: number): Bytes | null => {
  if (value === null) return null
  if (value instanceof Uint8Array) return checkLength(value, name, length)
  throw new ZtError('BAD_FORMAT', `data key: ${name} is not bytes`)
}

const bytes = (value: Value | undefined, name: string, length?: number): Bytes => {
  const found = maybeBytes(value, name, length)
  if (found === null) throw new ZtError('BAD_FORMAT', `data key: ${name} is missing`)
  return found
}

/** The record in a row of `data_keys`. @throws BAD_FORMAT, BAD_LENGTH */
export function dataKeyFromRow(row: Row): DataKeyRecord {
  const suite = text(row.suite, 'suite')
  if (!isSuite(suite)) throw new ZtError('BAD_FORMAT', 'data key: unknown wrap suite')
  const record: DataKeyRecord = {
    tenant: text(row.tenant_id, 'tenant_id'),
    id: text(row.id, 'id'),
    purpose: text(row.purpose, 'purpose'),
    suite,
    kmsKey: text(row.kms_key, 'kms_key'),
    kmsCiphertext: bytes(row.kms_ciphertext, 'kms_ciphertext'),
    kemCiphertext: maybeBytes(row.kem_ciphertext, 'kem_ciphertext'),
    kemFingerprint: maybeBytes(row.kem_fingerprint, 'kem_fingerprint'),
    sealedKey: bytes(row.sealed_key, 'sealed_key', 60),
    wrapCommit: bytes(row.wrap_commit, 'wrap_commit', 32),
    dekCommit: bytes(row.dek_commit, 'dek_commit', 32),
    issuer: maybeBytes(row.issuer, 'issuer', 32),
    issuerSig: maybeBytes(row.issuer_sig, 'issuer_sig', 3309),
  }
  checkKeyName(record)
  checkLegs(record)
  return record
}

const isSuite = (name: string): name is Suite => (suites as readonly string[]).includes(name)

/** The data key, 32 bytes, with both commitments checked. @throws as unwrapKey */
export function openDataKey(record: DataKeyRecord, kmsSecret: Bytes, kemSeed?: Bytes): Bytes {
  const key = unwrapKey(record, record, kmsSecret, kemSeed)
  if (equal(dekCommit(record, key), record.dekCommit)) return key
  wipe(key)
  throw new ZtError('BAD_COMMITMENT', `data key ${record.id}: dek_commit does not match the key`, {
    hint: 'the stored key was replaced by another one that is wrapped correctly: use nothing sealed under it',
  })
}
