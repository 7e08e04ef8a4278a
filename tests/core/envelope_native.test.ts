/** What lib/core seals, a second implementation on native cryptography opens, and the other way round. */
import { describe, expect, test } from 'bun:test'
import { newUuid, random } from '../../lib/core/bytes.ts'
import { openDataKey } from '../../lib/core/envelope/data_key.ts'
import * as core from '../../lib/core/envelope/issuer.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { openRow, sealRow } from '../../lib/core/envelope/row.ts'
import { openSealedFile, sealFile } from '../../lib/core/envelope/sealed_file.ts'
import { parseSealedRecord } from '../../lib/core/envelope/sealed_record.ts'
import { kmsAad, unwrapKey, wrapKey } from '../../lib/core/envelope/wrap.ts'
import { columnsOf } from '../../lib/core/tables.ts'
import { accounts, ada, dataKeys, keyName, kmsKey, rowKeys, users } from '../support/envelope.ts'
import * as native from '../support/native_envelope.ts'

const bytes = (buffer: Uint8Array): Uint8Array => new Uint8Array(buffer)
const kms = (): { key: string; secret: Uint8Array; ciphertext: Uint8Array } => ({
  key: kmsKey,
  secret: random(32),
  ciphertext: random(120),
})

describe('two implementations', () => {
  test('agree on the KMS context and on dek_commit', () => {
    const [name, key] = [keyName(), random(32)]
    expect(bytes(native.kmsAad('kms', name))).toEqual(bytes(kmsAad('kms', name)))
    expect(bytes(native.dekCommit(name, key))).toEqual(bytes(core.dekCommit(name, key)))
  })

  test('open each other’s wraps in both suites', async () => {
    const seed = random(64)
    for (const publicKey of [undefined, kemPublicKey(seed)]) {
      const [name, key, leg] = [keyName(), random(32), kms()]
      const ours = wrapKey(name, key, leg, publicKey && { publicKey, holder: 'file' })
      expect(bytes(await native.unwrapKey(name, ours, leg.secret, seed))).toEqual(key)
      const theirs = await native.wrapKey(name, key, leg, publicKey)
      const suite = theirs.suite === 'kms' ? 'kms' : 'kms+ml-kem-768'
      expect(unwrapKey(name, { ...theirs, suite }, leg.secret, seed)).toEqual(key)
    }
  })

  test('verify each other’s key issues', async () => {
    const [seed, name, commit] = [random(32), keyName(), random(32)]
    const publicKey = core.issuerPublicKey(seed)
    expect(await native.verifyIssue(publicKey, name, commit, core.signIssue(seed, name, commit))).toBe(true)
    const issued = {
      ...name,
      dekCommit: commit,
      issuer: core.issuerOf(publicKey),
      issuerSig: bytes(await native.signIssue(seed, name, commit)),
    }
    expect(() => core.verifyIssue(issued, 'record', [publicKey])).not.toThrow()
  })

  test('open each other’s rows, blind indexes included', () => {
    const keys = rowKeys()
    const head = { tenant: newUuid(), key: newUuid(), version: 7 }
    for (const person of [ada, { ...ada, full_name: 'Zoë 🦀 張', phone: null }]) {
      const ours = sealRow(users, keys, head, person)
      expect(native.openRow(users, keys.dek, ours)).toEqual(person)
      const theirs = native.sealRow(users, keys, head, person)
      expect(openRow(users, keys.dek, theirs, head)).toEqual(person)
      for (const column of ['email_bidx', 'phone_bidx'])
        expect(String(ours[column])).toBe(
          theirs[column] === null ? 'null' : String(bytes(theirs[column] as Uint8Array)),
        )
    }
    const account = { user_id: newUuid(), currency: 'EUR', balance_minor: 125 }
    expect(native.openRow(accounts, keys.dek, sealRow(accounts, keys, head, account))).toEqual(account)
    expect(openRow(accounts, keys.dek, native.sealRow(accounts, keys, head, account), head)).toEqual(account)
  })

  test('open each other’s sealed files', () => {
    const [name, plaintext, passphrase] = ['acme-issuer.json', random(50), 'caf\u0065\u0301 au lait']
    expect(bytes(native.openSealedFile(name, sealFile(name, plaintext, passphrase), passphrase))).toEqual(
      plaintext,
    )
    const theirs = native.sealFile(name, plaintext, 'caf\u00e9 au lait')
    expect(openSealedFile(name, theirs, passphrase)).toEqual(plaintext)
  }, 30_000) // four times 128 MiB of scrypt

  test('read each other’s sealed records', async () => {
    const tenant = newUuid()
    let secret: Uint8Array = new Uint8Array(0)
    const text = await native.sealRecord(
      users,
      columnsOf(dataKeys).map(column => column.name),
      columnsOf(users).map(column => column.name),
      tenant,
      kmsKey,
      ada,
      async plaintext => {
        secret = bytes(plaintext)
        return random(100)
      },
    )
    const { dataKey, row, table } = parseSealedRecord(dataKeys, [accounts, users], text)
    const dek = openDataKey(dataKey, secret)
    expect(openRow(table, dek, row, { tenant, key: String(row.id) })).toEqual(ada)
  })
})
