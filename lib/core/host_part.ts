/** Where an account may come from: an address or a network, never a pattern that takes in everybody. */
import { ZtError } from './errors.ts'
import { type Cidr, formatCidr, parseCidr } from './host/cidr.ts'

function isV4(text: string): boolean {
  const parts = text.split('.')
  return parts.length === 4 && parts.every(p => /^(?:0|[1-9][0-9]{0,2})$/.test(p) && Number(p) <= 255)
}

const v4Number = (text: string): number => text.split('.').reduce((n, part) => n * 256 + Number(part), 0)

function isV6(text: string): boolean {
  if (!/^[0-9a-f:]+$/.test(text) || text.includes(':::')) return false
  const halves = text.split('::')
  const groups = halves.flatMap(half => (half === '' ? [] : half.split(':')))
  if (halves.length > 2 || !groups.every(g => /^[0-9a-f]{1,4}$/.test(g))) return false
  return halves.length === 2 ? groups.length < 8 : groups.length === 8
}

/**
 * An IPv4 or IPv6 address, an IPv4 network (`10.1.0.0/16`), or the first groups of IPv6 addresses (`fd00:1:%`), as MySQL
 * takes it for the host part of an account; several with commas.
 * @throws BAD_INPUT; also for a network that is not written from its first address or takes in everything
 */
export function checkHostPart(text: string): string {
  for (const host of hostsOf(text)) checkHost(host)
  return text
}

/** One account for each of them. */
export const hostsOf = (hostPart: string): string[] => hostPart.split(',')

function checkHost(text: string): void {
  const [address = '', bits, ...rest] = text.split('/')
  const fail = (problem: string) =>
    new ZtError('BAD_INPUT', `host part ${JSON.stringify(text)}: ${problem}`, {
      hint: 'give an address like 10.1.2.3 or a network like 10.1.0.0/16',
    })
  if (bits === undefined && (isV4(address) || isV6(address) || isV6Pattern(address))) return
  if (!isV4(address) || rest.length > 0 || bits === undefined || !/^(?:[1-9]|[12][0-9]|3[0-2])$/.test(bits))
    throw fail('not an address or a network')
  if (v4Number(address) % 2 ** (32 - Number(bits)) !== 0) throw fail('has bits set behind its prefix')
}

/** Two groups at least, then anything: MySQL has no networks of IPv6, and compares what an address is written as. */
export const isV6Pattern = (text: string): boolean => /^[0-9a-f]{1,4}(?::[0-9a-f]{1,4})+::?%$/.test(text)

/** Whether only this machine is meant, so that mysqld needs to listen nowhere else. */
export const isLoopback = (hostPart: string): boolean =>
  hostsOf(hostPart).every(host => host.startsWith('127.') || host === '::1')

/**
 * The host parts that take in an IPv6 network and nothing else, by how inet_ntop writes addresses: groups without leading
 * zeros, the longest run of two zero groups or more as `::`.
 * @throws BAD_INPUT where there are none
 */
function v6Hosts(cidr: Cidr): string[] {
  const groups = Array.from({ length: 8 }, (_, i) => (cidr.first >> BigInt(112 - 16 * i)) & 0xffffn)
  const count = cidr.bits / 16
  const prefix = groups.slice(0, Math.floor(count)).map(group => group.toString(16))
  const zeros = prefix.length - (prefix.findLastIndex(group => group !== '0') + 1)
  const head = prefix.slice(0, prefix.length - zeros).join(':')
  if (!Number.isInteger(count) || zeros > 2 || head.split(':').length < 2 || /(?:^|:)0:0(?::|$)/.test(head))
    throw new ZtError('BAD_INPUT', `network ${formatCidr(cidr)}: MySQL cannot tie accounts to it`, {
      hint: 'give single IPv6 addresses, or a prefix of 32, 48 or 64 bits whose groups are not zero',
    })
  return zeros === 0 ? [`${head}:%`] : [`${head}::%`, `${[head, ...prefix.slice(-zeros)].join(':')}:%`]
}

/** The host parts of MySQL that take in a network. @throws BAD_INPUT where there are none */
export function hostsOfNetwork(text: string): string[] {
  const cidr = parseCidr(text)
  return cidr.family === 4 || cidr.bits === 128 ? [formatCidr(cidr)] : v6Hosts(cidr)
}

/** Where the accounts of a host may come from: the machine itself, and the networks that it is open to. */
export const hostPartOf = ({
  allowRemote,
  allowedCidr,
}: {
  allowRemote: boolean
  allowedCidr: string[]
}): string => ['127.0.0.1', ...(allowRemote ? allowedCidr.flatMap(hostsOfNetwork) : [])].join(',')
