/**
 * Google's endpoint without Google: a TLS server that calls itself cloudkms.googleapis.com, reached through an HTTP
 * proxy, and a service account whose signature it checks. The client is told by its environment alone.
 */
import { createVerify } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js'
import { onExit } from '../../lib/edge/cleanup.ts'
import { readToken } from '../../lib/edge/kms_config.ts'
import { Faults } from '../../lib/edge/kms_emulator/faults.ts'
import { loadService, makeHandlers } from '../../lib/edge/kms_emulator/service.ts'
import { operator, StateStore } from '../../lib/edge/kms_emulator.ts'

export interface FakeGoogle {
  readonly dir: string
  /** For the process that is to believe it. */
  readonly env: Record<string, string>
  /** What the proxy was asked to connect to. */
  readonly connected: string[]
  /** `sub` and `aud` of the bearer tokens that verified. */
  readonly callers: { sub: unknown; aud: unknown }[]
  stop(): Promise<void>
}

async function openssl(dir: string, ...args: string[]): Promise<void> {
  const child = Bun.spawn(['openssl', ...args], { cwd: dir, stdout: 'ignore', stderr: 'pipe' })
  if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text())
}

async function makeFiles(dir: string, hostName: string): Promise<void> {
  const p256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  await openssl(
    dir,
    'req',
    '-x509',
    ...p256,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=test roots',
  )
  await openssl(
    dir,
    'req',
    '-x509',
    ...p256,
    '-keyout',
    'tls.key',
    '-out',
    'tls.pem',
    '-subj',
    `/CN=${hostName}`,
    '-addext',
    `subjectAltName=DNS:${hostName}`,
    '-addext',
    'basicConstraints=critical,CA:FALSE',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
  )
  await openssl(dir, 'genrsa', '-out', 'account.key', '2048')
  await openssl(dir, 'rsa', '-in', 'account.key', '-pubout', '-out', 'account.pub')
  writeFileSync(
    join(dir, 'account.json'),
    JSON.stringify({
      type: 'service_account',
      project_id: 'zt-test',
      private_key_id: '1',
      private_key: readFileSync(join(dir, 'account.key'), 'utf8'),
      client_email: 'writer@zt-test.iam.gserviceaccount.com',
    }),
    { mode: 0o600 },
  )
}

/** Claims of a JWT whose RS256 signature (RFC 7515) verifies. */
function verifyJwt(authorization: string, publicKey: string): { sub: unknown; aud: unknown } | undefined {
  const [header = '', claims = '', signature = ''] = authorization.replace('Bearer ', '').split('.')
  const good = createVerify('RSA-SHA256')
    .update(`${header}.${claims}`)
    .verify(publicKey, signature, 'base64url')
  if (!good) return undefined
  const { sub, aud } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
  return { sub, aud }
}

/** `hostName`: whom the server's certificate names, cloudkms.googleapis.com or an impostor. */
export async function startFakeGoogle(
  key: string,
  hostName = 'cloudkms.googleapis.com',
): Promise<FakeGoogle> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-google-'))
  await makeFiles(dir, hostName)
  const store = new StateStore(join(dir, 'state.json'))
  await operator.createKey(store, key)
  await operator.ensureToken(store, 'writer', join(dir, 'writer.token'))
  await operator.grant(store, 'writer', [{ resource: key, rights: ['encrypt', 'decrypt'] }])
  const token = readToken(join(dir, 'writer.token'))
  const publicKey = readFileSync(join(dir, 'account.pub'), 'utf8')
  const callers: FakeGoogle['callers'] = []

  const handlers = makeHandlers({ store, faults: new Faults(join(dir, 'faults')), report: console.error })
  const server = new Server()
  server.addService(
    loadService(),
    Object.fromEntries(
      Object.entries(handlers).map(([name, handle]) => {
        const checked: handleUnaryCall<unknown, unknown> = (call, callback) => {
          const caller = verifyJwt(String(call.metadata.get('authorization')[0] ?? ''), publicKey)
          if (caller) {
            callers.push(caller)
            call.metadata.set('authorization', `Bearer ${token}`)
          }
          ;(handle as typeof checked)(call, callback)
        }
        return [name, checked]
      }),
    ),
  )
  const credentials = ServerCredentials.createSsl(null, [
    { private_key: readFileSync(join(dir, 'tls.key')), cert_chain: readFileSync(join(dir, 'tls.pem')) },
  ])
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  )

  const connected: string[] = []
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    connected.push(request.url ?? '')
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket)
      socket.pipe(onward)
    })
    onward.on('error', () => socket.destroy()) // either end may hang up
    socket.on('error', () => onward.destroy())
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  const stop = async () => {
    forget()
    server.forceShutdown()
    proxy.closeAllConnections()
    proxy.close()
    rmSync(dir, { recursive: true, force: true })
  }
  const forget = onExit(stop) // a failed test never reaches its own stop
  return {
    dir,
    connected,
    callers,
    env: {
      HOME: dir,
      GOOGLE_APPLICATION_CREDENTIALS: join(dir, 'account.json'),
      GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: join(dir, 'ca.pem'),
      https_proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      METADATA_SERVER_DETECTION: 'none',
    },
    stop,
  }
}
