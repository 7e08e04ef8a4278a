import { describe, expect, test } from 'bun:test'
import { newUuid, random } from '../../lib/core/bytes.ts'
import { dekCommit } from '../../lib/core/envelope/issuer.ts'
import {
  formatIssuerFile,
  formatKemFile,
  parseIssuerFile,
  parseKemFile,
} from '../../lib/core/envelope/key_files.ts'
import { sealRow } from '../../lib/core/envelope/row.ts'
import { openSealedFile, sealFile } from '../../lib/core/envelope/sealed_file.ts'
import {
  formatSealedRecord,
  newDataKeyRow,
  parseSealedRecord,
} from '../../lib/core/envelope/sealed_record.ts'
import { wrapKey } from '../../lib/core/envelope/wrap.ts'
import { ada, codeOf, dataKeys, keyName, kmsKey, users } from '../support/envelope.ts'

describe('sealed file', () => {
  const name = 'acme-issuer.json'
  const text = sealFile(name, random(40), 'pass')

  test('opens only with its passphrase and under its name', () => {
    expect(openSealedFile(name, text, 'pass').length).toBe(40)
    expect(codeOf(() => openSealedFile(name, text, 'Pass'))).toBe('BAD_PASSPHRASE')
    expect(codeOf(() => openSealedFile(name, text, ''))).toBe('BAD_PASSPHRASE')
    expect(codeOf(() => openSealedFile('globex-issuer.json', text, 'pass'))).toBe('BAD_PASSPHRASE')
    expect(codeOf(() => sealFile(name, random(1), ''))).toBe('BAD_PASSPHRASE')
  }, 30_000) // three times 128 MiB of scrypt

  test('refuses another cost before it spends it, and other spellings', () => {
    for (const bad of [
      text.replace('"n":131072', '"n":1073741824'),
      text.replace('"n":131072', '"n":2'),
      text.replace('"p":1', '"p":1000'),
      text.replace('"kdf":"scrypt"', '"kdf":"none"'),
      text.replace('{"v":1,', '{"v":1,"x":1,'),
      text.trimEnd(),
      ` ${text}`,
      text.slice(0, -10),
      '',
    ])
      expect(codeOf(() => openSealedFile(name, bad, 'pass'))).toBe('BAD_FORMAT')
    expect(codeOf(() => openSealedFile(name, text.replace('"v":1', '"v":2'), 'pass'))).toBe('NEWER_FORMAT')
    const short = text.replace(/"salt":"[^"]+"/, '"salt":"AAAA"')
    expect(codeOf(() => openSealedFile(name, short, 'pass'))).toBe('BAD_LENGTH')
  })
})

describe('key files', () => {
  test('re-print to the same bytes, and are not taken for one another', () => {
    const tenant = newUuid()
    const [kem, issuer] = [
      { tenant, seed: random(64) },
      { tenant, seed: random(32) },
    ]
    expect(parseKemFile(formatKemFile(kem), 'x')).toEqual(kem)
    expect(parseIssuerFile(formatIssuerFile(issuer), 'x')).toEqual(issuer)
    expect(codeOf(() => parseKemFile(formatIssuerFile(issuer), 'x'))).toBe('BAD_FORMAT')
    expect(codeOf(() => parseIssuerFile(formatKemFile(kem), 'x'))).toBe('BAD_FORMAT')
    expect(codeOf(() => parseKemFile(formatKemFile({ tenant, seed: random(32) }), 'x'))).toBe('BAD_LENGTH')
    expect(codeOf(() => parseKemFile(formatKemFile({ tenant: 'x', seed: random(64) }), 'x'))).toBe(
      'BAD_FORMAT',
    )
  })
})

describe('sealed record', () => {
  const name = keyName()
  const key = random(32)
  const wrap = wrapKey(name, key, { key: kmsKey, secret: random(32), ciphertext: random(99) })
  const record = { ...name, ...wrap, dekCommit: dekCommit(name, key), issuer: null, issuerSig: null }
  const seal = (dekId: string, tenant: string) =>
    sealRow(users, { dekId, dek: key, blind: null }, { tenant, key: newUuid(), version: 1 }, ada)
  const format = (row = seal(name.id, name.tenant)) =>
    formatSealedRecord(dataKeys, { table: users, key: newDataKeyRow(record), row })

  test('re-prints to the same text and names the provider', () => {
    const text = format()
    expect(text).toContain('gcp-kms-emulator://')
    expect(formatSealedRecord(dataKeys, parseSealedRecord(dataKeys, [users], text))).toBe(text)
    expect(text).not.toMatch(/Ada|example|7946/)
  })

  test('refuses a row of another key, tenant or table, and other spellings', () => {
    const code = (text: string) => codeOf(() => parseSealedRecord(dataKeys, [users], text))
    const text = format()
    expect(code(text)).toBeUndefined()
    expect(code(format(seal(newUuid(), name.tenant)))).toBe('REFUSED')
    expect(code(format(seal(name.id, newUuid())))).toBe('REFUSED')
    for (const bad of [
      text.replace('"table":"users"', '"table":"data_keys"'),
      text.replace('"v":1', '"v": 1'),
      text.slice(0, 100),
      text.trimEnd(),
      '{}\n',
      'null\n',
      text.replace('"salt"', '"Salt"'),
    ])
      expect(code(bad)).toBe('BAD_FORMAT')
  })
})
