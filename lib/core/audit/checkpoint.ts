/** Checkpoints: C2SP signed notes with an Ed25519 line and an ML-DSA-44 cosignature line (SPEC §4.5). */
import { ed25519 } from '@noble/curves/ed25519.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, checkLength, concat, equal, fromBase64, toBase64, u64, utf8 } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import { checkOrigin } from '../origin.ts'
import { makeVkey, type Vkey } from '../vkey.ts'
import { formatNote, type Note, type NoteSignature, parseNote } from './note.ts'

export interface TreeHead {
  origin: string
  size: number
  /** 32 bytes. */
  root: Bytes
}

/** One pair of the log's public keys and the anchor numbers for which it signs, `until` included. */
export interface LogKey {
  ed25519: Vkey
  mldsa44: Vkey
  from: number
  until: number | null
}

/** Somebody else who saw the log grow: an Ed25519 cosignature/v1 key or an ML-DSA-44 one, for anchors from … until. */
export interface Witness {
  key: Vkey
  from: number
  until: number | null
}

/** Witnesses, and how many of those in force must have cosigned a checkpoint. */
export interface Witnesses {
  quorum: number
  keys: readonly Witness[]
}

/** The log as a verifier's own trust folder names it. */
export interface TrustedLog {
  origin: string
  logKeys: readonly LogKey[]
  witnesses?: Witnesses | undefined
}

/** One pair of signing keys: seeds of 32 bytes each. */
export interface AnchorKey {
  name: string
  ed25519: Bytes
  mldsa44: Bytes
}

const signatureLength = { ed25519: 64, cosignature: 8 + 64, mldsa44: 8 + 2420 } as const

/** `ORIGIN\nSIZE\nBASE64(root)\n`. */
export function formatTreeHead(head: TreeHead): string {
  return `${checkOrigin(head.origin)}\n${head.size}\n${toBase64(checkLength(head.root, 'root', 32))}\n`
}

/** @throws BAD_FORMAT on anything that formatTreeHead would not have printed, extension lines included */
export function parseTreeHead(text: string, what = 'checkpoint'): TreeHead {
  const [origin = '', size = '', root = '', ...rest] = text.split('\n')
  if (rest.length !== 1 || rest[0] !== '')
    throw new ZtError('BAD_FORMAT', `${what}: expected three lines: origin, size, root`)
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)))
    throw new ZtError('BAD_FORMAT', `${what}: the size is not a canonical decimal below 2^53`)
  return {
    origin: checkOrigin(origin, `${what}: origin`),
    size: Number(size),
    root: fromBase64(root, `${what}: root`, 32),
  }
}

const byteText = (text: string): Bytes => concat(Uint8Array.of(utf8(text).length), utf8(text))

/** What the ML-DSA-44 line signs: C2SP's cosigned_message for the whole tree. @param timestamp seconds since 1970 */
export function cosignedMessage(name: string, head: TreeHead, timestamp: number | bigint): Bytes {
  return concat(
    utf8('subtree/v1\n\0'),
    byteText(name),
    u64(timestamp),
    byteText(head.origin),
    u64(0),
    u64(head.size),
    checkLength(head.root, 'root', 32),
  )
}

/** The public half of a pair of signing keys. */
export function publicKeys(key: AnchorKey): { ed25519: Vkey; mldsa44: Vkey } {
  checkLength(key.ed25519, 'ed25519 seed', 32)
  checkLength(key.mldsa44, 'mldsa44 seed', 32)
  const { publicKey } = ml_dsa44.keygen(key.mldsa44)
  return {
    ed25519: makeVkey(key.name, 'ed25519', ed25519.getPublicKey(key.ed25519)),
    mldsa44: makeVkey(key.name, 'mldsa44', publicKey),
  }
}

function signWith(key: AnchorKey, head: TreeHead, timestamp: number): NoteSignature[] {
  if (key.name !== head.origin)
    throw new ZtError('REFUSED', `anchor key: belongs to ${key.name}, the log is ${head.origin}`)
  const keys = publicKeys(key)
  const classic = ed25519.sign(utf8(formatTreeHead(head)), key.ed25519)
  const { secretKey } = ml_dsa44.keygen(key.mldsa44)
  const lasting = ml_dsa44.sign(cosignedMessage(key.name, head, timestamp), secretKey)
  return [
    { name: key.name, keyId: keys.ed25519.keyId, signature: classic },
    { name: key.name, keyId: keys.mldsa44.keyId, signature: concat(u64(timestamp), lasting) },
  ]
}

/**
 * A signed checkpoint in text. Two calls give two texts (ML-DSA is hedged): keep the first.
 * @param keys one pair, or at a rotation the old pair and then the new one
 * @param timestamp seconds since 1970, above 0
 */
export function signCheckpoint(head: TreeHead, keys: readonly AnchorKey[], timestamp: number): string {
  if (!Number.isSafeInteger(timestamp) || timestamp <= 0)
    throw new ZtError('BAD_INPUT', 'checkpoint: expected a time in whole seconds after 1970')
  return formatNote({
    text: formatTreeHead(head),
    signatures: keys.flatMap(key => signWith(key, head, timestamp)),
  })
}

/** What an Ed25519 cosignature (type 0x04) signs: C2SP tlog-cosignature. @param timestamp seconds since 1970 */
export const cosignatureMessage = (note: string, timestamp: number | bigint): Bytes =>
  utf8(`cosignature/v1\ntime ${timestamp}\n${note}`)

