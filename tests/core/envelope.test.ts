import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { newUuid, random } from '../../lib/core/bytes.ts'
import { open, seal, wipe } from '../../lib/core/envelope/aead.ts'
import { blindIndex, normalise } from '../../lib/core/envelope/blind_index.ts'
import { openCell, sealCell } from '../../lib/core/envelope/cell.ts'
import { checkPlain } from '../../lib/core/envelope/plain.ts'
import { openRecordKey, sealRecordKey } from '../../lib/core/envelope/record_key.ts'
import { openRow, sealRow } from '../../lib/core/envelope/row.ts'
import { checkRowMac, rowMac } from '../../lib/core/envelope/row_mac.ts'
import type { ErrorCode } from '../../lib/core/errors.ts'
import type { Row, TableDefinition } from '../../lib/core/tables.ts'
import { accounts, ada, byteColumns, codeOf, dataKeys, rowKeys, spoilt, users } from '../support/envelope.ts'

const refused: (ErrorCode | undefined)[] = ['DECRYPT_FAILED', 'BAD_LENGTH', 'BAD_MAC', 'BAD_FORMAT']

const head = (version = 1) => ({ tenant: newUuid(), key: newUuid(), version })
const asked = (row: Row) => ({ tenant: String(row.tenant_id), key: String(row.id) })

describe('AEAD', () => {
  test('refuses keys and sealed texts of any other length', () => {
    const key = random(32)
    expect(codeOf(() => seal(random(16), random(5), random(3)))).toBe('BAD_LENGTH')
    expect(codeOf(() => open(random(31), seal(key, random(5), random(3)), random(3), 'x'))).toBe('BAD_LENGTH')
    for (let length = 0; length < 28; length++)
      expect(codeOf(() => open(key, random(length), random(3), 'x'))).toBe('BAD_LENGTH')
    expect(codeOf(() => open(key, seal(key, random(31), random(3)), random(3), 'x', 32))).toBe('BAD_LENGTH')
  })

  test('refuses a random source that gives a nonce of another length', () => {
    expect(codeOf(() => seal(random(32), random(5), random(3), () => random(16)))).toBe('BAD_LENGTH')
    expect(codeOf(() => seal(random(32), random(5), random(3), () => random(8)))).toBe('BAD_LENGTH')
  })

  test('opens what it sealed, and nothing that differs in one byte', () => {
    const [key, aad, plaintext] = [random(32), random(20), random(40)]
    const sealed = seal(key, plaintext, aad)
    expect(open(key, sealed, aad, 'x')).toEqual(plaintext)
    for (const bad of spoilt(sealed)) expect(refused).toContain(codeOf(() => open(key, bad, aad, 'x')))
    for (const bad of spoilt(aad)) expect(codeOf(() => open(key, sealed, bad, 'x'))).toBe('DECRYPT_FAILED')
  })

  test('takes a fresh nonce each time', () => {
    const [key, aad] = [random(32), random(3)]
    const nonces = new Set(Array.from({ length: 200 }, () => seal(key, aad, aad).slice(0, 12).join()))
    expect(nonces.size).toBe(200)
  })

  test('wipes what it is given', () => {
    const secret = random(32)
    wipe(secret, undefined)
    expect(secret).toEqual(new Uint8Array(32))
  })
})

describe('record key', () => {
  test('opens only under its DEK, at its row, tenant, table and DEK id', () => {
    const [dek, dekId, key] = [random(32), newUuid(), random(32)]
    const place = { tenant: newUuid(), table: 'users', row: newUuid() }
    const sealed = sealRecordKey(dek, dekId, place, key)
    expect(sealed.length).toBe(60)
    expect(openRecordKey(dek, dekId, place, sealed)).toEqual(key)
    for (const other of [
      { ...place, tenant: newUuid() },
      { ...place, row: newUuid() },
      { ...place, table: 'accounts' },
    ])
      expect(codeOf(() => openRecordKey(dek, dekId, other, sealed))).toBe('DECRYPT_FAILED')
    expect(codeOf(() => openRecordKey(dek, newUuid(), place, sealed))).toBe('DECRYPT_FAILED')
    expect(codeOf(() => openRecordKey(random(32), dekId, place, sealed))).toBe('DECRYPT_FAILED')
    for (const bad of spoilt(sealed))
      expect(refused).toContain(codeOf(() => openRecordKey(dek, dekId, place, bad)))
  })
})

