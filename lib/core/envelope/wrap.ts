/** A data key under the tenant's KMS key, and under its ML-KEM key too in the hybrid suite (SPEC §3.2). */
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, checkLength, concat, equal, random, toHex, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { parseKmsUri } from '../kms_uri.ts'
import { lp } from '../lp.ts'
import { type Entropy, keyLength, open, seal, wipe } from './aead.ts'
import { decapsulate, encapsulate, kemCiphertextLength, kemFingerprint, kemPublicKey } from './kem.ts'
import { checkKeyName, type KeyName } from './key_name.ts'

export const suites = ['kms', 'kms+ml-kem-768'] as const
export type Suite = (typeof suites)[number]
export const kmsSecretLength = 32
const kmsCiphertextMaxLength = 1024

export interface Wrap {
  readonly suite: Suite
  /** Canonical URI; its scheme names the provider. */
  readonly kmsKey: string
  readonly kmsCiphertext: Bytes
  /** 1,088 bytes; null in suite `kms`. */
  readonly kemCiphertext: Bytes | null
  /** SHA-256 of the KEM's public key; null in suite `kms`. */
  readonly kemFingerprint: Bytes | null
  /** 60 bytes. */
  readonly sealedKey: Bytes
  /** 32 bytes. */
  readonly wrapCommit: Bytes
}

/** What the KMS did: `secret` is the 32 random bytes that it encrypted, with kmsAad, to `ciphertext`. */
export interface KmsLeg {
  readonly key: string
  readonly secret: Bytes
  readonly ciphertext: Bytes
}

/** The public half of the tenant's KEM key, 1,184 bytes, and who holds the private half: `file`, or a KMS provider. */
export interface KemLeg {
  readonly publicKey: Bytes
  readonly holder: string
}

/** The AAD of the KMS call. */
export function kmsAad(suite: Suite, name: KeyName): Bytes {
  checkKeyName(name)
  return lp('ztmysql/v1/kms', suite, name.tenant, name.id, name.purpose)
}

type Legs = Omit<Wrap, 'sealedKey' | 'wrapCommit'>

function derive(name: KeyName, legs: Legs, ikm: Bytes): { wrappingKey: Bytes; commit: Bytes } {
  const context = [
    legs.suite,
    name.tenant,
    name.id,
    name.purpose,
    legs.kmsKey,
    legs.kmsCiphertext,
    legs.kemCiphertext ?? '',
    legs.kemFingerprint ?? '',
  ]
  const prk = extract(sha256, ikm, utf8('ztmysql/v1/wrap-salt'))
  try {
    return {
      wrappingKey: expand(sha256, prk, lp('ztmysql/v1/wrap', ...context), keyLength),
      commit: expand(sha256, prk, lp('ztmysql/v1/commit', ...context), 32),
    }
  } finally {
    wipe(prk)
  }
}

const keyAad = (suite: Suite, name: KeyName): Bytes =>
  lp('ztmysql/v1/dek', suite, name.tenant, name.id, name.purpose)

/** Wraps a data key (32 bytes); with `kem` in the hybrid suite. @throws REFUSED where one provider holds both legs */
export function wrapKey(
  name: KeyName,
  dataKey: Bytes,
  kms: KmsLeg,
  kem?: KemLeg,
  entropy: Entropy = random,
): Wrap {
  checkKeyName(name)
  checkLength(dataKey, 'data key', keyLength)
  checkLength(kms.secret, 'KMS secret', kmsSecretLength)
  const { provider } = parseKmsUri(kms.key)
  if (kem?.holder === provider)
    throw new ZtError('REFUSED', `hybrid wrap: ${provider} would hold both the KMS key and the ML-KEM key`, {
      hint: 'keep the ML-KEM key in a file, or with another provider: one compromise must not open both legs',
    })
  const share = kem === undefined ? undefined : encapsulate(kem.publicKey, entropy)
  const legs: Legs = {
    suite: share === undefined ? 'kms' : 'kms+ml-kem-768',
    kmsKey: kms.key,
    kmsCiphertext: kms.ciphertext,
    kemCiphertext: share?.ciphertext ?? null,
    kemFingerprint: kem === undefined ? null : kemFingerprint(kem.publicKey),
  }
  checkLegs(legs)
  const ikm = concat(kms.secret, share?.secret ?? new Uint8Array(0))
  const { wrappingKey, commit } = derive(name, legs, ikm)
  try {
    return {
      ...legs,
      sealedKey: seal(wrappingKey, dataKey, keyAad(legs.suite, name), entropy),
      wrapCommit: commit,
    }
  } finally {
    wipe(ikm, wrappingKey, share?.secret)
  }
}

