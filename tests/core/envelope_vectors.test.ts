import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { scrypt } from '@noble/hashes/scrypt.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { fromBase64, fromHex, toHex, utf8 } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { open, seal } from '../../lib/core/envelope/aead.ts'
import { blindIndex, normalise } from '../../lib/core/envelope/blind_index.ts'
import { dataKeyFromRow, openDataKey } from '../../lib/core/envelope/data_key.ts'
import { verifyIssue } from '../../lib/core/envelope/issuer.ts'
import { openRow } from '../../lib/core/envelope/row.ts'
import { openSealedFile } from '../../lib/core/envelope/sealed_file.ts'
import { parseSealedRecord } from '../../lib/core/envelope/sealed_record.ts'
import { kmsAad } from '../../lib/core/envelope/wrap.ts'
import { rowFromJson } from '../../lib/core/rows.ts'
import { codeOf, dataKeys, users } from '../support/envelope.ts'
import * as native from '../support/native_envelope.ts'
import { makeVectors } from '../vectors/envelope_vectors.ts'
import blindVectors from '../vectors/envelope-blind-index.json' with { type: 'json' }
import keyVectors from '../vectors/envelope-data-key.json' with { type: 'json' }
import official from '../vectors/envelope-primitives.json' with { type: 'json' }
import rowVectors from '../vectors/envelope-row.json' with { type: 'json' }
import fileVector from '../vectors/envelope-sealed-file.json' with { type: 'json' }
import recordVector from '../vectors/envelope-sealed-record.json' with { type: 'json' }

const bytes = (hex: string) => fromHex(hex, 'vector')
const base64 = (text: string) => fromBase64(text, 'vector')

describe('official vectors', () => {
  test('AES-256-GCM', () => {
    for (const v of official.gcm) {
      const [key, nonce, aad] = [bytes(v.key), bytes(v.nonce), bytes(v.aad)]
      const sealed = seal(key, bytes(v.plaintext), aad, () => nonce)
      expect(toHex(sealed)).toBe(v.nonce + v.ciphertext + v.tag)
      expect(toHex(open(key, sealed, aad, 'vector'))).toBe(v.plaintext)
    }
  })

  test('HKDF-SHA256', () => {
    for (const v of official.hkdf) {
      const prk = extract(sha256, bytes(v.ikm), bytes(v.salt))
      expect(toHex(prk)).toBe(v.prk)
      expect(toHex(expand(sha256, prk, bytes(v.info), v.okm.length / 2))).toBe(v.okm)
    }
  })

  test('HMAC-SHA256 and scrypt', () => {
    for (const v of official.hmac) expect(toHex(hmac(sha256, bytes(v.key), bytes(v.data)))).toBe(v.mac)
    for (const { password, salt, n, r, p, key } of official.scrypt)
      expect(toHex(scrypt(utf8(password), utf8(salt), { N: n, r, p, dkLen: 64 }))).toBe(key)
  })
})

describe('our vectors', () => {
  test('are what their generator makes', async () => {
    for (const [file, text] of makeVectors())
      expect(await Bun.file(join(import.meta.dir, '../vectors', file)).text()).toBe(text)
  }, 30_000) // 128 MiB of scrypt

  test('data keys open, in both implementations, and their issuer signed them', async () => {
    for (const v of keyVectors.cases) {
      const record = dataKeyFromRow(rowFromJson(dataKeys, v.row))
      const seed = v.kem_seed === undefined ? undefined : base64(v.kem_seed)
      expect(toHex(openDataKey(record, bytes(v.kms_secret), seed))).toBe(v.data_key)
      expect((await native.unwrapKey(record, record, bytes(v.kms_secret), seed)).toString('hex')).toBe(
        v.data_key,
      )
      expect(toHex(kmsAad(record.suite, record))).toBe(v.kms_aad)
      if (record.issuer === null || record.issuerSig === null) throw new Error('vector without an issuer')
      const issued = { ...record, issuer: record.issuer, issuerSig: record.issuerSig }
      const publicKey = base64(v.issuer_public_key)
      expect(codeOf(() => verifyIssue(issued, record.purpose, [publicKey]))).toBeUndefined()
      expect(await native.verifyIssue(publicKey, record, record.dekCommit, record.issuerSig)).toBe(true)
    }
  })

  test('rows open, in both implementations, and digest to what they say', () => {
    for (const v of rowVectors.cases) {
      const row = rowFromJson(users, v.row)
      expect(openRow(users, bytes(v.dek), row, { tenant: rowVectors.tenant, key: v.row.id })).toEqual(v.plain)
      expect(native.openRow(users, bytes(v.dek), row)).toEqual(v.plain)
      expect(toHex(rowDigest(users, row))).toBe(v.row_digest)
    }
  })

  test('blind indexes normalise and match, or are refused', () => {
    for (const v of blindVectors.cases) {
      const how = v.normalisation === 'email' ? 'email' : v.normalisation === 'phone' ? 'phone' : 'name'
      if (v.key === undefined) {
        expect(codeOf(() => normalise(how, v.text, v.column))).toBe('BAD_INPUT')
        continue
      }
      const normal = normalise(how, v.text, v.column)
      expect(normal).toBe(v.normalised)
      const place = { tenant: blindVectors.tenant, table: 'users', column: v.column }
      expect(toHex(blindIndex(bytes(v.key), place, normal))).toBe(v.index)
      const other = native.blindIndex(bytes(v.key), place.tenant, 'users', v.column, v.normalised)
      expect(other.toString('hex')).toBe(v.index)
    }
  })

  test('the sealed file and the sealed record open', () => {
    const plaintext = openSealedFile(fileVector.name, fileVector.text, fileVector.passphrase)
    expect(new TextDecoder().decode(plaintext)).toBe(fileVector.plaintext)
    const { dataKey, row, table } = parseSealedRecord(dataKeys, [users], recordVector.text)
    const dek = openDataKey(dataKey, bytes(recordVector.kms_secret))
    expect(openRow(table, dek, row, { tenant: dataKey.tenant, key: String(row.id) })).toEqual(
      recordVector.plain,
    )
  })
})
