/** Records outside a database (SPEC §3.7): sealed under a data key made in the same run, and opened again. */
import { type Bytes, isUuid, newUuid, random } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import { type DataKeyRecord, openDataKey } from '../core/envelope/data_key.ts'
import { dekCommit } from '../core/envelope/issuer.ts'
import { checkKeyName, recordPurpose } from '../core/envelope/key_name.ts'
import { checkPlain, type Plain } from '../core/envelope/plain.ts'
import { openRow, sealRow } from '../core/envelope/row.ts'
import { formatSealedRecord, newDataKeyRow, parseSealedRecord } from '../core/envelope/sealed_record.ts'
import { kmsAad, kmsSecretLength, wrapKey } from '../core/envelope/wrap.ts'
import { ZtError } from '../core/errors.ts'
import type { TableDefinition } from '../core/tables.ts'
import type { Kms } from '../edge/kms.ts'

type Definitions = ReadonlyMap<string, TableDefinition>

const definition = (definitions: Definitions, table: string): TableDefinition => {
  const def = definitions.get(table)
  if (def === undefined) throw new ZtError('BAD_INPUT', `${table}: no such table`)
  return def
}

export interface RecordKey {
  readonly kms: Kms
  /** Canonical URI. */
  readonly kmsKey: string
  /** For the hybrid suite: ML-KEM-768 public key, 1,184 bytes. */
  readonly kemPublicKey?: Bytes | undefined
}

/** Everything about a record that can be known before a KMS is asked. @throws BAD_INPUT (which argument or member) */
export function checkSealing(definitions: Definitions, table: string, tenant: string, input: unknown): void {
  if (!isUuid(tenant))
    throw new ZtError('BAD_INPUT', 'tenant: not a UUID in lower case', {
      hint: 'a label is not enough here: outside_pki printed the UUID when it made the tenant',
    })
  checkPlain(definition(definitions, table), input)
}

/** The text of a sealed record. @throws BAD_INPUT (which member), and as Kms.encrypt */
export async function sealRecord(
  definitions: Definitions,
  table: string,
  tenant: string,
  input: unknown,
  { kms, kmsKey, kemPublicKey }: RecordKey,
): Promise<string> {
  const def = definition(definitions, table)
  const plain = checkPlain(def, input)
  const name = checkKeyName({ tenant, id: newUuid(), purpose: recordPurpose })
  const [key, secret] = [random(32), random(kmsSecretLength)]
  try {
    const suite = kemPublicKey === undefined ? 'kms' : 'kms+ml-kem-768'
    const ciphertext = await kms.encrypt(kmsKey, secret, kmsAad(suite, name))
    const kem = kemPublicKey === undefined ? undefined : { publicKey: kemPublicKey, holder: 'file' }
    const record: DataKeyRecord = {
      ...name,
      ...wrapKey(name, key, { key: kmsKey, secret, ciphertext }, kem),
      dekCommit: dekCommit(name, key),
      issuer: null,
      issuerSig: null,
    }
    const head = { tenant, key: newUuid(), version: 1 }
    return formatSealedRecord(definition(definitions, 'data_keys'), {
      table: def,
      key: newDataKeyRow(record),
      row: sealRow(def, { dekId: name.id, dek: key, blind: null }, head, plain),
    })
  } finally {
    wipe(key, secret)
  }
}

/** What a sealed record needs before it opens: read it first, then connect to the KMS of its key. */
export function readSealedRecord(definitions: Definitions, text: Bytes | string) {
  return parseSealedRecord(definition(definitions, 'data_keys'), [...definitions.values()], text)
}

/** @throws as openDataKey, openRow and Kms.decrypt */
export async function openSealedRecord(
  { table, row, dataKey }: ReturnType<typeof readSealedRecord>,
  kms: Kms,
  kemSeed?: Bytes,
): Promise<Plain> {
  const secret = await kms.decrypt(dataKey.kmsKey, dataKey.kmsCiphertext, kmsAad(dataKey.suite, dataKey))
  let key: Bytes | undefined
  try {
    key = openDataKey(dataKey, secret, kemSeed)
    return openRow(table, key, row, { tenant: dataKey.tenant, key: String(row[table.key.name]) })
  } finally {
    wipe(secret, key)
  }
}
