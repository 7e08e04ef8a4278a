/** Key rings, keys and versions over gRPC. Each method names the right it needs and the resource it needs it on. */
import { authorise } from './access.ts'
import type { Call } from './crypto_methods.ts'
import { RpcError } from './errors.ts'
import * as keys from './keys.ts'
import { keyMessage, type Message, page, ringMessage, versionMessage } from './messages.ts'

const admin = (call: Call, permission: string, resource: string): void =>
  authorise(call.state, call.identity, 'admin', permission, resource)

export function createKeyRing(request: Message<'CreateKeyRingRequest'>, call: Call): Message<'KeyRing'> {
  const parent = request.parent ?? ''
  admin(call, 'keyRings.create', parent)
  const name = keys.createKeyRing(call.state, parent, request.keyRingId ?? '')
  return ringMessage(name, keys.requireRing(call.state, name))
}

export function getKeyRing(request: Message<'GetKeyRingRequest'>, call: Call): Message<'KeyRing'> {
  const name = request.name ?? ''
  admin(call, 'keyRings.get', name)
  return ringMessage(name, keys.requireRing(call.state, name))
}

export function listKeyRings(
  request: Message<'ListKeyRingsRequest'>,
  call: Call,
): Message<'ListKeyRingsResponse'> {
  const parent = request.parent ?? ''
  admin(call, 'keyRings.list', parent)
  const { items, ...rest } = page(
    Object.entries(call.state.keyRings)
      .filter(([name]) => name.startsWith(`${parent}/keyRings/`))
      .map(([name, ring]) => [name, ringMessage(name, ring)]),
    request,
  )
  return { keyRings: items, ...rest }
}

export function createCryptoKey(
  request: Message<'CreateCryptoKeyRequest'>,
  call: Call,
): Message<'CryptoKey'> {
  const parent = request.parent ?? ''
  admin(call, 'cryptoKeys.create', parent)
  const { purpose, versionTemplate, destroyScheduledDuration } = request.cryptoKey ?? {}
  if (purpose !== 'ENCRYPT_DECRYPT')
    throw new RpcError('INVALID_ARGUMENT', 'The emulator makes keys of purpose ENCRYPT_DECRYPT alone.')
  const algorithm = versionTemplate?.algorithm ?? 'CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED'
  if (algorithm !== 'CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED' && algorithm !== 'GOOGLE_SYMMETRIC_ENCRYPTION')
    throw new RpcError('INVALID_ARGUMENT', `Algorithm ${algorithm} does not fit ENCRYPT_DECRYPT.`)
  const level = versionTemplate?.protectionLevel ?? 'PROTECTION_LEVEL_UNSPECIFIED'
  if (level !== 'PROTECTION_LEVEL_UNSPECIFIED' && level !== 'SOFTWARE' && level !== 'HSM')
    throw new RpcError('INVALID_ARGUMENT', `The emulator knows no protection level ${level}.`)
  const name = keys.createCryptoKey(call.state, parent, request.cryptoKeyId ?? '', {
    askedProtection: level === 'HSM' ? 'HSM' : 'SOFTWARE',
    destroySeconds: destroyScheduledDuration
      ? Number(destroyScheduledDuration.seconds ?? 0)
      : keys.defaultDestroySeconds,
    empty: request.skipInitialVersionCreation === true,
  })
  return keyMessage(name, keys.requireKey(call.state, name))
}

export function getCryptoKey(request: Message<'GetCryptoKeyRequest'>, call: Call): Message<'CryptoKey'> {
  const name = request.name ?? ''
  admin(call, 'cryptoKeys.get', name)
  return keyMessage(name, keys.requireKey(call.state, name))
}

