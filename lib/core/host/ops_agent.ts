/**
 * Google's Ops Agent on a machine of Google's: which lines it ships to Cloud Logging, from where a sink takes them to the
 * bucket. Written by its documentation ("Configure the Ops Agent"); it has never met Google's servers.
 */

/** Where the agent's package puts its things, and what the firmware of a machine says of its maker. */
export const opsAgentPlaces = {
  folder: '/etc/google-cloud-ops-agent',
  config: '/etc/google-cloud-ops-agent/config.yaml',
  unit: 'google-cloud-ops-agent.service',
  product: '/sys/class/dmi/id/product_name',
} as const

/** As Google says to tell its machines; the firmware is the machine's, and no server is asked. */
export const isGoogleMachine = (product: string): boolean =>
  /^Google(?: Compute Engine)?$/.test(product.trim())

/** The files into which Debian's and Red Hat's rsyslog write what came to /dev/log. */
const logFiles = ['/var/log/syslog', '/var/log/messages']

export const opsAgentConfig = `# written by vm_oneclick; changes are drift
# The lines of the anchor go to Cloud Logging, and nothing else of this host's log: it may hold what is nobody's business.
logging:
  receivers:
    ztmysql_syslog:
      type: files
      include_paths:
${logFiles.map(path => `        - ${path}`).join('\n')}
  processors:
    ztmysql_anchors_alone:
      type: exclude_logs
      match_any:
        - 'jsonPayload.message !~ "AUDIT_CHAIN_HEAD"'
  service:
    pipelines:
      default_pipeline:
        receivers: []
      ztmysql_anchors:
        receivers: [ztmysql_syslog]
        processors: [ztmysql_anchors_alone]
`

/** Whether a file says anything: the package's own is nothing but comments. */
const isEmpty = (yaml: string): boolean => yaml.split('\n').every(line => /^\s*(?:#.*)?$/.test(line))

/** True where the file is somebody's own, which is not ours to replace. */
export const isForeign = (yaml: string | null): boolean =>
  yaml !== null && !isEmpty(yaml) && !yaml.startsWith('# written by vm_oneclick;')
