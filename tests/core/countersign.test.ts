import { describe, expect, test } from 'bun:test'
import { p256 } from '@noble/curves/nist.js'
import { type Bytes, fromUtf8, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { readBundle } from '../../lib/core/proof/bundle.ts'
import { checkCountersignature, countersign } from '../../lib/core/proof/countersign.ts'
import { diffBundles } from '../../lib/core/proof/diff_bundle.ts'
import { openDsse, preAuthEncoding } from '../../lib/core/proof/dsse.ts'
import { formatDiff } from '../../lib/core/report/diff_text.ts'
import { bundle, definitions, type Made, nonce, observation } from '../support/bundle.ts'

const { secretKey } = p256.keygen()
const publicKey = p256.getPublicKey(secretKey, false)
const key = { secret: secretKey, keyid: 'mine' }
const { files, trail } = bundle()
const said = { origin: trail.origin, nonce, received: '2026-01-01T00:00:00.000000Z' }
const envelope = utf8(countersign(files, said, key))

const check = (bytes: Bytes, changed = files): unknown => {
  try {
    return checkCountersignature(bytes, changed, publicKey, 'signature')
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
}

describe('a countersignature', () => {
  test('is over the pre-authentication encoding of the DSSE specification', () => {
    expect(fromUtf8(preAuthEncoding('http://example.com/HelloWorld', utf8('hello world')), 'pae')).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    )
    expect(toHex(preAuthEncoding('é', Uint8Array.of(0xff)))).toBe(`${toHex(utf8('DSSEv1 2 é 1 '))}ff`)
  })

  test('says who received what, and when', () => {
    expect(check(envelope)).toEqual(said)
  })

  test('does not stand for other files, fewer or more', () => {
    const [first = ''] = files.keys()
    for (const change of [
      new Map(files).set(first, utf8('other')),
      new Map(files).set('schema.json', utf8('[]\n')),
      new Map([...files].slice(1)),
    ])
      expect(check(envelope, change)).toBe('VERIFY_FAILED')
  })

  test('does not stand once any byte of it is another', () => {
    // the key's name is a hint that nothing rests on
    const name = '"keyid":"mine"'
    const from = fromUtf8(envelope, 'envelope').indexOf(name)
    for (let at = 0; at < envelope.length - 1; at += 7) {
      if (at >= from && at < from + name.length) continue
      const bent = envelope.slice()
      bent[at] = (bent[at] ?? 0) ^ 1
      expect([at, check(bent)]).toEqual([at, expect.stringMatching(/^BAD_(FORMAT|SIGNATURE)$/)])
    }
  })

  test('may stand beside others, in either alphabet of base64, and only as its own type', () => {
    const parsed = JSON.parse(fromUtf8(envelope, 'envelope'))
    const other = { keyid: 'x', sig: Buffer.from('no signature').toString('base64') }
    const two = {
      ...parsed,
      payload: parsed.payload.replaceAll('+', '-').replaceAll('/', '_'),
      signatures: [other, ...parsed.signatures],
    }
    expect(check(utf8(JSON.stringify(two)))).toEqual(said)
    expect(check(utf8(JSON.stringify({ ...parsed, signatures: [other] })))).toBe('BAD_SIGNATURE')
    expect(check(utf8(JSON.stringify({ ...parsed, payloadType: 'text/plain' })))).toBe('BAD_SIGNATURE')
    expect(() => openDsse(envelope, 'text/plain', publicKey, 'signature')).toThrow('not signed by the key')
  })
})

describe('two bundles', () => {
  const read = ({ files }: Made) => readBundle(files, definitions)

  test('that are one differ in nothing', async () => {
    const one = await read(bundle())
    const diff = await diffBundles(one, one)
    expect(diff).toMatchObject({
      about: [],
      continues: true,
      fault: null,
      events: 0,
      observations: [],
      worse: [],
    })
    expect(formatDiff(diff)).toEndWith('verdict: the newer bundle continues the older one')
  })

  test('of two histories do not go on from each other, and the first other event is named', async () => {
    const [one, other] = [await read(bundle()), await read(bundle())]
    const diff = await diffBundles(one, other)
    expect([diff.continues, diff.fault]).toEqual([false, 'event 0 is another one in the newer trail'])
    expect(formatDiff(diff)).toEndWith('verdict: the newer bundle does not continue the older one')
  })

  test('differ in values by their path, not in clocks, and steer no terminal', async () => {
    const seen = (value: string, time: string) =>
      bundle({
        files: files => {
          files.set('observations/handshake.json', observation('handshake', { tls: { cipher: value }, time }))
          if (value !== 'A') files.set('observations/tls12.json', observation('tls12', {}))
        },
      })
    const [a, b] = [
      await read(seen('A', '2026-01-01T00:00:00.000000Z')),
      await read(seen('\u001b[31m', '2026-01-02T00:00:00.000000Z')),
    ]
    const diff = await diffBundles(a, b)
    expect(diff.observations).toEqual([
      {
        id: 'handshake',
        change: 'changed',
        values: [{ at: 'result.tls.cipher', before: 'A', after: '\u001b[31m' }],
        more: 0,
      },
      { id: 'tls12', change: 'added', values: [], more: 0 },
    ])
    expect(formatDiff(diff)).not.toContain('\u001b')
  })
})
