import type { Bytes } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'

export interface CacheBounds {
  readonly maxAgeSeconds: number
  readonly maxUses: number
  /** Sealed or opened under one key. */
  readonly maxBytes: number
  readonly maxKeys: number
}

/** Far below what AES-GCM with random nonces allows one key (2^32 messages): a bound on what a thief of memory gets. */
export const defaultBounds: CacheBounds = {
  maxAgeSeconds: 300,
  maxUses: 100_000,
  maxBytes: 1 << 26,
  maxKeys: 64,
}

interface Entry {
  readonly key: Bytes
  readonly since: number
  uses: number
  bytes: number
}

/** Opened data keys, within bounds; what leaves is overwritten. */
export class KeyCache {
  readonly #entries = new Map<string, Entry>()
  readonly #bounds: CacheBounds
  readonly #now: () => number
  #closed = false

  /** @param now milliseconds of a clock that never goes back */
  constructor(bounds: CacheBounds = defaultBounds, now: () => number = () => performance.now()) {
    this.#bounds = bounds
    this.#now = now
  }

  /** A copy for one use of `bytes` bytes, which the caller wipes; undefined where none is left. */
  take(id: string, bytes: number): Bytes | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined) return undefined
    const { maxAgeSeconds, maxUses, maxBytes } = this.#bounds
    entry.uses += 1
    entry.bytes += bytes
    const old = this.#now() - entry.since > maxAgeSeconds * 1000
    if (old || entry.uses > maxUses || entry.bytes > maxBytes) {
      this.#drop(id, entry)
      return undefined
    }
    return entry.key.slice()
  }

  /** Keeps a copy of the key. */
  put(id: string, key: Bytes): void {
    this.forget(id)
    if (this.#closed) return
    const [oldest] = this.#entries
    if (oldest !== undefined && this.#entries.size >= this.#bounds.maxKeys) this.#drop(...oldest)
    this.#entries.set(id, { key: key.slice(), since: this.#now(), uses: 0, bytes: 0 })
  }

  forget(id: string): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined) this.#drop(id, entry)
  }

  clear(): void {
    for (const [id, entry] of this.#entries) this.#drop(id, entry)
  }

  /** Wipes everything, and keeps nothing more: a KMS may answer after the end. */
  close(): void {
    this.#closed = true
    this.clear()
  }

  #drop(id: string, entry: Entry): void {
    this.#entries.delete(id)
    wipe(entry.key)
  }
}
