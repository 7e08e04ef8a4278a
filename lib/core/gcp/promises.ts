/**
 * What a set-up on Google Cloud promises, each judged from what Google's interfaces answered: at every level that a key
 * or bucket inherits from. A thing that could not be asked is no promise kept.
 */
import type { Seen } from './evidence.ts'
import type { Attest, Promised } from './promise.ts'
import { keyPromises } from './promise_keys.ts'
import { storePromises } from './promise_store.ts'

export interface Kept {
  id: string
  promise: string
  holds: boolean
  /** What was seen, or what breaks it. */
  detail: string
}

export const promises: Promised[] = [...keyPromises, ...storePromises]

/** @param attest absent where there are no roots: then no attestation is believed */
export const judgePromises = (seen: Seen, attest?: Attest): Kept[] =>
  promises.map(({ id, promise, judge }) => {
    const [holds, detail] = judge(seen, attest)
    return { id, promise, holds: holds === true, detail }
  })
