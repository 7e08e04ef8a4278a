import { type Bytes, concat, utf8 } from './bytes.ts'

function u32(n: number): Bytes {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, n)
  return out
}

/**
 * Length-prefixed encoding, injective and prefix-free (SPEC §1.2):
 * u32 BE count ‖ for each part: u32 BE length ‖ bytes. Texts are taken as UTF-8.
 */
export function lp(...parts: (Bytes | string)[]): Bytes {
  const out: Bytes[] = [u32(parts.length)]
  for (const part of parts) {
    const bytes = typeof part === 'string' ? utf8(part) : part
    out.push(u32(bytes.length), bytes)
  }
  return concat(...out)
}
