/** The state in the shapes of google.cloud.kms.v1. */
import type { protos } from '@google-cloud/kms'
import type { CryptoKey, KeyVersion } from './state.ts'

type V1 = typeof protos.google.cloud.kms.v1
export type Message<Name extends keyof V1> = V1[Name] extends { create(properties?: infer I): unknown }
  ? NonNullable<I>
  : never

const timestamp = (iso: string | null) =>
  iso === null
    ? null
    : { seconds: Math.floor(Date.parse(iso) / 1_000), nanos: (Date.parse(iso) % 1_000) * 1_000_000 }

const algorithm = 'GOOGLE_SYMMETRIC_ENCRYPTION'

export const ringMessage = (name: string, ring: { createTime: string }): Message<'KeyRing'> => ({
  name,
  createTime: timestamp(ring.createTime),
})

/** Whatever was asked for, a version here is software, and says so. */
export const versionMessage = (keyName: string, version: KeyVersion): Message<'CryptoKeyVersion'> => ({
  name: `${keyName}/cryptoKeyVersions/${version.number}`,
  state: version.state,
  protectionLevel: 'SOFTWARE',
  algorithm,
  createTime: timestamp(version.createTime),
  generateTime: timestamp(version.createTime),
  ...(version.state === 'DESTROYED'
    ? { destroyEventTime: timestamp(version.destroyTime) }
    : { destroyTime: timestamp(version.destroyTime) }),
})

export function keyMessage(name: string, key: CryptoKey): Message<'CryptoKey'> {
  const primary = key.versions.find(({ number }) => number === key.primary)
  return {
    name,
    purpose: 'ENCRYPT_DECRYPT',
    createTime: timestamp(key.createTime),
    primary: primary ? versionMessage(name, primary) : null,
    versionTemplate: { protectionLevel: key.askedProtection, algorithm },
    destroyScheduledDuration: { seconds: key.destroySeconds, nanos: 0 },
  }
}

/** One page of a list in order of names; the token is the last name of the page before. */
export function page<T>(
  entries: [name: string, message: T][],
  request: { pageSize?: number | null; pageToken?: string | null },
): { items: T[]; nextPageToken: string; totalSize: number } {
  const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1))
  const after = request.pageToken ? Buffer.from(request.pageToken, 'base64url').toString() : ''
  const rest = sorted.filter(([name]) => name > after)
  const size = request.pageSize && request.pageSize > 0 ? Math.min(request.pageSize, 1_000) : 100
  const items = rest.slice(0, size)
  const last = items.at(-1)?.[0] ?? ''
  return {
    items: items.map(([, message]) => message),
    nextPageToken: rest.length > size ? Buffer.from(last).toString('base64url') : '',
    totalSize: sorted.length,
  }
}
