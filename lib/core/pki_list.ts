/** What `outside_pki list` says: every certificate with the days that it has left, and what wants attention. */
import { isInForce, type PkiState } from './pki_state.ts'
import { parseTime } from './time.ts'

export interface ListedCertificate {
  name: string
  role: string
  tenant: string | null
  serial: string
  notAfter: string
  daysLeft: number
  /** `superseded`: in force, but a newer one took its place. */
  status: 'in force' | 'superseded' | 'expired' | 'revoked'
}

export interface PkiList {
  origin: string
  trustSerial: number
  /** SHA-256 of the CA certificate: what auditors pin. At a rollover the new one and then the old one. */
  caSha256: string[]
  crl: { number: number; nextUpdate: string; daysLeft: number }
  certificates: ListedCertificate[]
  warnings: string[]
}

const warnDays = { crl: 10, ca: 180, certificate: 14 }

/** @param now canonical time */
export function listPki(state: PkiState, now: string): PkiList {
  const daysLeft = (time: string): number =>
    Math.floor((parseTime(time, 'notAfter') - parseTime(now, 'now')) / 86_400e6)
  const entry = (
    name: string,
    role: string,
    tenant: string | null,
    c: { serial: string; notAfter: string; revokedAt: string | null },
    isCurrent: boolean,
  ): ListedCertificate => {
    const inForce = isCurrent ? 'in force' : 'superseded'
    const status = isInForce(c, now) ? inForce : c.revokedAt === null ? 'expired' : 'revoked'
    return {
      name,
      role,
      tenant,
      serial: c.serial,
      notAfter: c.notAfter,
      daysLeft: daysLeft(c.notAfter),
      status,
    }
  }
  const labels = new Map(state.tenants.map(tenant => [tenant.id, tenant.label]))
  const current = new Map(state.accounts.map(account => [account.serial, account]))
  const certificates = [
    ...state.servers.map(c => entry('server', 'server', null, c, c === state.servers.at(-1))),
    ...state.certificates.map(c =>
      entry(
        c.account,
        c.role,
        labels.get(c.tenant ?? '') ?? null,
        c,
        current.get(c.serial)?.retired === false,
      ),
    ),
  ]
  const crl = {
    number: state.crlNumber,
    nextUpdate: state.crlNextUpdate,
    daysLeft: daysLeft(state.crlNextUpdate),
  }
  const warnings = [
    ...(crl.daysLeft < warnDays.crl
      ? [
          `the CRL ends ${crl.nextUpdate.slice(0, 10)}, and then the server refuses every client: outside_pki crl`,
        ]
      : []),
    ...(state.authorities.length > 1
      ? ['a CA rollover is under way: outside_pki rollover --finish ends it']
      : []),
    ...(daysLeft(state.authorities[0]?.notAfter ?? now) < warnDays.ca
      ? ['the CA ends soon: outside_pki rollover']
      : []),
    ...attention(state, certificates),
  ]
  const caSha256 = state.authorities.map(ca => ca.sha256)
  return { origin: state.origin, trustSerial: state.trustSerial, caSha256, crl, certificates, warnings }
}

function attention(state: PkiState, certificates: readonly ListedCertificate[]): string[] {
  const serials = new Set([
    ...state.accounts.filter(account => !account.retired).map(account => account.serial),
    ...state.servers.slice(-1).map(server => server.serial),
  ])
  const used = certificates.filter(c => serials.has(c.serial))
  const isProbe = (c: ListedCertificate) => c.role === 'probe' || c.role === 'probe_auditor'
  const ended = (c: ListedCertificate) => c.status !== 'in force'
  return [
    ...used
      .filter(c => !isProbe(c) && (ended(c) || c.daysLeft < warnDays.certificate))
      .map(
        c => `${c.name}: ${ended(c) ? c.status : `ends in ${c.daysLeft} days`}: outside_pki renew ${c.name}`,
      ),
    ...(used.some(c => isProbe(c) && ended(c))
      ? ['the probes have no certificate in force: outside_pki probes']
      : []),
  ]
}

/** The list as a table for people; `all`: certificates that no longer matter too. */
export function formatPkiList(list: PkiList, all: boolean): string {
  const shown = list.certificates.filter(c => all || c.status === 'in force' || c.status === 'superseded')
  const rows = [
    ['NAME', 'ROLE', 'TENANT', 'UNTIL', 'DAYS', 'STATUS', 'SERIAL'],
    ...shown.map(c => [
      c.name,
      c.role,
      c.tenant ?? '-',
      c.notAfter.slice(0, 10),
      String(c.daysLeft),
      c.status,
      c.serial,
    ]),
  ]
  const width = (column: number) => Math.max(...rows.map(row => row[column]?.length ?? 0))
  const widths = rows[0]?.map((_, column) => width(column)) ?? []
  return [
    `log      ${list.origin}`,
    ...list.caSha256.map(pin => `CA pin   ${pin}`),
    `trust    serial ${list.trustSerial}`,
    `CRL      ${list.crl.number}, next update ${list.crl.nextUpdate.slice(0, 10)} (${list.crl.daysLeft} days)`,
    '',
    ...rows.map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    ),
  ].join('\n')
}
