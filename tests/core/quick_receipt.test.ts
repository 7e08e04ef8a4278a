/** The quick look at a receipt: whatever it lets through, the parser accepts, and they say the same. */
import { expect, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { base64Needles, quickReceipt } from '../../lib/core/audit/quick_receipt.ts'
import { formatReceipt, parseReceipt } from '../../lib/core/audit/receipt.ts'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import vectors from '../vectors/audit-trail.json' with { type: 'json' }

const { origin } = vectors
const payloads = vectors.events.map(({ payload }) => payload)

/** What the parser makes of it; null for another log, undefined where it refuses. */
function parsed(text: string) {
  try {
    const receipt = parseReceipt(text)
    if (receipt.origin !== origin) return null
    const { event } = receipt
    if (!isRowEvent(event)) return null
    const { id, table, tenant, key, ver: version, wver: wrapVersion, after } = event
    return { id, table, tenant, key, version, wrapVersion, after }
  } catch (thrown) {
    if (thrown instanceof ZtError) return undefined
    throw thrown
  }
}

test('every signed row event of the vectors is read, and read alike', () => {
  let rows = 0
  for (const payload of payloads) {
    const event = parseEvent(utf8(payload))
    const text = formatReceipt({ origin, payload: utf8(payload) })
    const quick = quickReceipt(text, origin)
    if (quick === undefined) continue // an event of the server, or unusual: the parser is asked
    expect(isRowEvent(event)).toBe(true)
    expect(quick).toEqual(parsed(text) as typeof quick)
    expect(quickReceipt(text, 'ztmysql.example/another')).toBeNull()
    rows += 1
  }
  expect(rows).toBeGreaterThan(5)
})

test('a receipt with any byte changed, or cut, is let through only as the parser reads it', () => {
  const payload = payloads.find(text => text.includes('"action":"update"') && !text.includes('"sig":null'))
  const text = formatReceipt({ origin, payload: utf8(payload ?? '') })
  const inner = payload ?? ''
  const changed: string[] = []
  for (let i = 0; i < text.length; i += 1) {
    changed.push(text.slice(0, i), `${text.slice(0, i)}${text.slice(i + 1)}`)
    for (const other of ['0', '"', '=', 'A']) changed.push(`${text.slice(0, i)}${other}${text.slice(i + 1)}`)
  }
  for (let i = 0; i < inner.length; i += 1)
    for (const other of ['0', '9', '"', 'ü', ',', ' ']) {
      const bent = Buffer.from(`${inner.slice(0, i)}${other}${inner.slice(i + 1)}`).toString('base64')
      changed.push(`${JSON.stringify({ v: 1, origin, payload: bent })}\n`)
    }
  for (const one of changed) {
    const quick = quickReceipt(one, origin)
    if (quick === undefined) continue
    expect({ one, quick }).toEqual({ one, quick: parsed(one) as typeof quick })
  }
})

test('a part is found in the base64 of a text at every alignment, and nowhere else', () => {
  const part = '"key":"3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f"'
  const needles = base64Needles(part)
  const holds = (text: string) => {
    const encoded = Buffer.from(text).toString('base64')
    return needles.some(needle => encoded.includes(needle))
  }
  for (let before = 0; before < 7; before += 1)
    for (let after = 0; after < 7; after += 1) {
      expect(holds(`${'x'.repeat(before)}${part}${'~'.repeat(after)}`)).toBe(true)
      expect(holds(`${'x'.repeat(before)}${part.replace('9d6f', '9d6e')}${'~'.repeat(after)}`)).toBe(false)
    }
})
