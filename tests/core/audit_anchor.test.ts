import { describe, expect, test } from 'bun:test'
import { createHash, createPublicKey, verify } from 'node:crypto'
import {
  type Anchor,
  anchorHash,
  anchorName,
  anchorNumber,
  formatAnchor,
  formatAnchorSyslog,
  isEventOf,
  noPredecessor,
  openAnchor,
  parseAnchor,
} from '../../lib/core/audit/anchor.ts'
import { formatAnchorKey, parseAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import {
  type AnchorKey,
  cosignedMessage,
  formatTreeHead,
  type LogKey,
  openCheckpoint,
  parseTreeHead,
  publicKeys,
  signCheckpoint,
} from '../../lib/core/audit/checkpoint.ts'
import { parseEvent } from '../../lib/core/audit/event.ts'
import { formatNote, type Note, parseNote } from '../../lib/core/audit/note.ts'
import { type Bytes, fromBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { parseVkey } from '../../lib/core/vkey.ts'
import { auditVectors } from '../vectors/audit_vectors.ts'
import vectors from '../vectors/audit-anchor.json'
import trail from '../vectors/audit-trail.json'

const { origin } = vectors
const logKeys: LogKey[] = vectors.logKeys.map(pair => ({
  ed25519: parseVkey(pair.ed25519, 'ed25519'),
  mldsa44: parseVkey(pair.mldsa44, 'mldsa44'),
  from: pair.from,
  until: pair.until,
}))
const log = { origin, logKeys }
const keys: AnchorKey[] = vectors.logKeys.map(pair => ({
  name: origin,
  ed25519: fromBase64(pair.ed25519Seed, 'seed', 32),
  mldsa44: fromBase64(pair.mldsa44Seed, 'seed', 32),
}))
const first = <T>(list: readonly T[]): T => at(list, 0)
function at<T>(list: readonly T[], index: number): T {
  const item = list[index]
  if (item === undefined) throw new Error(`nothing at ${index}`)
  return item
}

const objects = vectors.anchors.map(a => utf8(a.object))
const anchors = objects.map(bytes => parseAnchor(bytes))
const { checkpoint } = first(anchors)

const code = (act: () => unknown): string => {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return 'accepted'
}

/** The bytes with the one at `index` changed in each of several ways. */
function* mutations(bytes: Bytes, index: number, bits = [0x01, 0x02, 0x20, 0x80]): Generator<Bytes> {
  for (const bit of bits) {
    const bad = bytes.slice()
    bad[index] = (bad[index] ?? 0) ^ bit
    yield bad
  }
}

test('the generator makes the vectors that are here', () => {
  expect(auditVectors()).toEqual({ 'audit-trail.json': trail, 'audit-anchor.json': vectors } as never)
})

describe('notes', () => {
  // the example of the package documentation of golang.org/x/mod/sumdb/note
  const example =
    'If you think cryptography is the answer to your problem,\n' +
    "then you don't know what your problem is.\n\n" +
    '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
  const vkey = parseVkey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', 'ed25519')

  test('of another implementation parse and verify', () => {
    const note = parseNote(example)
    const line = first(note.signatures)
    expect(note.text.endsWith('problem is.\n')).toBe(true)
    expect(line.name).toBe('PeterNeumann')
    expect(toHex(line.keyId)).toBe(toHex(vkey.keyId))
    const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), vkey.publicKey])
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    expect(verify(null, Buffer.from(note.text), key, line.signature)).toBe(true)
    expect(formatNote(note)).toBe(example)
  })

  test.each([
    ['no signatures', 'text\n\n'],
    ['no empty line', 'text\n— a AAAAAAA=\n'],
    ['no newline at the end', example.slice(0, -1)],
    ['a hyphen for the dash', example.replace('—', '-')],
    ['base64 without padding', example.replace('=\n', '\n')],
    ['two spaces', example.replace('PeterNeumann ', 'PeterNeumann  ')],
    ['a plus in the name', example.replace('— PeterNeumann', '— Peter+Neumann')],
    ['a name that is missing', example.replace('— PeterNeumann', '— ')],
    ['a carriage return', example.replace('\n', '\r\n')],
    ['a tab in the text', example.replace('cryptography', '\t')],
    ['an empty line among the signatures', `${example}\n`],
    ['a line that is no signature', `${example}more\n`],
    ['nothing', ''],
  ])('with %s are refused', (_, text) => {
    expect(code(() => parseNote(text))).toBe('BAD_FORMAT')
  })

  test('with a signature of no bytes, too many lines or too much text are refused', () => {
    expect(code(() => parseNote('text\n\n— a AAAAAA==\n'))).toBe('BAD_LENGTH')
    expect(code(() => parseNote(`text\n\n${'— a AAAAAAA=\n'.repeat(17)}`))).toBe('BAD_FORMAT')
    expect(parseNote(`text\n\n${'— a AAAAAAA=\n'.repeat(16)}`).signatures.length).toBe(16)
    expect(code(() => parseNote(`${'a'.repeat(70_000)}${example}`))).toBe('BAD_FORMAT')
    expect(code(() => parseNote(Uint8Array.of(0xff, 0x0a)))).toBe('BAD_FORMAT')
  })

  test('never parse to what prints differently', () => {
    const bytes = utf8(example)
    for (let i = 0; i < bytes.length; i++)
      for (const bad of mutations(bytes, i)) {
        const outcome = code(() => expect(toHex(utf8(formatNote(parseNote(bad))))).toBe(toHex(bad)))
        expect(['accepted', 'BAD_FORMAT', 'BAD_LENGTH']).toContain(outcome)
      }
  })
})

