/** Keys at rest on the workstation, sealed by a passphrase (SPEC §6.5). */
import { scrypt } from '@noble/hashes/scrypt.js'
import { z } from 'zod'
import { type Bytes, fromBase64, random, toBase64, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { lp } from '../lp.ts'
import { nonceLength } from '../tables.ts'
import { type Entropy, keyLength, open, seal, wipe } from './aead.ts'

/** One cost for all files (128 MiB): a number read from the file could ask for any amount of memory. */
const cost = { n: 131072, r: 8, p: 1 } as const
const saltBytes = 16

const sealedSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-sealed'),
  kdf: z.literal('scrypt'),
  n: z.literal(cost.n),
  r: z.literal(cost.r),
  p: z.literal(cost.p),
  salt: z.string(),
  nonce: z.string(),
  ciphertext: z.string(),
})

function keyOf(passphrase: string, salt: Bytes): Bytes {
  if (passphrase === '') throw new ZtError('BAD_PASSPHRASE', 'the passphrase is empty')
  const { n, r, p } = cost
  return scrypt(utf8(passphrase.normalize('NFC')), salt, { N: n, r, p, dkLen: keyLength })
}

const aad = (name: string): Bytes => lp('ztmysql/v1/sealed', name)

/** The text of a sealed file. `name` is the file's base name: renamed, it does not open. */
export function sealFile(
  name: string,
  plaintext: Bytes,
  passphrase: string,
  entropy: Entropy = random,
): string {
  const salt = entropy(saltBytes)
  const key = keyOf(passphrase, salt)
  try {
    const sealed = seal(key, plaintext, aad(name), entropy)
    const [nonce, ciphertext] = [sealed.subarray(0, nonceLength), sealed.subarray(nonceLength)].map(toBase64)
    return formatCanonical(
      {
        v: 1,
        kind: 'ztmysql-sealed',
        kdf: 'scrypt',
        ...cost,
        salt: toBase64(salt),
        nonce,
        ciphertext,
      },
      true,
    )
  } finally {
    wipe(key)
  }
}

/** What sealFile sealed. @throws BAD_PASSPHRASE (or a changed file: the two look the same), BAD_FORMAT */
export function openSealedFile(name: string, text: Bytes | string, passphrase: string): Bytes {
  const file = parseCanonical(text, sealedSchema, name, { maxBytes: 1 << 20, newline: true })
  const nonce = fromBase64(file.nonce, `nonce of ${name}`, nonceLength)
  const ciphertext = fromBase64(file.ciphertext, `ciphertext of ${name}`)
  const key = keyOf(passphrase, fromBase64(file.salt, `salt of ${name}`, saltBytes))
  const sealed = new Uint8Array(nonce.length + ciphertext.length)
  sealed.set(nonce)
  sealed.set(ciphertext, nonce.length)
  try {
    return open(key, sealed, aad(name), name)
  } catch (cause) {
    if (!(cause instanceof ZtError) || cause.code !== 'DECRYPT_FAILED') throw cause
    throw new ZtError('BAD_PASSPHRASE', `${name}: wrong passphrase, or the file was changed or renamed`, {
      hint: 'try the passphrase again; the file opens only under the name that it was made with',
      cause,
    })
  } finally {
    wipe(key)
  }
}
