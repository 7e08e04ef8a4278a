/**
 * A countersignature: an in-toto Statement v1 whose subjects are the files of a bundle, in a DSSE envelope. It says that
 * the holder of a key had these bytes, at a time by his own clock. It says nothing of what they show.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { type Bytes, fromUtf8, toHex, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { isTime } from '../time.ts'
import type { BundleFiles } from './bundle.ts'
import { formatDsse, openDsse, parseJson } from './dsse.ts'

const payloadType = 'application/vnd.in-toto+json'
const statementType = 'https://in-toto.io/Statement/v1'
const predicateType = 'urn:ztmysql:bundle-received:v1'
/** Room for every file that a bundle may have. */
export const signatureMaxBytes = 4 << 20

const statementSchema = z.strictObject({
  _type: z.literal(statementType),
  subject: z.array(
    z.strictObject({
      name: z.string().max(200),
      digest: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
    }),
  ),
  predicateType: z.literal(predicateType),
  predicate: z.strictObject({ origin: z.string(), nonce: z.string(), received: z.string().refine(isTime) }),
})

const subjectsOf = (files: BundleFiles) =>
  [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, bytes]) => ({ name, digest: { sha256: toHex(sha256(bytes)) } }))

export interface Received {
  origin: string
  nonce: string
  /** By the signer's clock. */
  received: string
}

/** The text of an envelope. @param key secret: 32 bytes of a P-256 key */
export function countersign(
  files: BundleFiles,
  { origin, nonce, received }: Received,
  key: { secret: Bytes; keyid: string },
): string {
  const statement = {
    _type: statementType,
    subject: subjectsOf(files),
    predicateType,
    predicate: { origin, nonce, received },
  }
  return formatDsse(payloadType, utf8(JSON.stringify(statement)), key)
}

/** What the signer says, once he signed exactly these files. @throws BAD_FORMAT, BAD_SIGNATURE, VERIFY_FAILED */
export function checkCountersignature(
  envelope: Bytes,
  files: BundleFiles,
  publicKey: Bytes,
  what: string,
): Received {
  const body = openDsse(envelope, payloadType, publicKey, what)
  const statement = parseJson(fromUtf8(body, what), what)
  const parsed = statementSchema.safeParse(statement)
  if (!parsed.success) throw new ZtError('BAD_FORMAT', `${what}: no statement about a bundle`)
  const { subject, predicate } = parsed.data
  if (JSON.stringify(subject) !== JSON.stringify(subjectsOf(files)))
    throw new ZtError('VERIFY_FAILED', `${what}: signs other files than this bundle has`, {
      hint: 'ask for the bundle that was signed, or for a signature of this one',
    })
  return predicate
}
