/** Private keys of the PKI: made by WebCrypto, kept as PKCS#8, encrypted where they stay on the workstation. */
import { createCipheriv, createPrivateKey, pbkdf2Sync } from 'node:crypto'
import { type Bytes, concat, fromBase64, random, utf8 } from '../../core/bytes.ts'
import { derInteger, derNull, derOctets, derOid, derSequence } from '../../core/der.ts'
import { ZtError } from '../../core/errors.ts'
import { formatPem } from '../../core/pem.ts'

export type Curve = 'P-256' | 'P-384'

/** A private key in hand. */
export interface SigningKey {
  /** For the X.509 library. */
  readonly key: CryptoKey
  /** Secret scalar, 32 or 48 bytes. */
  readonly scalar: Bytes
}

export interface NewKey extends SigningKey {
  readonly pkcs8: Bytes
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Bytes
}

/** Rounds of PBKDF2-HMAC-SHA256 that OWASP asks for. */
const rounds = 600_000

const scalarLength = { 'P-256': 32, 'P-384': 48 } as const

async function scalarOf(key: CryptoKey, curve: Curve): Promise<Bytes> {
  const { d } = await crypto.subtle.exportKey('jwk', key)
  const base64 = (d ?? '').replaceAll('-', '+').replaceAll('_', '/')
  return fromBase64(
    base64.padEnd(Math.ceil(base64.length / 4) * 4, '='),
    'secret scalar',
    scalarLength[curve],
  )
}

export async function makeKey(curve: Curve): Promise<NewKey> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(
    { name: 'ECDSA', namedCurve: curve },
    true,
    ['sign', 'verify'],
  )
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey))
  const spki = new Uint8Array(await crypto.subtle.exportKey('spki', publicKey))
  return { key: privateKey, scalar: await scalarOf(privateKey, curve), pkcs8, spki }
}

/**
 * PKCS#8 under PBES2 (RFC 8018 §6.2): PBKDF2-HMAC-SHA256, AES-256-CBC; what `openssl pkey` reads (SPEC §6.5).
 * Written out here because the platform's own export stops at 2,048 rounds.
 */
export function encryptKey(pkcs8: Bytes, passphrase: string): string {
  const salt = random(16)
  const iv = random(16)
  const key = pbkdf2Sync(utf8(passphrase), salt, rounds, 32, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const ciphertext = concat(new Uint8Array(cipher.update(pkcs8)), new Uint8Array(cipher.final()))
  key.fill(0)
  const prf = derSequence(derOid('1.2.840.113549.2.9'), derNull())
  const kdf = derSequence(
    derOid('1.2.840.113549.1.5.12'),
    derSequence(derOctets(salt), derInteger(rounds), prf),
  )
  const encryption = derSequence(derOid('2.16.840.1.101.3.4.1.42'), derOctets(iv))
  const pbes2 = derSequence(derOid('1.2.840.113549.1.5.13'), derSequence(kdf, encryption))
  return formatPem('ENCRYPTED PRIVATE KEY', derSequence(pbes2, derOctets(ciphertext)))
}

/** @throws BAD_PASSPHRASE, also where the file was changed: the two look the same */
export async function decryptKey(
  pem: string,
  passphrase: string,
  curve: Curve,
  what: string,
): Promise<SigningKey> {
  let pkcs8: Bytes
  try {
    const opened = createPrivateKey({ key: pem, format: 'pem', passphrase: Buffer.from(utf8(passphrase)) })
    pkcs8 = new Uint8Array(opened.export({ format: 'der', type: 'pkcs8' }))
  } catch (cause) {
    throw new ZtError('BAD_PASSPHRASE', `${what}: wrong passphrase, or the file was changed`, {
      hint: 'try the passphrase again: it is the one that the folder was made with',
      cause,
    })
  }
  const key = await crypto.subtle.importKey(
    'pkcs8',
    new Uint8Array(pkcs8),
    { name: 'ECDSA', namedCurve: curve },
    true,
    ['sign'],
  )
  return { key, scalar: await scalarOf(key, curve) }
}
