import { type Bytes, fromBase64, toBase64 } from './bytes.ts'
import { ZtError } from './errors.ts'

export type PemLabel =
  | 'CERTIFICATE'
  | 'X509 CRL'
  | 'PRIVATE KEY'
  | 'PUBLIC KEY'
  | 'ENCRYPTED PRIVATE KEY'
  | 'CERTIFICATE REQUEST'

/** RFC 7468 text of one DER object: 64 columns, LF. */
export function formatPem(label: PemLabel, der: Bytes): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** Every DER object of a text that holds nothing else, as formatPem printed it. @throws BAD_FORMAT */
export function parsePems(text: string, label: PemLabel, what: string): Bytes[] {
  const begin = `-----BEGIN ${label}-----\n`
  const end = `-----END ${label}-----\n`
  const ders = text
    .split(begin)
    .slice(1)
    .map(block => fromBase64(block.slice(0, block.indexOf('-----END')).replaceAll('\n', ''), what))
  if (ders.length === 0 || ders.map(der => formatPem(label, der)).join('') !== text)
    throw new ZtError(
      'BAD_FORMAT',
      `${what}: expected nothing but ${begin.trim()} … ${end.trim()}, in canonical form`,
    )
  return ders
}

/** The one DER object of a text. @throws BAD_FORMAT */
export function parsePem(text: string, label: PemLabel, what: string): Bytes {
  const [der, ...rest] = parsePems(text, label, what)
  if (der === undefined || rest.length > 0) throw new ZtError('BAD_FORMAT', `${what}: expected one ${label}`)
  return der
}