describe('cell', () => {
  const place = { tenant: newUuid(), table: 'users', column: 'email', row: newUuid(), version: 3 }

  test('is 28 bytes longer than its UTF-8, and opens to the same text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), text => {
        const key = random(32)
        const cell = sealCell(key, place, text)
        expect(cell.length).toBe(28 + new TextEncoder().encode(text).length)
        expect(openCell(key, place, cell)).toBe(text)
      }),
      { numRuns: 40 },
    )
  })

  test('does not open in another column, row, tenant, table or version', () => {
    const key = random(32)
    const cell = sealCell(key, place, 'ada@example.org')
    for (const other of [
      { ...place, column: 'full_name' },
      { ...place, row: newUuid() },
      { ...place, tenant: newUuid() },
      { ...place, table: 'people' },
      { ...place, version: 2 },
      { ...place, version: 4n },
    ])
      expect(codeOf(() => openCell(key, other, cell))).toBe('DECRYPT_FAILED')
    expect(openCell(key, { ...place, version: 3n }, cell)).toBe('ada@example.org')
  })

  test('refuses an unpaired surrogate, which would come back as another text', () => {
    expect(codeOf(() => sealCell(random(32), place, 'a\ud800b'))).toBe('BAD_INPUT')
  })
})

describe('row', () => {
  test('opens to what was sealed', () => {
    fc.assert(
      fc.property(
        fc.record({
          role: fc.stringMatching(/^[a-z][a-z0-9_-]{0,31}$/),
          full_name: fc
            .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
            .filter(s => s.trim() !== ''),
          email: fc.emailAddress({ size: 'small' }),
          phone: fc.option(fc.stringMatching(/^\+[0-9]{7,15}$/)),
        }),
        fc.integer({ min: 1, max: 2 ** 40 }),
        (person, version) => {
          const keys = rowKeys()
          const row = sealRow(users, keys, head(version), person)
          expect(openRow(users, keys.dek, row, asked(row))).toEqual(person)
          expect(row.phone === null).toBe(person.phone === null)
          expect(row.phone_bidx === null).toBe(person.phone === null)
        },
      ),
      { numRuns: 25 },
    )
  })

  test('works for any sealed definition, also one without sealed columns of its own', () => {
    const keys = rowKeys()
    const account = { user_id: newUuid(), currency: 'EUR', balance_minor: 2n ** 64n - 1n }
    const row = sealRow(accounts, keys, head(), account)
    expect(openRow(accounts, keys.dek, row, asked(row))).toEqual(account)
    expect(codeOf(() => openRow(accounts, keys.dek, { ...row, balance_minor: 5 }, asked(row)))).toBe(
      'BAD_MAC',
    )
    expect(codeOf(() => sealRow(dataKeys, keys, head(), {}))).toBe('BAD_INPUT')
  })

  test('refuses any spoilt byte or length of any stored value', () => {
    const keys = rowKeys()
    const row = sealRow(users, keys, head(), ada)
    for (const [column, bytes] of byteColumns(row)) {
      if (column === 'salt') continue // not under the MAC: it belongs to the digest (SPEC §3.5)
      for (const bad of spoilt(bytes))
        expect(refused).toContain(
          codeOf(() => openRow(users, keys.dek, { ...row, [column]: bad }, asked(row))),
        )
      const without = codeOf(() => openRow(users, keys.dek, { ...row, [column]: null }, asked(row)))
      expect(refused).toContain(without)
    }
  })

  test('opens a row from before its scheme was raised, unless a new column was filled in', () => {
    const keys = rowKeys()
    const raised: TableDefinition = {
      ...users,
      scheme: 'users/2',
      columns: [
        ...users.columns,
        { kind: 'clear', name: 'note', type: 'text', max: 9, optional: true, immutable: false },
      ],
      history: [{ scheme: 'users/1', columns: users.columns }],
    }
    const old = sealRow(users, keys, head(), ada)
    const opened = (row: Row) => codeOf(() => openRow(raised, keys.dek, row, asked(row)))
    expect(opened({ ...old, note: null })).toBeUndefined()
    expect(opened({ ...old, note: 'x' })).toBe('BAD_MAC')
    const young = sealRow(raised, keys, head(), { ...ada, note: 'y' })
    expect(opened(young)).toBeUndefined()
    expect(opened({ ...young, note: null })).toBe('BAD_MAC')
  })

  test('refuses a changed clear column, version, state or field suite', () => {
    const keys = rowKeys()
    const row = sealRow(users, keys, head(4), ada)
    const opened = (change: Row) => codeOf(() => openRow(users, keys.dek, { ...row, ...change }, asked(row)))
    expect(opened({})).toBeUndefined()
    expect(opened({ wrap_version: 9 })).toBeUndefined()
    expect(opened({ role: 'administrator' })).toBe('BAD_MAC')
    expect(opened({ version: 5 })).toBe('BAD_MAC')
    expect(opened({ version: 3 })).toBe('BAD_MAC')
    expect(opened({ field_suite: 'hkdf-sha256/aes-128-gcm' })).toBe('BAD_FORMAT')
    expect(opened({ state: 'erased' })).toBe('NOT_FOUND')
    expect(opened({ state: 'other' })).toBe('NOT_FOUND')
    expect(opened({ dek_id: newUuid() })).toBe('DECRYPT_FAILED')
  })

  test('refuses cells, keys and whole rows that were swapped between rows, columns, tenants and versions', () => {
    const keys = rowKeys()
    const [first, second] = [head(), head()]
    const a = sealRow(users, keys, first, ada)
    const b = sealRow(users, keys, { ...second, tenant: first.tenant }, { ...ada, email: 'bob@example.org' })
    const older = sealRow(users, keys, { ...first, version: 2 }, { ...ada, email: 'old@example.org' })
    const opened = (change: Row) => codeOf(() => openRow(users, keys.dek, { ...a, ...change }, asked(a)))
    expect(opened({ email: b.email ?? null })).toBe('BAD_MAC')
    expect(opened({ email: a.full_name ?? null, full_name: a.email ?? null })).toBe('BAD_MAC')
    expect(opened({ email: older.email ?? null })).toBe('BAD_MAC')
    expect(opened({ mac: b.mac ?? null })).toBe('BAD_MAC')
    expect(opened({ record_key: b.record_key ?? null })).toBe('DECRYPT_FAILED')
    expect(codeOf(() => openRow(users, keys.dek, b, asked(a)))).toBe('REFUSED')
    expect(codeOf(() => openRow(users, keys.dek, { ...b, id: String(a.id) }, asked(a)))).toBe(
      'DECRYPT_FAILED',
    )
    const moved = { ...a, tenant_id: newUuid() }
    expect(codeOf(() => openRow(users, keys.dek, moved, asked(moved)))).toBe('DECRYPT_FAILED')
    expect(codeOf(() => openRow(users, random(32), a, asked(a)))).toBe('DECRYPT_FAILED')
  })

  test('says nothing of its plaintext in any error', () => {
    const keys = rowKeys()
    const row = sealRow(users, keys, head(), ada)
    try {
      openRow(users, keys.dek, { ...row, role: 'x' }, asked(row))
      expect.unreachable()
    } catch (thrown) {
      expect(String(thrown)).not.toMatch(/ada|Lovelace|7946/i)
    }
  })

  test('MAC tells NULL from an empty value', () => {
    const keys = rowKeys()
    const recordKey = random(32)
    const row = sealRow(users, keys, head(), { ...ada, phone: null })
    const macOf = (change: Row) => rowMac(users, { ...row, ...change }, recordKey).join()
    expect(macOf({ phone: null })).not.toBe(macOf({ phone: new Uint8Array(0) }))
    expect(codeOf(() => checkRowMac(users, { ...row, mac: null }, recordKey))).toBe('BAD_MAC')
  })
})