describe('checkpoints', () => {
  const head = parseTreeHead(parseNote(checkpoint).text)

  test('say origin, size and root, and nothing else', () => {
    expect(formatTreeHead(head)).toBe(parseNote(checkpoint).text)
    expect(toHex(head.root)).toBe(at(trail.events, head.size - 1).root)
    const text = formatTreeHead(head)
    for (const bad of [
      `${text}extension\n`,
      text.replace(`\n${head.size}\n`, `\n0${head.size}\n`),
      text.replace(`\n${head.size}\n`, `\n-${head.size}\n`),
      text.replace(`\n${head.size}\n`, '\n9007199254740992\n'),
      text.replace(origin, 'Origin'),
      text.slice(0, -1),
      '',
    ])
      expect(code(() => parseTreeHead(bad))).toBe('BAD_FORMAT')
    expect(code(() => parseTreeHead(`${origin}\n1\nAAAA\n`))).toBe('BAD_LENGTH')
  })

  test('open with the keys in force, which a second implementation confirms', () => {
    const opened = openCheckpoint(checkpoint, log, 1)
    expect(opened).toEqual({ ...head, timestamp: Date.parse(first(anchors).time) / 1000 })
    const note = parseNote(checkpoint)
    const [classic, lasting] = [at(note.signatures, 0), at(note.signatures, 1)]
    const pair = first(logKeys)
    const key = (prefix: string, bytes: Bytes) =>
      createPublicKey({
        key: Buffer.concat([Buffer.from(prefix, 'hex'), bytes]),
        format: 'der',
        type: 'spki',
      })
    const ed25519 = key('302a300506032b6570032100', pair.ed25519.publicKey)
    const mldsa44 = key('30820532300b06096086480165030403110382052100', pair.mldsa44.publicKey)
    expect(verify(null, utf8(note.text), ed25519, classic.signature)).toBe(true)
    // cosigned_message, spelled out
    const label = Buffer.from('subtree/v1\n\0')
    const [u64, name] = [Buffer.alloc(24), Buffer.from(origin)]
    u64.writeBigUInt64BE(BigInt(opened.timestamp), 0)
    u64.writeBigUInt64BE(BigInt(head.size), 16)
    const message = Buffer.concat([
      label,
      Buffer.from([name.length]),
      name,
      u64.subarray(0, 8),
      Buffer.from([name.length]),
      name,
      u64.subarray(8),
      head.root,
    ])
    expect(Buffer.from(cosignedMessage(origin, head, opened.timestamp))).toEqual(message)
    expect(verify(null, message, mldsa44, lasting.signature.subarray(8))).toBe(true)
    for (const [kind, signature] of [
      ['01', classic],
      ['06', lasting],
    ] as const) {
      const publicKey = kind === '01' ? pair.ed25519.publicKey : pair.mldsa44.publicKey
      const id = createHash('sha256').update(`${origin}\n`).update(kind, 'hex').update(publicKey).digest()
      expect(toHex(signature.keyId)).toBe(id.subarray(0, 4).toString('hex'))
    }
  })

  test('signed now open, and differ each time they are signed', () => {
    const signed = signCheckpoint(head, keys.slice(0, 1), 1_800_000_000)
    expect(openCheckpoint(signed, log, 2).timestamp).toBe(1_800_000_000)
    expect(signCheckpoint(head, keys.slice(0, 1), 1_800_000_000)).not.toBe(signed)
    expect(code(() => openCheckpoint(signed, log, 4))).toBe('BAD_SIGNATURE')
    const both = signCheckpoint(head, keys, 1_800_000_000)
    expect(openCheckpoint(both, log, 3).size).toBe(head.size)
    expect(code(() => openCheckpoint(both, log, 2))).toBe('BAD_SIGNATURE')
    expect(code(() => openCheckpoint(signed, log, 3))).toBe('BAD_SIGNATURE')
    expect(code(() => openCheckpoint(signCheckpoint(head, [...keys].reverse(), 1), log, 3))).toBe(
      'BAD_SIGNATURE',
    )
  })

  test('are not signed for another log, or at no time', () => {
    const stranger = { ...first(keys), name: 'ztmysql.local/0000000000000000' }
    expect(code(() => signCheckpoint(head, [stranger], 1))).toBe('REFUSED')
    for (const timestamp of [0, -1, 1.5, 2 ** 53])
      expect(code(() => signCheckpoint(head, keys.slice(0, 1), timestamp))).toBe('BAD_INPUT')
  })

  const rebuilt = (change: (note: Note) => Note['signatures']): string => {
    const note = parseNote(checkpoint)
    return formatNote({ ...note, signatures: change(note) })
  }
  const other = parseNote(signCheckpoint(head, keys.slice(1), 1_800_000_000)).signatures
  const later = parseNote(signCheckpoint(head, keys.slice(0, 1), 1_800_000_000)).signatures

  test.each([
    ['without its Ed25519 line', (n: Note) => n.signatures.slice(1)],
    ['without its ML-DSA line', (n: Note) => n.signatures.slice(0, 1)],
    ['with the lines the other way round', (n: Note) => [...n.signatures].reverse()],
    ['with a line twice', (n: Note) => [...n.signatures, first(n.signatures)]],
    ['with another key’s line beside them', (n: Note) => [...n.signatures, first(other)]],
    ['with another key’s Ed25519 line', (n: Note) => n.signatures.with(0, first(other))],
    ['with another key’s ML-DSA line', (n: Note) => n.signatures.with(1, at(other, 1))],
    [
      'with another key’s ML-DSA signature under its own id',
      (n: Note) => n.signatures.with(1, { ...at(n.signatures, 1), signature: at(other, 1).signature }),
    ],
    [
      'with an ML-DSA signature of another time',
      (n: Note) =>
        n.signatures.with(1, {
          ...at(n.signatures, 1),
          signature: Buffer.concat([
            at(n.signatures, 1).signature.subarray(0, 8),
            at(later, 1).signature.subarray(8),
          ]),
        }),
    ],
  ])('%s are refused', (_, change) => {
    expect(code(() => openCheckpoint(rebuilt(change), log, 1))).toBe('BAD_SIGNATURE')
  })

  test('with a signature of another length are refused', () => {
    for (const index of [0, 1]) {
      const longer = (n: Note) => {
        const line = at(n.signatures, index)
        return n.signatures.with(index, {
          ...line,
          signature: Buffer.concat([line.signature, Buffer.alloc(1)]),
        })
      }
      expect(code(() => openCheckpoint(rebuilt(longer), log, 1))).toBe('BAD_LENGTH')
      const shorter = (n: Note) => {
        const line = at(n.signatures, index)
        return n.signatures.with(index, { ...line, signature: line.signature.subarray(0, 5) })
      }
      expect(code(() => openCheckpoint(rebuilt(shorter), log, 1))).toBe('BAD_LENGTH')
    }
  })

  test('of another log, or under another log’s keys, are refused', () => {
    const elsewhere = 'ztmysql.local/0000000000000000'
    expect(code(() => openCheckpoint(checkpoint, { ...log, origin: elsewhere }, 1))).toBe('BAD_SIGNATURE')
    expect(code(() => openCheckpoint(checkpoint, { origin, logKeys: [] }, 1))).toBe('BAD_SIGNATURE')
    const renamed = logKeys.map(k => ({ ...k, ed25519: { ...k.ed25519, name: elsewhere } }))
    expect(code(() => openCheckpoint(checkpoint, { origin, logKeys: renamed }, 1))).toBe('BAD_SIGNATURE')
  })

  test('with an all-zero Ed25519 key verify nothing', () => {
    // the point of order 4: under loose rules a signature of zeros verifies anything
    const weak = { ...first(logKeys).ed25519, publicKey: new Uint8Array(32) }
    const zero = (n: Note) => n.signatures.with(0, { ...first(n.signatures), signature: new Uint8Array(64) })
    const trusting = { origin, logKeys: [{ ...first(logKeys), ed25519: weak }] }
    expect(code(() => openCheckpoint(rebuilt(zero), trusting, 1))).toBe('BAD_SIGNATURE')
  })

  test('with any byte changed are refused', () => {
    const bytes = utf8(checkpoint)
    const lasting = bytes.lastIndexOf(0x20) + 16
    // a verification of ML-DSA takes milliseconds: of its signature every seventh byte, all else in full
    for (let i = 0; i < bytes.length; i += i < lasting || i > bytes.length - 12 ? 1 : 7)
      for (const bad of mutations(bytes, i)) {
        const outcome = code(() => openCheckpoint(bad, log, 1))
        expect(['BAD_FORMAT', 'BAD_LENGTH', 'BAD_SIGNATURE']).toContain(outcome)
      }
  }, 60_000)
})

