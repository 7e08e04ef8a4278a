/** Certificates of a report with their expiry: those of the trust folder, and what the bundle shows besides. */
import type { BundleVerdict } from '../proof/verify_bundle.ts'
import type { ReportCertificate } from './schema.ts'

const dayMs = 86_400_000
const commonName = (subject: string): string => /\/CN=([^/]*)/.exec(subject)?.[1] ?? subject

type Known = Omit<ReportCertificate, 'state' | 'days'> & { revoked: boolean }

/** In force at the moment of judgement, soonest to expire first; those of the past last. */
export function certificatesOf({ trust, certificates, now }: BundleVerdict): ReportCertificate[] {
  const inTrust = new Set(
    [...trust.certificates, ...trust.ca].map(({ issuer, serial }) => `${issuer} ${serial}`),
  )
  const all: Known[] = [
    ...trust.ca.map(ca => ({ ...named(commonName(ca.subject), 'authority', 'trust', ca), revoked: false })),
    ...trust.crl.map(crl => ({
      name: 'revocation list',
      role: 'CRL',
      source: 'trust' as const,
      subject: crl.issuer,
      serial: '',
      notBefore: crl.thisUpdate,
      notAfter: crl.nextUpdate,
      revoked: false,
    })),
    ...trust.certificates.map(c => ({
      ...named(c.account, c.role, 'trust', c),
      revoked: c.revokedAt !== null,
    })),
    ...certificates
      .filter(({ info }) => !inTrust.has(`${info.issuer} ${info.serial}`))
      .map(({ path, info }) => ({
        ...named(commonName(info.subject), path.replace(/^certificates\/|\.pem$/g, ''), 'bundle', info),
        revoked: false,
      })),
  ]
  return all
    .map(({ revoked, ...rest }) => ({
      ...rest,
      state: stateOf(rest, revoked, now),
      days: Math.floor((Date.parse(rest.notAfter) - now) / dayMs),
    }))
    .sort((a, b) => Number(a.state !== 'in force') - Number(b.state !== 'in force') || a.days - b.days)
}

const named = (
  name: string,
  role: string,
  source: 'trust' | 'bundle',
  c: { subject: string; serial: string; notBefore: string; notAfter: string },
) => ({
  name,
  role,
  source,
  subject: c.subject,
  serial: c.serial,
  notBefore: c.notBefore,
  notAfter: c.notAfter,
})

function stateOf(
  { notBefore, notAfter }: { notBefore: string; notAfter: string },
  revoked: boolean,
  now: number,
): ReportCertificate['state'] {
  if (revoked) return 'revoked'
  if (now > Date.parse(notAfter)) return 'expired'
  return now < Date.parse(notBefore) ? 'not yet valid' : 'in force'
}
