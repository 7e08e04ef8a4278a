/** What is about to expire on a database host, in words: for `status`, the doctor and the metrics alike. */
import type { Finding } from '../plan.ts'

/** A certificate is renewed by a person, with the passphrase at hand; a CRL lives 30 days and is made again weekly. */
export const warnDays = { certificate: 30, crl: 7 } as const

const dayMs = 86_400_000

export interface Expiry {
  /** TIME of SPEC §1.1; null: not known. */
  serverNotAfter: string | null
  crlNextUpdate: string | null
}

/** Whole days until a time of SPEC §1.1, negative once it has passed; rounded down, so that 0 is today. */
export const daysLeft = (time: string, nowMs: number): number =>
  Math.floor((Date.parse(time) - nowMs) / dayMs)

function warning(
  item: string,
  time: string | null,
  limit: number,
  nowMs: number,
  [consequence, cure]: [string, string],
): Finding[] {
  if (time === null) return []
  if (Date.parse(time) <= nowMs) return [{ item, detail: `expired on ${time}: ${consequence}; ${cure}` }]
  if (Date.parse(time) - nowMs > limit * dayMs) return []
  return [{ item, detail: `expires in ${daysLeft(time, nowMs)} days, on ${time}; ${cure}` }]
}

/** Nothing while the certificate has more than 30 days and the CRL more than 7. @param nowMs since 1970 */
export function expiryWarnings({ serverNotAfter, crlNextUpdate }: Expiry, nowMs: number): Finding[] {
  return [
    ...warning('certificate of the server', serverNotAfter, warnDays.certificate, nowMs, [
      'no client connects any more',
      'outside_pki renew server, then vm_oneclick reload-tls --pki-tar FILE',
    ]),
    ...warning('CRL', crlNextUpdate, warnDays.crl, nowMs, [
      'no client is let in any more',
      'outside_pki crl, then vm_oneclick reload-tls --pki-tar FILE',
    ]),
  ]
}
