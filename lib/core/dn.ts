/** Distinguished names of certificates, and the one line that MySQL compares in REQUIRE SUBJECT and ISSUER. */
import { utf8 } from './bytes.ts'
import { ZtError } from './errors.ts'

/** RDNs in the order of the certificate. */
export type DistinguishedName = readonly (readonly { oid: string; value: string }[])[]

/** The short names that OpenSSL prints, for the attributes that certificates here carry. */
const shortNames: Record<string, string> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.1': 'UID',
}

const hex = (byte: number): string => `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`

function escaped(value: string): string {
  return [...utf8(value)]
    .map(byte => {
      const char = String.fromCharCode(byte)
      if (byte < 0x20 || byte > 0x7e) return hex(byte)
      return char === '/' || char === '+' ? `\\${char}` : char
    })
    .join('')
}

/** What OpenSSL's X509_NAME_oneline prints: `/O=…/CN=…`. @throws BAD_FORMAT on attributes that are not ours */
export function oneLine(name: DistinguishedName): string {
  return name
    .map(rdn => {
      const [attribute, ...more] = rdn
      const short = shortNames[attribute?.oid ?? '']
      if (attribute === undefined || short === undefined || more.length > 0)
        throw new ZtError(
          'BAD_FORMAT',
          'distinguished name: an attribute that these certificates do not have',
        )
      return `/${short}=${escaped(attribute.value)}`
    })
    .join('')
}

export const organisation = 'Zero-Trust MySQL'

/** Attributes by OID, in order, of a client certificate (SPEC §2). */
export function clientName(
  role: string,
  account: string,
  tenant: string | null,
  serial: string,
): DistinguishedName {
  const attributes = [
    { oid: '2.5.4.10', value: organisation },
    { oid: '2.5.4.11', value: role },
    { oid: '2.5.4.3', value: account },
    ...(tenant === null ? [] : [{ oid: '0.9.2342.19200300.100.1.1', value: tenant }]),
    { oid: '2.5.4.5', value: serial },
  ]
  return attributes.map(attribute => [attribute])
}
