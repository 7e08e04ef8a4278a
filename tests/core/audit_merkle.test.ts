import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import {
  consistencyProof,
  emptyRoot,
  Frontier,
  inclusionProof,
  leafHash,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../lib/core/audit/merkle.ts'
import { type Bytes, concat, fromHex, toHex } from '../../lib/core/bytes.ts'
import rfc from '../vectors/audit-rfc6962.json'

setDefaultTimeout(30_000)

const leaves = rfc.leaves.map(text => leafHash(fromHex(text, 'leaf')))
const root = (size: number): Bytes =>
  size === 0 ? emptyRoot() : fromHex(rfc.roots[size - 1] ?? '', 'root', 32)
const hashes = (list: string[]): Bytes[] => list.map(text => fromHex(text, 'proof', 32))

/** The tree hash as RFC 6962 §2.1 defines it, over node:crypto: a second implementation. */
function definition(payloads: Bytes[]): Buffer {
  const sha = (...parts: Bytes[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
  if (payloads.length === 0) return sha()
  const [only] = payloads
  if (payloads.length === 1 && only) return sha(Uint8Array.of(0), only)
  let k = 1
  while (k * 2 < payloads.length) k *= 2
  return sha(Uint8Array.of(1), definition(payloads.slice(0, k)), definition(payloads.slice(k)))
}

const payloads = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 70 })

describe('tree of RFC 6962', () => {
  test('has the published roots at every size', () => {
    expect(toHex(emptyRoot())).toBe(rfc.emptyRoot)
    expect(toHex(new Frontier().root())).toBe(rfc.emptyRoot)
    const frontier = new Frontier()
    leaves.forEach((leaf, i) => {
      frontier.append(leaf)
      expect(toHex(frontier.root())).toBe(rfc.roots[i] ?? '')
    })
    expect(frontier.size).toBe(8)
    expect(frontier.nodes.length).toBe(1)
  })

  test.each(rfc.inclusion)(
    'has the published audit path of leaf $index in $size',
    ({ index, size, proof }) => {
      expect(inclusionProof(leaves.slice(0, size), index).map(toHex)).toEqual(proof)
      expect(verifyInclusion(leaves[index] ?? root(0), index, size, hashes(proof), root(size))).toBe(true)
    },
  )

  test.each(rfc.consistency)('has the published consistency proof of $size1 in $size2', vector => {
    const { size1, size2, proof } = vector
    expect(consistencyProof(leaves.slice(0, size2), size1).map(toHex)).toEqual(proof)
    expect(verifyConsistency(size1, root(size1), size2, root(size2), hashes(proof))).toBe(true)
  })

  test('agrees with the definition over another hash implementation', () => {
    fc.assert(
      fc.property(payloads, list => {
        expect(toHex(treeRoot(list.map(p => leafHash(p))))).toBe(definition(list).toString('hex'))
      }),
      { numRuns: 30 },
    )
  })

  test('takes the hash that it is given', () => {
    let calls = 0
    const native = (bytes: Bytes) => {
      calls += 1
      return new Uint8Array(createHash('sha256').update(bytes).digest())
    }
    expect(toHex(treeRoot(leaves, native))).toBe(rfc.roots[7] ?? '')
    expect(calls).toBe(7)
  })
})

describe('frontier', () => {
  test('continues from its own nodes', () => {
    for (let size = 0; size <= 8; size++) {
      const first = new Frontier()
      for (const leaf of leaves.slice(0, size)) first.append(leaf)
      const second = new Frontier(first.size, first.nodes)
      const copy = first.clone()
      for (const leaf of leaves.slice(size)) second.append(leaf)
      expect(toHex(second.root())).toBe(rfc.roots[7] ?? '')
      expect(toHex(copy.root())).toBe(toHex(root(size)))
      expect(first.size).toBe(size)
    }
  })

  test('refuses nodes that do not make its size', () => {
    const node = root(1)
    expect(() => new Frontier(3, [node])).toThrow('frontier: 1 nodes do not make a tree of size 3')
    expect(() => new Frontier(4, [node, node])).toThrow('frontier: 2 nodes')
    expect(() => new Frontier(1, [node.slice(1)])).toThrow('frontier: 1 nodes')
    expect(() => new Frontier(-1, [])).toThrow('frontier')
    expect(() => new Frontier(2 ** 53, [node])).toThrow('frontier')
  })

  test('keeps its count beyond 32 bits', () => {
    const size = 2 ** 40 + 3
    const nodes = [root(1), root(2), root(3)]
    const frontier = new Frontier(size, nodes)
    frontier.append(root(4))
    expect(frontier.size).toBe(2 ** 40 + 4)
    expect(frontier.nodes.length).toBe(2)
  })
})

describe('proofs', () => {
  test('of every leaf in every size verify, and no other way', () => {
    const all = Array.from({ length: 20 }, (_, i) => leafHash(Uint8Array.of(i)))
    for (let size = 1; size <= all.length; size++) {
      const tree = all.slice(0, size)
      const top = treeRoot(tree)
      tree.forEach((leaf, index) => {
        const proof = inclusionProof(tree, index)
        expect(verifyInclusion(leaf, index, size, proof, top)).toBe(true)
        expect(verifyInclusion(leaf, index, size, [...proof, top], top)).toBe(false)
        if (proof.length > 0) expect(verifyInclusion(leaf, index, size, proof.slice(1), top)).toBe(false)
        if (size > 1) expect(verifyInclusion(leaf, (index + 1) % size, size, proof, top)).toBe(false)
        proof.forEach((node, i) => {
          const bad = proof.with(i, concat(Uint8Array.of((node[0] ?? 0) ^ 1), node.subarray(1)))
          expect(verifyInclusion(leaf, index, size, bad, top)).toBe(false)
        })
      })
    }
  })

  test('that a smaller tree is a part of a larger one verify, and no other way', () => {
    const all = Array.from({ length: 18 }, (_, i) => leafHash(Uint8Array.of(i)))
    for (let size2 = 1; size2 <= all.length; size2++)
      for (let size1 = 1; size1 <= size2; size1++) {
        const [root1, root2] = [treeRoot(all.slice(0, size1)), treeRoot(all.slice(0, size2))]
        const proof = consistencyProof(all.slice(0, size2), size1)
        expect(verifyConsistency(size1, root1, size2, root2, proof)).toBe(true)
        expect(verifyConsistency(size1, root1, size2, root2, [...proof, root1])).toBe(false)
        if (proof.length > 0)
          expect(verifyConsistency(size1, root1, size2, root2, proof.slice(0, -1))).toBe(false)
        proof.forEach((node, i) => {
          const bad = proof.with(i, concat(Uint8Array.of((node[0] ?? 0) ^ 1), node.subarray(1)))
          expect(verifyConsistency(size1, root1, size2, root2, bad)).toBe(false)
        })
        expect(verifyConsistency(size1, root2, size2, root1, proof)).toBe(size1 === size2)
      }
  })

  test('refuse numbers out of range', () => {
    expect(() => inclusionProof(leaves, 8)).toThrow('inclusion proof: numbers out of range')
    expect(() => consistencyProof(leaves, 0)).toThrow('consistency proof: numbers out of range')
    expect(verifyInclusion(root(1), 1, 1, [], root(1))).toBe(false)
    expect(verifyConsistency(0, root(0), 8, root(8), [])).toBe(false)
    expect(verifyConsistency(9, root(8), 8, root(8), [])).toBe(false)
  })
})
