import { describe, expect, test } from 'bun:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import {
  cosignatureMessage,
  cosignedMessage,
  openAnyCheckpoint,
  openCheckpoint,
  parseTreeHead,
  publicKeys,
  signCheckpoint,
  type TrustedLog,
} from '../../lib/core/audit/checkpoint.ts'
import {
  consistencyProof,
  Frontier,
  inclusionProof,
  leafHash,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../lib/core/audit/merkle.ts'
import { formatNote, parseNote } from '../../lib/core/audit/note.ts'
import { formatTlogProof, parseTlogProof } from '../../lib/core/audit/tlog_proof.ts'
import { TreeIndex } from '../../lib/core/audit/tree_index.ts'
import { concat, random, toHex, u64, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { makeVkey } from '../../lib/core/vkey.ts'

const leaves = Array.from({ length: 1300 }, (_, i) => leafHash(utf8(`event ${i}`)))
const hex = (path: Uint8Array[]) => path.map(toHex)
const code = (act: () => unknown): string => {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  return 'accepted'
}

describe('a tree of which only some blocks are kept', () => {
  const sizes = [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 769, 1024, 1300]

  test('proves each leaf that was kept exactly as RFC 6962 has it', () => {
    for (const size of sizes)
      for (const index of [0, 1, size >> 1, size - 2, size - 1].filter(i => i >= 0 && i < size)) {
        const tree = new TreeIndex()
        for (let i = 0; i < size; i++) tree.add(leaves[i] as Uint8Array, i === index)
        expect(hex(tree.inclusion(index))).toEqual(hex(inclusionProof(leaves.slice(0, size), index)))
        expect(toHex(tree.root())).toBe(toHex(treeRoot(leaves.slice(0, size))))
      }
  })

  test('proves that it extends any earlier tree whose border was kept', () => {
    for (const size of sizes)
      for (const earlier of sizes.filter(n => n <= size)) {
        const tree = new TreeIndex()
        for (let i = 0; i < size; i++) tree.add(leaves[i] as Uint8Array, i === earlier - 1)
        const proof = tree.consistency(earlier)
        expect(hex(proof)).toEqual(hex(consistencyProof(leaves.slice(0, size), earlier)))
        expect(verifyConsistency(earlier, treeRoot(leaves.slice(0, earlier)), size, tree.root(), proof)).toBe(
          true,
        )
      }
  })

  test('goes on from a frontier, and proves what follows it', () => {
    for (const from of [1, 5, 200, 256, 300, 777]) {
      const base = new Frontier()
      for (const leaf of leaves.slice(0, from)) base.append(leaf)
      const tree = new TreeIndex(base)
      const index = from + 17
      for (const [i, leaf] of leaves.entries()) if (i >= from) tree.add(leaf, i === index)
      const path = tree.inclusion(index)
      expect(hex(path)).toEqual(hex(inclusionProof(leaves, index)))
      expect(verifyInclusion(leaves[index] as Uint8Array, index, 1300, path, treeRoot(leaves))).toBe(true)
    }
  })

  test('says so where the leaf was not kept', () => {
    const tree = new TreeIndex()
    for (const leaf of leaves) tree.add(leaf)
    expect(code(() => tree.inclusion(3))).toBe('INTERNAL')
  })

  test('takes whole subtrees as it takes leaves', () => {
    const whole = new Frontier()
    const parts = new Frontier()
    for (const leaf of leaves.slice(0, 1024)) whole.append(leaf)
    for (let at = 0; at < 1024; at += 64) parts.appendSubtree(treeRoot(leaves.slice(at, at + 64)), 64)
    expect(hex([...parts.nodes])).toEqual(hex([...whole.nodes]))
    parts.append(leaves[1024] as Uint8Array)
    expect(code(() => parts.appendSubtree(leaves[0] as Uint8Array, 2))).toBe('BAD_INPUT')
    expect(code(() => parts.appendSubtree(leaves[0] as Uint8Array, 3))).toBe('BAD_INPUT')
  })
})

const origin = 'ztmysql.local/0123456789abcdef'
const key = { name: origin, ed25519: random(32), mldsa44: random(32) }
const newer = { name: origin, ed25519: random(32), mldsa44: random(32) }
const log: TrustedLog = {
  origin,
  logKeys: [
    { ...publicKeys(key), from: 1, until: 5 },
    { ...publicKeys(newer), from: 5, until: null },
  ],
}
const head = { origin, size: 1300, root: treeRoot(leaves) }
const signed = signCheckpoint(head, [key], 1_700_000_000)

describe('a proof file', () => {
  const proof = { index: 73, path: inclusionProof(leaves, 73), checkpoint: signed }
  const text = formatTlogProof(proof)

  test('prints as it parses, with extra data and without', () => {
    expect(parseTlogProof(text)).toEqual(proof)
    expect(text.startsWith('c2sp.org/tlog-proof@v1\nindex 73\n')).toBe(true)
    const more = formatTlogProof({ ...proof, extra: utf8('x') })
    expect(more.split('\n')[1]).toBe('extra eA==')
    expect(formatTlogProof(parseTlogProof(more))).toBe(more)
  })

  test('of any other spelling is refused', () => {
    for (const bad of [
      '',
      text.replace('@v1', '@v2'),
      text.replace('index 73', 'index 073'),
      text.replace('index 73', 'index -1'),
      text.replace('index 73', 'index 9007199254740992'),
      text.replace('index 73\n', ''),
      text.replace('index 73\n', 'index 73\nAAAA\n'),
      text.replace('index 73\n', 'extra eA\nindex 73\n'),
      text.replace('index 73\n', `index 73\n${'x'.repeat(100_000)}\n`),
      text.replaceAll('\n', '\r\n'),
      `\ufeff${text}`,
    ])
      expect(['BAD_FORMAT', 'BAD_LENGTH']).toContain(code(() => parseTlogProof(bad)))
  })
})

describe('a checkpoint without its anchor’s number', () => {
  test('opens by the keys of any time, a rotation’s four lines included, and by no others', () => {
    for (const keys of [[key], [key, newer], [newer]])
      expect(openAnyCheckpoint(signCheckpoint(head, keys, 1_700_000_000), log).size).toBe(1300)
    const stranger = { name: origin, ed25519: random(32), mldsa44: random(32) }
    for (const keys of [[stranger], [newer, key], [key, stranger]])
      expect(code(() => openAnyCheckpoint(signCheckpoint(head, keys, 1_700_000_000), log))).toBe(
        'BAD_SIGNATURE',
      )
  })
})

describe('witnesses', () => {
  const secret = random(32)
  const lasting = ml_dsa44.keygen(random(32))
  const classic = makeVkey('witness.example/a', 'cosignature', ed25519.getPublicKey(secret))
  const modern = makeVkey('witness.example/b', 'mldsa44', lasting.publicKey)
  const note = parseNote(signed)
  const time = 1_700_000_100
  const lines = [
    {
      name: classic.name,
      keyId: classic.keyId,
      signature: concat(u64(time), ed25519.sign(cosignatureMessage(note.text, time), secret)),
    },
    {
      name: modern.name,
      keyId: modern.keyId,
      signature: concat(
        u64(time),
        ml_dsa44.sign(cosignedMessage(modern.name, parseTreeHead(note.text), time), lasting.secretKey),
      ),
    },
  ]
  const [first, second] = lines as [(typeof lines)[0], (typeof lines)[0]]
  const withLines = (...more: typeof lines) =>
    formatNote({ text: note.text, signatures: [...note.signatures, ...more] })
  const asking = (quorum: number, from = 1, until: number | null = null): TrustedLog => ({
    ...log,
    witnesses: { quorum, keys: [classic, modern].map(one => ({ key: one, from, until })) },
  })
  const open = (text: string, trusted: TrustedLog) => code(() => openCheckpoint(text, trusted, 1))

  test('that the trust folder names must have cosigned, as many as it asks for', () => {
    expect(open(signed, asking(1))).toBe('BAD_SIGNATURE')
    expect(open(withLines(first), asking(1))).toBe('accepted')
    expect(open(withLines(second), asking(1))).toBe('accepted')
    expect(open(withLines(first), asking(2))).toBe('BAD_SIGNATURE')
    expect(open(withLines(first, second), asking(2))).toBe('accepted')
    expect(open(withLines(second, first), asking(2))).toBe('accepted')
  })

  test('are asked for the anchors of their time alone', () => {
    expect(open(signed, asking(1, 2))).toBe('accepted')
    expect(open(signed, asking(1, 1, 1))).toBe('BAD_SIGNATURE')
  })

  test('whose line does not verify, or comes twice, are no witnesses', () => {
    const bent = { ...first, signature: first.signature.slice() }
    bent.signature[20] = (bent.signature[20] ?? 0) ^ 1
    const later = { ...first, signature: concat(u64(time + 1), first.signature.subarray(8)) }
    const never = { ...second, signature: concat(u64(0), second.signature.subarray(8)) }
    for (const bad of [[bent], [later], [never], [first, first], [{ ...first, signature: random(9) }]])
      expect(open(withLines(...bad), asking(1))).toBe('BAD_SIGNATURE')
  })

  test('of others are left alone; a further line of the log is not', () => {
    expect(open(withLines(first), log)).toBe('accepted')
    expect(open(withLines({ ...first, name: 'somebody.else' }), log)).toBe('accepted')
    expect(open(withLines({ ...first, name: origin }), log)).toBe('BAD_SIGNATURE')
    expect(open(formatNote({ text: note.text, signatures: [first, ...note.signatures] }), log)).toBe(
      'BAD_SIGNATURE',
    )
  })
})
