/** Checkpoints: C2SP signed notes with an Ed25519 line and an ML-DSA-44 cosignature line (SPEC §4.5). */
import { ed25519 } from '@noble/curves/ed25519.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, checkLength, concat, equal, fromBase64, toBase64, u64, utf8 } from '../bytes.ts'
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

/** The log as a verifier's own trust folder names it. */
export interface TrustedLog {
  origin: string
  logKeys: readonly LogKey[]
}

/** One pair of signing keys: seeds of 32 bytes each. */
export interface AnchorKey {
  name: string
  ed25519: Bytes
  mldsa44: Bytes
}

const signatureLength = { ed25519: 64, mldsa44: 8 + 2420 } as const

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

function verifyEd25519(key: Vkey, note: Note, line: NoteSignature): boolean {
  try {
    return ed25519.verify(line.signature, utf8(note.text), key.publicKey, { zip215: false })
  } catch {
    return false // noble throws on points that do not decode: not a signature
  }
}

/** The timestamp in seconds, or undefined where the line does not verify. */
function verifyMldsa44(key: Vkey, head: TreeHead, line: NoteSignature): number | undefined {
  const view = new DataView(line.signature.buffer, line.signature.byteOffset, 8)
  const timestamp = view.getBigUint64(0)
  if (timestamp < 1n || timestamp > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  const message = cosignedMessage(key.name, head, timestamp)
  return ml_dsa44.verify(line.signature.subarray(8), message, key.publicKey) ? Number(timestamp) : undefined
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
 * A checkpoint whose every required signature line is there, in order, with nothing else, and verifies.
 * @param log from the verifier's own trust folder, never from what it verifies
 * @param number of the anchor that carries it, which says whose signatures are required
 * @throws BAD_FORMAT, BAD_LENGTH on its form; BAD_SIGNATURE on its origin or signatures
 */
export function openCheckpoint(
  source: Bytes | string,
  log: TrustedLog,
  number: number,
  what = 'checkpoint',
): Checkpoint {
  const note = parseNote(source, what)
  const head = parseTreeHead(note.text, what)
  if (head.origin !== log.origin)
    throw new ZtError('BAD_SIGNATURE', `${what}: is of log ${head.origin}, expected ${log.origin}`)
  const pairs = keysInForce(log.logKeys, number)
  const wanted = pairs.flatMap(pair => [pair.ed25519, pair.mldsa44])
  if (wanted.length === 0)
    throw new ZtError('BAD_SIGNATURE', `${what}: no key of the log is in force for anchor ${number}`)
  if (note.signatures.length !== wanted.length)
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: expected ${wanted.length} signature lines, got ${note.signatures.length}`,
    )
  const timestamps = new Set<number>()
  wanted.forEach((key, i) => {
    const line = note.signatures[i]
    const timestamp = line === undefined ? undefined : verifyLine(key, note, head, line, what)
    if (key.kind === 'mldsa44' && timestamp !== undefined) timestamps.add(timestamp)
  })
  const [timestamp, ...others] = timestamps
  if (timestamp === undefined || others.length > 0)
    throw new ZtError('BAD_SIGNATURE', `${what}: its signatures do not agree about the time`)
  return { ...head, timestamp }
}

function verifyLine(key: Vkey, note: Note, head: TreeHead, line: NoteSignature, what: string): number {
  if (key.name !== head.origin || line.name !== key.name || !equal(line.keyId, key.keyId))
    throw new ZtError(
      'BAD_SIGNATURE',
      `${what}: the ${key.kind} line is missing, out of order or another key's`,
    )
  checkLength(line.signature, `${what}: ${key.kind} signature`, signatureLength[key.kind])
  const verified =
    key.kind === 'ed25519' ? (verifyEd25519(key, note, line) ? 0 : undefined) : verifyMldsa44(key, head, line)
  if (verified === undefined)
    throw new ZtError('BAD_SIGNATURE', `${what}: the ${key.kind} signature does not verify`)
  return verified
}
