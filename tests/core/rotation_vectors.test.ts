/** A data key through every wrap and a row through a re-wrap: both implementations open each state. */
import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { fromBase64, fromHex, toHex } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { dataKeyFromRow, openDataKey } from '../../lib/core/envelope/data_key.ts'
import { openRow } from '../../lib/core/envelope/row.ts'
import { rowFromJson } from '../../lib/core/rows.ts'
import { dataKeys, users } from '../support/envelope.ts'
import * as native from '../support/native_envelope.ts'
import vectors from '../vectors/envelope-rotation.json' with { type: 'json' }
import { makeRotationVectors } from '../vectors/rotation_vectors.ts'

const bytes = (hex: string) => fromHex(hex, 'vector')

test('are what their generator makes', async () => {
  const path = join(import.meta.dir, '../vectors/envelope-rotation.json')
  expect(await Bun.file(path).text()).toBe(makeRotationVectors())
})

test('a data key is the same through every wrap, and so are its commitment and its issue', async () => {
  for (const [i, v] of vectors.wraps.entries()) {
    const row = rowFromJson(dataKeys, v.row)
    const record = dataKeyFromRow(row)
    const seed = v.kem_seed === null ? undefined : fromBase64(v.kem_seed, 'vector')
    expect(Number(row.wrap_version)).toBe(i + 1)
    expect(toHex(openDataKey(record, bytes(v.kms_secret), seed))).toBe(vectors.data_key)
    const other = await native.unwrapKey(record, record, bytes(v.kms_secret), seed)
    expect(other.toString('hex')).toBe(vectors.data_key)
    expect(toHex(rowDigest(dataKeys, row))).toBe(v.row_digest)
    const fixed = ({ dek_commit, issuer, issuer_sig, version }: typeof v.row) => [
      dek_commit,
      issuer,
      issuer_sig,
      version,
    ]
    expect(vectors.wraps.slice(0, 1).map(first => fixed(first.row))).toEqual([fixed(v.row)])
  }
})

test('a row opens before and after its re-wrap, its cells and its MAC untouched', () => {
  const { plain, before, after } = vectors.row
  for (const v of [before, after]) {
    const row = rowFromJson(users, v.row)
    const at = { tenant: vectors.tenant, key: v.row.id }
    expect(openRow(users, bytes(v.dek), row, at)).toEqual(plain)
    expect(native.openRow(users, bytes(v.dek), row)).toEqual(plain)
    expect(toHex(rowDigest(users, row))).toBe(v.row_digest)
  }
  const same = ({ dek_id, record_key, salt, wrap_version, ...rest }: typeof before.row) => rest
  expect(same(after.row)).toEqual(same(before.row))
})

test('what opens neither is refused with these codes', () => {
  expect(vectors.errors.map(({ what, code }) => `${code}: ${what}`)).toEqual([
    'BAD_COMMITMENT: the wrap of a later stage, with the secret of the first',
    'REFUSED: a hybrid wrap without the ML-KEM key',
    'REFUSED: a wrap for the new ML-KEM pair, with the old one',
    'DECRYPT_FAILED: a re-wrapped row, under the old data key',
    'DECRYPT_FAILED: a re-wrapped row with its old record key',
    'DECRYPT_FAILED: a re-wrapped row that names the old data key',
  ])
})