/** The timestamp in seconds of a line that verifies, 0 for a kind that has none, undefined for one that does not. */
function timeOfLine(
  key: Vkey,
  note: Note,
  head: TreeHead,
  line: NoteSignature,
  engine: Engine,
): number | undefined {
  if (key.kind === 'ed25519')
    return engine.ed25519(key.publicKey, utf8(note.text), line.signature) ? 0 : undefined
  const timestamp = new DataView(line.signature.buffer, line.signature.byteOffset, 8).getBigUint64(0)
  if (timestamp < 1n || timestamp > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  const signature = line.signature.subarray(8)
  const verified =
    key.kind === 'cosignature'
      ? engine.ed25519(key.publicKey, cosignatureMessage(note.text, timestamp), signature)
      : engine.mldsa44(key.publicKey, cosignedMessage(key.name, head, timestamp), signature)
  return verified ? Number(timestamp) : undefined
}

/** The pairs that sign anchor `number`, oldest first. */
export function keysInForce(keys: readonly LogKey[], number: number): LogKey[] {
  return keys
    .filter(key => key.from <= number && (key.until === null || number <= key.until))
    .sort((a, b) => a.from - b.from)
}

export interface Checkpoint extends TreeHead {
  /** Seconds since 1970, the same in every ML-DSA-44 line: the signer's word. */
  timestamp: number
}

/**
 * A checkpoint whose every required signature line is there and verifies: the log's own first, in order, then those of
 * witnesses. Lines of others are left alone, as C2SP asks; another one of the log or of a trusted witness is refused.
 * @param log from the verifier's own trust folder, never from what it verifies
 * @param number of the anchor that carries it, which says whose signatures are required
 * @throws BAD_FORMAT, BAD_LENGTH on its form; BAD_SIGNATURE on its origin or signatures
 */
export function openCheckpoint(
  source: Bytes | string,
  log: TrustedLog,
  number: number,
  what = 'checkpoint',
  engine: Engine = noble,
): Checkpoint {
  const note = parseNote(source, what)
  const head = parseTreeHead(note.text, what)
  if (head.origin !== log.origin)
    throw new ZtError('BAD_SIGNATURE', `${what}: is of log ${head.origin}, expected ${log.origin}`)
  const pairs = keysInForce(log.logKeys, number)
  const wanted = pairs.flatMap(pair => [pair.ed25519, pair.mldsa44])
  if (wanted.length === 0)
    throw new ZtError('BAD_SIGNATURE', `${what}: no key of the log is in force for anchor ${number}`)
  const others = note.signatures.slice(wanted.length)
  if (note.signatures.length < wanted.length || others.some(line => line.name === head.origin))
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: expected ${wanted.length} signature lines of the log, got ${note.signatures.filter(line => line.name === head.origin).length}`,
    )
  const timestamps = new Set<number>()
  wanted.forEach((key, i) => {
    const line = note.signatures[i]
    const timestamp = line === undefined ? undefined : verifyLine(key, note, head, line, what, engine)
    if (key.kind === 'mldsa44' && timestamp !== undefined) timestamps.add(timestamp)
  })
  const [timestamp, ...further] = timestamps
  if (timestamp === undefined || further.length > 0)
    throw new ZtError('BAD_SIGNATURE', `${what}: its signatures do not agree about the time`)
  checkWitnesses(log.witnesses, number, note, head, others, what, engine)
  return { ...head, timestamp }
}

/**
 * A checkpoint that came without its anchor's number: by the keys that were in force for any one number.
 * @throws as openCheckpoint
 */
export function openAnyCheckpoint(
  source: Bytes | string,
  log: TrustedLog,
  what = 'checkpoint',
  engine: Engine = noble,
): Checkpoint {
  const ranges = [...log.logKeys, ...(log.witnesses?.keys ?? [])]
  const numbers = new Set(
    ranges.flatMap(({ from, until }) => [from, ...(until === null ? [] : [until, until + 1])]),
  )
  let failed: unknown
  for (const number of [...numbers].sort((a, b) => b - a))
    try {
      return openCheckpoint(source, log, number, what, engine)
    } catch (thrown) {
      if (!(thrown instanceof ZtError) || thrown.code === 'INTERNAL') throw thrown
      failed ??= thrown
    }
  throw failed
}

function verifyLine(
  key: Vkey,
  note: Note,
  head: TreeHead,
  line: NoteSignature,
  what: string,
  engine: Engine,
): number {
  if (key.name !== head.origin || line.name !== key.name || !equal(line.keyId, key.keyId))
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: the ${key.kind} line is missing, out of order or another key's`,
    )
  checkLength(line.signature, `${what}: ${key.kind} signature`, signatureLength[key.kind])
  const verified = timeOfLine(key, note, head, line, engine)
  if (verified === undefined)
    throw new ZtError('BAD_SIGNATURE', `${what}: the ${key.kind} signature does not verify`)
  return verified
}

function checkWitnesses(
  witnesses: Witnesses | undefined,
  number: number,
  note: Note,
  head: TreeHead,
  lines: readonly NoteSignature[],
  what: string,
  engine: Engine,
): void {
  const keys = (witnesses?.keys ?? []).filter(
    w => w.from <= number && (w.until === null || number <= w.until),
  )
  if (!witnesses || keys.length === 0) return
  const names = new Set<string>()
  for (const { key } of keys) {
    const own = lines.filter(line => line.name === key.name && equal(line.keyId, key.keyId))
    if (own.length === 0) continue
    const [line] = own
    if (
      line === undefined ||
      own.length > 1 ||
      line.signature.length !== signatureLength[key.kind] ||
      timeOfLine(key, note, head, line, engine) === undefined
    )
      throw new ZtError('BAD_SIGNATURE', `${what}: the cosignature of ${key.name} does not verify`)
    names.add(key.name)
  }
  if (names.size < witnesses.quorum)
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: ${names.size} of ${keys.length} witnesses cosigned it, the trust folder asks for ${witnesses.quorum}`,
    )
}
