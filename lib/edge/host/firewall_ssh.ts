/** SSH as it is on this host: the ports that it answers on, and the connection that this program was started over. */
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { type Cidr, readCidr } from '../../core/host/cidr.ts'
import { errno } from '../file_error.ts'
import { isInstalled } from '../shell.ts'
import { ask } from './system.ts'

async function printed(tool: string, ...args: string[]): Promise<string> {
  return isInstalled(tool) ? (await ask(tool, ...args)).stdout : ''
}

const numbers = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].map(([, port]) => Number(port))

/**
 * Ports that sshd is set up for, that a socket of systemd holds for it, and that it listens on now: a change of its
 * settings that was not taken up yet keeps the old port open and has the new one ready.
 */
export async function sshPorts(): Promise<number[]> {
  // -T wants host keys and /run/sshd, which a host that starts sshd by a socket may lack; -G does not, from OpenSSH 9.3
  const dumped = (await printed('sshd', '-T')) || (await printed('sshd', '-G'))
  // OpenSSH writes `port` in small letters up to 9, and `Port` in 10.6
  const settings = numbers(dumped, /^port (\d+)$/gim)
  const sockets = await printed(
    'systemctl',
    'show',
    '-p',
    'ActiveState',
    '-p',
    'Listen',
    'ssh.socket',
    'sshd.socket',
  )
  const active = sockets.split('\n\n').filter(unit => unit.includes('ActiveState=active'))
  const held = active.flatMap(unit => numbers(unit, /^Listen=\S*?:?(\d+) \(Stream\)$/gm))
  const listening = numbers(await printed('ss', '-Htlnp'), /^\S+ +\d+ +\d+ +\S+:(\d+) .*\(\("sshd"/gm)
  const all = [...settings, ...held, ...listening].filter(port => port > 0)
  return [...new Set(all)].sort((a, b) => a - b)
}

export interface SshConnection {
  client: Cidr
  port: number
  /** The interface that the server's end of it is on. */
  iface: string | null
}

function environ(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch (thrown) {
    if (errno(thrown) === 'ENOENT' || errno(thrown) === 'EACCES' || errno(thrown) === 'ESRCH') return ''
    throw thrown
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch (thrown) {
    if (errno(thrown) === 'ENOENT' || errno(thrown) === 'ESRCH') return 0
    throw thrown
  }
}

/** `client port server port`, as sshd sets it; sudo takes it away, so the processes above are asked too. */
export function sshConnection(env: NodeJS.ProcessEnv = process.env, pid = process.pid): SshConnection | null {
  let text = env.SSH_CONNECTION
  for (let at = pid; text === undefined && at > 0; at = parentOf(at))
    text = /(?:^|\0)SSH_CONNECTION=([^\0]*)/.exec(environ(at))?.[1]
  const [client = '', , server = '', port] = (text ?? '').split(' ')
  const source = readCidr(client.replace(/%.*$/, ''))
  if (source === null || source.bits === 0 || !Number.isSafeInteger(Number(port))) return null
  const here = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address === server.replace(/%.*$/, '')),
  )
  return { client: source, port: Number(port), iface: here?.[0] ?? null }
}
