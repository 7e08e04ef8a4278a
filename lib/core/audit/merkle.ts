/** The Merkle tree over the events' payloads: RFC 6962 §2.1, verification as in RFC 9162 §2.1.3.2 and §2.1.4.2. */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, equal } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { Hash } from './chain.ts'

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/** SHA-256(0x00 ‖ payload), 32 bytes. */
export function leafHash(payload: Bytes, hash: Hash = sha256): Bytes {
  return hash(concat(leafPrefix, payload))
}

/** SHA-256(0x01 ‖ left ‖ right), 32 bytes. */
export function nodeHash(left: Bytes, right: Bytes, hash: Hash = sha256): Bytes {
  return hash(concat(nodePrefix, left, right))
}

/** Root of the tree of no leaves: SHA-256 of nothing. */
export const emptyRoot = (): Bytes => sha256(new Uint8Array(0))

const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0

/** How many full subtrees a tree of `size` leaves has: the ones among the binary digits of `size`. */
function subtreeCount(size: number): number {
  let count = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2
  return count
}

/** A tree that grows: the roots of its full subtrees, largest first (SPEC §4.4). Memory is logarithmic in its size. */
export class Frontier {
  #size: number
  readonly #nodes: Bytes[]
  readonly #hash: Hash

  /** @param nodes 32 bytes each, as many as `size` has binary ones. @throws BAD_LENGTH */
  constructor(size = 0, nodes: readonly Bytes[] = [], hash: Hash = sha256) {
    if (!isSize(size) || nodes.length !== subtreeCount(size) || nodes.some(node => node.length !== 32))
      throw new ZtError('BAD_LENGTH', `frontier: ${nodes.length} nodes do not make a tree of size ${size}`)
    this.#size = size
    this.#nodes = [...nodes]
    this.#hash = hash
  }

  get size(): number {
    return this.#size
  }

  /** Roots of the full subtrees, largest first. */
  get nodes(): readonly Bytes[] {
    return this.#nodes
  }

  /** Adds the leaf hash of the event whose number is the present size. */
  append(leaf: Bytes): void {
    let node = leaf
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2)
      node = nodeHash(this.#nodes.pop() ?? emptyRoot(), node, this.#hash)
    this.#nodes.push(node)
    this.#size += 1
  }

  /** Adds a full subtree of `leaves` leaves, a power of two, that begins where this tree ends. @throws BAD_INPUT */
  appendSubtree(root: Bytes, leaves: number): void {
    checkRange(Number.isInteger(Math.log2(leaves)) && this.#size % leaves === 0, 'subtree')
    let node = root
    for (let rest = this.#size / leaves; rest % 2 === 1; rest = (rest - 1) / 2)
      node = nodeHash(this.#nodes.pop() ?? emptyRoot(), node, this.#hash)
    this.#nodes.push(node)
    this.#size += leaves
  }

  /** Root of the tree as it stands, 32 bytes. */
  root(): Bytes {
    const last = this.#nodes.at(-1)
    if (last === undefined) return emptyRoot()
    return this.#nodes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right, this.#hash), last)
  }

  clone(): Frontier {
    return new Frontier(this.#size, this.#nodes, this.#hash)
  }
}

/** The root over leaf hashes. */
export function treeRoot(leaves: Iterable<Bytes>, hash: Hash = sha256): Bytes {
  const frontier = new Frontier(0, [], hash)
  for (const leaf of leaves) frontier.append(leaf)
  return frontier.root()
}

/** The largest power of two below n, for n ≥ 2. */
export function split(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

function checkRange(ok: boolean, what: string): void {
  if (!ok) throw new ZtError('BAD_INPUT', `${what}: numbers out of range`)
}

/** Audit path of leaf `index` in the tree over `leaves`, lowest first: RFC 6962 §2.1.1. */
export function inclusionProof(leaves: readonly Bytes[], index: number): Bytes[] {
  checkRange(isSize(index) && index < leaves.length, 'inclusion proof')
  if (leaves.length === 1) return []
  const k = split(leaves.length)
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)]
  return index < k
    ? [...inclusionProof(left, index), treeRoot(right)]
    : [...inclusionProof(right, index - k), treeRoot(left)]
}

/** Proof that the tree over the first `size` leaves is a part of the tree over all: RFC 6962 §2.1.2. */
export function consistencyProof(leaves: readonly Bytes[], size: number): Bytes[] {
  checkRange(isSize(size) && size >= 1 && size <= leaves.length, 'consistency proof')
  return subproof(leaves, size, true)
}

function subproof(leaves: readonly Bytes[], size: number, whole: boolean): Bytes[] {
  if (size === leaves.length) return whole ? [] : [treeRoot(leaves)]
  const k = split(leaves.length)
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)]
  return size <= k
    ? [...subproof(left, size, whole), treeRoot(right)]
    : [...subproof(right, size - k, false), treeRoot(left)]
}

const half = (n: number): number => Math.floor(n / 2)

/** True if `leaf` is number `index` of the tree of that size and root. RFC 9162 §2.1.3.2. */
export function verifyInclusion(
  leaf: Bytes,
  index: number,
  size: number,
  proof: readonly Bytes[],
  root: Bytes,
): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false
  let [fn, sn, r] = [index, size - 1, leaf]
  for (const p of proof) {
    if (sn === 0 || p.length !== 32) return false
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else r = nodeHash(r, p)
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && equal(r, root)
}

/** True if the tree (size1, root1) is a part of (size2, root2). RFC 9162 §2.1.4.2; size1 ≥ 1. */
export function verifyConsistency(
  size1: number,
  root1: Bytes,
  size2: number,
  root2: Bytes,
  proof: readonly Bytes[],
): boolean {
  if (!isSize(size1) || !isSize(size2) || size1 < 1 || size1 > size2) return false
  if (size1 === size2) return proof.length === 0 && equal(root1, root2)
  // a first tree that is itself a full subtree is its own first node
  const path = Number.isInteger(Math.log2(size1)) ? [root1, ...proof] : [...proof]
  const first = path.shift()
  if (first === undefined) return false
  let [fn, sn] = [size1 - 1, size2 - 1]
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)]
  let [fr, sr] = [first, first]
  for (const c of path) {
    if (sn === 0 || c.length !== 32) return false
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr)
      sr = nodeHash(c, sr)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else sr = nodeHash(sr, c)
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && equal(fr, root1) && equal(sr, root2)
}
