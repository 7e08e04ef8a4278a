/** What the network shows: handshakes that must be refused, and the one that must not. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import { formatPem } from '../../core/pem.ts'
import { formatTime } from '../../core/time.ts'
import { onExit } from '../cleanup.ts'
import { openMysql, openPlaintext } from '../mysql.ts'
import { $ } from '../shell.ts'
import type { ProbeIdentity } from './identity.ts'
import { attempt, type Probe, type ProbeContext } from './probe.ts'

const address = ({ own: { config } }: ProbeContext) => ({
  host: config.host ?? '127.0.0.1',
  port: config.port ?? 3306,
})
const place = (context: ProbeContext): string => `${address(context).host}:${address(context).port}`
const asOwn = (context: ProbeContext): string => `${context.own.account} over TCP`

type Transcript = { transcript: string; exit: number }

/** A transcript of OpenSSL's client; whatever its exit, the transcript is the observation. */
async function handshake(context: ProbeContext, own: ProbeIdentity, flags: string[]): Promise<Transcript> {
  const { sslCa = '', sslCert = '', sslKey = '' } = own.config
  return transcript(context, 'Q\n', ['-CAfile', sslCa, '-cert', sslCert, '-key', sslKey, ...flags])
}

/** @param input `Q` ends the session once the handshake is over; without it the server has the last word. */
async function transcript(context: ProbeContext, input: 'Q\n' | '', flags: string[]): Promise<Transcript> {
  const found = await $`command -v openssl`.nothrow() // exit 1: not installed
  if (found.exitCode !== 0)
    throw new ZtError('MISSING_TOOL', 'openssl is not installed', { hint: 'apt-get install openssl' })
  const patience = input === '' ? ['-ign_eof'] : []
  const answer = await $({
    input,
    timeout: '30s',
  })`openssl s_client -connect ${place(context)} -starttls mysql ${patience} ${flags} 2>&1`.nothrow() // a refused handshake exits 1
  const text = answer.stdout
  if (!/CONNECTED\(/.test(text))
    throw new ZtError('UNREACHABLE', `${place(context)}: ${text.split('\n')[0] ?? 'no answer'}`)
  return { transcript: withoutSession(text), exit: answer.exitCode ?? -1 }
}

/**
 * All that openssl printed, but for sessions and tickets, by which whoever reads the bundle could go on with one, and for
 * the bytes of MySQL's own protocol.
 */
export function withoutSession(text: string): string {
  let inSession = false
  const lines = text.split('\n').filter(line => {
    if (/^(?:SSL-Session:|Post-Handshake New Session Ticket)/.test(line)) inSession = true
    else if (line === '---') inSession = false
    return !inSession
  })
  return lines.join('\n').replace(/[^\n\x20-\x7e]/g, '.')
}

const openssl = (flags: string) => (context: ProbeContext) =>
  `openssl s_client -connect ${place(context)} -starttls mysql ${flags}`

export const networkProbes: Probe[] = [
  {
    id: 'handshake',
    grade: 'network',
    identity: asOwn,
    command: context =>
      `mysql --defaults-file=${context.own.account}.cnf; ${openssl('-tls1_3 -showcerts')(context)}`,
    async run(context) {
      const { own } = context
      const connection = await openMysql({ defaultsFile: own.defaultsFile })
      const { tls } = connection.info()
      await connection.close()
      if (tls === null) throw new ZtError('TLS', 'the connection is not encrypted')
      const { transcript } = await handshake(context, own, ['-tls1_3', '-showcerts'])
      return {
        protocol: tls.protocol,
        cipher: tls.cipher,
        certificate: formatPem('CERTIFICATE', tls.peerCertificate),
        host: own.config.host ?? '127.0.0.1',
        time: formatTime(Date.now() * 1000),
        transcript,
      }
    },
  },
  {
    id: 'plaintext',
    grade: 'network',
    identity: asOwn,
    command: context => `mysql --defaults-file=${context.own.account}.cnf --ssl-mode=DISABLED`,
    async run({ own: { defaultsFile } }) {
      await (await openMysql({ defaultsFile })).close()
      return attempt(() => openPlaintext({ defaultsFile }))
    },
  },
  {
    id: 'tls12',
    grade: 'network',
    identity: asOwn,
    command: openssl('-tls1_2'),
    run: context => handshake(context, context.own, ['-tls1_2']),
  },
  {
    id: 'weak_suite',
    grade: 'network',
    identity: asOwn,
    command: openssl('-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256'),
    run: context => handshake(context, context.own, ['-tls1_3', '-ciphersuites', 'TLS_AES_128_GCM_SHA256']),
  },
  {
    id: 'no_certificate',
    grade: 'network',
    identity: context => `${context.own.account} with its password, without its certificate`,
    command: context => `mysql --defaults-file=${context.own.account}.cnf --ssl-cert= --ssl-key=`,
    run: ({ own }) => attempt(() => openWith(own, undefined)),
  },
  {
    id: 'other_certificate',
    grade: 'network',
    identity: context =>
      `${context.own.account} with its password and the certificate of ${context.neighbour.account}`,
    command: context =>
      `mysql --defaults-file=${context.own.account}.cnf --ssl-cert=${context.neighbour.account}-cert.pem --ssl-key=${context.neighbour.account}-key.pem`,
    run: ({ own, neighbour }) => attempt(() => openWith(own, neighbour)),
  },
  {
    id: 'foreign_certificate',
    grade: 'network',
    identity: context => `a self-signed certificate in the name of ${context.own.account}`,
    command: openssl('-cert foreign.pem -key foreign.key'),
    async run(context) {
      const dir = mkdtempSync(join(tmpdir(), 'zt-probe-'))
      const forget = onExit(() => rmSync(dir, { recursive: true, force: true }))
      try {
        const [key, cert] = [join(dir, 'foreign.key'), join(dir, 'foreign.pem')]
        const name = `/O=Zero-Trust MySQL/OU=probe/CN=${context.own.account}`
        await $`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj ${name} -keyout ${key} -out ${cert} 2>&1`
        // in TLS 1.3 a client's certificate is refused after the client has finished
        return await transcript(context, '', [
          '-CAfile',
          context.own.config.sslCa ?? '',
          '-cert',
          cert,
          '-key',
          key,
        ])
      } finally {
        forget()
        rmSync(dir, { recursive: true, force: true })
      }
    },
  },
]

/** A connection that should never come about; one that does is closed at once. */
async function openWith(own: ProbeIdentity, other: ProbeIdentity | undefined): Promise<void> {
  const { host, port, user, password, sslCa = '' } = own.config
  const pem = (path: string | undefined) => Bun.file(path ?? '').text()
  const connection = await openMysql({
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ssl: {
      ca: await pem(sslCa),
      ...(other ? { cert: await pem(other.config.sslCert), key: await pem(other.config.sslKey) } : {}),
    },
  })
  await connection.close()
}