/** A suite and exactly its parts: a share that was stripped or added is refused before any key is asked for. */
export function checkLegs(legs: Legs): void {
  parseKmsUri(legs.kmsKey)
  const { length } = legs.kmsCiphertext
  if (length === 0 || length > kmsCiphertextMaxLength)
    throw new ZtError(
      'BAD_LENGTH',
      `kms_ciphertext: expected 1 to ${kmsCiphertextMaxLength} bytes, got ${length}`,
    )
  if (!suites.includes(legs.suite)) throw new ZtError('BAD_FORMAT', 'data key: unknown wrap suite')
  const { kemCiphertext, kemFingerprint: fingerprint } = legs
  if (legs.suite === 'kms') {
    if (kemCiphertext !== null || fingerprint !== null)
      throw new ZtError('BAD_FORMAT', 'data key: suite kms with a post-quantum share')
  } else {
    if (kemCiphertext === null || fingerprint === null)
      throw new ZtError('BAD_FORMAT', `data key: suite ${legs.suite} without its post-quantum share`)
    checkLength(kemCiphertext, 'kem_ciphertext', kemCiphertextLength)
    checkLength(fingerprint, 'kem_fingerprint', 32)
  }
}

/**
 * The data key, 32 bytes. `kmsSecret` is what the KMS decrypted from kmsCiphertext with kmsAad; `kemSeed` (64 bytes) is
 * needed for the hybrid alone. The caller compares dek_commit (openDataKey in data_key.ts does).
 * @throws BAD_FORMAT, BAD_LENGTH, REFUSED (no KEM key, or another one), BAD_COMMITMENT, DECRYPT_FAILED
 */
export function unwrapKey(name: KeyName, wrap: Wrap, kmsSecret: Bytes, kemSeed?: Bytes): Bytes {
  checkKeyName(name)
  checkLegs(wrap)
  checkLength(kmsSecret, 'KMS secret', kmsSecretLength)
  const kemSecret =
    wrap.kemCiphertext === null ? undefined : kemShare(name, wrap, wrap.kemCiphertext, kemSeed)
  const ikm = concat(kmsSecret, kemSecret ?? new Uint8Array(0))
  const { wrappingKey, commit } = derive(name, wrap, ikm)
  try {
    if (!equal(commit, checkLength(wrap.wrapCommit, 'wrap_commit', 32)))
      throw new ZtError(
        'BAD_COMMITMENT',
        `data key ${name.id}: wrap_commit does not match what was unwrapped`,
        {
          hint: 'the stored key was changed, or belongs to another tenant, purpose or KMS key',
        },
      )
    return open(wrappingKey, wrap.sealedKey, keyAad(wrap.suite, name), `data key ${name.id}`, keyLength)
  } finally {
    wipe(ikm, wrappingKey, kemSecret)
  }
}

function kemShare(name: KeyName, wrap: Wrap, ciphertext: Bytes, seed?: Bytes): Bytes {
  if (seed === undefined)
    throw new ZtError(
      'REFUSED',
      `data key ${name.id}: is wrapped in the hybrid suite and needs the ML-KEM key`,
      {
        hint: 'name the tenant’s private key file with --kem',
      },
    )
  const mine = kemFingerprint(kemPublicKey(seed))
  if (wrap.kemFingerprint === null || !equal(mine, wrap.kemFingerprint))
    throw new ZtError(
      'REFUSED',
      `data key ${name.id}: was wrapped for the ML-KEM key ${toHex(wrap.kemFingerprint ?? mine).slice(0, 16)}, not for ${toHex(mine).slice(0, 16)}`,
      { hint: 'name the key file that belongs to this tenant with --kem' },
    )
  return decapsulate(seed, ciphertext)
}
