/** DSSE 1.0.2 envelopes signed by a P-256 key: ECDSA/SHA-256, DER, over the pre-authentication encoding. */
import { p256 } from '@noble/curves/nist.js'
import { z } from 'zod'
import { type Bytes, concat, fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'

const envelopeSchema = z.object({
  payloadType: z.string().max(200),
  payload: z.string(),
  // whoever signs too may add his own
  signatures: z
    .array(z.object({ keyid: z.string().max(200).optional(), sig: z.string().max(400) }))
    .min(1)
    .max(16),
})

/** `DSSEv1` SP LEN(type) SP type SP LEN(body) SP body; lengths in bytes, decimal. */
export const preAuthEncoding = (type: string, body: Bytes): Bytes =>
  concat(utf8(`DSSEv1 ${utf8(type).length} ${type} ${body.length} `), body)

/** @param key secret: 32 bytes; keyid: a hint for whoever has many keys, not trusted */
export function formatDsse(type: string, body: Bytes, key: { secret: Bytes; keyid: string }): string {
  const sig = p256.sign(preAuthEncoding(type, body), key.secret, { lowS: true, format: 'der' })
  const envelope = {
    payloadType: type,
    payload: toBase64(body),
    signatures: [{ keyid: key.keyid, sig: toBase64(sig) }],
  }
  return `${JSON.stringify(envelope)}\n`
}

/** @throws BAD_FORMAT */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `${what}: not JSON`, { cause })
  }
}

/** The specification has readers take the URL-safe alphabet too. */
const base64 = (text: string, what: string): Bytes =>
  fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'), what)

function isSigned(message: Bytes, sig: Bytes, publicKey: Bytes): boolean {
  try {
    // other tools sign with either S
    return p256.verify(sig, message, publicKey, { lowS: false, format: 'der' })
  } catch {
    return false // no DER of a signature
  }
}

/**
 * The body of an envelope that this key signed, as this type.
 * @param publicKey SEC1 point. @throws BAD_FORMAT, BAD_SIGNATURE
 */
export function openDsse(envelope: Bytes, type: string, publicKey: Bytes, what: string): Bytes {
  const parsed = envelopeSchema.safeParse(parseJson(fromUtf8(envelope, what), what))
  if (!parsed.success) throw new ZtError('BAD_FORMAT', `${what}: not a DSSE envelope`)
  const { payloadType, payload, signatures } = parsed.data
  const body = base64(payload, what)
  // the type is part of what is signed: the one that the envelope claims must be the one asked for
  const message = preAuthEncoding(payloadType, body)
  if (payloadType !== type || !signatures.some(({ sig }) => isSigned(message, base64(sig, what), publicKey)))
    throw new ZtError('BAD_SIGNATURE', `${what}: not signed by the key that was named`, {
      hint: 'compare the key with --signed-by, and ask its owner for the signature again',
    })
  return body
}
