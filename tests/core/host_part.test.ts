import { describe, expect, test } from 'bun:test'
import { ZtError } from '../../lib/core/errors.ts'
import { checkHostPart, hostPartOf, hostsOfNetwork, isLoopback } from '../../lib/core/host_part.ts'

/** What MySQL does with a host part that ends in `%`. */
const matches = (pattern: string, address: string): boolean =>
  pattern.endsWith('%') ? address.startsWith(pattern.slice(0, -1)) : pattern === address

describe('the host parts of a network', () => {
  test('are the network itself for IPv4 and for one address', () => {
    expect(hostsOfNetwork('10.1.0.0/16')).toEqual(['10.1.0.0/16'])
    expect(hostsOfNetwork('10.1.2.3')).toEqual(['10.1.2.3'])
    expect(hostsOfNetwork('fd00:0:0:1::7')).toEqual(['fd00:0:0:1::7'])
  })

  // as inet_ntop writes addresses inside and just outside of each network
  test.each([
    ['fd00:77::/32', ['fd00:77::1', 'fd00:77:0:1::', 'fd00:77:1:2:3:4:5:6'], ['fd00:78::1', 'fd00:770::1']],
    ['fd00:77::/48', ['fd00:77::1', 'fd00:77:0:5::1', 'fd00:77:0:1:2:3:4:5'], ['fd00:77:1::1']],
    [
      'fd00:77::/64',
      ['fd00:77::1', 'fd00:77::1:0:0:1', 'fd00:77:0:0:1::', 'fd00:77::1:2:3:4'],
      ['fd00:77:0:1::1', 'fd00:77:1::1', 'fd00:77:0:1:0:1:0:1'],
    ],
    [
      '2001:db8:1:2::/64',
      ['2001:db8:1:2::9', '2001:db8:1:2:3:4:5:6'],
      ['2001:db8:1:20::9', '2001:db8:1::2:9'],
    ],
    ['2001:db8:0:2::/64', ['2001:db8:0:2::9', '2001:db8:0:2:3:4:5:6'], ['2001:db8::2:9']],
  ])('of %s take in its addresses and no others', (network, inside, outside) => {
    const hosts = hostsOfNetwork(network)
    for (const address of inside)
      expect([address, hosts.some(host => matches(host, address))]).toEqual([address, true])
    for (const address of outside)
      expect([address, hosts.some(host => matches(host, address))]).toEqual([address, false])
    for (const host of hosts) expect(checkHostPart(host)).toBe(host)
  })

  test.each([
    ['fd00::/16'],
    ['fd00:1::/24'],
    ['2001:db8:0:0:1::/80'],
    ['fd00:77::/96'],
    ['10.1.2.3/16'],
    ['x'],
  ])('of %s are refused, as MySQL has none for it', network => {
    expect(() => hostsOfNetwork(network)).toThrow(ZtError)
  })
})

test('accounts come from this machine, and from the networks once it is open to them', () => {
  const allowedCidr = ['10.1.0.0/16', 'fd00:1::/32']
  expect(hostPartOf({ allowRemote: false, allowedCidr })).toBe('127.0.0.1')
  const open = hostPartOf({ allowRemote: true, allowedCidr })
  expect(open).toBe('127.0.0.1,10.1.0.0/16,fd00:1:%')
  expect([isLoopback('127.0.0.1'), isLoopback('127.0.0.1,::1'), isLoopback(open)]).toEqual([
    true,
    true,
    false,
  ])
  expect(checkHostPart(open)).toBe(open)
})

test.each([['%'], ['10.%'], ['fd00%'], ['fd00:%'], ['::%'], ['127.0.0.1,%'], ['127.0.0.1,'], ['10.0.0.1/8']])(
  'a host part of %s is refused',
  text => {
    expect(() => checkHostPart(text)).toThrow('host part')
  },
)
