/** A proof that one anchor extends another, as a file (SPEC §4.13). */
import { z } from 'zod'
import { type Bytes, fromBase64, toBase64 } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { isOrigin } from '../origin.ts'
import { type Checkpoint, openCheckpoint, type TrustedLog } from './checkpoint.ts'
import { verifyConsistency } from './merkle.ts'

export interface ConsistencyProof {
  origin: string
  /** Anchor numbers. */
  from: number
  to: number
  /** 32 bytes each: RFC 6962 §2.1.2. */
  path: Bytes[]
  /** Signed notes, verbatim. */
  earlier: string
  later: string
}

const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-consistency'),
  origin: z.string().refine(isOrigin),
  from: z.int().positive(),
  to: z.int().positive(),
  proof: z.array(z.string()).max(106),
  earlier: z.string(),
  later: z.string(),
})

export const consistencyMaxBytes = 1 << 18

export const formatConsistency = ({ origin, from, to, path, earlier, later }: ConsistencyProof): string =>
  formatCanonical(
    { v: 1, kind: 'ztmysql-consistency', origin, from, to, proof: path.map(toBase64), earlier, later },
    true,
  )

/** Nothing of it is verified. @throws BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export function parseConsistency(source: Bytes | string, what = 'proof'): ConsistencyProof {
  const { origin, from, to, proof, earlier, later } = parseCanonical(source, schema, what, {
    maxBytes: consistencyMaxBytes,
    newline: true,
  })
  return { origin, from, to, path: proof.map(hash => fromBase64(hash, `${what}: hash`, 32)), earlier, later }
}

/** @throws BAD_SIGNATURE, VERIFY_FAILED, BAD_FORMAT */
export function checkConsistency(
  proof: ConsistencyProof,
  log: TrustedLog,
  what = 'proof',
  engine: Engine = noble,
): { earlier: Checkpoint; later: Checkpoint } {
  const earlier = openCheckpoint(proof.earlier, log, proof.from, `${what}: anchor ${proof.from}`, engine)
  const later = openCheckpoint(proof.later, log, proof.to, `${what}: anchor ${proof.to}`, engine)
  const { size: m, root: from } = earlier
  const { size: n, root: to } = later
  if (proof.from > proof.to || !verifyConsistency(m, from, n, to, proof.path))
    throw new ZtError('VERIFY_FAILED', `${what}: anchor ${proof.to} does not extend anchor ${proof.from}`)
  return { earlier, later }
}
