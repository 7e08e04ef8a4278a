/** One sealed value, bound to column, row, tenant and version of the row (SPEC §3.4). */
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, checkLength, fromUtf8, random, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { lp } from '../lp.ts'
import { type Entropy, keyLength, open, seal, wipe } from './aead.ts'
import type { Place } from './record_key.ts'

/** Names the cipher of the fields, never the wrap, so that rotating a wrap touches no field. */
export const fieldSuite = 'hkdf-sha256/aes-256-gcm'

export interface CellPlace extends Place {
  readonly column: string
  readonly version: number | bigint
}

function fieldKey(recordKey: Bytes, place: CellPlace): Bytes {
  const info = lp('ztmysql/v1/field', fieldSuite, place.tenant, place.table, place.column, place.row)
  return hkdf(sha256, checkLength(recordKey, 'record key', keyLength), new Uint8Array(0), info, keyLength)
}

const aad = (place: CellPlace): Bytes =>
  lp('ztmysql/v1/cell', fieldSuite, place.tenant, place.table, place.column, place.row, String(place.version))

/** nonce ‖ ciphertext ‖ tag: 28 bytes longer than the UTF-8 of `text`. @throws BAD_INPUT on an unpaired surrogate */
export function sealCell(recordKey: Bytes, place: CellPlace, text: string, entropy: Entropy = random): Bytes {
  // UTF-8 has no spelling for it: it would silently come back as another text.
  if (!text.isWellFormed()) throw new ZtError('BAD_INPUT', `${place.column}: holds an unpaired surrogate`)
  const key = fieldKey(recordKey, place)
  const plaintext = utf8(text)
  try {
    return seal(key, plaintext, aad(place), entropy)
  } finally {
    wipe(key, plaintext)
  }
}

/** @throws BAD_LENGTH, DECRYPT_FAILED, BAD_FORMAT on plaintext that is not UTF-8 */
export function openCell(recordKey: Bytes, place: CellPlace, cell: Bytes): string {
  const what = `${place.table}.${place.column} of ${place.row}`
  const key = fieldKey(recordKey, place)
  let plaintext: Bytes | undefined
  try {
    plaintext = open(key, cell, aad(place), what)
    return fromUtf8(plaintext, what)
  } finally {
    wipe(key, plaintext)
  }
}
