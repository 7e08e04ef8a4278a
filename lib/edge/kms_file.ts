/** A KMS key in a file of this machine: for trials alone. Whoever can read the file opens everything. */
import { z } from 'zod'
import { type Bytes, concat, fromBase64, random, toBase64 } from '../core/bytes.ts'
import { keyLength, open, seal, sealOverhead, wipe } from '../core/envelope/aead.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import { parseKmsUri } from '../core/kms_uri.ts'
import { lp } from '../core/lp.ts'
import { createExclusive, readPrivateFile, writeFileAtomic } from './files.ts'
import { type KmsProvider, requireOpened } from './kms.ts'

const kind = 'ztmysql-trial-kms-key'

/** Versions count from 1; one that was destroyed is null. */
const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal(kind),
  versions: z.array(z.string().nullable()).min(1).max(1000),
})
type Versions = (string | null)[]

const format = (versions: Versions): string => formatCanonical({ v: 1, kind, versions }, true)

const read = (path: string): Versions =>
  parseCanonical(readPrivateFile(path, 'trial key'), schema, `trial key ${path}`, { newline: true }).versions

const fresh = (): string => toBase64(random(keyLength))

/** @throws CONFLICT where the file is there already */
export function makeFileKey(path: string): void {
  createExclusive(path, format([fresh()]))
}

/** A new version, which seals from now on. @returns its number */
export function rotateFileKey(path: string): number {
  const versions = [...read(path), fresh()]
  writeFileAtomic(path, format(versions))
  return versions.length
}

export function destroyFileKeyVersion(path: string, number: number): void {
  writeFileAtomic(path, format(read(path).map((key, at) => (at === number - 1 ? null : key))))
}

function keyOf(path: string, keyUri: string, number: number): Bytes {
  const versions = read(path)
  const key = versions[number - 1]
  if (typeof key === 'string') return fromBase64(key, `trial key ${path}`, keyLength)
  throw new ZtError(
    'KMS',
    `kms: ${keyUri}: version ${number} ${key === null ? 'was destroyed' : 'is not there'}`,
    {
      hint: 'what it sealed stays sealed: there is no other copy of a version',
    },
  )
}

const context = (keyUri: string, number: number, aad: Bytes): Bytes =>
  lp('ztmysql/v1/file-kms', keyUri, String(number), aad)

const headLength = 4

/** u32 BE number of the version ‖ nonce 12 ‖ AES-256-GCM with tag; AAD = LP(label, key URI, number, aad). */
export const openFileKms: KmsProvider = async ({ keyUri, warn }) => {
  const path = parseKmsUri(keyUri).name
  read(path) // a wrong file is told at once
  warn(
    `kms: ${keyUri} is a key in a file, for trials alone: whoever reads the file opens everything under it`,
  )
  return {
    provider: 'file',
    keyUri,
    endpoint: path,
    encrypt: async (key, plaintext, aad, version) => {
      requireOpened(key, keyUri)
      const number = version ?? read(path).length
      const head = new Uint8Array(headLength)
      new DataView(head.buffer).setUint32(0, number)
      const material = keyOf(path, keyUri, number)
      try {
        return concat(head, seal(material, plaintext, context(keyUri, number, aad)))
      } finally {
        wipe(material)
      }
    },
    decrypt: async (key, ciphertext, aad) => {
      requireOpened(key, keyUri)
      const what = `kms: decrypt with ${keyUri}: what was sealed`
      if (ciphertext.length < headLength + sealOverhead)
        throw new ZtError('KMS', `${what}: is too short`, { hint: mismatchHint })
      const number = new DataView(ciphertext.buffer, ciphertext.byteOffset).getUint32(0)
      const material = keyOf(path, keyUri, number)
      try {
        return open(material, ciphertext.subarray(headLength), context(keyUri, number, aad), what)
      } catch (cause) {
        if (!(cause instanceof ZtError) || cause.code !== 'DECRYPT_FAILED') throw cause
        throw new ZtError('KMS', cause.message, { hint: mismatchHint, cause })
      } finally {
        wipe(material)
      }
    },
    close: async () => undefined,
  }
}

const mismatchHint = 'the ciphertext does not belong to this key and context, or it was changed'
