/** What a verdict must rest on: without one good anchor of this log there is nothing to judge by. */
import { type Engine, noble } from '../engine.ts'
import { reason, ZtError } from '../errors.ts'
import { type Anchor, openAnchor, parseAnchor } from './anchor.ts'
import type { TrustedLog } from './checkpoint.ts'
import type { StoredAnchor } from './source.ts'

function parsed({ bytes }: StoredAnchor): Anchor | undefined {
  try {
    return parseAnchor(bytes)
  } catch {
    return undefined // checkAnchors names it, where there is anything to judge by
  }
}

/**
 * One good anchor is enough here: what is wrong with others are findings of the verdict.
 * @param where the copy, for messages
 * @throws NOT_FOUND without anchors; UNTRUSTED where all are of another log, or signed by keys that are not trusted
 */
export function requireGrounds(
  stored: readonly StoredAnchor[],
  trust: TrustedLog,
  where: string,
  engine: Engine = noble,
): void {
  if (stored.length === 0)
    throw new ZtError('NOT_FOUND', `${where}: holds no anchors: there is nothing to judge by`, {
      hint: 'fetch them from the WORM store; where the store has none, no verdict is possible before the first',
    })
  const anchors = stored.flatMap(object => parsed(object) ?? [])
  const own = anchors.filter(anchor => anchor.origin === trust.origin)
  const [foreign] = anchors
  if (own.length === 0)
    throw new ZtError(
      'UNTRUSTED',
      foreign
        ? `${where}: holds anchors of the log ${foreign.origin}, the trust folder names ${trust.origin}`
        : `${where}: holds no anchor in the one form`,
    )
  let why: unknown
  for (const anchor of own)
    try {
      openAnchor(anchor, trust, engine)
      return
    } catch (thrown) {
      if (thrown instanceof ZtError && thrown.code === 'INTERNAL') throw thrown
      why ??= thrown
    }
  throw new ZtError(
    'UNTRUSTED',
    `${where}: not one anchor is signed as the trust folder asks: ${reason(why)}`,
    {
      hint: 'get the trust folder of this log from whoever keeps its CA; an old or wrong key judges nothing',
    },
  )
}
