/** What a host that vm_oneclick set up is asked day by day: doctor, metrics, the look for drift, and the anchor itself. */
import { anchorCommand } from './anchor_command.ts'
import { type Command, green, print, red } from './cli.ts'
import { ZtError } from './core/errors.ts'

interface Options {
  json?: boolean
  out?: string
  client?: string
  port?: string
  rotation?: boolean
}

function refuseOthers(): void {
  if (process.geteuid?.() !== 0)
    throw new ZtError('PERMISSION', 'only root can look at a host', { hint: 'run it with sudo' })
}

async function doctor({ json }: Options): Promise<void> {
  refuseOthers()
  const { gatherFacts } = await import('./edge/host/doctor.ts')
  const { exposureOf } = await import('./edge/host/anchor_unit.ts')
  const { diagnose, formatComplaints } = await import('./core/host/doctor.ts')
  const complaints = diagnose(await gatherFacts())
  const exposure = await exposureOf('ztmysql-anchor.service')
  if (json) print(JSON.stringify({ well: complaints.length === 0, complaints, exposure }))
  else {
    for (const line of formatComplaints(complaints)) print(line.startsWith('!') ? red(line) : line)
    if (exposure !== null)
      print(`the unit of the anchor: exposure ${exposure.score.toFixed(1)} of 10 (systemd-analyze security)`)
  }
  process.exitCode = complaints.length === 0 ? 0 : 1
}

async function metrics({ out }: Options): Promise<void> {
  refuseOthers()
  const { observeHost } = await import('./edge/host/observe.ts')
  const { metricsPath, writeMetrics } = await import('./edge/host/metrics.ts')
  const { formatMetrics, metricsOf } = await import('./core/host/metrics.ts')
  const { lateAnchor } = await import('./core/host/doctor.ts')
  const host = await observeHost()
  if (out === '-') print(formatMetrics(metricsOf(host)).trimEnd())
  else writeMetrics(host, out ?? metricsPath())
  // a line of the journal a minute, while there is still time
  for (const text of lateAnchor({ ...host, now: Date.now() })) print(`warning: ${text}`)
}

async function watch(): Promise<void> {
  refuseOthers()
  const { watchDrift } = await import('./edge/host/watch.ts')
  const items = await watchDrift()
  for (const item of items) print(red(`drift: ${item}`))
  if (items.length === 0) print(green('no drift'))
  process.exitCode = items.length === 0 ? 0 : 1
}

/** `vm_oneclick anchor | doctor | metrics | watch`. */
export function hostCommands(root: Command): void {
  root.addCommand(anchorCommand('anchor', `${root.name()} anchor`))
  root
    .command('doctor')
    .description('say in words what is wrong with this host, and what to do; exit 1 where anything is')
    .option('--json', 'print JSON')
    .action(doctor)
  root
    .command('metrics')
    .description('write the textfile of metrics for Prometheus: what its timer calls each minute')
    .option(
      '--out <file>',
      "where to (default: node_exporter's folder, or /var/lib/ztmysql/metrics; - prints)",
    )
    .action(metrics)
  root
    .command('watch')
    .description('look for drift and keep the result: what its timer calls each hour')
    .action(watch)
  root
    .command('log-host-config')
    .description('print the configuration of rsyslog for the host that shall keep what this one sends')
    .option('--client <name>', "name in this host's certificate for the log host")
    .option('--port <n>', 'port to listen on', '6514')
    .option('--rotation', 'print the configuration of logrotate instead, which removes nothing')
    .action(async ({ client, port = '', rotation }: Options) => {
      const { formatReceiver, parseLogHost, receiverRotation } = await import('./core/host/log_shipping.ts')
      if (rotation) return print(receiverRotation.trimEnd())
      if (client === undefined)
        throw new ZtError('USAGE', 'no --client given', {
          hint: "name the database host as in its certificate for the log host: it is the rsyslog's only peer",
        })
      const parsed = parseLogHost(`${client}:${port}`)
      print(formatReceiver({ client: parsed.name, port: parsed.port }).trimEnd())
    })
}

/** Options of `apply` that say where anchors go besides the store. */
export const logHostOptions = (cmd: Command): Command =>
  cmd
    .option('--log-host <name:port>', 'send anchors to the rsyslog of another host too, by RELP over TLS 1.3')
    .option('--no-log-host', 'send them nowhere any more')
    .option('--log-ca <file>', "certificate of the CA that the log host's certificate is of")
    .option('--log-cert <file>', "this host's client certificate for the log host")
    .option('--log-key <file>', 'its key, a private file')
