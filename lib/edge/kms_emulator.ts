/**
 * A local KeyManagementService for development and tests: Google's protocol for Google's client, on loopback alone.
 * Keys lie in a file of this machine; nothing here protects them from whoever can read it.
 */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { reason, ZtError } from '../core/errors.ts'
import { Faults, faultFile } from './kms_emulator/faults.ts'
import * as operator from './kms_emulator/operator.ts'
import { loadService, makeHandlers } from './kms_emulator/service.ts'
import { StateStore } from './kms_emulator/store.ts'

export * as operator from './kms_emulator/operator.ts'
export type { Right } from './kms_emulator/state.ts'
export { StateStore } from './kms_emulator/store.ts'

export interface KmsEmulatorOptions {
  /** JSON, 0600, made when something is first stored. Shared safely with commands that change it meanwhile. */
  stateFile: string
  /** 0 or undefined: any free one. */
  port?: number
  /** As parseFault reads them; further ones, one a line, in `<stateFile>.faults` while it exists. */
  faults?: readonly string[]
  /** Told of internal errors. Default: stderr. */
  report?: (line: string) => void
}

export interface KmsEmulator {
  /** `127.0.0.1:port`: the value of KMS_EMULATOR_HOST. */
  readonly endpoint: string
  /** @returns false where the key was there already */
  createKey(key: string, options?: operator.KeyOptions): Promise<boolean>
  /** Makes an identity whose bearer token is in `tokenFile` (written 0600, or accepted if it is there), with rights. */
  addIdentity(name: string, grants: readonly operator.Grant[], tokenFile: string): Promise<void>
  grant(name: string, grants: readonly operator.Grant[]): Promise<void>
  removeIdentity(name: string): Promise<boolean>
  /** @returns the number of the new primary version */
  rotateKey(key: string): Promise<number>
  destroyKeyVersion(key: string, number: number): Promise<void>
  /** Replaces the faults: setFault() ends them. For example `setFault('fail=UNAVAILABLE*2@Encrypt', 'latency=50')`. */
  setFault(...faults: string[]): void
  stop(): Promise<void>
}

/** @throws BAD_FORMAT (state), BAD_INPUT (faults), IO where the port is taken */
export async function startKmsEmulator(options: KmsEmulatorOptions): Promise<KmsEmulator> {
  const report = options.report ?? (line => process.stderr.write(`${line}\n`))
  const store = new StateStore(options.stateFile)
  store.read() // a broken file stops it here, not at the first call
  const faults = new Faults(faultFile(options.stateFile))
  faults.set(options.faults ?? [])
  const server = new Server({ 'grpc.max_receive_message_length': 1 << 20 })
  const handlers = makeHandlers({
    store,
    faults,
    report: thrown => report(`kms_emulator: internal error: ${reason(thrown)}`),
  })
  server.addService(loadService(), handlers)
  const port = await bind(server, options.port ?? 0)
  return {
    endpoint: `127.0.0.1:${port}`,
    createKey: (key, keyOptions) => operator.createKey(store, key, keyOptions),
    addIdentity: (name, grants, tokenFile) => operator.addIdentity(store, name, grants, tokenFile),
    grant: (name, grants) => operator.grant(store, name, grants),
    removeIdentity: name => operator.removeIdentity(store, name),
    rotateKey: key => operator.rotateKey(store, key),
    destroyKeyVersion: (key, number) => operator.destroyKeyVersion(store, key, number),
    setFault: (...texts) => faults.set(texts),
    stop: async () => server.forceShutdown(),
  }
}

function bind(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) return resolve(bound)
      reject(
        new ZtError('IO', `kms emulator: cannot listen on 127.0.0.1:${port}: ${reason(error)}`, {
          hint: `${/EADDRINUSE/.test(reason(error)) ? 'another emulator may be running there: ' : ''}choose another port, or 0 for any free one`,
          cause: error,
        }),
      )
    }),
  )
}
