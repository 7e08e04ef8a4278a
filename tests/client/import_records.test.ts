import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { frames } from '../../lib/client/frames.ts'
import { importRecords } from '../../lib/client/import_records.ts'
import type { Bytes } from '../../lib/core/bytes.ts'
import { accounts, ada, codeOfPromise, users } from '../support/envelope.ts'

/** The input in pieces of `size` bytes. */
async function* pieces(bytes: Uint8Array, size = 7): AsyncGenerator<Bytes> {
  for (let i = 0; i < bytes.length; i += size) yield Uint8Array.from(bytes.subarray(i, i + size))
}

async function read(
  input: string | Uint8Array,
  { format = 'csv' as 'csv' | 'jsonl', def = users, size = 7, delimiter = ',' } = {},
): Promise<[number, unknown][]> {
  const out: [number, unknown][] = []
  const bytes = typeof input === 'string' ? Buffer.from(input) : input
  for await (const record of importRecords(def, format, pieces(bytes, size), delimiter))
    out.push([record.line, record.reason ?? record.plain])
  return out
}

const header = 'full_name,role,email,phone\n'
const bare = { ...ada, phone: null }
const row = 'Ada Lovelace,analyst,ada@example.org,'
const code = (input: string | Uint8Array) => codeOfPromise(() => read(input))

describe('a CSV', () => {
  test('is read with a byte order mark, CRLF, empty lines, no last line end, cells in quotes over lines', async () => {
    expect(await read(`\ufeff${header.trim()}\r\n${row}\r\n\r\n${row}`)).toEqual([
      [2, bare],
      [4, bare],
    ])
    const quoted = '"Lovelace, ""Ada""\r\nthe Countess",analyst,ada@example.org,'
    expect(await read(`${header}${quoted}\n${row}\n`)).toEqual([
      [2, { ...bare, full_name: 'Lovelace, "Ada"\r\nthe Countess' }],
      [4, bare],
    ])
    expect(
      await read(`${header.replaceAll(',', ';')}${row.replaceAll(',', ';')}`, { delimiter: ';' }),
    ).toEqual([[2, bare]])
  })

  test('loses one line to one wrong quote, wherever it stands, and nothing after it', async () => {
    const good = '"Bob\nB",staff,bob@example.org,'
    for (const wrong of [
      '"Eve,staff,eve@example.org,',
      'E"ve,staff,eve@example.org,',
      '"Eve"x,staff,e@example.org,',
    ])
      for (const size of [1, 7, 4096]) {
        const found = await read(`${header}${wrong}\n${good}\n${row}\n`, { size })
        expect(found).toEqual([
          [2, 'its quotes are wrong'],
          [3, { full_name: 'Bob\nB', role: 'staff', email: 'bob@example.org', phone: null }],
          [5, bare],
        ])
      }
  })

  test('names the line and the column of what is wrong, never the value', async () => {
    const latin = Buffer.concat([
      Buffer.from(header),
      Buffer.from('Ren\xe9,staff,rene@example.org,\n', 'latin1'),
    ])
    expect(await read(Buffer.concat([latin, Buffer.from(row)]))).toEqual([
      [2, 'full_name: not valid UTF-8'],
      [3, bare],
    ])
    const found = await read(
      `${header}Ada,staff\n${'x'.repeat(1 << 20)},staff,a@example.org,\n,staff,a@example.org,\nAda,staff,nowhere,\nAda,NO,a@example.org,\n`,
      { size: 65_536 },
    )
    expect(found).toEqual([
      [2, '2 cells, the header has 4'],
      [3, 'full_name: longer than 1024 bytes of UTF-8'],
      [4, 'full_name: is missing'],
      [5, 'email: not a valid email'],
      [6, 'role: does not match ^[a-z][a-z0-9_-]{0,31}$'],
    ])
  })

  test('is refused whole where its first line is no header of the table', async () => {
    for (const wrong of [
      '',
      `${row}\n`,
      'full_name,role\n',
      `${header.trim()},email\n`,
      'a;b\n',
      '"full_name,role\n',
    ])
      expect(await code(wrong)).toBe('BAD_INPUT')
    expect(await code(Buffer.from(`\ufeff${header}`, 'utf16le'))).toBe('BAD_INPUT')
  })

  test('has whole numbers where the table has them', async () => {
    const id = '3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f'
    const found = await read(
      `user_id,currency,balance_minor\n${id},EUR,1152921504606846976\n${id},EUR,1.5\n${id},EUR,-3\n`,
      { def: accounts },
    )
    expect(found).toEqual([
      [2, { user_id: id, currency: 'EUR', balance_minor: 2n ** 60n }],
      [3, 'balance_minor: expected a whole number'],
      [4, expect.anything()],
    ])
  })

  test('whatever was written by the rules comes back, cut anywhere', async () => {
    const cell = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter(t => t.trim() !== '')
    const text = fc.oneof(cell, fc.constantFrom('a,b', '"', '""', 'a\nb', 'a\r\nb', '",\n"'))
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 30 }),
        async (names, size) => {
          const lines = names.map(name => `"${name.replaceAll('"', '""')}",staff,a@example.org,\n`)
          const found = await read(header + lines.join(''), { size })
          expect(found.map(([, plain]) => (plain as { full_name: string }).full_name)).toEqual(names)
        },
      ),
      { numRuns: 60 },
    )
  })
})

test('JSON lines are read one by one; a wrong one costs itself alone', async () => {
  const line = JSON.stringify(ada)
  const input = `${line}\r\n{"full_name":\n[1]\n${JSON.stringify({ ...ada, other: 1 })}\n${line}`
  expect(await read(input, { format: 'jsonl' })).toEqual([
    [1, ada],
    [2, 'not valid JSON'],
    [3, 'users: expected an object'],
    [4, 'users: unknown member "other"'],
    [5, ada],
  ])
})

test('a quote that is never closed holds no more than a bounded piece of the input', async () => {
  let most = 0
  async function* endless(): AsyncGenerator<Bytes> {
    yield Buffer.from('a,"b\n')
    const line = Buffer.from(`${'x'.repeat(1023)}\n`)
    for (let i = 0; i < 12_000; i += 1) yield line
  }
  let count = 0
  for await (const frame of frames(endless(), () => false)) {
    count += 1
    most = Math.max(most, frame.bytes.length)
  }
  expect(count).toBe(12_001)
  expect(most).toBe(1023)
})
