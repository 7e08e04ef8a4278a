import type { Call, Route } from './server.ts'
import {
  alreadyExists,
  type CryptoKey,
  GoogleError,
  hide,
  notFound,
  type Policy,
  permit,
  permitIn,
  policyOf,
  setPolicy,
  visible,
} from './state.ts'

const service = 'cloudkms.googleapis.com'
const ringPath = 'projects/([^/]+)/locations/([^/]+)/keyRings'
const keyPath = `(${ringPath}/[^/]+/cryptoKeys/[^/:]+)`

const shown = ({ versions, ...key }: CryptoKey) => ({ ...key, primary: versions.at(-1) })

function keyOf({ cloud, path }: Call): CryptoKey {
  const key = cloud.keys.get(path[0] ?? '')
  if (!key || !visible(cloud, key.name)) throw notFound(`CryptoKey ${path[0]}`)
  return key
}

function createKey(call: Call): unknown {
  const { cloud, path, query, json } = call
  const ring = path[0] ?? ''
  const project = path[1] ?? ''
  permitIn(cloud, 'cloudkms.cryptoKeys.create', project, service)
  if (!cloud.keyRings.includes(ring)) throw notFound(`KeyRing ${ring}`)
  const name = `${ring}/cryptoKeys/${query.get('cryptoKeyId')}`
  if (cloud.keys.has(name)) throw alreadyExists(`CryptoKey ${name}`)
  const template = json.versionTemplate as CryptoKey['versionTemplate']
  if (template.protectionLevel === 'HSM' && cloud.withoutHsm.has(path[2] ?? ''))
    throw new GoogleError(
      400,
      'INVALID_ARGUMENT',
      `The protection level HSM is not supported in location ${path[2]}.`,
    )
  const createTime = new Date(cloud.now()).toISOString()
  const key: CryptoKey = {
    name,
    purpose: String(json.purpose),
    labels: (json.labels ?? {}) as Record<string, string>,
    ...(json.rotationPeriod ? { rotationPeriod: String(json.rotationPeriod) } : {}),
    ...(json.nextRotationTime ? { nextRotationTime: String(json.nextRotationTime) } : {}),
    destroyScheduledDuration: String(json.destroyScheduledDuration ?? '2592000s'),
    versionTemplate: template,
    createTime,
    versions: [],
  }
  key.versions.push({ name: `${name}/cryptoKeyVersions/1`, state: 'ENABLED', ...template, createTime })
  cloud.keys.set(name, key)
  hide(cloud, name)
  return shown(key)
}

/** A destroy-scheduled duration is fixed for good when the key is made. */
function patchKey(call: Call): unknown {
  const key = keyOf(call)
  permit(call.cloud, 'cloudkms.cryptoKeys.update', key.name)
  const mask = (call.query.get('updateMask') ?? '').split(',')
  for (const field of mask) {
    if (field === 'labels') key.labels = call.json.labels as Record<string, string>
    else if (field === 'rotationPeriod') key.rotationPeriod = String(call.json.rotationPeriod)
    else if (field === 'nextRotationTime') key.nextRotationTime = String(call.json.nextRotationTime)
    else throw new GoogleError(400, 'INVALID_ARGUMENT', `${field} cannot be updated.`)
  }
  return shown(key)
}

export const kmsRoutes: Route[] = [
  [
    'GET',
    new RegExp(`^/v1/(${ringPath})$`),
    ({ cloud, path }) => {
      permitIn(cloud, 'cloudkms.keyRings.list', path[1] ?? '', service)
      return {
        keyRings: cloud.keyRings.filter(name => name.startsWith(`${path[0]}/`)).map(name => ({ name })),
      }
    },
  ],
  [
    'POST',
    new RegExp(`^/v1/(${ringPath})$`),
    ({ cloud, path, query }) => {
      permitIn(cloud, 'cloudkms.keyRings.create', path[1] ?? '', service)
      const name = `${path[0]}/${query.get('keyRingId')}`
      if (cloud.keyRings.includes(name)) throw alreadyExists(`KeyRing ${name}`)
      cloud.keyRings.push(name)
      return { name }
    },
  ],
  [
    'GET',
    new RegExp(`^/v1/(${ringPath}/[^/]+)/cryptoKeys$`),
    ({ cloud, path }) => {
      permitIn(cloud, 'cloudkms.cryptoKeys.list', path[1] ?? '', service)
      if (!cloud.keyRings.includes(path[0] ?? '')) throw notFound(`KeyRing ${path[0]}`)
      const keys = [...cloud.keys.values()].filter(key => key.name.startsWith(`${path[0]}/`))
      return { cryptoKeys: keys.filter(key => visible(cloud, key.name)).map(shown) }
    },
  ],
  ['POST', new RegExp(`^/v1/(${ringPath}/[^/]+)/cryptoKeys$`), createKey],
  ['GET', new RegExp(`^/v1/${keyPath}$`), call => shown(keyOf(call))],
  ['PATCH', new RegExp(`^/v1/${keyPath}$`), patchKey],
  [
    'GET',
    new RegExp(`^/v1/${keyPath}/cryptoKeyVersions$`),
    call => {
      permit(call.cloud, 'cloudkms.cryptoKeyVersions.list', call.path[0] ?? '')
      return { cryptoKeyVersions: keyOf(call).versions.map(({ attestation, ...version }) => version) }
    },
  ],
  [
    'GET',
    new RegExp(`^/v1/${keyPath}/cryptoKeyVersions/([0-9]+)$`),
    call =>
      keyOf(call).versions.find(({ name }) => name.endsWith(`/${call.path.at(-1)}`)) ?? notFound('version'),
  ],
  [
    'POST',
    new RegExp(`^/v1/${keyPath}/cryptoKeyVersions/([0-9]+):destroy$`),
    call => {
      permit(call.cloud, 'cloudkms.cryptoKeyVersions.destroy', call.path[0] ?? '')
      const version = keyOf(call).versions.find(({ name }) => name.endsWith(`/${call.path.at(-1)}`))
      if (!version) throw notFound('CryptoKeyVersion')
      version.state = 'DESTROY_SCHEDULED'
      return version
    },
  ],
  [
    'GET',
    new RegExp(`^/v1/(${ringPath}/[^/:]+(?:/cryptoKeys/[^/:]+)?):getIamPolicy$`),
    ({ cloud, path }) => {
      permit(cloud, 'cloudkms.cryptoKeys.getIamPolicy', path[0] ?? '')
      return policyOf(cloud, path[0] ?? '')
    },
  ],
  [
    'POST',
    new RegExp(`^/v1/(${ringPath}/[^/:]+(?:/cryptoKeys/[^/:]+)?):setIamPolicy$`),
    ({ cloud, path, json }) => {
      permit(cloud, 'cloudkms.cryptoKeys.setIamPolicy', path[0] ?? '')
      return setPolicy(cloud, path[0] ?? '', json.policy as Partial<Policy>)
    },
  ],
]
