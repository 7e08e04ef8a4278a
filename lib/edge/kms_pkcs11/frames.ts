/** Messages between a client and the process that holds the module: u32 BE length ‖ LP of the parts (SPEC §1.2). */
import { type Bytes, concat, fromUtf8 } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { lp } from '../../core/lp.ts'

/** Above any request: 8 KiB of plaintext and additional data, two paths, a PIN. */
const maxFrameBytes = 1 << 16

const u32 = (n: number): Bytes => {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, n)
  return out
}
const readU32 = (bytes: Bytes, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at)

export function formatFrame(parts: readonly (Bytes | string)[]): Bytes {
  const body = lp(...parts)
  return concat(u32(body.length), body)
}

const wrong = (): ZtError =>
  new ZtError('BAD_FORMAT', 'pkcs11: a message between the two processes is malformed')

/** The parts of a body. @throws BAD_FORMAT */
export function parseBody(body: Bytes): Bytes[] {
  const parts: Bytes[] = []
  let at = 4
  for (let left = body.length >= 4 ? readU32(body, 0) : 0; left > 0; left--) {
    if (at + 4 > body.length) throw wrong()
    const end = at + 4 + readU32(body, at)
    if (end > body.length) throw wrong()
    parts.push(body.slice(at + 4, end))
    at = end
  }
  if (at !== body.length) throw wrong()
  return parts
}

/** Takes bytes as they come; gives each whole message, and overwrites its own copies. */
export class FrameReader {
  #held: Bytes = new Uint8Array(0)

  /** @throws BAD_FORMAT */
  push(chunk: Bytes): Bytes[][] {
    const held = concat(this.#held, chunk)
    this.#held.fill(0)
    this.#held = held
    const messages: Bytes[][] = []
    for (;;) {
      if (this.#held.length < 4) return messages
      const length = readU32(this.#held, 0)
      if (length > maxFrameBytes) throw wrong()
      if (this.#held.length < 4 + length) return messages
      messages.push(parseBody(this.#held.subarray(4, 4 + length)))
      const rest = this.#held.slice(4 + length)
      this.#held.fill(0)
      this.#held = rest
    }
  }
}

export const textPart = (parts: readonly Bytes[], index: number): string =>
  fromUtf8(bytesPart(parts, index), 'pkcs11 message')

export function bytesPart(parts: readonly Bytes[], index: number): Bytes {
  const part = parts[index]
  if (part === undefined) throw wrong()
  return part
}
