/**
 * The Prometheus textfile of a database host (exposition format 0.0.4). Times are given as timestamps, not as ages: an age
 * that a stopped timer wrote would stay young for ever. `time() - ztmysql_anchor_confirmed_timestamp_seconds` is the age.
 */
import { ZtError } from '../errors.ts'

export interface Sample {
  labels?: Record<string, string>
  value: number
}

export interface Metric {
  name: string
  help: string
  samples: Sample[]
}

const namePattern = /^[a-z_:][a-z0-9_:]*$/
const labelPattern = /^[a-z_][a-z0-9_]*$/

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"')

function formatSample(name: string, { labels = {}, value }: Sample): string {
  if (!Number.isFinite(value)) throw new ZtError('INTERNAL', `metric ${name}: ${value} is no number`)
  const pairs = Object.entries(labels).map(([label, text]) => {
    if (!labelPattern.test(label) || label.startsWith('__'))
      throw new ZtError('INTERNAL', `metric ${name}: ${label} is no name of a label`)
    return `${label}="${escapeLabel(text)}"`
  })
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`
}

/** All of them gauges; one without a sample is left out. @throws INTERNAL on a name that Prometheus would refuse */
export function formatMetrics(metrics: readonly Metric[]): string {
  const lines: string[] = []
  const seen = new Set<string>()
  for (const { name, help, samples } of metrics) {
    if (!namePattern.test(name) || seen.has(name))
      throw new ZtError('INTERNAL', `metric ${name}: not a name of its own`)
    seen.add(name)
    if (samples.length === 0) continue
    const told = samples.map(sample => formatSample(name, sample))
    lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} gauge`, ...told)
  }
  return lines.map(line => `${line}\n`).join('')
}

/** What a host knows of itself. Times in ISO 8601; null: not known, or not yet. */
export interface HostState {
  version: string
  commit: string
  trail: {
    recordedNumber: number
    recordedSize: number
    confirmedNumber: number
    confirmedAt: string | null
    pending: number
    oldestPendingAt: string | null
    gate: string | null
  } | null
  limits: { unsealedSeconds: number; anchorSeconds: number; anchorWarnSeconds: number } | null
  /** By what they are for. */
  certificates: Record<string, string | null>
  crlNextUpdate: string | null
  verifiedAt: string | null
  check: { at: string; drift: number | null } | null
  /** Lines that wait for the log host; null where there is none. */
  queuedLines: number | null
  /** Whether each unit runs, by its name. */
  units: Record<string, boolean>
}

export const gateStates = ['45G01', '45G02', '45G03'] as const

const one = (value: number | null | undefined): Sample[] =>
  value === null || value === undefined ? [] : [{ value }]
const seconds = (time: string | null | undefined): number | null =>
  time === null || time === undefined ? null : Date.parse(time) / 1000
const flag = (value: boolean): number => (value ? 1 : 0)

export function metricsOf(host: HostState): Metric[] {
  const { trail, limits, check } = host
  const metric = (name: string, help: string, samples: Sample[]): Metric => ({
    name: `ztmysql_${name}`,
    help,
    samples,
  })
  return [
    metric('build_info', 'Version of vm_oneclick that wrote this file.', [
      { labels: { version: host.version, commit: host.commit }, value: 1 },
    ]),
    metric('up', 'Whether the database answered its root.', [{ value: flag(trail !== null) }]),
    metric(
      'anchor_confirmed_timestamp_seconds',
      'When the store accepted the last anchor.',
      one(seconds(trail?.confirmedAt)),
    ),
    metric(
      'anchor_confirmed_number',
      'Number of the last anchor that the store accepted.',
      one(trail?.confirmedNumber),
    ),
    metric('anchor_recorded_number', 'Number of the last anchor in the trail.', one(trail?.recordedNumber)),
    metric('tree_size_events', 'Events under the last anchor in the trail.', one(trail?.recordedSize)),
    metric('unsealed_events', 'Events that wait for the sealer.', one(trail?.pending)),
    metric(
      'unsealed_oldest_timestamp_seconds',
      'When the oldest event that waits for the sealer was queued.',
      one(seconds(trail?.oldestPendingAt)),
    ),
    metric(
      'gate_open',
      'Whether writes are taken.',
      trail === null ? [] : [{ value: flag(trail.gate === null) }],
    ),
    metric(
      'gate_closed',
      'Whether writes are refused with this SQLSTATE.',
      trail === null
        ? []
        : gateStates.map(sqlstate => ({ labels: { sqlstate }, value: flag(trail.gate === sqlstate) })),
    ),
    metric(
      'gate_limit_seconds',
      'Age at which the gate closes, or at which somebody should know.',
      limits === null
        ? []
        : [
            { labels: { limit: 'unsealed' }, value: limits.unsealedSeconds },
            { labels: { limit: 'anchor' }, value: limits.anchorSeconds },
            { labels: { limit: 'anchor_warn' }, value: limits.anchorWarnSeconds },
          ],
    ),
    metric(
      'certificate_not_after_timestamp_seconds',
      'End of a certificate.',
      Object.entries(host.certificates).flatMap(([certificate, time]) =>
        one(seconds(time)).map(({ value }) => ({ labels: { certificate }, value })),
      ),
    ),
    metric(
      'crl_next_update_timestamp_seconds',
      'When the CRL runs out, after which nobody is let in.',
      one(seconds(host.crlNextUpdate)),
    ),
    metric(
      'verification_timestamp_seconds',
      'When evidence was last collected for verification, by its event in the trail.',
      one(seconds(host.verifiedAt)),
    ),
    metric('check_timestamp_seconds', 'When drift was last looked for.', one(seconds(check?.at))),
    metric(
      'check_success',
      'Whether that look could be had.',
      check === null ? [] : [{ value: flag(check.drift !== null) }],
    ),
    metric('check_drift_items', 'Things that were not as installed.', one(check?.drift)),
    metric('log_queue_lines', 'Lines of anchors that wait for the log host.', one(host.queuedLines)),
    metric(
      'unit_active',
      'Whether a unit of the installation runs.',
      Object.entries(host.units).map(([unit, active]) => ({ labels: { unit }, value: flag(active) })),
    ),
  ]
}
