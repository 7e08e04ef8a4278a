/** What runs and what the trail says of it, as a change of a plan. */
import type { Change } from '../plan.ts'

export interface Running {
  mysql: string
  /** Hex of 32 bytes (SPEC §4.15). */
  digest: string
}

const text = ({ mysql, digest }: Running): string => `MySQL ${mysql}, plugins ${digest.slice(0, 16)}`

/** @param known null: nothing was announced yet */
export function serverChanges(running: Running, known: Running | null): Change[] {
  if (known !== null && known.mysql === running.mysql && known.digest === running.digest) return []
  return [{ item: 'event server', before: known === null ? null : text(known), after: text(running) }]
}
