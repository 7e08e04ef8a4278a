import { describe, expect, test } from 'bun:test'
import { type Bytes, newUuid, random, toHex } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { type DataKeyRecord, dataKeyFromRow, openDataKey } from '../../lib/core/envelope/data_key.ts'
import {
  dekCommit,
  issuerOf,
  issuerPublicKey,
  signIssue,
  verifyIssue,
} from '../../lib/core/envelope/issuer.ts'
import { encapsulate, kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { blindPurpose, checkKeyName, type KeyName } from '../../lib/core/envelope/key_name.ts'
import { newDataKeyRow } from '../../lib/core/envelope/sealed_record.ts'
import { kmsAad, type Wrap, wrapKey } from '../../lib/core/envelope/wrap.ts'
import type { ErrorCode } from '../../lib/core/errors.ts'
import { rowFromJson, rowToJson } from '../../lib/core/rows.ts'
import type { Row } from '../../lib/core/tables.ts'
import { byteColumns, codeOf, dataKeys, keyName, kmsKey, spoilt } from '../support/envelope.ts'

const kemSeed = random(64)
const kemPublic = kemPublicKey(kemSeed)
const issuerSeed = random(32)
const issuer = issuerPublicKey(issuerSeed)

interface Made {
  name: KeyName
  key: Bytes
  secret: Bytes
  record: DataKeyRecord
}

function make(hybrid: boolean, name = keyName()): Made {
  const [key, secret] = [random(32), random(32)]
  const wrap = wrapKey(
    name,
    key,
    { key: kmsKey, secret, ciphertext: random(113) },
    hybrid ? { publicKey: kemPublic, holder: 'file' } : undefined,
  )
  const commit = dekCommit(name, key)
  const record = {
    ...name,
    ...wrap,
    dekCommit: commit,
    issuer: issuerOf(issuer),
    issuerSig: signIssue(issuerSeed, name, commit),
  }
  return { name, key, secret, record }
}

const refused: (ErrorCode | undefined)[] = [
  'BAD_COMMITMENT',
  'DECRYPT_FAILED',
  'BAD_LENGTH',
  'BAD_FORMAT',
  'REFUSED',
]

describe('wrap', () => {
  test('opens to the key in both suites, from a row that went through text', () => {
    for (const hybrid of [false, true]) {
      const { key, secret, record } = make(hybrid)
      const row = rowFromJson(
        dataKeys,
        JSON.parse(JSON.stringify(rowToJson(dataKeys, newDataKeyRow(record)))),
      )
      expect(rowDigest(dataKeys, row).length).toBe(32)
      expect(openDataKey(dataKeyFromRow(row), secret, hybrid ? kemSeed : undefined)).toEqual(key)
    }
  })

  test('needs both secrets in the hybrid suite', () => {
    const { secret, record } = make(true)
    expect(codeOf(() => openDataKey(record, random(32), kemSeed))).toBe('BAD_COMMITMENT')
    expect(codeOf(() => openDataKey(record, secret))).toBe('REFUSED')
    expect(codeOf(() => openDataKey(record, secret, random(64)))).toBe('REFUSED')
    const forced = { ...record, kemFingerprint: random(32) }
    expect(codeOf(() => openDataKey(forced, secret, kemSeed))).toBe('REFUSED')
  })

  test('refuses a stripped share, an added share, and another suite', () => {
    const hybrid = make(true)
    const plain = make(false)
    const stripped = { kemCiphertext: null, kemFingerprint: null }
    const opened = ({ record, secret }: Made, change: Partial<Wrap>) =>
      codeOf(() => openDataKey({ ...record, ...change }, secret, kemSeed))
    expect(opened(hybrid, stripped)).toBe('BAD_FORMAT')
    expect(opened(hybrid, { kemCiphertext: null })).toBe('BAD_FORMAT')
    expect(opened(hybrid, { kemFingerprint: null })).toBe('BAD_FORMAT')
    expect(opened(hybrid, { suite: 'kms' })).toBe('BAD_FORMAT')
    expect(opened(hybrid, { ...stripped, suite: 'kms' })).toBe('BAD_COMMITMENT')
    expect(opened(plain, { suite: 'kms+ml-kem-768' })).toBe('BAD_FORMAT')
    expect(opened(plain, { kemCiphertext: hybrid.record.kemCiphertext })).toBe('BAD_FORMAT')
    const grafted = {
      suite: hybrid.record.suite,
      kemCiphertext: hybrid.record.kemCiphertext,
      kemFingerprint: hybrid.record.kemFingerprint,
    }
    expect(opened(plain, grafted)).toBe('BAD_COMMITMENT')
    expect(codeOf(() => dataKeyFromRow({ ...newDataKeyRow(plain.record), suite: 'kms+kyber' }))).toBe(
      'BAD_FORMAT',
    )
  })

  test('binds tenant, id, purpose, KMS key and every ciphertext', () => {
    const made = make(true)
    const other = make(true)
    const kms2 = kmsKey.replace('acme', 'globex')
    for (const change of [
      { tenant: newUuid() },
      { id: newUuid() },
      { purpose: blindPurpose('users', 'email') },
      { kmsKey: kms2 },
      { kmsCiphertext: other.record.kmsCiphertext },
      { kemCiphertext: other.record.kemCiphertext },
      { wrapCommit: other.record.wrapCommit },
    ])
      expect(codeOf(() => openDataKey({ ...made.record, ...change }, made.secret, kemSeed))).toBe(
        'BAD_COMMITMENT',
      )
    const resealed = { ...made.record, sealedKey: other.record.sealedKey }
    expect(codeOf(() => openDataKey(resealed, made.secret, kemSeed))).toBe('DECRYPT_FAILED')
    const recommitted = { ...made.record, dekCommit: other.record.dekCommit }
    expect(codeOf(() => openDataKey(recommitted, made.secret, kemSeed))).toBe('BAD_COMMITMENT')
  })

  test('refuses any spoilt byte or length of any stored field of the wrap', () => {
    const { secret, record } = make(true)
    const row = newDataKeyRow(record)
    const open = (change: Row) =>
      codeOf(() => openDataKey(dataKeyFromRow({ ...row, ...change }), secret, kemSeed))
    expect(open({})).toBeUndefined()
    for (const [column, bytes] of byteColumns(row)) {
      if (['salt', 'issuer', 'issuer_sig'].includes(column)) continue // digest and issuer's signature hold these
      const step = bytes.length > 500 ? 97 : 1
      for (const bad of spoilt(bytes, step)) expect(refused).toContain(open({ [column]: bad }))
    }
  })

  test('the KMS sees a context that differs by suite, tenant, id and purpose', () => {
    const name = keyName()
    const contexts = [
      kmsAad('kms', name),
      kmsAad('kms+ml-kem-768', name),
      kmsAad('kms', { ...name, tenant: newUuid() }),
      kmsAad('kms', { ...name, id: newUuid() }),
      kmsAad('kms', { ...name, purpose: 'blind:users.email' }),
    ]
    expect(new Set(contexts.map(toHex)).size).toBe(5)
  })

  test('refuses one provider for both legs, bad names, keys and lengths', () => {
    const name = keyName()
    const kms = { key: kmsKey, secret: random(32), ciphertext: random(100) }
    const wrap = (change: Partial<typeof kms>, kem?: { publicKey: Bytes; holder: string }) =>
      codeOf(() => wrapKey(name, random(32), { ...kms, ...change }, kem))
    expect(wrap({}, { publicKey: kemPublic, holder: 'gcp-kms-emulator' })).toBe('REFUSED')
    expect(wrap({}, { publicKey: kemPublic, holder: 'gcp-kms' })).toBeUndefined()
    expect(wrap({}, { publicKey: random(1183), holder: 'file' })).toBe('BAD_LENGTH')
    expect(wrap({}, { publicKey: new Uint8Array(1184).fill(255), holder: 'file' })).toBe('BAD_FORMAT')
    expect(wrap({ secret: random(31) })).toBe('BAD_LENGTH')
    expect(wrap({ ciphertext: new Uint8Array(0) })).toBe('BAD_LENGTH')
    expect(wrap({ ciphertext: random(1025) })).toBe('BAD_LENGTH')
    expect(wrap({ key: 'vault:x' })).toBe('BAD_FORMAT')
    expect(codeOf(() => wrapKey(name, random(16), kms))).toBe('BAD_LENGTH')
    for (const bad of [
      { tenant: name.tenant.toUpperCase() },
      { id: '' },
      { purpose: 'Record' },
      { purpose: 'blind:x' },
    ])
      expect(codeOf(() => checkKeyName({ ...name, ...bad }))).toBe('BAD_FORMAT')
  })

  test('a KEM ciphertext is never the same twice', () => {
    expect(encapsulate(kemPublic).ciphertext).not.toEqual(encapsulate(kemPublic).ciphertext)
  })
})

describe('issuer', () => {
  const code = (record: DataKeyRecord, purpose = 'record', issuers = [issuer]) =>
    codeOf(() => {
      if (record.issuer === null || record.issuerSig === null) throw new Error('not signed')
      verifyIssue({ ...record, issuer: record.issuer, issuerSig: record.issuerSig }, purpose, issuers)
    })

  test('accepts a genuine key, also after a re-wrap, and under a list of issuers', () => {
    const { record, key, name } = make(true)
    expect(code(record)).toBeUndefined()
    const again = wrapKey(name, key, { key: kmsKey, secret: random(32), ciphertext: random(90) })
    expect(code({ ...record, ...again })).toBeUndefined()
    expect(code(record, 'record', [issuerPublicKey(random(32)), issuer])).toBeUndefined()
  })

  test('refuses a planted key: unsigned, another issuer’s, another tenant’s, another purpose', () => {
    const { record } = make(false)
    const attacker = random(32)
    const planted = {
      ...record,
      issuer: issuerOf(issuerPublicKey(attacker)),
      issuerSig: signIssue(attacker, record, record.dekCommit),
    }
    expect(code(planted)).toBe('PLANTED_KEY')
    expect(code({ ...planted, issuer: record.issuer })).toBe('PLANTED_KEY')
    expect(code(record, 'record', [])).toBe('PLANTED_KEY')
    expect(code({ ...record, tenant: newUuid() })).toBe('PLANTED_KEY')
    expect(code({ ...record, id: newUuid() })).toBe('PLANTED_KEY')
    expect(code({ ...record, dekCommit: random(32) })).toBe('PLANTED_KEY')
    expect(code(record, blindPurpose('users', 'email'))).toBe('PLANTED_KEY')
    const relabelled = { ...record, purpose: blindPurpose('users', 'email') }
    expect(code(relabelled, relabelled.purpose)).toBe('PLANTED_KEY')
  })

  test('refuses a spoilt signature', () => {
    const { record } = make(false)
    if (record.issuerSig === null) throw new Error('not signed')
    for (const bad of spoilt(record.issuerSig, 331))
      expect(code({ ...record, issuerSig: bad })).toBe('PLANTED_KEY')
  })
})
