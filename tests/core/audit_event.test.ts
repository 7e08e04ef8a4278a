import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import {
  type Event,
  eventMaxBytes,
  formatEvent,
  isRowEvent,
  parseEvent,
  signedWrite,
} from '../../lib/core/audit/event.ts'
import { formatReceipt, makeReceipt, parseReceipt, receiptName } from '../../lib/core/audit/receipt.ts'
import { concat, fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { verifyWrite } from '../../lib/core/signature.ts'
import vectors from '../vectors/audit-trail.json'

const payload = (action: string) => {
  const found = vectors.events.find(e => parseEvent(utf8(e.payload)).action === action)
  if (!found) throw new Error(`no vector of ${action}`)
  return found.payload
}
const update = payload('update')

const code = (act: () => unknown): string => {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return 'accepted'
}

const changed = (source: string, members: Record<string, unknown>) =>
  utf8(JSON.stringify({ ...JSON.parse(source), ...members }))

describe('events', () => {
  test('of every action parse and re-print to the same bytes', () => {
    const seen = vectors.events.map(({ payload }) => {
      const event = parseEvent(utf8(payload))
      expect(fromUtf8(formatEvent(event), 'payload')).toBe(payload)
      return event.action
    })
    expect([...new Set(seen)].sort()).toEqual([
      'anchor',
      'create',
      'erase',
      'genesis',
      'manifest',
      'migration',
      'nonce',
      'restore',
      'retire',
      'rewrap',
      'schema',
      'server',
      'update',
    ])
  })

  test.each([
    ['white space', update.replace(':1,', ': 1,')],
    ['a trailing newline', `${update}\n`],
    ['a byte order mark', `\ufeff${update}`],
    ['an unknown member', `${update.slice(0, -1)},"more":1}`],
    ['a missing member', update.replace(/"conn":\d+,/, '')],
    ['a member twice', update.replace('"v":1,', '"v":1,"v":1,')],
    ['members in another order', update.replace(/("tenant":"[^"]*"),("table":"[^"]*")/, '$2,$1')],
    ['an escape that is not needed', update.replace('"action":"update"', '"action":"\\u0075pdate"')],
    ['a number with an exponent', update.replace(/"ver":\d+/, '"ver":2e0')],
    ['a number with a fraction', update.replace(/"ver":\d+/, '"ver":2.5')],
    ['a negative number', update.replace(/"conn":\d+/, '"conn":-1')],
    ['minus zero', update.replace(/"conn":\d+/, '"conn":-0')],
    ['a number of 2^53', update.replace(/"conn":\d+/, '"conn":9007199254740992')],
    ['version zero of a row', update.replace(/"ver":\d+/, '"ver":0')],
    ['a prototype member', update.replace('"v":1', '"__proto__":1')],
    ['an array', '[]'],
    ['null', 'null'],
    ['nothing', ''],
    ['half an event', update.slice(0, 200)],
  ])('with %s are refused', (_, source) => {
    expect(code(() => parseEvent(utf8(source)))).toBe('BAD_FORMAT')
  })

  test.each([
    ['id', 'A0000000-0000-4000-8000-000000000000'],
    ['time', '2026-01-01T00:00:00Z'],
    ['time', '2026-02-30T00:00:00.000000Z'],
    ['time', '2026-01-01T24:00:00.000000Z'],
    ['actor', ''],
    ['actor', null],
    ['tenant', null],
    ['table', 'Users'],
    ['table', null],
    ['action', 'delete'],
    ['action', 'toString'],
    ['key', ''],
    ['key', null],
    ['ver', '2'],
    ['wver', null],
    ['scheme', 'users'],
    ['before', null],
    ['before', 'AA'.repeat(32)],
    ['after', null],
    ['after', 'aa'.repeat(31)],
    ['sig', null],
    ['sig', `${'A'.repeat(85)}B==`],
    ['sig', 'A'.repeat(88)],
    ['signer', null],
    ['data', {}],
  ])('whose %s is %p are refused', (member, value) => {
    expect(code(() => parseEvent(changed(update, { [member]: value })))).toBe('BAD_FORMAT')
    expect(code(() => formatEvent({ ...JSON.parse(update), [member]: value }))).toBe('BAD_FORMAT')
  })

  test('of the server carry no signature and no row', () => {
    const anchor = payload('anchor')
    for (const member of [
      'tenant',
      'table',
      'key',
      'ver',
      'wver',
      'scheme',
      'before',
      'after',
      'sig',
      'signer',
    ])
      expect(code(() => parseEvent(changed(anchor, { [member]: JSON.parse(update)[member] })))).toBe(
        'BAD_FORMAT',
      )
    for (const data of [
      null,
      {},
      { number: 0, fingerprint: 'aa'.repeat(32), prev: 'bb'.repeat(32) },
      { number: 1, prev: 'bb'.repeat(32), fingerprint: 'aa'.repeat(32) },
      { number: 1, fingerprint: 'aa'.repeat(32), prev: 'bb'.repeat(32), more: 1 },
    ])
      expect(code(() => parseEvent(changed(anchor, { data })))).toBe('BAD_FORMAT')
  })

  test('a create has no digest before, every other write has one', () => {
    expect(code(() => parseEvent(changed(payload('create'), { before: 'aa'.repeat(32) })))).toBe('BAD_FORMAT')
    for (const action of ['update', 'erase', 'retire', 'rewrap'])
      expect(code(() => parseEvent(changed(payload(action), { before: null })))).toBe('BAD_FORMAT')
  })

  test('of a row without a signature parse, for a verifier to name them', () => {
    const event = parseEvent(changed(update, { sig: null, signer: null }))
    if (!isRowEvent(event)) throw new Error('not a row event')
    expect(signedWrite(event, vectors.origin)).toBeUndefined()
  })

  test('of a newer format are refused as newer', () => {
    expect(code(() => parseEvent(changed(update, { v: 2 })))).toBe('NEWER_FORMAT')
    expect(code(() => parseEvent(changed(update, { v: 0 })))).toBe('BAD_FORMAT')
    expect(code(() => parseEvent(changed(update, { v: '1' })))).toBe('BAD_FORMAT')
  })

  test('that are too long or no UTF-8 are refused', () => {
    expect(code(() => parseEvent(new Uint8Array(eventMaxBytes + 1)))).toBe('BAD_FORMAT')
    expect(code(() => parseEvent(concat(utf8(update.slice(0, -1)), Uint8Array.of(0xff, 0x7d))))).toBe(
      'BAD_FORMAT',
    )
    expect(code(() => parseEvent(changed(update, { actor: 'a'.repeat(301) })))).toBe('BAD_FORMAT')
  })

  test('with text outside ASCII and escapes keep their bytes', () => {
    const event = { ...JSON.parse(update), actor: 'naïve "q" \\ \u0001\t\u2028 😀@localhost' } as Event
    expect(parseEvent(formatEvent(event))).toEqual(event)
  })

  test('with any byte changed are refused or are other bytes under the chain', () => {
    for (const { payload, prev, curr } of vectors.events) {
      const bytes = utf8(payload)
      for (let i = 0; i < bytes.length; i++)
        for (const bit of [0x01, 0x20, 0x80]) {
          const bad = bytes.slice()
          bad[i] = (bad[i] ?? 0) ^ bit
          const outcome = code(() => {
            expect(formatEvent(parseEvent(bad))).toEqual(bad)
          })
          if (outcome === 'accepted') expect(toHex(linkHash(fromHexText(prev), bad))).not.toBe(curr)
          else expect(['BAD_FORMAT', 'NEWER_FORMAT']).toContain(outcome)
        }
    }
  })

  test('carry what their writers signed', () => {
    const publicKey = fromBase64(vectors.writer.publicKey, 'public key')
    const rows = vectors.events.map(e => parseEvent(utf8(e.payload))).filter(isRowEvent)
    expect(rows.length).toBeGreaterThan(4)
    for (const event of rows) {
      const signed = signedWrite(event, vectors.origin)
      if (!signed) throw new Error(`event ${event.id} is unsigned`)
      const { write, signature, signer } = signed
      expect(toHex(signer)).toBe(vectors.writer.signer)
      expect(verifyWrite(publicKey, write, signature)).toBe(true)
      expect(verifyWrite(publicKey, { ...write, origin: 'ztmysql.local/0000000000000000' }, signature)).toBe(
        false,
      )
      expect(verifyWrite(publicKey, { ...write, key: `${write.key}0` }, signature)).toBe(false)
    }
  })
})

const fromHexText = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))