describe('anchors', () => {
  test('re-print to the same bytes, open, and follow one another', () => {
    let prev = noPredecessor
    anchors.forEach((anchor, i) => {
      const bytes = at(objects, i)
      expect(formatAnchor(anchor)).toEqual(bytes)
      expect(anchor.number).toBe(i + 1)
      expect(anchor.prev).toBe(prev)
      expect(bytes.length).toBeLessThan(16_384)
      prev = createHash('sha256').update(bytes).digest('hex')
      expect(anchorHash(bytes)).toBe(prev)
      expect(anchorHash(bytes)).toBe(at(vectors.anchors, i).sha256)
      expect(anchorName(anchor.number)).toBe(at(vectors.anchors, i).name)
      const covered = at(trail.events, anchor.size - 1)
      expect(toHex(openAnchor(anchor, log).root)).toBe(covered.root)
      expect(isEventOf(anchor, parseEvent(utf8(covered.payload)), covered.curr)).toBe(true)
    })
  })

  test('at a rotation carry both pairs, and afterwards the new one alone', () => {
    expect(anchors.map(a => parseNote(a.checkpoint).signatures.length)).toEqual([2, 2, 4, 2])
    const oldOnly = { origin, logKeys: logKeys.slice(0, 1) }
    expect(code(() => openAnchor(at(anchors, 2), oldOnly))).toBe('BAD_SIGNATURE')
    expect(code(() => openAnchor(at(anchors, 3), oldOnly))).toBe('BAD_SIGNATURE')
  })

  test.each<[string, (a: Anchor) => Anchor]>([
    ['origin', a => ({ ...a, origin: 'ztmysql.local/0000000000000000' })],
    ['size', a => ({ ...a, size: a.size + 1 })],
    ['time', a => ({ ...a, time: a.time.replace('2026', '2027') })],
    ['checkpoint', a => ({ ...a, checkpoint: at(anchors, 1).checkpoint })],
  ])('whose %s is not what is signed are refused', (_, change) => {
    expect(code(() => openAnchor(change(first(anchors)), log))).toBe('BAD_SIGNATURE')
  })

  test.each<[string, (a: Anchor) => Anchor]>([
    ['number', a => ({ ...a, number: 2 })],
    ['head', a => ({ ...a, head: 'aa'.repeat(32) })],
    ['fingerprint', a => ({ ...a, fingerprint: 'aa'.repeat(32) })],
    ['prev', a => ({ ...a, prev: 'aa'.repeat(32) })],
  ])('whose %s is not that of their event are told from it', (_, change) => {
    const anchor = first(anchors)
    const { payload, curr } = at(trail.events, anchor.size - 1)
    expect(isEventOf(anchor, parseEvent(utf8(payload)), curr)).toBe(true)
    expect(isEventOf(change(anchor), parseEvent(utf8(payload)), curr)).toBe(false)
    expect(isEventOf(anchor, parseEvent(utf8(first(trail.events).payload)), curr)).toBe(false)
  })

  test('refuse other shapes', () => {
    const anchor = first(anchors)
    for (const bad of [
      { ...anchor, number: 0 },
      { ...anchor, size: 0 },
      { ...anchor, head: 'AA'.repeat(32) },
      { ...anchor, time: anchor.time.replace('.000000Z', '.000001Z') },
      { ...anchor, time: '2026-01-02T03:04:05Z' },
      { ...anchor, checkpoint: 'x'.repeat(20_000) },
    ])
      expect(code(() => formatAnchor(bad))).toBe('BAD_FORMAT')
    const source = first(vectors.anchors).object
    for (const bad of [
      source.trimEnd(),
      `${source}\n`,
      ` ${source}`,
      source.replace('"v":1,', ''),
      '',
      'null\n',
    ])
      expect(code(() => parseAnchor(utf8(bad)))).toBe('BAD_FORMAT')
    expect(code(() => parseAnchor(utf8(source.replace('"v":1', '"v":2'))))).toBe('NEWER_FORMAT')
    expect(code(() => parseAnchor(new Uint8Array(20_000)))).toBe('BAD_FORMAT')
  })

  test('with any byte changed are refused by form, signature, name or event', () => {
    const bytes = first(objects)
    const { payload, curr } = at(trail.events, first(anchors).size - 1)
    const event = parseEvent(utf8(payload))
    const lasting = bytes.lastIndexOf(0x20) + 16
    for (let i = 0; i < bytes.length; i += i < lasting || i > bytes.length - 16 ? 1 : 11)
      for (const bad of mutations(bytes, i)) {
        const outcome = code(() => {
          const anchor = parseAnchor(bad)
          if (anchorName(anchor.number) !== anchorName(1)) throw new ZtError('BAD_FORMAT', 'another name')
          if (!isEventOf(anchor, event, curr)) throw new ZtError('VERIFY_FAILED', 'another event')
          openAnchor(anchor, log)
        })
        expect(['BAD_FORMAT', 'NEWER_FORMAT', 'BAD_LENGTH', 'BAD_SIGNATURE', 'VERIFY_FAILED']).toContain(
          outcome,
        )
      }
  }, 60_000)

  test('have names in ten digits', () => {
    expect(anchorName(1)).toBe('anchor-0000000001.json')
    expect(anchorNumber('anchor-0000000042.json')).toBe(42)
    for (const bad of ['anchor-0000000000.json', 'anchor-1.json', 'anchor-0000000001.json.tmp', '.zt-00.tmp'])
      expect(anchorNumber(bad)).toBeUndefined()
    for (const bad of [0, -1, 1.5, 1e10]) expect(code(() => anchorName(bad))).toBe('BAD_INPUT')
  })

  test('go to syslog as RFC 5424 lays down', () => {
    const line = formatAnchorSyslog(first(objects), { host: 'db1', pid: 4242 })
    expect(line).toBe(first(vectors.anchors).syslog)
    const { number, size, head } = first(anchors)
    const pattern =
      /^<109>1 (\S+) (\S+) anchor_head (\d+) AUDIT_CHAIN_HEAD \[ztmysql@32473 origin="([^"]*)" number="(\d+)" size="(\d+)" head="([0-9a-f]{64})" fingerprint="([0-9a-f]{64})" prev="([0-9a-f]{64})" sha256="([0-9a-f]{64})"\] (\S+)$/
    const found = pattern.exec(line)
    expect(found?.slice(1, 11)).toEqual([
      first(anchors).time,
      'db1',
      '4242',
      origin,
      String(number),
      String(size),
      head,
      first(anchors).fingerprint,
      first(anchors).prev,
      first(vectors.anchors).sha256,
    ])
    expect(Buffer.from(found?.[11] ?? '', 'base64').toString()).toBe(checkpoint)
    expect(formatAnchorSyslog(first(objects), { host: 'no host', pid: 1 })).toContain(' - anchor_head 1 ')
  })
})