export function listCryptoKeys(
  request: Message<'ListCryptoKeysRequest'>,
  call: Call,
): Message<'ListCryptoKeysResponse'> {
  const parent = request.parent ?? ''
  admin(call, 'cryptoKeys.list', parent)
  keys.requireRing(call.state, parent)
  const { items, ...rest } = page(
    Object.entries(call.state.cryptoKeys)
      .filter(([name]) => name.startsWith(`${parent}/cryptoKeys/`))
      .map(([name, key]) => [name, keyMessage(name, key)]),
    request,
  )
  return { cryptoKeys: items, ...rest }
}

export function updateCryptoKeyPrimaryVersion(
  request: Message<'UpdateCryptoKeyPrimaryVersionRequest'>,
  call: Call,
): Message<'CryptoKey'> {
  const name = request.name ?? ''
  admin(call, 'cryptoKeys.update', name)
  const key = keys.requireKey(call.state, name)
  keys.setPrimary(key, keys.requireVersion(key, name, request.cryptoKeyVersionId ?? ''))
  return keyMessage(name, key)
}

export function createCryptoKeyVersion(
  request: Message<'CreateCryptoKeyVersionRequest'>,
  call: Call,
): Message<'CryptoKeyVersion'> {
  const parent = request.parent ?? ''
  admin(call, 'cryptoKeyVersions.create', parent)
  return versionMessage(parent, keys.createVersion(keys.requireKey(call.state, parent)))
}

export function listCryptoKeyVersions(
  request: Message<'ListCryptoKeyVersionsRequest'>,
  call: Call,
): Message<'ListCryptoKeyVersionsResponse'> {
  const parent = request.parent ?? ''
  admin(call, 'cryptoKeyVersions.list', parent)
  const { items, ...rest } = page(
    keys
      .requireKey(call.state, parent)
      .versions.map(version => [String(version.number).padStart(10, '0'), versionMessage(parent, version)]),
    request,
  )
  return { cryptoKeyVersions: items, ...rest }
}

/** The version that a request names, for those who may do `permission` to it. */
function named(name: string, call: Call, permission: string) {
  const [keyName, id] = keys.splitName(name, 'cryptoKeyVersions')
  admin(call, permission, keyName)
  const key = keys.requireKey(call.state, keyName)
  return { keyName, key, version: keys.requireVersion(key, keyName, id) }
}

export function getCryptoKeyVersion(
  request: Message<'GetCryptoKeyVersionRequest'>,
  call: Call,
): Message<'CryptoKeyVersion'> {
  const { keyName, version } = named(request.name ?? '', call, 'cryptoKeyVersions.get')
  return versionMessage(keyName, version)
}

export function updateCryptoKeyVersion(
  request: Message<'UpdateCryptoKeyVersionRequest'>,
  call: Call,
): Message<'CryptoKeyVersion'> {
  const { keyName, version } = named(request.cryptoKeyVersion?.name ?? '', call, 'cryptoKeyVersions.update')
  const state = request.cryptoKeyVersion?.state
  const paths = request.updateMask?.paths ?? []
  if (paths.join() !== 'state' || (state !== 'ENABLED' && state !== 'DISABLED'))
    throw new RpcError('INVALID_ARGUMENT', 'Only the state can be updated, to ENABLED or DISABLED.')
  keys.setEnabled(version, state)
  return versionMessage(keyName, version)
}

export function destroyCryptoKeyVersion(
  request: Message<'DestroyCryptoKeyVersionRequest'>,
  call: Call,
): Message<'CryptoKeyVersion'> {
  const { keyName, key, version } = named(request.name ?? '', call, 'cryptoKeyVersions.destroy')
  keys.destroyVersion(key, version)
  return versionMessage(keyName, version)
}

export function restoreCryptoKeyVersion(
  request: Message<'RestoreCryptoKeyVersionRequest'>,
  call: Call,
): Message<'CryptoKeyVersion'> {
  const { keyName, version } = named(request.name ?? '', call, 'cryptoKeyVersions.restore')
  keys.restoreVersion(version)
  return versionMessage(keyName, version)
}
