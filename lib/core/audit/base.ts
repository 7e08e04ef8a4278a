/** Where a verification may begin: what a trail is known to be up to an anchor (SPEC §4.11). */
import { z } from 'zod'
import { type Bytes, equal, fromHex, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { isOrigin } from '../origin.ts'
import type { CheckedAnchor } from './anchor_check.ts'
import { Frontier } from './merkle.ts'

export interface Base {
  origin: string
  /** Number of the anchor. */
  anchor: number
  /** Events that it covers. */
  size: number
  /** curr_hash of the last of them, 32 bytes. */
  head: Bytes
  /** Roots of the full subtrees, largest first, 32 bytes each. */
  frontier: readonly Bytes[]
}

const hash = z.string().regex(/^[0-9a-f]{64}$/)

export const baseSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-base'),
  origin: z.string().refine(isOrigin),
  anchor: z.int().positive(),
  size: z.int().positive(),
  head: hash,
  frontier: z.array(hash).max(53),
})

export const baseMaxBytes = 8192

export const formatBase = ({ origin, anchor, size, head, frontier }: Base): string =>
  formatCanonical(
    { v: 1, kind: 'ztmysql-base', origin, anchor, size, head: toHex(head), frontier: frontier.map(toHex) },
    true,
  )

/** @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH where the frontier is not of its size */
export function parseBase(source: Bytes | string, what = 'base'): Base {
  const { origin, anchor, size, head, frontier } = parseCanonical(source, baseSchema, what, {
    maxBytes: baseMaxBytes,
    newline: true,
  })
  const nodes = frontier.map(node => fromHex(node, `${what}: frontier`, 32))
  new Frontier(size, nodes)
  return { origin, anchor, size, head: fromHex(head, `${what}: head`, 32), frontier: nodes }
}

/**
 * Refuses a base that is not what was anchored: size, head and root of an anchor whose signatures were checked.
 * @throws VERIFY_FAILED
 */
export function checkBase(base: Base, anchor: CheckedAnchor, what: string): void {
  const root = new Frontier(base.size, base.frontier).root()
  const right =
    base.origin === anchor.origin &&
    base.anchor === anchor.number &&
    base.size === anchor.size &&
    toHex(base.head) === anchor.head &&
    equal(root, anchor.checkpointRoot)
  if (!right)
    throw new ZtError('VERIFY_FAILED', `${what}: is not what anchor ${base.anchor} of your copy covers`, {
      hint: 'verify the whole trail, and keep its base anew with --save-base',
    })
}