describe('anchor keys', () => {
  test('re-print to the same file and give the public keys of the log', () => {
    const key = first(keys)
    const file = formatAnchorKey(key)
    expect(parseAnchorKey(file)).toEqual(key)
    expect(formatAnchorKey(parseAnchorKey(file))).toBe(file)
    expect(toHex(publicKeys(key).ed25519.publicKey)).toBe(toHex(first(logKeys).ed25519.publicKey))
    expect(toHex(publicKeys(key).mldsa44.keyId)).toBe(toHex(first(logKeys).mldsa44.keyId))
  })

  test('refuse other files without repeating them', () => {
    const file = formatAnchorKey(first(keys))
    for (const bad of [
      file.trimEnd(),
      file.replace('"v":1', '"v":0'),
      'hunter2',
      file.replace('{', '{"x":1,'),
    ]) {
      expect(code(() => parseAnchorKey(bad))).toBe('BAD_FORMAT')
      expect(() => parseAnchorKey(bad)).toThrow(/^anchor key: not an anchor key file$/)
    }
    expect(code(() => parseAnchorKey(file.replace('"v":1', '"v":2')))).toBe('NEWER_FORMAT')
    expect(code(() => parseAnchorKey(`{"v":1,"name":"${origin}","ed25519":"AAAA","mldsa44":"AAAA"}\n`))).toBe(
      'BAD_LENGTH',
    )
  })
})
