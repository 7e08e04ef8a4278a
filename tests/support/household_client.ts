/** The client library of a household of an envelope deployment, in this process. */
import { join } from 'node:path'
import type { Client } from '../../lib/client/client.ts'
import { openClientFiles } from '../../lib/client/files.ts'
import type { Bytes } from '../../lib/core/bytes.ts'
import { fromUtf8, uuidBytes } from '../../lib/core/bytes.ts'
import { type DataKeyRecord, dataKeyFromRow, openDataKey } from '../../lib/core/envelope/data_key.ts'
import { parseIssuerFile } from '../../lib/core/envelope/key_files.ts'
import { openSealedFile } from '../../lib/core/envelope/sealed_file.ts'
import { kmsAad } from '../../lib/core/envelope/wrap.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import type { Row } from '../../lib/core/tables.ts'
import { readPrivateFile } from '../../lib/edge/files.ts'
import { type EnvelopeDeployment, type Household, passphrase } from './envelope_deployment.ts'

export const filesOf = (world: EnvelopeDeployment, household: Household, receipts = 'receipts') => ({
  defaultsFile: join(world.dir, 'clients', `${household.tenant.account}.cnf`),
  trustDir: join(world.dir, 'trust'),
  receiptsDir: join(world.dir, receipts),
  kms: { env: household.env, warn: () => undefined },
})

export const clientOf = (world: EnvelopeDeployment, household: Household, receipts?: string): Client =>
  openClientFiles(filesOf(world, household, receipts)).client

/** The seed of the household's key issuer, 32 bytes. */
export function issuerSeedOf(household: Household): Bytes {
  const name = `${household.label}-issuer.json`
  const inner = openSealedFile(name, readPrivateFile(household.issuerFile, 'issuer key'), passphrase)
  return parseIssuerFile(fromUtf8(inner, name), name).seed
}

export async function storedRow(world: EnvelopeDeployment, table: string, id: string): Promise<Row> {
  const [row] = await world.db.root.query(`SELECT * FROM securedb.${table} WHERE id = ?`, [uuidBytes(id)])
  if (row === undefined) throw new Error(`no row ${id}`)
  return rowFromDatabase(world.db.define(table), row)
}

/** A data key of suite `kms`, opened as its household can. */
export async function openedKey(
  world: EnvelopeDeployment,
  household: Household,
  id: string,
): Promise<{ record: DataKeyRecord; key: Bytes }> {
  const record = dataKeyFromRow(await storedRow(world, 'data_keys', id))
  const kms = await world.kms.open(household.kmsKey, household.env.KMS_EMULATOR_TOKEN_FILE)
  const secret = await kms.decrypt(record.kmsKey, record.kmsCiphertext, kmsAad(record.suite, record))
  return { record, key: openDataKey(record, secret) }
}
