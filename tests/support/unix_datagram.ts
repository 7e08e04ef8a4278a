/** A unix datagram socket to listen on, as a syslog daemon does: neither node nor Bun has one. */
import { dlopen, ptr } from 'bun:ffi'

const libc = dlopen('libc.so.6', {
  socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  bind: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  recv: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
  close: { args: ['i32'], returns: 'i32' },
}).symbols

export interface Listener extends Disposable {
  /** The messages that have arrived since the last call. */
  receive(): string[]
}

export function listenUnix(path: string): Listener {
  const address = Buffer.concat([Buffer.from(Uint16Array.of(1).buffer), Buffer.from(`${path}\0`)])
  const fd = libc.socket(1, 2, 0)
  if (fd < 0 || libc.bind(fd, ptr(address), address.length) !== 0) throw new Error(`cannot listen on ${path}`)
  const buffer = Buffer.alloc(65_536)
  return {
    receive() {
      const messages: string[] = []
      for (;;) {
        const length = Number(libc.recv(fd, ptr(buffer), buffer.length, 0x40)) // MSG_DONTWAIT
        if (length < 0) return messages
        messages.push(buffer.toString('utf8', 0, length))
      }
    },
    [Symbol.dispose]: () => void libc.close(fd),
  }
}
