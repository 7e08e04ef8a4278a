/**
 * How anchors reach a log host: rsyslog reads the lines that the anchor appends (imfile), keeps them on disk, and sends
 * them by RELP over TLS 1.3 to a peer with the right name, again and again until it has acknowledged (docs/adr/0010).
 */
import { ZtError } from '../errors.ts'
import { shipFolder } from './units.ts'

export interface LogHost {
  /** DNS name: what is connected to, and what its certificate must say. */
  name: string
  port: number
}

const nameOk =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

/** @throws BAD_INPUT on what is no DNS name in lower case */
export function checkLogName(name: string): string {
  if (nameOk.test(name)) return name
  throw new ZtError('BAD_INPUT', `${JSON.stringify(name)}: not a DNS name in lower case`, {
    hint: 'for example log1.example.org: the other side checks it',
  })
}

/** `NAME:PORT`. @throws BAD_INPUT */
export function parseLogHost(text: string): LogHost {
  const [, name = '', port = ''] = /^(.*):([0-9]{1,5})$/.exec(text) ?? []
  if (!nameOk.test(name) || Number(port) < 1 || Number(port) > 65_535 || String(Number(port)) !== port)
    throw new ZtError('BAD_INPUT', `log host ${JSON.stringify(text)}: not NAME:PORT`, {
      hint: 'for example --log-host log1.example.org:6514; the name is the one in its certificate',
    })
  return { name, port: Number(port) }
}

export const formatLogHost = ({ name, port }: LogHost): string => `${name}:${port}`

export const logFolder = '/etc/ztmysql/log'
export const logFiles = {
  ca: `${logFolder}/ca.pem`,
  cert: `${logFolder}/cert.pem`,
  key: `${logFolder}/key.pem`,
}
export const shippingConfig = '/etc/rsyslog.d/30-ztmysql-anchors.conf'
export const queueFolder = '/var/spool/rsyslog'
export const queueName = 'ztmysql_anchors'
/** Debian's packages. */
export const shippingPackages = ['rsyslog', 'rsyslog-relp']

const tlsOf = (peer: string): string =>
  [
    'tls="on"',
    `tls.caCert="${logFiles.ca}"`,
    `tls.myCert="${logFiles.cert}"`,
    `tls.myPrivKey="${logFiles.key}"`,
    'tls.authMode="name"',
    `tls.permittedPeer=["${peer}"]`,
    'tls.tlscfgcmd="MinProtocol=TLSv1.3"',
  ].join(' ')

/** rsyslog of the database host. */
export const formatShipping = ({
  name,
  port,
}: LogHost): string => `# written by vm_oneclick; changes are drift
# The lines that the anchor appends, each kept until the log host has acknowledged it. Nothing is dropped: where the
# queue is full, reading stops, and what is not read stays in the files.
module(load="imfile" mode="inotify")
module(load="omrelp" tls.tlslib="openssl")
template(name="ztmysql_anchor" type="string" string="%msg%")
ruleset(name="ztmysql_anchors"
        queue.type="Disk" queue.filename="${queueName}" queue.spoolDirectory="${queueFolder}"
        queue.size="1000" queue.checkpointInterval="1" queue.syncQueueFiles="on" queue.saveOnShutdown="on"
        queue.timeoutEnqueue="0") {
  action(name="ztmysql_anchors" type="omrelp" target="${name}" port="${port}" template="ztmysql_anchor"
         windowSize="1" timeout="30" conn.timeout="10" action.resumeRetryCount="-1" action.resumeInterval="5" action.resumeIntervalMax="60"
         ${tlsOf(name)})
}
input(type="imfile" file="${shipFolder}/anchors-*.log" tag="ztmysql" ruleset="ztmysql_anchors" persistStateInterval="100")
`

/** rsyslog of the log host: what outside_pki and the docs hand to whoever runs it. @param client name of the database host */
export const formatReceiver = ({
  port,
  client,
}: {
  port: number
  client: string
}): string => `# log host of a zero-trust MySQL: anchors by RELP over TLS 1.3, from the database host alone
module(load="imrelp" tls.tlslib="openssl")
template(name="ztmysql_received" type="string" string="%timegenerated:::date-rfc3339% %fromhost-ip% %rawmsg%\\n")
ruleset(name="ztmysql_received"
        queue.type="Disk" queue.filename="ztmysql_received" queue.checkpointInterval="1" queue.syncQueueFiles="on"
        queue.saveOnShutdown="on") {
  action(type="omfile" file="${shipFolder}/received.log" template="ztmysql_received" dirCreateMode="0750"
         fileCreateMode="0640" sync="on")
}
input(type="imrelp" port="${port}" maxDataSize="32k" ruleset="ztmysql_received"
      ${tlsOf(client)})
`

/** Debian's logrotate of the log host: a file that is full is renamed, and never removed, emptied or written again. */
export const receiverRotation = `# log host of a zero-trust MySQL: what was received is evidence; how long it is kept is for a person to say
${shipFolder}/received.log {
    monthly
    rotate -1
    dateext
    nocompress
    nocopytruncate
    nocreate
    missingok
    notifempty
    postrotate
        /usr/lib/rsyslog/rsyslog-rotate
    endscript
}
`
