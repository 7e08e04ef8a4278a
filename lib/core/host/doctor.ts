/** What can be wrong with a database host, as data: how it shows, what is said of it, what to do, and where it is explained. */
import { gateText } from '../anchor_text.ts'
import type { Finding } from '../plan.ts'
import { type Expiry, expiryWarnings } from './expiry.ts'
import type { HostState } from './metrics.ts'

export interface Facts extends Pick<HostState, 'trail' | 'limits' | 'check' | 'queuedLines'> {
  /** Milliseconds since 1970. */
  now: number
  /** Why the database does not answer; null where it does. */
  serverError: string | null
  expiry: Expiry
  /** Further certificates, by what they are for. */
  certificates: Record<string, string | null>
  scheduler: string | null
  /** When the sealer last looked. */
  sealerLookedAt: string | null
  anchor: { timerEnabled: string; timerActive: string; result: string; lastError: string | null }
  /** Other units of ours that do not run, with their state. */
  idleUnits: Record<string, string>
  disks: { path: string; freeBytes: number; totalBytes: number }[]
  /** null: nobody says. */
  clockSynchronised: boolean | null
  store: { location: string; error: string | null }
  logHost: { name: string; error: string | null } | null
  /** Status of the keyring component; null where none is wanted. */
  keyring: { status: string; error: string | null } | null
  /** Whether the program is the one that was installed. */
  binary: 'same' | 'changed' | 'unknown'
}

export interface Complaint {
  id: string
  /** What is wrong, in words. */
  says: string
  cure: string
  /** Heading in docs/operations.md, as its anchor. */
  runbook: string
}

export interface Ailment {
  id: string
  runbook: string
  cure: string
  /** What is wrong; nothing where all is well or nothing is known. */
  look(facts: Facts): string[]
}

const agoText = (time: string, now: number): string => `${Math.round((now - Date.parse(time)) / 1000)} s ago`
const percent = (part: number, whole: number): number => Math.floor((100 * part) / whole)
const text = ({ item, detail }: Finding): string => `${item}: ${detail}`

/** Less than a tenth, or less than 1 GiB. */
const nearlyFull = ({ freeBytes, totalBytes }: Facts['disks'][number]): boolean =>
  freeBytes < 2 ** 30 || freeBytes * 10 < totalBytes

/** Between the first warning and the closing of the gate. */
export function lateAnchor({ trail, limits, now }: Pick<Facts, 'trail' | 'limits' | 'now'>): string[] {
  if (trail === null || limits === null || trail.confirmedAt === null || trail.gate !== null) return []
  const age = (now - Date.parse(trail.confirmedAt)) / 1000
  if (age <= limits.anchorWarnSeconds) return []
  return [
    `the last anchor reached the store ${Math.round(age)} s ago: the gate closes at ${limits.anchorSeconds} s`,
  ]
}

const checkHours = 3
/** A few anchors, of three lines each, wait whenever the log host restarts; more mean that it is away. */
const queueLines = 15

