/** Where an account may come from: an address or a network, never a pattern that takes in everybody. */
import { ZtError } from './errors.ts'

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
 * An IPv4 or IPv6 address, or an IPv4 network (`10.1.0.0/16`), as MySQL takes it for the host part of an account.
 * @throws BAD_INPUT; also for a network that is not written from its first address or takes in everything
 */
export function checkHostPart(text: string): string {
  const [address = '', bits, ...rest] = text.split('/')
  const fail = (problem: string) =>
    new ZtError('BAD_INPUT', `host part ${JSON.stringify(text)}: ${problem}`, {
      hint: 'give an address like 10.1.2.3 or a network like 10.1.0.0/16',
    })
  if (bits === undefined && (isV4(address) || isV6(address))) return text
  if (!isV4(address) || rest.length > 0 || bits === undefined || !/^(?:[1-9]|[12][0-9]|3[0-2])$/.test(bits))
    throw fail('not an address or a network')
  if (v4Number(address) % 2 ** (32 - Number(bits)) !== 0) throw fail('has bits set behind its prefix')
  return text
}

/** Whether only this machine is meant, so that mysqld needs to listen nowhere else. */
export const isLoopback = (hostPart: string): boolean => hostPart.startsWith('127.') || hostPart === '::1'

/** Where the accounts of a host may come from: the machine itself, or the networks that it is open to. */
export const hostPartOf = ({
  allowRemote,
  allowedCidr,
}: {
  allowRemote: boolean
  allowedCidr: string[]
}): string => (allowRemote ? (allowedCidr[0] ?? '127.0.0.1') : '127.0.0.1')
