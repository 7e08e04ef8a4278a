/** Keys, definitions and mutations that the envelope's tests share. */
import { type Bytes, newUuid, random } from '../../lib/core/bytes.ts'
import type { KeyName } from '../../lib/core/envelope/key_name.ts'
import type { RowKeys } from '../../lib/core/envelope/row.ts'
import { type ErrorCode, ZtError } from '../../lib/core/errors.ts'
import { type Row, type TableDefinition, tableSchema } from '../../lib/core/tables.ts'
import accountsJson from '../../sql/tables/accounts.json' with { type: 'json' }
import dataKeysJson from '../../sql/tables/data_keys.json' with { type: 'json' }
import usersJson from '../../sql/tables/users.json' with { type: 'json' }

export const users: TableDefinition = tableSchema.parse(usersJson)
export const accounts: TableDefinition = tableSchema.parse(accountsJson)
export const dataKeys: TableDefinition = tableSchema.parse(dataKeysJson)

export const kmsKey = 'gcp-kms-emulator://projects/p/locations/l/keyRings/r/cryptoKeys/acme'

export const ada = {
  full_name: 'Ada Lovelace',
  role: 'analyst',
  email: 'ada@example.org',
  phone: '+44 20 7946 0958',
}

export const keyName = (purpose = 'record'): KeyName => ({ tenant: newUuid(), id: newUuid(), purpose })

export const rowKeys = (): RowKeys => ({
  dekId: newUuid(),
  dek: random(32),
  blind: new Map([
    ['email', random(32)],
    ['phone', random(32)],
  ]),
})

/** The code of the ZtError that `act` throws; anything else is thrown on, and no error at all is `undefined`. */
export function codeOf(act: () => unknown): ErrorCode | undefined {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return undefined
}

export async function codeOfPromise(act: () => Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return undefined
}

/** Every variant of `bytes` with one bit flipped (bit i mod 8 of byte i), then every truncation, then one byte more. */
export function* spoilt(bytes: Bytes, step = 1): Generator<Bytes> {
  for (let i = 0; i < bytes.length; i += step) {
    const copy = bytes.slice()
    copy[i] = (copy[i] ?? 0) ^ (1 << (i % 8))
    yield copy
  }
  for (let length = 0; length < bytes.length; length += step) yield bytes.slice(0, length)
  yield Uint8Array.of(...bytes, 0)
}

/** Columns of a row that hold bytes. */
export const byteColumns = (row: Row): [string, Bytes][] =>
  Object.entries(row).filter((entry): entry is [string, Bytes] => entry[1] instanceof Uint8Array)
