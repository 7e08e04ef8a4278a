import type { Bytes } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { Hash } from './chain.ts'
import { emptyRoot, Frontier, nodeHash, split } from './merkle.ts'

const blockLevel = 8
const blockSize = 1 << blockLevel

/**
 * Enough of a tree to prove some of its leaves, made while they stream by: the roots of all full subtrees of 256 leaves
 * and more, and the leaves of the blocks of 256 that are kept. Memory: 64 bytes for each 256 leaves, 8 KiB a kept block.
 */
export class TreeIndex {
  /** Full subtrees by level (2^level leaves), then by number. */
  readonly #levels: Map<number, Bytes>[] = []
  readonly #frontier: Frontier
  readonly #hash: Hash | undefined
  #kept = false

  /** @param base the tree so far, where only what follows it is known */
  constructor(base: Frontier = new Frontier(), hash?: Hash) {
    this.#frontier = base.clone()
    this.#hash = hash
    let start = 0
    for (const node of base.nodes) {
      const leaves = 2 ** Math.floor(Math.log2(base.size - start))
      this.#put(Math.log2(leaves), start / leaves, node)
      start += leaves
    }
  }

  get size(): number {
    return this.#frontier.size
  }

  /** @param keep whether this leaf, or the border right behind it, is to be proved */
  add(leaf: Bytes, keep = false): void {
    const seq = this.size
    this.#frontier.append(leaf)
    this.#put(0, seq, leaf)
    if (keep) this.#kept = true
    if ((seq + 1) % blockSize === 0) this.#closeBlock(Math.floor(seq / blockSize))
  }

  #put(level: number, at: number, node: Bytes): void {
    while (this.#levels.length <= level) this.#levels.push(new Map())
    this.#levels[level]?.set(at, node)
  }

  #closeBlock(block: number): void {
    let at = block
    let level = blockLevel
    this.#put(level, at, this.rangeRoot(block * blockSize, (block + 1) * blockSize))
    for (; at % 2 === 1; at = (at - 1) / 2, level++)
      this.#put(level + 1, (at - 1) / 2, this.rangeRoot((at - 1) * 2 ** level, (at + 1) * 2 ** level))
    if (!this.#kept)
      for (let i = block * blockSize; i < (block + 1) * blockSize; i++) this.#levels[0]?.delete(i)
    this.#kept = false
  }

  root(): Bytes {
    return this.#frontier.root()
  }

  /** Root over the leaves from ≤ n < to: MTH(D[from:to]) of RFC 6962 §2.1. @throws INTERNAL where it was not kept */
  rangeRoot(from: number, to: number): Bytes {
    const leaves = to - from
    if (leaves === 0) return emptyRoot()
    if (Number.isInteger(Math.log2(leaves)) && from % leaves === 0) {
      const known = this.#levels[Math.log2(leaves)]?.get(from / leaves)
      if (known) return known
      if (leaves === 1) throw new ZtError('INTERNAL', `tree: leaf ${from} was not kept`)
    }
    const k = split(leaves)
    return nodeHash(this.rangeRoot(from, from + k), this.rangeRoot(from + k, to), this.#hash)
  }

  /** Audit path of leaf `index`, lowest first: RFC 6962 §2.1.1. */
  inclusion(index: number): Bytes[] {
    const path: Bytes[] = []
    let [from, to] = [0, this.size]
    while (to - from > 1) {
      const middle = from + split(to - from)
      if (index < middle) {
        path.push(this.rangeRoot(middle, to))
        to = middle
      } else {
        path.push(this.rangeRoot(from, middle))
        from = middle
      }
    }
    return path.reverse()
  }

  /** Proof that the tree over the first `size` leaves is a part of this one: RFC 6962 §2.1.2. */
  consistency(size: number): Bytes[] {
    const path: Bytes[] = []
    let [from, to] = [0, this.size]
    let whole = true
    while (size !== to) {
      const middle = from + split(to - from)
      if (size <= middle) {
        path.push(this.rangeRoot(middle, to))
        to = middle
      } else {
        path.push(this.rangeRoot(from, middle))
        from = middle
        whole = false
      }
    }
    if (!whole) path.push(this.rangeRoot(from, to))
    return path.reverse()
  }
}
