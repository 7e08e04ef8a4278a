/** google.cloud.kms.v1.KeyManagementService over a state store, spoken with the protos that the client ships. */
import protoJson from '@google-cloud/kms/build/protos/protos.json'
import type { handleUnaryCall, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { identify } from './access.ts'
import * as admin from './admin_methods.ts'
import { type Call, decrypt, encrypt } from './crypto_methods.ts'
import { RpcError } from './errors.ts'
import type { Faults } from './faults.ts'
import { sweep, sweepIsDue } from './keys.ts'
import type { StateStore } from './store.ts'

/** The loader's options are those of google-gax, so that both ends see the same shapes. */
export function loadService(): ServiceDefinition {
  const definitions = fromJSON(protoJson, { longs: String, enums: String, defaults: true, oneofs: true })
  return definitions['google.cloud.kms.v1.KeyManagementService'] as ServiceDefinition
}

export interface ServiceParts {
  readonly store: StateStore
  readonly faults: Faults
  /** Told what went wrong inside; the client learns only that something did. */
  readonly report: (thrown: unknown) => void
}

type Method<Request, Answer> = (request: Request, call: Call) => Answer

/** The handlers by method name. What is not here is answered UNIMPLEMENTED by gRPC itself. */
export function makeHandlers(parts: ServiceParts): UntypedServiceImplementation {
  const reads = <Q, A>(name: string, method: Method<Q, A>) =>
    handler(parts, name, method, async act => act(parts.store.read()))
  const writes = <Q, A>(name: string, method: Method<Q, A>) =>
    handler(parts, name, method, act => parts.store.update(act))
  return {
    Encrypt: reads('Encrypt', encrypt),
    Decrypt: reads('Decrypt', decrypt),
    GetKeyRing: reads('GetKeyRing', admin.getKeyRing),
    ListKeyRings: reads('ListKeyRings', admin.listKeyRings),
    GetCryptoKey: reads('GetCryptoKey', admin.getCryptoKey),
    ListCryptoKeys: reads('ListCryptoKeys', admin.listCryptoKeys),
    GetCryptoKeyVersion: reads('GetCryptoKeyVersion', admin.getCryptoKeyVersion),
    ListCryptoKeyVersions: reads('ListCryptoKeyVersions', admin.listCryptoKeyVersions),
    CreateKeyRing: writes('CreateKeyRing', admin.createKeyRing),
    CreateCryptoKey: writes('CreateCryptoKey', admin.createCryptoKey),
    CreateCryptoKeyVersion: writes('CreateCryptoKeyVersion', admin.createCryptoKeyVersion),
    UpdateCryptoKeyPrimaryVersion: writes(
      'UpdateCryptoKeyPrimaryVersion',
      admin.updateCryptoKeyPrimaryVersion,
    ),
    UpdateCryptoKeyVersion: writes('UpdateCryptoKeyVersion', admin.updateCryptoKeyVersion),
    DestroyCryptoKeyVersion: writes('DestroyCryptoKeyVersion', admin.destroyCryptoKeyVersion),
    RestoreCryptoKeyVersion: writes('RestoreCryptoKeyVersion', admin.restoreCryptoKeyVersion),
  }
}

function handler<Q, A>(
  { store, faults, report }: ServiceParts,
  name: string,
  method: Method<Q, A>,
  run: (act: (state: Call['state']) => A) => Promise<A>,
): handleUnaryCall<Q, A> {
  return (call, callback) => {
    const answer = async (): Promise<A> => {
      const { latencyMs, status, damage } = faults.take(name)
      if (latencyMs > 0) await Bun.sleep(latencyMs)
      if (status !== undefined) throw new RpcError(status, `${status} was asked for by a fault.`)
      if (sweepIsDue(store.read())) await store.update(sweep)
      const authorization = String(call.metadata.get('authorization')[0] ?? '')
      return run(state => method(call.request, { state, identity: identify(state, authorization), damage }))
    }
    answer().then(
      message => callback(null, message),
      thrown => {
        if (!(thrown instanceof RpcError)) report(thrown)
        callback(thrown instanceof RpcError ? thrown : new RpcError('INTERNAL', 'Internal error.'))
      },
    )
  }
}
