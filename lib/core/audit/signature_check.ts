import { type Engine, noble } from '../engine.ts'
import { verifyWrite } from '../signature.ts'
import type { TableDefinition } from '../tables.ts'
import type { TrustedCertificate } from '../trust.ts'
import { type RowEvent, signedWrite } from './event.ts'
import type { FindingCode } from './findings.ts'

/** What is wrong with the signature of a row event, or undefined. SPEC §4.2. */
export type SignatureFault = { code: FindingCode; what: string } | undefined

/** Cheap part, for every row event: signed at all, by a known certificate that may do this. */
export function checkSigner(
  event: RowEvent,
  definitions: Map<string, TableDefinition>,
  bySigner: Map<string, TrustedCertificate>,
): SignatureFault {
  const name = `${event.action} of ${event.table} ${event.key}`
  if (event.sig === null || event.signer === null) return { code: 'SIG_MISSING', what: `${name} is unsigned` }
  const certificate = bySigner.get(event.signer)
  if (!certificate)
    return { code: 'SIG_UNKNOWN_SIGNER', what: `${name}, sent by ${event.actor}: signer ${event.signer}` }
  const def = definitions.get(event.table)
  if (!def) return { code: 'SIG_NOT_ALLOWED', what: `${name}: no such protected table` }
  const allowed =
    def.writer === 'administrator'
      ? certificate.role === 'administrator'
      : (certificate.role === 'app' || certificate.role === 'probe') && certificate.tenant === event.tenant
  if (!allowed)
    return {
      code: 'SIG_NOT_ALLOWED',
      // whoever sent it chose the signer that it names
      what: `${name} of tenant ${event.tenant}, sent by ${event.actor}, names the signer ${certificate.account} (${certificate.role})`,
    }
  return undefined
}

/**
 * A client's write comes from its signer's own account. One that does not is judged in full: a signature that fits
 * nothing was made up, one that fits was passed on.
 * @param at as for checkSignature
 */
export function checkSender(
  event: RowEvent,
  origin: string,
  definitions: Map<string, TableDefinition>,
  bySigner: Map<string, TrustedCertificate>,
  at: number,
  engine: Engine = noble,
): SignatureFault {
  const certificate = bySigner.get(event.signer ?? '')
  const sender = event.actor.slice(0, event.actor.lastIndexOf('@'))
  if (definitions.get(event.table)?.writer === 'administrator' || certificate?.account === sender)
    return undefined
  return (
    checkSignature(event, origin, bySigner, at, engine) ?? {
      code: 'SIG_NOT_ALLOWED',
      what: `${event.action} of ${event.table} ${event.key} was sent by ${event.actor}, its signer is ${certificate?.account}`,
    }
  )
}

/**
 * The rest: the signature itself, and the certificate in force when the write was anchored.
 * @param at ms since 1970: receive time of the first anchor that covers the event; now for a younger one.
 */
export function checkSignature(
  event: RowEvent,
  origin: string,
  bySigner: Map<string, TrustedCertificate>,
  at: number,
  engine: Engine = noble,
): SignatureFault {
  const signed = signedWrite(event, origin)
  const certificate = bySigner.get(event.signer ?? '')
  if (!signed || !certificate) return { code: 'SIG_MISSING', what: `event ${event.id}` }
  const name = `${event.action} of ${event.table} ${event.key} by ${certificate.account}`
  if (!verifyWrite(certificate.publicKey, signed.write, signed.signature, engine))
    return { code: 'SIG_BAD', what: `${name}, sent by ${event.actor}` }
  const ends = [certificate.notAfter, certificate.revokedAt].flatMap(t => (t === null ? [] : [Date.parse(t)]))
  if (at < Date.parse(certificate.notBefore) || ends.some(end => at > end))
    return {
      code: 'SIG_NOT_IN_FORCE',
      what: `${name}: judged at ${new Date(at).toISOString()}, the certificate holds from ${certificate.notBefore} to ${certificate.revokedAt ?? certificate.notAfter}`,
    }
  return undefined
}
