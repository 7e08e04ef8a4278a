/** Seeks many secrets at once, in every form in which they would leak: as they are, in hex, in base64, as numbers. */
import type { Bytes } from '../../lib/core/bytes.ts'

/** Text is sought in other cases too; of bytes the first and the last sixteen are enough to give them away. */
export interface Secret {
  label: string
  value: string | Bytes
}

interface Needle {
  label: string
  form: string
  bytes: Buffer
}

export interface Found {
  label: string
  form: string
}

const window = 16

/** Base64 as it would stand in the middle of a longer text: bytes fall on characters in three ways. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].map(shift => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
    return text.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6))
  })
}

function formsOf(bytes: Buffer): [form: string, text: string | Buffer][] {
  const hex = bytes.toString('hex')
  const base64 = base64Forms(bytes)
  return [
    ['as it is', bytes],
    ['hex', hex],
    ['HEX', hex.toUpperCase()],
    ['spaced hex', hex.replace(/..(?=.)/g, '$& ')],
    ['numbers', [...bytes].join(',')],
    ...base64.map((text, i): [string, string] => [`base64 at ${i}`, text]),
    ...base64.map((text, i): [string, string] => [
      `base64url at ${i}`,
      text.replaceAll('+', '-').replaceAll('/', '_'),
    ]),
  ]
}

function needlesOf({ label, value }: Secret): Needle[] {
  if (value.length < 8) throw new Error(`${label}: too short, chance would find it`)
  const texts: [string, Buffer][] =
    typeof value === 'string'
      ? [
          ['', Buffer.from(value)],
          ['lower case, ', Buffer.from(value.toLowerCase())],
          ['upper case, ', Buffer.from(value.toUpperCase())],
          ['UTF-16, ', Buffer.from(value, 'utf16le')],
        ]
      : [
          ['start, ', Buffer.from(value.subarray(0, window))],
          ['end, ', Buffer.from(value.subarray(-window))],
        ]
  const seen = new Set<string>()
  return texts.flatMap(([which, bytes]) =>
    formsOf(bytes).flatMap(([form, text]) => {
      const needle = Buffer.from(text)
      const key = needle.toString('latin1')
      if (seen.has(key)) return []
      seen.add(key)
      return [{ label, form: `${which}${form}`, bytes: needle }]
    }),
  )
}

/** All needles are held against each place of the text in one pass, by their first four bytes. */
export class Seeker {
  readonly needles: readonly Needle[]
  readonly #starts = new Uint8Array(1 << 16)
  readonly #byPrefix = new Map<number, Needle[]>()

  constructor(secrets: readonly Secret[]) {
    this.needles = secrets.flatMap(needlesOf)
    for (const needle of this.needles) {
      this.#starts[needle.bytes.readUInt16LE(0)] = 1
      const prefix = needle.bytes.readUInt32LE(0)
      this.#byPrefix.set(prefix, [...(this.#byPrefix.get(prefix) ?? []), needle])
    }
  }

  /** What of the secrets a text holds, each secret and form once; a text in lines is read as one line, too. */
  find(text: Uint8Array): Found[] {
    const found = new Map<string, Found>()
    this.#scan(text, found)
    if (text.length <= 1 << 20)
      this.#scan(
        text.filter(byte => byte !== 10 && byte !== 13),
        found,
      )
    return [...found.values()]
  }

  #scan(text: Uint8Array, found: Map<string, Found>): void {
    const view = Buffer.from(text.buffer, text.byteOffset, text.byteLength)
    const end = text.length - 3
    for (let i = 0; i < end; i++) {
      if (this.#starts[(text[i] ?? 0) | ((text[i + 1] ?? 0) << 8)] === 0) continue
      for (const { label, form, bytes } of this.#byPrefix.get(view.readUInt32LE(i)) ?? [])
        if (view.subarray(i, i + bytes.length).equals(bytes)) found.set(`${label} ${form}`, { label, form })
    }
  }
}
