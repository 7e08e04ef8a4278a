/** The server's key and certificate. */
import { isIP } from 'node:net'
import { ZtError } from '../../core/errors.ts'
import { formatPem } from '../../core/pem.ts'
import { secondsOf } from './accounts.ts'
import { issueServer } from './certificates.ts'
import { authorityOf, type Draft, pemOf, put } from './draft.ts'
import { makeKey } from './keys.ts'

/** DNS names and addresses, those of the host itself always among them: its own probes use them. */
export function checkServerNames(names: readonly string[]): string[] {
  const all = [...new Set([...names, '127.0.0.1', 'localhost'])]
  const bad = all.find(
    name =>
      isIP(name) === 0 &&
      !/^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62}\.)*(?:[a-z0-9-]{0,62}[a-z0-9])?$/.test(name),
  )
  if (bad !== undefined)
    throw new ZtError(
      'BAD_INPUT',
      `server name ${JSON.stringify(bad)}: neither a DNS name in lower case nor an address`,
      {
        hint: 'for example db.example.org or 192.0.2.7',
      },
    )
  return all
}

/** A new key and certificate of the server; with `names`, for others than before. */
export async function renewServer(
  draft: Draft,
  { days, names = [] }: { days?: number | undefined; names?: readonly string[] } = {},
): Promise<void> {
  const { state } = draft
  if (names.length > 0) state.serverNames = checkServerNames(names)
  requireName(draft, state.host)
  const pair = await makeKey('P-256')
  const ca = authorityOf(draft)
  const validity = { now: draft.now, seconds: secondsOf('server', days) }
  const certificate = await issueServer(ca, state.serverNames, pair.spki, validity)
  put(draft, 'server/server-cert.pem', pemOf(certificate))
  put(draft, 'server/server-key.pem', formatPem('PRIVATE KEY', pair.pkcs8))
  const { serial, notAfter } = certificate
  state.servers.push({ serial, authority: ca.certificate.serial, notAfter, revokedAt: null })
  draft.changes.push(
    `certificate of the server, until ${notAfter.slice(0, 10)}, for ${state.serverNames.join(', ')}`,
  )
}

/** Clients check the name that they connect to, so it must be one of the certificate's. @throws REFUSED */
export function requireName(draft: Draft, host: string): void {
  if (draft.state.serverNames.includes(host)) return
  throw new ZtError('REFUSED', `host ${host}: the server's certificate does not name it`, {
    hint: `name it: outside_pki renew server ${[host, ...draft.state.serverNames].map(n => `--server-name ${n}`).join(' ')}`,
  })
}
