/** Addresses and networks, IPv4 and IPv6, in their one canonical spelling. */
import { ZtError } from './errors.ts'

export interface Cidr {
  family: 4 | 6
  /** Of the first address. */
  bytes: number[]
  bits: number
  text: string
}

function v4Bytes(text: string): number[] | null {
  const parts = text.split('.')
  return parts.length === 4 && parts.every(p => /^(?:0|[1-9][0-9]{0,2})$/.test(p) && Number(p) <= 255)
    ? parts.map(Number)
    : null
}

function v6Bytes(text: string): number[] | null {
  if (!/^[0-9a-f:]+$/i.test(text) || text.includes(':::')) return null
  const halves = text.split('::')
  const groups = halves.map(half => (half === '' ? [] : half.split(':')))
  const count = groups.flat().length
  if (halves.length > 2 || !groups.flat().every(g => /^[0-9a-f]{1,4}$/i.test(g))) return null
  if (halves.length === 2 ? count > 7 : count !== 8) return null
  const [head = [], tail = []] = groups
  const all = [...head, ...Array<string>(8 - count).fill('0'), ...tail].map(g => Number.parseInt(g, 16))
  return all.flatMap(group => [group >> 8, group & 255])
}

/** RFC 5952: lower case, the longest run of zero groups (two at least, the first of equals) as `::`. */
function formatV6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0))
  let [start, length] = [0, 1]
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > length) [start, length] = [i, end - i]
  }
  const hex = (part: number[]): string => part.map(group => group.toString(16)).join(':')
  return length < 2 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`
}

const isNetwork = (bytes: readonly number[], bits: number): boolean =>
  bytes.every((byte, i) => {
    const hostBits = Math.min(8, Math.max(0, 8 * (i + 1) - bits))
    return (byte & ((1 << hostBits) - 1)) === 0
  })

/** `10.1.0.0/16`, `10.1.2.3`, `fd00:1::/64`. @throws BAD_INPUT; also for one that takes in everything */
export function parseCidr(source: string): Cidr {
  const text = source.trim()
  const fail = (problem: string) =>
    new ZtError('BAD_INPUT', `network ${JSON.stringify(source)}: ${problem}`, {
      hint: 'give an address like 10.1.2.3, or a network like 10.1.0.0/16 or fd00:1::/64',
    })
  const [address = '', prefix, ...rest] = text.split('/')
  const v4 = v4Bytes(address)
  const bytes = v4 ?? v6Bytes(address)
  if (bytes === null || rest.length > 0) throw fail('not an address or a network')
  const most = bytes.length * 8
  if (prefix !== undefined && !/^(?:0|[1-9][0-9]{0,2})$/.test(prefix))
    throw fail('its prefix is not a number')
  const bits = prefix === undefined ? most : Number(prefix)
  if (bits > most) throw fail(`its prefix is longer than ${most} bits`)
  if (bits === 0) throw fail('takes in everybody')
  if (!isNetwork(bytes, bits)) throw fail('has bits set behind its prefix')
  const first = v4 ? v4.join('.') : formatV6(bytes)
  return { family: v4 ? 4 : 6, bytes, bits, text: bits === most ? first : `${first}/${bits}` }
}

/** A list with commas, in canonical spelling, sorted, none twice. @throws BAD_INPUT */
export const parseCidrs = (text: string): string[] =>
  [...new Set(text.split(',').map(each => parseCidr(each).text))].sort()
