/** What people hand in and get back: JSON by file or stdin, because arguments are visible to others. */
import { fromUtf8, toBase64 } from '../core/bytes.ts'
import type { Plain } from '../core/envelope/plain.ts'
import { ZtError } from '../core/errors.ts'
import { readRegularFile } from '../edge/files.ts'

const maxBytes = 1 << 20

const tooLong = (name: string) => new ZtError('BAD_INPUT', `${name}: larger than ${maxBytes} bytes`)

async function readStdin(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of process.stdin) {
    const bytes = chunk as Uint8Array
    length += bytes.length
    if (length > maxBytes) throw tooLong('stdin')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

/** Bytes of a file of at most 1 MiB, or of stdin for `-`. */
export async function readInput(path: string): Promise<Uint8Array> {
  return path === '-' ? await readStdin() : readRegularFile(path, 'input', maxBytes)
}

/** @throws BAD_INPUT; the parser's own words are not passed on: they quote what they read */
export function parseInput(bytes: Uint8Array, path: string): unknown {
  const what = path === '-' ? 'stdin' : path
  try {
    return JSON.parse(fromUtf8(bytes, what))
  } catch {
    throw new ZtError('BAD_INPUT', `${what}: not valid JSON in UTF-8`, {
      hint: 'for example {"full_name":"Ada Lovelace","role":"analyst","email":"ada@example.org"}',
    })
  }
}

/** One line of JSON; members that are absent are left out, numbers beyond 2^53 become text. */
export function formatPlain(plain: Plain): string {
  const members = Object.entries(plain).filter(([, value]) => value !== null)
  return JSON.stringify(Object.fromEntries(members), (_, value: unknown) => {
    if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
    return value instanceof Uint8Array ? toBase64(value) : value
  })
}
