/** The public certificates that a collection meets. */
import { type Bytes, fromUtf8 } from '../../core/bytes.ts'
import { formatPem, parsePems } from '../../core/pem.ts'
import { observationName, parseObservation } from '../../core/proof/observation.ts'
import { readRegularFile } from '../files.ts'
import type { ProbeIdentity } from './identity.ts'

/** Of the server as the handshake showed it, of the CA that the probes trust, and of the probes. */
export function publicCertificates(
  files: ReadonlyMap<string, Bytes>,
  probes: readonly ProbeIdentity[],
): [path: string, pem: string][] {
  const found: [name: string, pem: string][] = []
  const handshake = files.get(observationName('handshake'))
  const seen = handshake && parseObservation(handshake, observationName('handshake')).result
  const server = (seen as { certificate?: unknown } | null | undefined)?.certificate
  if (typeof server === 'string') found.push(['server', server])
  const read = (path: string): string => fromUtf8(readRegularFile(path, 'certificate', 1 << 20), path)
  const { sslCa } = probes[0]?.config ?? {}
  if (sslCa !== undefined)
    for (const [i, der] of parsePems(read(sslCa), 'CERTIFICATE', sslCa).entries())
      found.push([`ca-${i + 1}`, formatPem('CERTIFICATE', der)])
  for (const { account, config } of probes)
    if (config.sslCert !== undefined) found.push([account, read(config.sslCert)])
  return found.map(([name, pem]) => [`certificates/${name}.pem`, pem])
}
