/**
 * Certificates for a log host and for the database host that sends to it. Their CA signs these two and is forgotten: there
 * is no key to guard, nobody else can get in, and where one of the two is lost, both are simply made again.
 */
import { checkLogName } from '../../core/host/log_shipping.ts'
import { formatPem } from '../../core/pem.ts'
import { daySeconds, issueServer, makeAuthority } from './certificates.ts'
import { type Draft, pemOf, put } from './draft.ts'
import { makeKey } from './keys.ts'

const folder = 'log_host'
const days = 365

/** @param name of the log host. @param client of the database host; both DNS names, which each side checks. @throws BAD_INPUT */
export async function issueLogHost(draft: Draft, name: string, client: string): Promise<void> {
  for (const each of [name, client]) checkLogName(each)
  const seconds = days * daySeconds
  const ca = await makeAuthority(await makeKey('P-384'), { now: draft.now, seconds: seconds + daySeconds })
  for (const [side, subject, usage] of [
    ['log', name, 'serverAuth'],
    ['db', client, 'clientAuth'],
  ] as const) {
    const pair = await makeKey('P-256')
    const certificate = await issueServer(ca, [subject], pair.spki, { now: draft.now, seconds }, usage)
    put(draft, `${folder}/${side}/ca.pem`, pemOf(ca.certificate))
    put(draft, `${folder}/${side}/cert.pem`, pemOf(certificate))
    put(draft, `${folder}/${side}/key.pem`, formatPem('PRIVATE KEY', pair.pkcs8))
  }
}
