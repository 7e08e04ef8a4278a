/** Proofs that an event is in the log, as files: c2sp.org/tlog-proof (SPEC §4.10). */
import { type Bytes, fromBase64, fromUtf8, toBase64 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { noteMaxBytes } from './note.ts'

export interface TlogProof {
  /** Number of the event. */
  index: number
  /** 32 bytes each, from the leaf's sibling upwards. */
  path: Bytes[]
  /** Signed note, verbatim. */
  checkpoint: string
  /** Opaque, believed by nobody. */
  extra?: Bytes
}

const firstLine = 'c2sp.org/tlog-proof@v1'
// a tree of 2^53 leaves has no longer path
const maxPath = 53
export const tlogProofMaxBytes = noteMaxBytes + 8192

export function formatTlogProof({ index, path, checkpoint, extra }: TlogProof): string {
  const lines = [firstLine]
  if (extra !== undefined) lines.push(`extra ${toBase64(extra)}`)
  lines.push(`index ${index}`, ...path.map(toBase64))
  return `${lines.join('\n')}\n\n${checkpoint}`
}

/** Nothing of it is verified. What parses re-prints to the same bytes. @throws BAD_FORMAT, BAD_LENGTH */
export function parseTlogProof(source: Bytes | string, what = 'proof'): TlogProof {
  if (source.length > tlogProofMaxBytes)
    throw new ZtError('BAD_FORMAT', `${what}: longer than ${tlogProofMaxBytes} bytes`)
  const text = typeof source === 'string' ? source : fromUtf8(source, what)
  const end = text.indexOf('\n\n')
  const [first, ...lines] = text.slice(0, Math.max(0, end)).split('\n')
  if (first !== firstLine)
    throw new ZtError('BAD_FORMAT', `${what}: does not begin with ${firstLine}`, {
      hint: 'name a file that `chain_verify prove` made',
    })
  const extra = lines[0]?.startsWith('extra ') ? lines.shift()?.slice(6) : undefined
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? '')?.[1]
  if (index === undefined || !Number.isSafeInteger(Number(index)))
    throw new ZtError('BAD_FORMAT', `${what}: has no index that is a canonical decimal below 2^53`)
  if (lines.length > maxPath) throw new ZtError('BAD_FORMAT', `${what}: more than ${maxPath} hashes`)
  const proof: TlogProof = {
    index: Number(index),
    path: lines.map(line => fromBase64(line, `${what}: hash`, 32)),
    checkpoint: text.slice(end + 2),
    ...(extra === undefined ? {} : { extra: fromBase64(extra, `${what}: extra`) }),
  }
  if (formatTlogProof(proof) !== text) throw new ZtError('BAD_FORMAT', `${what}: not in canonical form`)
  return proof
}
