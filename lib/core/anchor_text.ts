/** What an anchor process says to people. */

/** What anchor_status() and this disk say; times in ISO 8601. */
export interface StandingText {
  recordedNumber: number
  recordedSize: number
  confirmedNumber: number
  confirmedAt: string | null
  oldestPendingAt: string | null
  pending: number
  /** SQLSTATE with which writes are refused, null where they are not. */
  gate: string | null
  outstanding: number[]
  store?: { location: string; grade: string; newest: string | null; error: string | null }
}

const gates: Record<string, string> = {
  '45G01': 'events wait unsealed for too long, or the sealer has stopped looking',
  '45G02': 'the last anchor that the store accepted is too old',
  '45G03': 'the clock of the database went backwards',
}

/** @param confirmedNumber of the last anchor that the store accepted, 0 before the first */
export function gateText(gate: string | null, confirmedNumber: number, program = 'anchor_head'): string {
  if (gate === null) return 'open'
  const why =
    gate === '45G02' && confirmedNumber === 0
      ? `no anchor yet: run ${program} now`
      : (gates[gate] ?? 'writes are refused')
  return `closed (${gate}): ${why}`
}

function age(time: string | null, now: number): string {
  if (time === null) return 'never'
  return `${Math.round((now - Date.parse(time)) / 1000)} s ago`
}

/** What the database says of its anchors, by label. @param now milliseconds since 1970 */
export function trailLines(
  standing: Omit<StandingText, 'outstanding'>,
  now: number,
  program?: string,
): [string, string][] {
  const { recordedNumber, recordedSize, confirmedNumber, confirmedAt, pending, oldestPendingAt } = standing
  return [
    ...(recordedNumber === 0
      ? ([['anchors', 'none yet']] as [string, string][])
      : ([
          ['recorded', `anchor ${recordedNumber}, ${recordedSize} events`],
          [
            'confirmed',
            confirmedNumber === 0 ? 'none yet' : `anchor ${confirmedNumber}, ${age(confirmedAt, now)}`,
          ],
        ] as [string, string][])),
    ['waiting', `${pending} events${pending > 0 ? `, the oldest queued ${age(oldestPendingAt, now)}` : ''}`],
    ['gate', gateText(standing.gate, confirmedNumber, program)],
  ]
}

/** @param now milliseconds since 1970 */
export function standingText(standing: StandingText, now: number, program?: string): string {
  const lines = trailLines(standing, now, program).map(([label, text]) => `${label.padEnd(11)}${text}`)
  if (standing.outstanding.length > 0)
    lines.push(`spool      anchor ${standing.outstanding.join(', ')} signed and not confirmed`)
  const { store } = standing
  if (store)
    lines.push(
      `store      ${store.location} (${store.grade === 'host' ? "the host's word" : store.grade}): ${store.error ?? store.newest ?? 'empty'}`,
    )
  return lines.join('\n')
}
