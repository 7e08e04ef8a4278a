/** Private key files of tenants: the issuer's (workstation) and the KEM's (readers), SPEC §6.3. */
import { z } from 'zod'
import { type Bytes, fromBase64, isUuid, toBase64 } from '../bytes.ts'
import { formatCanonical, parseCanonical } from '../json.ts'

const tenant = z.string().refine(isUuid, 'not a canonical UUID')
const schema = <K extends string>(kind: K) =>
  z.strictObject({ v: z.literal(1), kind: z.literal(kind), tenant, seed: z.string() })
const kem = schema('ztmysql-kem')
const issuer = schema('ztmysql-issuer')

export interface KeyFile {
  tenant: string
  /** KEM: d ‖ z, 64 bytes (FIPS 203). Issuer: ξ, 32 bytes (FIPS 204). */
  seed: Bytes
}

export const formatKemFile = ({ tenant, seed }: KeyFile): string =>
  formatCanonical({ v: 1, kind: 'ztmysql-kem', tenant, seed: toBase64(seed) }, true)

/** @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export function parseKemFile(text: Bytes | string, what: string): KeyFile {
  const file = parseCanonical(text, kem, what, { maxBytes: 4096, newline: true })
  return { tenant: file.tenant, seed: fromBase64(file.seed, `seed of ${what}`, 64) }
}

export const formatIssuerFile = ({ tenant, seed }: KeyFile): string =>
  formatCanonical({ v: 1, kind: 'ztmysql-issuer', tenant, seed: toBase64(seed) }, true)

/** @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export function parseIssuerFile(text: Bytes | string, what: string): KeyFile {
  const file = parseCanonical(text, issuer, what, { maxBytes: 4096, newline: true })
  return { tenant: file.tenant, seed: fromBase64(file.seed, `seed of ${what}`, 32) }
}