describe('plaintext', () => {
  const named = (input: unknown): string => {
    try {
      checkPlain(users, input)
    } catch (thrown) {
      return String((thrown as Error).message)
    }
    return 'accepted'
  }

  test('names the member that is wrong, and never its value', () => {
    expect(named({ ...ada, password: 'hunter2' })).toBe('users: unknown member "password"')
    expect(named({ ...ada, email: undefined })).toBe('email: is missing')
    expect(named({ ...ada, email: 7 })).toBe('email: expected a text')
    expect(named({ ...ada, email: 'nobody' })).toBe('email: not a valid email')
    expect(named({ ...ada, phone: '020 7946 0958' })).toBe('phone: not a valid phone')
    expect(named({ ...ada, phone: '' })).toBe('phone: is blank')
    expect(named({ ...ada, full_name: ' ' })).toBe('full_name: is blank')
    expect(named({ ...ada, full_name: 'é'.repeat(513) })).toBe('full_name: longer than 1024 bytes of UTF-8')
    expect(named({ ...ada, full_name: 'x\udc00' })).toBe('full_name: holds an unpaired surrogate')
    expect(named({ ...ada, role: 'Root Admin' })).toStartWith('role: does not match')
    expect(named(null)).toBe('users: expected an object')
    expect(named([])).toBe('users: expected an object')
    expect(named({ ...ada, phone: null })).toBe('accepted')
    expect(named(ada)).toBe('accepted')
  })

  test('refuses what inherits instead of holding members', () => {
    expect(named(Object.create({ toString: 1 }))).toBe('role: is missing')
    expect(named(JSON.parse('{"__proto__":{"role":"x"}}'))).toBe('users: unknown member "__proto__"')
  })

  test('holds numbers to their range', () => {
    const account = { user_id: newUuid(), currency: 'EUR' }
    for (const balance of [-1, 1.5, 2 ** 53, -1n, 2n ** 64n, '5', Number.NaN])
      expect(codeOf(() => checkPlain(accounts, { ...account, balance_minor: balance }))).toBe('BAD_INPUT')
    expect(checkPlain(accounts, { ...account, balance_minor: 0 }).balance_minor).toBe(0)
  })
})

