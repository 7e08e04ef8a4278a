/** The CRL that a server has, held against the one that is to replace it. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import { refuseOlderCrl } from '../../core/host/reload_tls.ts'
import { parsePems } from '../../core/pem.ts'
import { type CrlInfo, readCrl } from '../../core/x509.ts'

const crlsOf = (pem: string, what: string): CrlInfo[] =>
  parsePems(pem, 'X509 CRL', what).map(der => readCrl(der, what))

/** None where the file is gone or spoilt: the plan puts that right. */
function inPlace(path: string): CrlInfo[] {
  if (!existsSync(path)) return []
  try {
    return crlsOf(readFileSync(path, 'utf8'), path)
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'BAD_FORMAT') return []
    throw thrown
  }
}

/** @param crl PEM. @throws REFUSED where it is older than the one in the folder */
export function refuseCrlOlderThanInPlace(tlsDir: string, crl: string): void {
  refuseOlderCrl(inPlace(join(tlsDir, 'crl.pem')), crlsOf(crl, 'crl.pem'))
}
