/** What the emulator's owner does without a token: directly on the state, whether a server runs or not. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { canonicalKmsUri, kmsKeyName, parseKmsUri } from '../../core/kms_uri.ts'
import { createExclusive } from '../files.ts'
import { readToken } from '../kms_config.ts'
import { hashToken } from './access.ts'
import { RpcError } from './errors.ts'
import * as keys from './keys.ts'
import type { Right, State } from './state.ts'
import type { StateStore } from './store.ts'

/** The resource name of a key given as such, or by its emulator URI. @throws BAD_FORMAT, REFUSED */
export const keyNameOf = (input: string): string =>
  kmsKeyName(parseKmsUri(canonicalKmsUri(input, 'gcp-kms-emulator')))

async function change<T>(store: StateStore, act: (state: State) => T): Promise<T> {
  try {
    return await store.update(act)
  } catch (thrown) {
    if (!(thrown instanceof RpcError)) throw thrown
    throw new ZtError('REFUSED', `kms emulator: ${thrown.details.replace(/\.$/, '')}`, {
      hint: 'see the state file for what there is',
      cause: thrown,
    })
  }
}

export interface KeyOptions {
  askedProtection?: 'SOFTWARE' | 'HSM'
  destroySeconds?: number
}

/** Makes a key with its first version, and its ring if need be. @returns false where the key was there already */
export function createKey(store: StateStore, key: string, options: KeyOptions = {}): Promise<boolean> {
  const [ring, id] = keys.splitName(keyNameOf(key), 'cryptoKeys')
  const [location, ringId] = keys.splitName(ring, 'keyRings')
  return change(store, state => {
    if (Object.hasOwn(state.cryptoKeys, keyNameOf(key))) return false
    if (!Object.hasOwn(state.keyRings, ring)) keys.createKeyRing(state, location, ringId)
    keys.createCryptoKey(state, ring, id, options)
    return true
  })
}

/** A new version, primary from now on. @returns its number */
export function rotateKey(store: StateStore, key: string): Promise<number> {
  return change(store, state => {
    const found = keys.requireKey(state, keyNameOf(key))
    const version = keys.createVersion(found)
    keys.setPrimary(found, version)
    return version.number
  })
}

/** Schedules the end of one version. */
export function destroyKeyVersion(store: StateStore, key: string, number: number): Promise<void> {
  return change(store, state => {
    const found = keys.requireKey(state, keyNameOf(key))
    keys.destroyVersion(found, keys.requireVersion(found, keyNameOf(key), String(number)))
  })
}

/** `resource` is a key, or a ring, location or project, for everything below it. */
export interface Grant {
  readonly resource: string
  readonly rights: readonly Right[]
}

// A key in any of its spellings, or the whole of what holds it.
function resourceOf(input: string): string {
  const resource = input.includes('/cryptoKeys/') ? keyNameOf(input) : input
  if (
    /^projects\/[a-z0-9.:-]+(?:\/locations\/[a-z0-9-]+(?:\/keyRings\/[a-zA-Z0-9_-]+(?:\/cryptoKeys\/[a-zA-Z0-9_-]+)?)?)?$/.test(
      resource,
    )
  )
    return resource
  throw new ZtError('BAD_INPUT', 'kms emulator: not a resource to grant rights on', {
    hint: 'projects/P[/locations/L[/keyRings/R[/cryptoKeys/K]]]',
  })
}

function setToken(store: StateStore, name: string, token: string): Promise<void> {
  if (!keys.idPattern.test(name))
    throw new ZtError('BAD_INPUT', 'kms emulator: an identity is named by letters, digits, _ and -')
  return change(store, state => {
    const grants = Object.hasOwn(state.identities, name) ? state.identities[name]?.grants : undefined
    state.identities[name] = { tokenHash: hashToken(token), grants: grants ?? {} }
  })
}

/**
 * Makes sure that `tokenFile` (0600) opens the door to identity `name`: writes a new token there, or accepts the one
 * that is there. @throws CONFLICT where the file holds another token than the identity's
 */
export async function ensureToken(store: StateStore, name: string, tokenFile: string): Promise<void> {
  const identity = Object.hasOwn(store.read().identities, name) ? store.read().identities[name] : undefined
  if (existsSync(tokenFile)) {
    const token = readToken(tokenFile)
    if (identity === undefined) await setToken(store, name, token)
    else if (identity.tokenHash !== hashToken(token))
      throw new ZtError(
        'CONFLICT',
        `kms emulator: ${tokenFile} holds another token than identity ${name} has`,
        {
          hint: 'name another token file, or remove this one to issue a new token',
        },
      )
    return
  }
  // The file first: a token that is in force but written nowhere would lock its owner out.
  const token = randomBytes(32).toString('base64url')
  createExclusive(tokenFile, `${token}\n`)
  await setToken(store, name, token)
}

/** An identity, made if new, with its token in `tokenFile` and these rights. @throws as ensureToken and grant */
export async function addIdentity(
  store: StateStore,
  name: string,
  grants: readonly Grant[],
  tokenFile: string,
): Promise<void> {
  for (const { resource } of grants) resourceOf(resource) // before anything is written
  await ensureToken(store, name, tokenFile)
  await grant(store, name, grants)
}

/** Sets the rights of an identity on each resource named; none takes them away. @throws NOT_FOUND */
export function grant(store: StateStore, name: string, grants: readonly Grant[]): Promise<void> {
  const wanted = grants.map(({ resource, rights }) => ({
    resource: resourceOf(resource),
    rights: [...new Set(rights)],
  }))
  return change(store, state => {
    const identity = Object.hasOwn(state.identities, name) ? state.identities[name] : undefined
    if (!identity)
      throw new ZtError('NOT_FOUND', `kms emulator: no identity ${name}`, {
        hint: 'make it one with a token file',
      })
    for (const { resource, rights } of wanted)
      if (rights.length === 0) delete identity.grants[resource]
      else identity.grants[resource] = rights
  })
}

/** Ends an identity: its token opens nothing any more. @returns false where there was none */
export function removeIdentity(store: StateStore, name: string): Promise<boolean> {
  return change(store, state => Object.hasOwn(state.identities, name) && delete state.identities[name])
}
