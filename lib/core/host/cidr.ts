/** Networks, IPv4 and IPv6, as numbers: what firewall and jails are compared by, since tools write one network in several ways. */
import { ZtError } from '../errors.ts'

export interface Cidr {
  family: 4 | 6
  /** First address of the network. */
  first: bigint
  /** Length of the prefix: 0 takes in everything. */
  bits: number
}

const width = (family: 4 | 6): number => (family === 4 ? 32 : 128)

function v4Number(text: string): bigint | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(p => /^(?:0|[1-9][0-9]{0,2})$/.test(p) && Number(p) <= 255))
    return null
  return parts.reduce((n, part) => n * 256n + BigInt(part), 0n)
}

function v6Number(text: string): bigint | null {
  if (!/^[0-9a-fA-F:]+$/.test(text) || text.includes(':::')) return null
  const halves = text.split('::').map(half => (half === '' ? [] : half.split(':')))
  const [head = [], tail] = halves
  if (halves.length > 2 || ![...head, ...(tail ?? [])].every(g => /^[0-9a-fA-F]{1,4}$/.test(g))) return null
  const given = head.length + (tail?.length ?? 0)
  if (tail === undefined ? given !== 8 : given > 7) return null
  const groups = [...head, ...Array<string>(8 - given).fill('0'), ...(tail ?? [])]
  return groups.reduce((n, group) => n * 0x10000n + BigInt(`0x${group}`), 0n)
}

/** An address or a network; null for what is neither, or has bits set behind its prefix. */
export function readCidr(text: string): Cidr | null {
  const [address = '', length, ...rest] = text.split('/')
  const family = address.includes(':') ? 6 : 4
  const first = family === 6 ? v6Number(address) : v4Number(address)
  if (first === null || rest.length > 0 || !/^(?:0|[1-9][0-9]{0,2})$/.test(length ?? '0')) return null
  const bits = length === undefined ? width(family) : Number(length)
  if (bits > width(family) || first % 2n ** BigInt(width(family) - bits) !== 0n) return null
  return { family, first, bits }
}

/**
 * A network that port 3306 may be opened to.
 * @throws BAD_INPUT on what is none, has bits set behind its prefix, or takes in everybody
 */
export function parseCidr(text: string): Cidr {
  const fail = (problem: string) =>
    new ZtError('BAD_INPUT', `network ${JSON.stringify(text)}: ${problem}`, {
      hint: 'give a network from its first address, like 10.1.0.0/16 or 2001:db8:1::/48, or one address',
    })
  const cidr = readCidr(text)
  if (cidr === null) throw fail('not an address or a network, or bits are set behind its prefix')
  if (cidr.bits < (cidr.family === 4 ? 8 : 16)) throw fail('takes in too much of the internet')
  if (cidr.family === 6 && cidr.first >> 32n === 0xffffn)
    throw fail('an IPv4 address in the clothes of an IPv6 one')
  return cidr
}

const formatV4 = (n: bigint): string => [24n, 16n, 8n, 0n].map(shift => (n >> shift) & 255n).join('.')

/** RFC 5952: lower case, the longest run of two zero groups or more as `::`. */
function formatV6(n: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((n >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  let [start, longest] = [-1, 1]
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (groups[i + run] === '0') run++
    if (run > longest) [start, longest] = [i, run]
  }
  if (start < 0) return groups.join(':')
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + longest).join(':')}`
}

/** `10.1.0.0/16`; one address is written without a prefix, as ufw does. */
export function formatCidr({ family, first, bits }: Cidr): string {
  const address = family === 4 ? formatV4(first) : formatV6(first)
  return bits === width(family) ? address : `${address}/${bits}`
}

/** Whether every address of `inner` is one of `outer`. */
export const contains = (outer: Cidr, inner: Cidr): boolean =>
  outer.family === inner.family &&
  outer.bits <= inner.bits &&
  inner.first >> BigInt(width(outer.family) - outer.bits) ===
    outer.first >> BigInt(width(outer.family) - outer.bits)

export const everybody = (family: 4 | 6): Cidr => ({ family, first: 0n, bits: 0 })
