/** What to do about a control that does not pass. */
import type { Judged } from '../proof/judge.ts'

export function hintOf({ control, status, reason }: Judged, met: boolean): string {
  if (control.layer === 'google' && status === 'not-applicable')
    return met
      ? 'nothing asked for depends on it'
      : 'outside_gcp_setup verify --out DIR, then verify --google DIR'
  if (control.layer === 'google')
    return `outside_gcp_setup --dry-run prints what would mend it, where a command can; then verify again (${control.enforcedBy})`
  if (status === 'not-applicable')
    return met
      ? 'nothing asked for depends on it'
      : 'collect on the database host that vm_oneclick set up, or ask for less with --require'
  if (status === 'error' && reason.startsWith('no observation'))
    return 'the bundle holds nothing about it: collect again with this release'
  if (status === 'error')
    return 'the probe did not run: collect again where it can, and read its error under observations'
  const { expect } = control
  if (expect.kind === 'trail')
    return `docs/findings.md explains each code; chain_verify on the live trail names the place (${control.sabotage} looks like this)`
  if (expect.kind === 'judgement' && expect.judgement === 'brackets')
    return 'fetch the anchors from the store again; if it stays, ask for a new bundle with a nonce of your own'
  if (control.grade === 'recomputed')
    return `look at the row that the reason names; the client that wrote it is in the trail (${control.enforcedBy})`
  return `on the database host: vm_oneclick check, then apply; what should make it so: ${control.enforcedBy}`
}
