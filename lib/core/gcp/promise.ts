import type { Attestation, Seen } from './evidence.ts'
import { keyName } from './settings.ts'

/** `undefined`: cannot be judged, which is no promise kept. */
export type Verdict = [holds: boolean | undefined, detail: string]

/** Checks an attestation against the roots of whoever judges. */
export type Attest = (attestation: Attestation | null, at: number) => 'verified' | 'missing' | 'bad'

export interface Promised {
  id: string
  promise: string
  judge(seen: Seen, attest: Attest | undefined): Verdict
}

export const all = (broken: string[], whole: string): Verdict => [
  broken.length === 0,
  broken.join('; ') || whole,
]

export const keysOf = ({ settings, keys }: Seen): [tenant: string, key: Seen['keys'][number] | undefined][] =>
  settings.tenants.map(tenant => [tenant, keys.find(({ name }) => name === keyName(settings, tenant))])

const minutes = (ms: number): string => `${Math.round(ms / 60_000)} min`

/** Google's clock may run before that of whoever asked. */
const skewMs = 120_000

export function young(seen: Seen, time: number | null, limitMs: number, what: string): Verdict {
  if (time === null) return [false, `there is no ${what}`]
  const age = seen.at - time
  if (age < -skewMs) return [false, `the newest ${what} came ${minutes(-age)} after this evidence was taken`]
  return [age <= limitMs, `the newest is ${minutes(Math.max(0, age))} old`]
}