describe('blind index', () => {
  const place = { tenant: newUuid(), table: 'users', column: 'email' }

  test('is equal exactly where the normalised values are', () => {
    const key = random(32)
    const of = (text: string) => blindIndex(key, place, normalise('email', text, 'email')).join()
    expect(of(' Ada@Example.ORG ')).toBe(of('ada@example.org'))
    expect(of('zo\u0065\u0308@x.org')).toBe(of('zo\u00eb@x.org'))
    expect(of('ada@example.org')).not.toBe(of('ada@example.com'))
    expect(blindIndex(key, place, 'x').length).toBe(16)
  })

  test('differs by key, tenant, table and column', () => {
    const key = random(32)
    const seen = new Set(
      [
        blindIndex(key, place, 'x'),
        blindIndex(random(32), place, 'x'),
        blindIndex(key, { ...place, tenant: newUuid() }, 'x'),
        blindIndex(key, { ...place, table: 'people' }, 'x'),
        blindIndex(key, { ...place, column: 'phone' }, 'x'),
      ].map(String),
    )
    expect(seen.size).toBe(5)
  })

  test('normalising twice changes nothing more', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), text => {
        let once: string
        try {
          once = normalise('name', text, 'name')
        } catch {
          return // refused: nothing to compare
        }
        expect(normalise('name', once, 'name').normalize('NFC')).toBe(once.normalize('NFC'))
      }),
      { numRuns: 100 },
    )
  })
})
