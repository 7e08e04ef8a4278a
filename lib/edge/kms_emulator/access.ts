/** Who may do what: bearer tokens stand for identities, rights are granted on a resource and hold below it. */
import { createHash } from 'node:crypto'
import { RpcError } from './errors.ts'
import type { Right, State } from './state.ts'

export const hashToken = (token: string): string => createHash('sha256').update(token).digest('hex')

/** The identity that the `authorization` metadata stands for. @throws UNAUTHENTICATED */
export function identify(state: State, authorization: string): string {
  const token = /^Bearer ([A-Za-z0-9_-]+)$/.exec(authorization)?.[1]
  const hash = token === undefined ? undefined : hashToken(token)
  const found = Object.entries(state.identities).find(([, identity]) => identity.tokenHash === hash)
  if (!found)
    throw new RpcError('UNAUTHENTICATED', 'Request had missing or invalid authentication credentials.')
  return found[0]
}

const covers = (granted: string, resource: string): boolean =>
  resource === granted || resource.startsWith(`${granted}/`)

/** @throws PERMISSION_DENIED, in the same words whether the resource exists or not */
export function authorise(
  state: State,
  identity: string,
  right: Right,
  permission: string,
  resource: string,
): void {
  const grants = Object.entries(state.identities[identity]?.grants ?? {})
  if (grants.some(([granted, list]) => covers(granted, resource) && list.includes(right))) return
  throw new RpcError(
    'PERMISSION_DENIED',
    `Permission 'cloudkms.${permission}' denied on resource '${resource}' (or it may not exist).`,
  )
}
