/** What a new archive may not do to certificates that are in place, beside what is wrong with it by itself. */
import { ZtError } from '../errors.ts'
import type { CrlInfo } from '../x509.ts'

const freshHint = 'make a new archive on the workstation with outside_pki and copy it here'

/**
 * An older CRL would let revoked certificates in again.
 * @throws REFUSED where a CRL is older than the one of the same CA that is in place
 */
export function refuseOlderCrl(inPlace: CrlInfo[], wanted: CrlInfo[]): void {
  for (const next of wanted) {
    const current = inPlace.find(({ issuer }) => issuer === next.issuer)
    if (current !== undefined && next.thisUpdate < current.thisUpdate)
      throw new ZtError(
        'REFUSED',
        `crl.pem: of ${next.thisUpdate}, older than the one in place, of ${current.thisUpdate}`,
        { hint: `this archive is not the newest: ${freshHint}` },
      )
  }
}

/**
 * A rollover overlaps: the archive names the CA before it too. One that names neither is another PKI's, unless the pin
 * of its CA was given.
 * @param installed SHA-256 of the CAs in place, hex
 * @throws REFUSED
 */
export function refuseStrangerCa(installed: string[], wanted: string[], pinned: boolean): void {
  if (pinned || installed.length === 0 || wanted.some(ca => installed.includes(ca))) return
  throw new ZtError('REFUSED', `ca.pem: its CA ${wanted[0]} is not the one in place, ${installed[0]}`, {
    hint: 'take the archive of this deployment; if its CA was replaced for good, give the new pin with --ca-sha256',
  })
}
