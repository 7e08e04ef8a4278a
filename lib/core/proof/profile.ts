import type { Judged } from './judge.ts'

/**
 * What a verdict asks for: `full`: every enforced control; `database`: the same without what only a whole host can
 * show; `off-host`: without anything that rests on the host's word.
 */
export const profiles = ['full', 'database', 'off-host'] as const
export type Profile = (typeof profiles)[number]

/** Whether a verdict is good enough for the profile. Nothing but a pass satisfies an enforced control that is asked for. */
export function satisfies({ control, status }: Judged, profile: Profile): boolean {
  if (status === 'pass') return true
  if (control.status === 'optional') return true
  if (control.grade === 'host' && profile === 'off-host') return true
  if (status !== 'not-applicable') return false
  // there may be nothing stored yet that the claim could be about
  if (control.grade === 'recomputed' || control.status === 'available') return true
  return control.grade === 'host' && profile === 'database'
}
