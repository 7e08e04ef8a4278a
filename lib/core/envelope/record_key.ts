/** A row's own key, kept in the row under the tenant's DEK (SPEC §3.3). */
import { type Bytes, checkLength, random } from '../bytes.ts'
import { lp } from '../lp.ts'
import { type Entropy, keyLength, open, seal } from './aead.ts'

/** Where a row lives: tenant (UUID), table, key of the row in text. */
export interface Place {
  readonly tenant: string
  readonly table: string
  readonly row: string
}

const aad = (place: Place, dekId: string): Bytes =>
  lp('ztmysql/v1/record', place.tenant, place.table, place.row, dekId)

/** 60 bytes. */
export function sealRecordKey(
  dek: Bytes,
  dekId: string,
  place: Place,
  recordKey: Bytes,
  entropy: Entropy = random,
): Bytes {
  return seal(dek, checkLength(recordKey, 'record key', keyLength), aad(place, dekId), entropy)
}

/** 32 bytes. @throws BAD_LENGTH, DECRYPT_FAILED */
export function openRecordKey(dek: Bytes, dekId: string, place: Place, sealed: Bytes): Bytes {
  return open(dek, sealed, aad(place, dekId), `record key of ${place.table} ${place.row}`, keyLength)
}
