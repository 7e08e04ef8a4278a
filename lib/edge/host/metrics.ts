/** Writes the textfile for Prometheus' node_exporter. */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatMetrics, type HostState, metricsOf } from '../../core/host/metrics.ts'
import { writeFileAtomic } from '../files.ts'
import { putDir } from '../owned_files.ts'

const collectorFolder = '/var/lib/prometheus/node-exporter'
const ownFolder = '/var/lib/ztmysql/metrics'

/** Debian's folder of the textfile collector where there is one, else one of ours. */
export const metricsPath = (): string =>
  `${existsSync(collectorFolder) ? collectorFolder : ownFolder}/ztmysql.prom`

/** Whole or not at all: the collector may read at any moment. */
export function writeMetrics(host: HostState, path: string = metricsPath()): void {
  if (dirname(path) === ownFolder) putDir({ path: ownFolder, mode: 0o755, uid: 0, gid: 0 })
  writeFileAtomic(path, formatMetrics(metricsOf(host)), 0o644)
}
