/** A TCP proxy that can be told to cut the next answer: what was asked arrives, what is answered does not. */
import { connect, createServer, type Socket } from 'node:net'

export interface CutProxy extends AsyncDisposable {
  port: number
  /** Ends the connection in place of the server's next bytes, once. */
  cutNextAnswer(): void
  cuts: number
}

export async function cutProxy(target: number): Promise<CutProxy> {
  const sockets = new Set<Socket>()
  let armed = false
  const server = createServer(client => {
    const upstream = connect(target, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => socket.destroy())
    }
    client.on('data', data => upstream.write(data))
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    upstream.on('data', data => {
      if (!armed) return client.write(data)
      armed = false
      proxy.cuts += 1
      client.destroy()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const proxy: CutProxy = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cuts: 0,
    cutNextAnswer: () => {
      armed = true
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
  return proxy
}