export const ailments: readonly Ailment[] = [
  {
    id: 'server-down',
    runbook: 'the-server-does-not-answer',
    cure: 'systemctl status mysql; journalctl -u mysql; its error log; then systemctl start mysql',
    look: ({ serverError }) => (serverError === null ? [] : [`the database does not answer: ${serverError}`]),
  },
  {
    id: 'expiry',
    runbook: 'the-servers-certificate-or-the-crl-runs-out',
    cure: 'bring a new archive from the workstation before the date: vm_oneclick reload-tls --pki-tar FILE',
    look: ({ expiry, now }) => expiryWarnings(expiry, now).map(text),
  },
  {
    id: 'log-certificate',
    runbook: 'a-log-host',
    cure: 'issue new certificates and give them with --log-ca, --log-cert and --log-key to vm_oneclick apply',
    look: ({ certificates, now }) =>
      Object.entries(certificates).flatMap(([name, time]) =>
        time === null || Date.parse(time) - now > 30 * 86_400_000
          ? []
          : [`certificate ${name}: ${Date.parse(time) <= now ? 'expired' : 'expires'} on ${time}`],
      ),
  },
  {
    id: 'gate',
    runbook: 'writes-are-refused-the-gate-is-closed',
    cure: 'see the part of the runbook for this SQLSTATE; vm_oneclick anchor now anchors at once',
    look: ({ trail }) =>
      trail === null || trail.gate === null
        ? []
        : [`the gate is ${gateText(trail.gate, trail.confirmedNumber, 'vm_oneclick anchor')}`],
  },
  {
    id: 'anchor-late',
    runbook: 'the-anchors-are-late',
    cure: 'journalctl -u ztmysql-anchor; vm_oneclick anchor now',
    look: lateAnchor,
  },
  {
    id: 'anchor-timer',
    runbook: 'the-anchors-are-late',
    cure: 'systemctl enable --now ztmysql-anchor.timer',
    look: ({ anchor: { timerEnabled, timerActive } }) =>
      timerActive === 'active' && timerEnabled === 'enabled'
        ? []
        : [`the timer of the anchor is ${timerEnabled} and ${timerActive}: nothing anchors the trail`],
  },
  {
    id: 'anchor-failed',
    runbook: 'the-anchors-are-late',
    cure: 'journalctl -u ztmysql-anchor; put right what it names; vm_oneclick anchor now',
    look: ({ anchor: { result, lastError } }) =>
      result === 'success'
        ? []
        : [`the last anchor failed (${result})${lastError === null ? '' : `: ${lastError}`}`],
  },
  {
    id: 'sealer',
    runbook: '45g01',
    cure: 'vm_oneclick check; SET GLOBAL event_scheduler = ON as root of the database; vm_oneclick anchor now seals what is due',
    look: ({ scheduler, sealerLookedAt, limits, now }) => {
      if (scheduler !== null && scheduler !== 'ON')
        return [`the sealer does not run: event_scheduler is ${scheduler}`]
      if (sealerLookedAt === null || limits === null) return []
      return now - Date.parse(sealerLookedAt) > limits.unsealedSeconds * 1000
        ? [`the sealer last looked ${agoText(sealerLookedAt, now)}`]
        : []
    },
  },
  {
    id: 'units',
    runbook: 'a-unit-does-not-run',
    cure: 'vm_oneclick apply puts the timers back; systemctl status UNIT says more',
    look: ({ idleUnits }) => Object.entries(idleUnits).map(([unit, state]) => `${unit} is ${state}`),
  },
  {
    id: 'disk',
    runbook: 'the-disk-is-nearly-full',
    cure: 'free some space or enlarge the disk: a full disk stops the anchors, and then the writes',
    look: ({ disks }) =>
      disks
        .filter(nearlyFull)
        .map(
          ({ path, freeBytes, totalBytes }) =>
            `the disk of ${path} has ${(freeBytes / 2 ** 30).toFixed(1)} GiB left, ${percent(freeBytes, totalBytes)} %`,
        ),
  },
  {
    id: 'clock',
    runbook: '45g03',
    cure: 'timedatectl; see that systemd-timesyncd or chrony runs and reaches its servers',
    look: ({ clockSynchronised }) => (clockSynchronised === false ? ['the clock is not synchronised'] : []),
  },
  {
    id: 'drift',
    runbook: 'drift-that-this-program-does-not-change',
    cure: 'vm_oneclick check names each; vm_oneclick apply puts right what it can',
    look: ({ check, now }) => {
      if (check === null) return []
      if (check.drift === null)
        return [`the last look for drift (${agoText(check.at, now)}) could not be had`]
      if (check.drift > 0)
        return [`${check.drift} things are not as installed (seen ${agoText(check.at, now)})`]
      return now - Date.parse(check.at) > checkHours * 3_600_000
        ? [`nobody has looked for drift since ${check.at}`]
        : []
    },
  },
  {
    id: 'store',
    runbook: 'the-store-is-out-of-reach',
    cure: 'mount it again, see that its owner is the user of the anchor; vm_oneclick anchor now',
    look: ({ store: { location, error } }) => (error === null ? [] : [`the store ${location}: ${error}`]),
  },
  {
    id: 'log-host',
    runbook: 'a-log-host',
    cure: 'see that its rsyslog runs, that this host reaches it, and the names in both certificates; nothing is lost meanwhile',
    look: ({ logHost, queuedLines }) => {
      if (logHost === null) return []
      if (logHost.error !== null) return [`the log host ${logHost.name}: ${logHost.error}`]
      return queuedLines !== null && queuedLines > queueLines
        ? [`${queuedLines} lines of anchors wait for the log host ${logHost.name}`]
        : []
    },
  },
  {
    id: 'keyring',
    runbook: 'the-keyring-is-missing',
    cure: 'put the file of the keyring back from its backup before mysqld starts again',
    look: ({ keyring }) =>
      keyring === null || (keyring.error === null && keyring.status === 'Active')
        ? []
        : [`the keyring is ${keyring.status}${keyring.error === null ? '' : `: ${keyring.error}`}`],
  },
  {
    id: 'binary',
    runbook: 'the-program-was-changed',
    cure: 'compare /usr/local/sbin/vm_oneclick with the SHA256SUMS of the release; install the release again',
    look: ({ binary }) =>
      binary === 'changed' ? ['/usr/local/sbin/vm_oneclick is not the program that was installed'] : [],
  },
]

/** In the order of the list. */
export const diagnose = (facts: Facts): Complaint[] =>
  ailments.flatMap(({ id, runbook, cure, look }) => look(facts).map(says => ({ id, says, cure, runbook })))

export function formatComplaints(complaints: readonly Complaint[]): string[] {
  if (complaints.length === 0) return ['nothing is wrong that can be seen from here']
  return complaints.flatMap(({ says, cure, runbook }) => [
    `! ${says}`,
    `    do: ${cure}`,
    `    see: docs/operations.md#${runbook}`,
  ])
}

/** The anchor that a heading of Markdown gets: lower case, letters, digits and hyphens. */
export const headingAnchor = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')
