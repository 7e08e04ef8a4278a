/** Tar archives made by hand, as no honest tool makes them. */
import { gzipSync } from 'node:zlib'
import { type Bytes, concat, utf8 } from '../../lib/core/bytes.ts'

export interface EntryOptions {
  /** One character: `0` a file, `x` extended headers, `L` a long name, `S` a sparse file. */
  type?: string
  mode?: string
  /** Twelve bytes, in place of the true size. */
  sizeField?: Bytes
  /** Size that the header says. */
  size?: number
  prefix?: Bytes
  /** What a checksum is to be off by. */
  checksumOff?: number
}

const octal = (n: number, digits: number): string => n.toString(8).padStart(digits, '0')

/** 512 bytes. */
export function tarHeader(name: Bytes | string, size: number, options: EntryOptions = {}): Bytes {
  const block = Buffer.alloc(512)
  const put = (bytes: Bytes | string, at: number) =>
    block.set(typeof bytes === 'string' ? utf8(bytes) : bytes, at)
  put(name, 0)
  put(`${options.mode ?? '000644 '}\0`, 100)
  put('000000 \0', 108)
  put('000000 \0', 116)
  put(options.sizeField ?? `${octal(options.size ?? size, 11)} `, 124)
  put(`${octal(0, 11)} `, 136)
  put(options.type ?? '0', 156)
  put('ustar\u000000', 257)
  put('000000 \0', 329)
  put('000000 \0', 337)
  put(options.prefix ?? '', 345)
  block.fill(0x20, 148, 156)
  const sum = block.reduce((a, b) => a + b, 0) + (options.checksumOff ?? 0)
  put(`${octal(sum, 6)}\0 `, 148)
  return new Uint8Array(block)
}

export function tarEntry(name: Bytes | string, content: Bytes | string, options: EntryOptions = {}): Bytes {
  const bytes = typeof content === 'string' ? utf8(content) : content
  return concat(
    tarHeader(name, bytes.length, options),
    bytes,
    new Uint8Array((512 - (bytes.length % 512)) % 512),
  )
}

/** Extended headers of what comes next, or (`g`) of everything. */
export function paxEntry(records: Record<string, string>, type: 'x' | 'g' = 'x'): Bytes {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = rest.length
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length
    return `${length}${rest}`
  })
  return tarEntry('PaxHeader/x', lines.join(''), { type })
}

export const tarEnd = new Uint8Array(1024)

export const gzipped = (...parts: Bytes[]): Bytes => new Uint8Array(gzipSync(concat(...parts), { level: 1 }))
