/** Key rings, keys and versions: pure changes to a state, with Cloud KMS's rules and refusals. */
import { random, toBase64 } from '../../core/bytes.ts'
import { RpcError } from './errors.ts'
import type { CryptoKey, KeyVersion, State } from './state.ts'

export const idPattern = /^[a-zA-Z0-9_-]{1,63}$/
const locationPattern =
  /^projects\/(?:[a-z][a-z0-9.-]{0,62}:)?[a-z0-9][a-z0-9-]{0,62}\/locations\/[a-z0-9][a-z0-9-]{0,62}$/
/** Google's default, and the one here. */
export const defaultDestroySeconds = 30 * 86_400

const now = (): string => new Date().toISOString()

function requireId(id: string, what: string): string {
  if (!idPattern.test(id)) throw new RpcError('INVALID_ARGUMENT', `${what} must match ${idPattern.source}.`)
  return id
}

/** `…/KIND/ID` in its two halves: parent and id. */
export function splitName(name: string, kind: string): [parent: string, id: string] {
  const at = name.lastIndexOf(`/${kind}/`)
  const id = name.slice(at + kind.length + 2)
  if (at < 0 || id.includes('/'))
    throw new RpcError('INVALID_ARGUMENT', `'${name}' is not a name of ${kind}.`)
  return [name.slice(0, at), id]
}

/** @returns the new ring's name */
export function createKeyRing(state: State, location: string, id: string): string {
  if (!locationPattern.test(location))
    throw new RpcError('INVALID_ARGUMENT', 'The parent of a KeyRing is projects/P/locations/L.')
  const name = `${location}/keyRings/${requireId(id, 'key_ring_id')}`
  if (Object.hasOwn(state.keyRings, name))
    throw new RpcError('ALREADY_EXISTS', `KeyRing ${name} already exists.`)
  state.keyRings[name] = { createTime: now() }
  return name
}

export function requireRing(state: State, name: string): { createTime: string } {
  const ring = Object.hasOwn(state.keyRings, name) ? state.keyRings[name] : undefined
  if (!ring) throw new RpcError('NOT_FOUND', `KeyRing ${name} not found.`)
  return ring
}

/** @returns the new key's name; its first version exists and is primary unless `empty` */
export function createCryptoKey(
  state: State,
  ring: string,
  id: string,
  options: { askedProtection?: 'SOFTWARE' | 'HSM'; destroySeconds?: number; empty?: boolean } = {},
): string {
  requireRing(state, ring)
  const name = `${ring}/cryptoKeys/${requireId(id, 'crypto_key_id')}`
  if (Object.hasOwn(state.cryptoKeys, name))
    throw new RpcError('ALREADY_EXISTS', `CryptoKey ${name} already exists.`)
  const key: CryptoKey = {
    createTime: now(),
    askedProtection: options.askedProtection ?? 'SOFTWARE',
    destroySeconds: options.destroySeconds ?? defaultDestroySeconds,
    primary: null,
    versions: [],
  }
  state.cryptoKeys[name] = key
  if (options.empty !== true) key.primary = createVersion(key).number
  return name
}

export function requireKey(state: State, name: string): CryptoKey {
  const key = Object.hasOwn(state.cryptoKeys, name) ? state.cryptoKeys[name] : undefined
  if (!key) throw new RpcError('NOT_FOUND', `CryptoKey ${name} not found.`)
  return key
}

export function requireVersion(key: CryptoKey, keyName: string, id: string): KeyVersion {
  const version = key.versions.find(candidate => String(candidate.number) === id)
  if (!version)
    throw new RpcError('NOT_FOUND', `CryptoKeyVersion ${keyName}/cryptoKeyVersions/${id} not found.`)
  return version
}

/** A new enabled version; as with Google, it becomes primary only when it is made so. */
export function createVersion(key: CryptoKey): KeyVersion {
  const version: KeyVersion = {
    number: Math.max(0, ...key.versions.map(({ number }) => number)) + 1,
    state: 'ENABLED',
    createTime: now(),
    destroyTime: null,
    material: toBase64(random(32)),
  }
  key.versions.push(version)
  return version
}

function requireState(version: KeyVersion, allowed: readonly KeyVersion['state'][]): void {
  if (!allowed.includes(version.state))
    throw new RpcError(
      'FAILED_PRECONDITION',
      `CryptoKeyVersion ${version.number} is ${version.state}; ${allowed.join(' or ')} is needed.`,
    )
}

export function setPrimary(key: CryptoKey, version: KeyVersion): void {
  requireState(version, ['ENABLED'])
  key.primary = version.number
}

export function setEnabled(version: KeyVersion, state: 'ENABLED' | 'DISABLED'): void {
  requireState(version, ['ENABLED', 'DISABLED'])
  version.state = state
}

/** Unusable at once; the material goes after the key's `destroySeconds`, and may be restored until then. */
export function destroyVersion(key: CryptoKey, version: KeyVersion): void {
  requireState(version, ['ENABLED', 'DISABLED'])
  version.state = 'DESTROY_SCHEDULED'
  version.destroyTime = new Date(Date.now() + key.destroySeconds * 1_000).toISOString()
  sweepVersion(version, Date.now())
}

export function restoreVersion(version: KeyVersion): void {
  requireState(version, ['DESTROY_SCHEDULED'])
  version.state = 'DISABLED'
  version.destroyTime = null
}

const isDue = (version: KeyVersion, time: number): boolean =>
  version.state === 'DESTROY_SCHEDULED' &&
  version.destroyTime !== null &&
  Date.parse(version.destroyTime) <= time

function sweepVersion(version: KeyVersion, time: number): void {
  if (!isDue(version, time)) return
  version.state = 'DESTROYED'
  version.material = null
}

const allVersions = (state: State): KeyVersion[] =>
  Object.values(state.cryptoKeys).flatMap(key => key.versions)

/** True where the time of some scheduled destruction has come. */
export const sweepIsDue = (state: State): boolean =>
  allVersions(state).some(version => isDue(version, Date.now()))

export function sweep(state: State): void {
  for (const version of allVersions(state)) sweepVersion(version, Date.now())
}
