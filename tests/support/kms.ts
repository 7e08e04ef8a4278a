/** A KMS emulator of one test file: keys, identities and clients, all in a folder of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyManagementServiceClient } from '@google-cloud/kms'
import { credentials } from '@grpc/grpc-js'
import { PassThroughClient } from 'google-auth-library'
import { onExit } from '../../lib/edge/cleanup.ts'
import { type KmsOptions, type OpenedKms, openKms } from '../../lib/edge/kms.ts'
import { readToken } from '../../lib/edge/kms_config.ts'
import {
  type KmsEmulator,
  type KmsEmulatorOptions,
  type Right,
  startKmsEmulator,
} from '../../lib/edge/kms_emulator.ts'

export const location = 'projects/zt-test/locations/local'
export const ring = `${location}/keyRings/tenants`
export const keyA = `${ring}/cryptoKeys/tenant-a`
export const keyB = `${ring}/cryptoKeys/tenant-b`

export interface TestKms {
  readonly dir: string
  readonly stateFile: string
  readonly emulator: KmsEmulator
  /** A token file of a fresh identity with these rights. */
  identity(name: string, grants: Record<string, Right[]>): Promise<string>
  /** The project's client on `key`, as the holder of a token file. */
  open(key: string, tokenFile: string | undefined, options?: KmsOptions): Promise<OpenedKms>
  /** Google's client as it comes, and the call options that carry a token. */
  raw(tokenFile: string): { client: KeyManagementServiceClient; as: CallAs }
  stop(): Promise<void>
}

export interface CallAs {
  retry: null
  timeout: number
  otherArgs: { headers: { authorization: string } }
}

export async function startTestKms(options: Partial<KmsEmulatorOptions> = {}): Promise<TestKms> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-kms-'))
  const stateFile = options.stateFile ?? join(dir, 'state.json')
  const emulator = await startKmsEmulator({ stateFile, ...options })
  const closers: (() => Promise<unknown>)[] = []
  const stop = async () => {
    forget()
    for (const close of closers) await close()
    await emulator.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  const forget = onExit(stop) // a failed test never reaches its own stop
  return {
    dir,
    stateFile,
    emulator,
    identity: async (name, grants) => {
      const tokenFile = join(dir, `${name}.token`)
      const list = Object.entries(grants).map(([resource, rights]) => ({ resource, rights }))
      await emulator.addIdentity(name, list, tokenFile)
      return tokenFile
    },
    open: async (key, tokenFile, more = {}) => {
      const kms = await openKms(key, {
        env: {},
        emulatorHost: emulator.endpoint,
        warn: () => undefined,
        ...(tokenFile === undefined ? {} : { tokenFile }),
        ...more,
      })
      closers.push(() => kms.close())
      return kms
    },
    raw: tokenFile => {
      const [host, port] = emulator.endpoint.split(':')
      const client = new KeyManagementServiceClient({
        fallback: false,
        apiEndpoint: host ?? '',
        port: Number(port),
        sslCreds: credentials.createInsecure(),
        authClient: new PassThroughClient(),
      })
      closers.push(() => client.close())
      const authorization = `Bearer ${readToken(tokenFile)}`
      return { client, as: { retry: null, timeout: 5_000, otherArgs: { headers: { authorization } } } }
    },
    stop,
  }
}
