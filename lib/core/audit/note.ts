/** C2SP signed notes (c2sp.org/signed-note): a text, an empty line, signature lines. */
import { type Bytes, concat, fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'

export interface NoteSignature {
  /** Name of the key: no white space, no plus sign. */
  name: string
  /** 4 bytes. */
  keyId: Bytes
  /** As its type of key has it, at least one byte. */
  signature: Bytes
}

export interface Note {
  /** Ends in a newline, holds no control characters but newlines. */
  text: string
  signatures: NoteSignature[]
}

/** Room for a checkpoint with two pairs of keys, several times over. */
export const noteMaxBytes = 1 << 16

// the limit is ours: C2SP asks verifiers for at least 16
const maxSignatures = 16

const lineStart = '\u2014 '

const namePattern = /^[^\s+\p{Cc}]{1,255}$/u

/** Control characters other than newline, which C2SP bars from the text. */
const barred = /[^\P{Cc}\n]/u

function check(note: Note, what: string): void {
  if (!note.text.endsWith('\n') || barred.test(note.text) || !note.text.isWellFormed())
    throw new ZtError('BAD_FORMAT', `${what}: the text of a note is lines without control characters`)
  if (note.signatures.length < 1 || note.signatures.length > maxSignatures)
    throw new ZtError('BAD_FORMAT', `${what}: expected 1 to ${maxSignatures} signatures`)
  for (const { name, keyId, signature } of note.signatures) {
    if (!namePattern.test(name)) throw new ZtError('BAD_FORMAT', `${what}: bad key name in a signature line`)
    if (keyId.length !== 4 || signature.length < 1)
      throw new ZtError('BAD_LENGTH', `${what}: expected a key id of 4 bytes and a signature`)
  }
}

export function formatNote(note: Note): string {
  check(note, 'note')
  const lines = note.signatures.map(
    ({ name, keyId, signature }) => `${lineStart}${name} ${toBase64(concat(keyId, signature))}\n`,
  )
  return `${note.text}\n${lines.join('')}`
}

/** A note from its text; nothing of it is verified. What parses re-prints the same. @throws BAD_FORMAT, BAD_LENGTH */
export function parseNote(source: Bytes | string, what = 'note'): Note {
  if (source.length > noteMaxBytes)
    throw new ZtError('BAD_FORMAT', `${what}: longer than ${noteMaxBytes} bytes`)
  const all = typeof source === 'string' ? source : fromUtf8(source, what)
  const end = all.lastIndexOf('\n\n')
  if (end < 0 || !all.endsWith('\n')) throw new ZtError('BAD_FORMAT', `${what}: not a signed note`)
  const note: Note = {
    text: all.slice(0, end + 1),
    signatures: all
      .slice(end + 2, -1)
      .split('\n')
      .map(line => parseLine(line, what)),
  }
  check(note, what)
  return note
}

function parseLine(line: string, what: string): NoteSignature {
  const [name, encoded, ...rest] = line.startsWith(lineStart) ? line.slice(lineStart.length).split(' ') : []
  if (name === undefined || encoded === undefined || rest.length > 0)
    throw new ZtError('BAD_FORMAT', `${what}: a line after the text is not a signature`)
  const bytes = fromBase64(encoded, `${what}: signature line`)
  return { name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) }
}

/** The bytes that a key of type 0x01 signs. */
export const noteText = (note: Note): Bytes => utf8(note.text)
