import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { random, toBase64, toHex, utf8 } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { kemFingerprint, kemPublicKey, kemSeedLength } from '../core/envelope/kem.ts'
import { formatKemFile } from '../core/envelope/key_files.ts'
import { sealFile } from '../core/envelope/sealed_file.ts'
import { ZtError } from '../core/errors.ts'
import { createExclusive, removeFile } from '../edge/files.ts'

export interface KemPair {
  /** Paths: private key, public key in base64, sealed recovery copy. */
  readonly private: string
  readonly public: string
  readonly recovery: string
  /** Hex of SHA-256 of the public key. */
  readonly fingerprint: string
}

/** Path of the sealed copy that lies beside a private key. */
export const recoveryCopyOf = (out: string): string => `${out.replace(/\.json$/, '')}.recovery.json`

/**
 * Makes a tenant's ML-KEM-768 pair: `NAME.json` (private), `NAME.pub`, and `NAME.recovery.json`, which opens with the
 * passphrase alone. All three or none. @throws CONFLICT, BAD_INPUT, BAD_PASSPHRASE, and as createExclusive
 */
export function makeKemPair(tenant: string, out: string, passphrase: string): KemPair {
  if (!out.endsWith('.json') || out.endsWith('.recovery.json'))
    throw new ZtError('BAD_INPUT', `${out}: expected a name that ends in .json`, {
      hint: 'for example --out clients/acme-kem.json',
    })
  const stem = out.slice(0, -'.json'.length)
  const paths = { private: out, public: `${stem}.pub`, recovery: recoveryCopyOf(out) }
  const taken = Object.values(paths).find(existsSync)
  if (taken !== undefined)
    throw new ZtError('CONFLICT', `${taken}: exists already`, {
      hint: 'a key that sealed something must not be replaced: choose another name',
    })
  const seed = random(kemSeedLength)
  const made: string[] = []
  const put = (path: string, text: string, mode: number) => {
    createExclusive(path, text, mode)
    made.push(path)
  }
  try {
    const publicKey = kemPublicKey(seed)
    const text = formatKemFile({ tenant, seed })
    put(paths.recovery, sealFile(basename(paths.recovery), utf8(text), passphrase), 0o600)
    put(paths.public, `${toBase64(publicKey)}\n`, 0o644)
    put(paths.private, text, 0o600)
    return { ...paths, fingerprint: toHex(kemFingerprint(publicKey)) }
  } catch (thrown) {
    for (const path of made) removeFile(path)
    throw thrown
  } finally {
    wipe(seed)
  }
}
