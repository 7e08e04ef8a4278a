/** RFC 5424 messages to a syslog daemon: a unix datagram socket (`/dev/log`) or `udp://HOST:PORT`. */
import { dlopen, ptr } from 'bun:ffi'
import { ZtError } from '../core/errors.ts'

export interface Syslog {
  readonly target: string
  /** Hands one message over; datagrams, so that nobody says whether it arrived. @throws IO */
  send(message: string): Promise<void>
}

const AF_UNIX = 1
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000
/** sizeof sun_path, the final zero included. */
const pathMaxBytes = 108

// neither node:dgram nor Bun has unix datagram sockets
const openLibrary = () =>
  dlopen('libc.so.6', {
    socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    sendto: { args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'u32'], returns: 'i64' },
    close: { args: ['i32'], returns: 'i32' },
  }).symbols

let library: ReturnType<typeof openLibrary> | undefined

/** struct sockaddr_un: u16 family in the byte order of the machine, then the path and a zero. */
function unixAddress(path: string): Buffer {
  const name = Buffer.from(path)
  if (name.length === 0 || name.length >= pathMaxBytes || name.includes(0))
    throw new ZtError('BAD_INPUT', `syslog: ${path} is no path of a socket`)
  const family = Buffer.from(Uint16Array.of(AF_UNIX).buffer)
  return Buffer.concat([family, name, Buffer.alloc(1)])
}

function unixSyslog(path: string): Syslog {
  const address = unixAddress(path)
  return {
    target: path,
    async send(message) {
      library ??= openLibrary()
      const bytes = Buffer.from(message)
      const fd = library.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0)
      if (fd < 0) throw new ZtError('IO', `syslog ${path}: no socket to be had`)
      const sent = library.sendto(
        fd,
        ptr(bytes),
        bytes.length,
        MSG_DONTWAIT_NOSIGNAL,
        ptr(address),
        address.length,
      )
      library.close(fd)
      if (Number(sent) !== bytes.length)
        throw new ZtError('IO', `syslog ${path}: nobody takes messages there`, {
          hint: 'start a syslog daemon, or name its socket with --syslog, or --syslog none',
        })
    },
  }
}

function udpSyslog(target: string, host: string, port: number): Syslog {
  return {
    target,
    async send(message) {
      const socket = await Bun.udpSocket({})
      try {
        if (!socket.send(message, port, host)) throw new ZtError('IO', `syslog ${target}: not sent`)
      } finally {
        socket.close()
      }
    },
  }
}

/**
 * A syslog target: the path of a unix datagram socket, or `udp://ADDRESS:PORT` with an IP address.
 * @throws BAD_INPUT
 */
export function openSyslog(target: string): Syslog {
  if (target.startsWith('/')) return unixSyslog(target)
  const [, host, port] = /^udp:\/\/(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]+\]):(\d{1,5})$/.exec(target) ?? []
  if (host === undefined || port === undefined || Number(port) < 1 || Number(port) > 65_535)
    throw new ZtError('BAD_INPUT', `syslog: ${JSON.stringify(target)} is no target`, {
      hint: 'name a socket by its path, or udp://ADDRESS:PORT, or none',
    })
  return udpSyslog(target, host.replace(/^\[|\]$/g, ''), Number(port))
}
