/** The certificate that a MySQL server shows to whoever connects now: seen in a TLS handshake, not told by the server. */
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls } from 'node:tls'
import type { Bytes } from '../../core/bytes.ts'
import { reason, ZtError } from '../../core/errors.ts'

/** The socket lets in whom the network may not: MySQL turns an address without accounts away before it speaks TLS. */
export type Listening = { socket: string } | { host: string; port: number }

// Client/Server Protocol: PROTOCOL_41, SSL, SECURE_CONNECTION, PLUGIN_AUTH
const capabilities = 0x200 | 0x800 | 0x8000 | 0x80000

/** Protocol::SSLRequest: header (length 32, number 1), capabilities, largest packet, character set, 23 zeros. */
function sslRequest(): Buffer {
  const packet = Buffer.alloc(36)
  packet.writeUIntLE(32, 0, 3)
  packet[3] = 1
  packet.writeUInt32LE(capabilities, 4)
  packet.writeUInt32LE(1 << 24, 8)
  packet[12] = 45 // utf8mb4
  return packet
}

const greetingMaxBytes = 1 << 16

/** Resolves once the server's first packet (Protocol::HandshakeV10) has arrived whole. */
function greeted(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let got: Buffer = Buffer.alloc(0)
    const refuse = (text: string) => reject(new ZtError('TLS', text))
    socket.on('error', reject)
    socket.once('close', () => refuse('it closed the connection'))
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      if (got.length > greetingMaxBytes) return refuse('its greeting is not that of MySQL')
      if (got.length < 5 || got.length < 4 + got.readUIntLE(0, 3)) return
      if (got[4] !== 10) return refuse('it answers with an error instead of a greeting')
      socket.removeAllListeners('data')
      resolve()
    })
  })
}

/**
 * Connects anew, and checks chain and name as a client does.
 * @param ca PEM
 * @returns DER of the server's certificate
 * @throws UNREACHABLE, TLS
 */
export async function servedCertificate(
  place: Listening,
  { ca, serverName }: { ca: string; serverName: string },
): Promise<Bytes> {
  const where = 'socket' in place ? place.socket : `${place.host}:${place.port}`
  const socket = connectPlain('socket' in place ? { path: place.socket } : place)
  const deadline = setTimeout(() => socket.destroy(new Error('no answer within 10 s')), 10_000)
  try {
    await greeted(socket)
    socket.write(sslRequest())
    return await new Promise<Bytes>((resolve, reject) => {
      const secure = connectTls({
        socket,
        ca,
        minVersion: 'TLSv1.3',
        ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
        checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
      })
      secure.once('secureConnect', () => {
        const { raw } = secure.getPeerCertificate()
        secure.destroy()
        resolve(new Uint8Array(raw))
      })
      secure.once('error', reject)
    })
  } catch (thrown) {
    const refused = (thrown as { code?: unknown }).code === 'ECONNREFUSED'
    throw new ZtError(refused ? 'UNREACHABLE' : 'TLS', `a new connection to ${where}: ${reason(thrown)}`, {
      hint: 'see the error log of the server',
      cause: thrown,
    })
  } finally {
    clearTimeout(deadline)
    socket.destroy()
  }
}
