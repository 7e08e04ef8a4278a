/**
 * The network of a test run's hosts: 10.77.0.0/24 and fd00:77::/64 on a bridge in a network namespace of the run's own.
 * Nothing leads out of it. Places on it that are no hosts (an attacker, a client) are namespaces with an address.
 */
import type { Ended } from '../../lib/edge/child.ts'
import { call, type Given, must } from './host_command.ts'
import { named, runFolder } from './host_run.ts'

export type Family = 4 | 6

/** What a connection meets: an answer, a refusal (RST or ICMP), or nothing. */
export type PortState = 'open' | 'refused' | 'silent'

export const router = '10.77.0.1'

/** The IPv6 address that belongs to an address of 10.77.0.0/24: the same last number. */
export const v6Of = (ip: string): string => `fd00:77::${ip.split('.')[3]}`

const lanNamespace = (): string => named('lan')
const ip = (...args: string[]): Promise<string> => must(['ip', ...args])

let ready: { folder: string; made: Promise<void> } | undefined

async function makeLan(): Promise<void> {
  const lan = lanNamespace()
  await ip('netns', 'add', lan)
  await ip('-n', lan, 'link', 'set', 'lo', 'up')
  await ip('-n', lan, 'link', 'add', 'br0', 'type', 'bridge')
  await ip('-n', lan, 'addr', 'add', `${router}/24`, 'dev', 'br0')
  await ip('-n', lan, 'addr', 'add', `${v6Of(router)}/64`, 'dev', 'br0', 'nodad')
  await ip('-n', lan, 'link', 'set', 'br0', 'up')
}

/** Makes the bridge once in a run. */
export async function openLan(): Promise<void> {
  const folder = await runFolder()
  if (ready?.folder !== folder) ready = { folder, made: makeLan() }
  await ready.made
}

/** The same after each boot: neighbours that remember another one would find the host again only after seconds. */
const hardwareOf = (address: string): string =>
  ['02', '00', ...address.split('.').map(part => Number(part).toString(16).padStart(2, '0'))].join(':')

/** A namespace plugged into the bridge, anew: firewall rules must not survive a reboot by accident. Returns its path. */
export async function plugIn(name: string, address: string): Promise<string> {
  if (!/^[a-z][a-z0-9]{0,9}$/.test(name) || name === 'lan') throw new Error(`not a name for a host: ${name}`)
  await openLan()
  const [lan, own, cable] = [lanNamespace(), named(name), `v-${name}`]
  await unplug(name)
  await ip('netns', 'add', own)
  const plug = ['type', 'veth', 'peer', 'name', 'host0', 'address', hardwareOf(address), 'netns', own]
  await ip('-n', lan, 'link', 'add', cable, ...plug)
  await ip('-n', lan, 'link', 'set', cable, 'master', 'br0', 'up')
  await ip('-n', own, 'link', 'set', 'lo', 'up')
  await ip('-n', own, 'addr', 'add', `${address}/24`, 'dev', 'host0')
  await ip('-n', own, 'addr', 'add', `${v6Of(address)}/64`, 'dev', 'host0', 'nodad')
  await ip('-n', own, 'link', 'set', 'host0', 'up')
  await ip('-n', own, 'route', 'add', 'default', 'via', router)
  return `/run/netns/${own}`
}

export async function unplug(name: string): Promise<void> {
  await call(['ip', 'netns', 'del', named(name)]) // exit 1: was not plugged in
  await call(['ip', '-n', lanNamespace(), 'link', 'del', `v-${name}`]) // exit 1: went with its namespace
}

// bash tells a refusal from silence by the message, which names the port's path
const knock = 'exec 3<>"/dev/tcp/$1/$2"'

/** A place on the LAN that is no host: the router, or an outsider with an address of its own. */
export class Place {
  readonly namespace: string

  constructor(namespace: string) {
    this.namespace = namespace
  }

  /** Runs a command of this machine on the LAN. */
  exec(...argv: string[]): Promise<Ended> {
    return this.execWith({}, ...argv)
  }

  execWith(given: Given, ...argv: string[]): Promise<Ended> {
    return call(['ip', 'netns', 'exec', this.namespace, ...argv], given)
  }

  /** Whether a TCP port answers, as seen from here; silence is 3 s without an answer. */
  async port(address: string, port: number): Promise<PortState> {
    const ended = await this.exec('timeout', '3', 'bash', '-c', knock, 'knock', address, String(port))
    if (ended.exitCode === 0) return 'open'
    if (/connection refused/i.test(ended.stderr)) return 'refused'
    if (ended.exitCode === 124 || /no route|unreachable|timed out/i.test(ended.stderr)) return 'silent'
    throw new Error(`port ${port} of ${address}: ${ended.stderr}`)
  }
}

/** The router's place on the LAN, 10.77.0.1. */
export async function lan(): Promise<Place> {
  await openLan()
  return new Place(lanNamespace())
}

/** A place with an address of its own: banning it bans nobody else. */
export async function outsider(name: string, address: string): Promise<Place> {
  await plugIn(name, address)
  return new Place(named(name))
}