describe('chain', () => {
  test('links the vectors, as another hash implementation does', () => {
    let prev = genesisHash(vectors.origin)
    expect(toHex(prev)).toBe(vectors.genesis)
    for (const event of vectors.events) {
      expect(event.prev).toBe(toHex(prev))
      const native = createHash('sha256').update(prev).update(event.payload).digest('hex')
      prev = linkHash(prev, utf8(event.payload))
      expect(toHex(prev)).toBe(event.curr)
      expect(native).toBe(event.curr)
    }
  })

  test('begins elsewhere for another log', () => {
    expect(toHex(genesisHash('ztmysql.local/0000000000000000'))).not.toBe(vectors.genesis)
    expect(code(() => genesisHash('Not An Origin'))).toBe('BAD_FORMAT')
  })
})

describe('receipts', () => {
  const file = formatReceipt({ origin: vectors.origin, payload: utf8(update) })

  test('keep the payload and its name', () => {
    expect(file).toBe(vectors.receipt)
    const receipt = parseReceipt(file)
    expect(receipt).toEqual(makeReceipt(vectors.origin, utf8(update)))
    expect(fromUtf8(receipt.payload, 'payload')).toBe(update)
    expect(receiptName(receipt)).toBe(`${JSON.parse(update).id}.json`)
    expect(parseReceipt(utf8(file), 'receipt', receiptName(receipt))).toEqual(receipt)
  })

  test.each([
    ['no newline', file.trimEnd()],
    ['two newlines', `${file}\n`],
    ['a bad origin', file.replace(vectors.origin, 'Origin')],
    [
      'a payload that is no event',
      `{"v":1,"origin":"${vectors.origin}","payload":"${toBase64(utf8('{}'))}"}\n`,
    ],
    ['another member', file.replace('{"v":1', '{"v":1,"w":1')],
  ])('with %s are refused', (_, text) => {
    expect(code(() => parseReceipt(text))).toBe('BAD_FORMAT')
  })

  test('under the name of another event are refused', () => {
    expect(code(() => parseReceipt(file, 'receipt', 'other.json'))).toBe('BAD_FORMAT')
  })
})
