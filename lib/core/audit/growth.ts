/** The tree on its way from one signed anchor to the next: what may be signed, and what speaks against it. */
import { type Bytes, equal } from '../bytes.ts'
import type { TreeHead } from './checkpoint.ts'
import { Frontier } from './merkle.ts'

/** A tree as far as it was anchored, and the leaf hash of its last event. */
export interface Grown {
  frontier: Frontier
  leaf: Bytes | undefined
}

export const nothingGrown = (): Grown => ({ frontier: new Frontier(), leaf: undefined })

/** Takes leaves one by one from `from` on and holds them against the tree that was signed last. */
export class Growth {
  /** The first event to be given: one before the end, so that the last leaf can be compared. */
  readonly from: number
  readonly #frontier: Frontier
  readonly #signed: TreeHead | undefined
  #leaf: Bytes | undefined
  #next: number
  #fault: string | undefined

  /** @param base a cache, not trusted: what it leads to must pass through the root that was signed */
  constructor(base: Grown, signed: TreeHead | undefined) {
    const { frontier, leaf } = base.frontier.size <= (signed?.size ?? 0) ? base : nothingGrown()
    this.#frontier = frontier.clone()
    this.#leaf = leaf
    this.#signed = signed
    this.from = Math.max(0, frontier.size - 1)
    this.#next = this.from
    this.#compareRoot()
  }

  add(leaf: Bytes): void {
    const seq = this.#next
    this.#next += 1
    if (seq < this.#frontier.size) {
      if (this.#leaf === undefined || !equal(leaf, this.#leaf))
        this.#fault ??= `event ${seq} is not the one that was anchored`
      return
    }
    this.#frontier.append(leaf)
    this.#leaf = leaf
    this.#compareRoot()
  }

  #compareRoot(): void {
    const signed = this.#signed
    if (signed && this.#frontier.size === signed.size && !equal(this.#frontier.root(), signed.root))
      this.#fault ??= `the trail does not extend the ${signed.size} events that were anchored`
  }

  get grown(): Grown {
    return { frontier: this.#frontier, leaf: this.#leaf }
  }

  /** Why a tree of `size` events must not be signed, or undefined. */
  fault(size: number): string | undefined {
    const anchored = this.#signed?.size ?? 0
    if (size <= anchored) return `the database has ${size} events, ${anchored} were anchored`
    if (this.#fault === undefined && (this.#next !== size || this.#frontier.size !== size))
      return `the database counts ${size} events and gave ${this.#next}`
    return this.#fault
  }
}
