import { gcsChecksum } from '../../../lib/core/crc32c.ts'
import type { Call, Route } from './server.ts'
import {
  type Bucket,
  type Cloud,
  denied,
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

const service = 'storage.googleapis.com'

/** What predefined roles may do to objects; custom ones are asked for. */
const predefined: Record<string, string[]> = {
  'roles/storage.objectViewer': ['storage.objects.get', 'storage.objects.list'],
  'roles/storage.objectCreator': ['storage.objects.create'],
  'roles/storage.objectAdmin': [
    'storage.objects.get',
    'storage.objects.list',
    'storage.objects.create',
    'storage.objects.delete',
  ],
}

function permissionsOf(cloud: Cloud, role: string): string[] {
  const custom = /^projects\/([^/]+)\/roles\//.exec(role)?.[1]
  if (custom === undefined) return predefined[role] ?? []
  return cloud.projects.get(custom)?.roles.find(({ name }) => name === role)?.includedPermissions ?? []
}

/** Whether a condition of the one form that is used holds: `resource.name.startsWith("…")`. */
function holds(expression: string | undefined, resource: string): boolean {
  if (expression === undefined) return true
  const prefix = /^resource\.name\.startsWith\("([^"]*)"\)$/.exec(expression)?.[1]
  return prefix !== undefined && resource.startsWith(prefix)
}

function mayObject(call: Call, permission: string, bucket: Bucket, object: string): void {
  permit(call.cloud, permission, object)
  if (call.caller === 'admin') return
  const resource = `projects/_/buckets/${bucket.name}/objects/${object}`
  const granted = policyOf(call.cloud, `b/${bucket.name}`).bindings.some(
    ({ role, members, condition }) =>
      members.includes(`serviceAccount:${call.caller}`) &&
      permissionsOf(call.cloud, role).includes(permission) &&
      holds(condition?.expression, resource),
  )
  if (!granted) throw denied(permission, resource)
}

function bucketOf({ cloud, path }: Call): Bucket {
  const bucket = cloud.buckets.get(path[0] ?? '')
  if (!bucket || !visible(cloud, `b/${bucket.name}`)) throw notFound(`The specified bucket ${path[0]}`)
  return bucket
}

const shown = ({ objects, project, ...bucket }: Bucket) => ({
  kind: 'storage#bucket',
  id: bucket.name,
  ...bucket,
})

function createBucket({ cloud, query, json }: Call): unknown {
  const project = permitIn(cloud, 'storage.buckets.create', query.get('project') ?? '', service)
  const name = String(json.name)
  if (cloud.buckets.has(name))
    throw new GoogleError(
      409,
      'ALREADY_EXISTS',
      'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
    )
  const period = (json.retentionPolicy as { retentionPeriod?: string } | undefined)?.retentionPeriod
  const timeCreated = new Date(cloud.now()).toISOString()
  const bucket: Bucket = {
    name,
    project: project.id,
    location: String(json.location ?? 'US'),
    metageneration: 1,
    timeCreated,
    iamConfiguration: json.iamConfiguration as Bucket['iamConfiguration'],
    ...(period ? { retentionPolicy: { retentionPeriod: period, effectiveTime: timeCreated } } : {}),
    labels: {},
    objects: [],
  }
  cloud.buckets.set(name, bucket)
  hide(cloud, `b/${name}`)
  return shown(bucket)
}

/** A locked retention policy grows and nothing else. */
function patchBucket(call: Call): unknown {
  const bucket = bucketOf(call)
  permit(call.cloud, 'storage.buckets.update', bucket.name)
  const { retentionPolicy, iamConfiguration } = call.json as Partial<Bucket>
  if ('retentionPolicy' in call.json) {
    const before = Number(bucket.retentionPolicy?.retentionPeriod ?? 0)
    const after = Number(retentionPolicy?.retentionPeriod ?? 0)
    if (bucket.retentionPolicy?.isLocked && after < before)
      throw new GoogleError(
        403,
        'PERMISSION_DENIED',
        `Cannot reduce retention duration of a locked Retention Policy for bucket '${bucket.name}'.`,
      )
    if (after === 0) delete bucket.retentionPolicy
    else {
      const effectiveTime = new Date(call.cloud.now()).toISOString()
      bucket.retentionPolicy = { effectiveTime, ...bucket.retentionPolicy, retentionPeriod: String(after) }
    }
  }
  if (iamConfiguration) bucket.iamConfiguration = { ...bucket.iamConfiguration, ...iamConfiguration }
  bucket.metageneration++
  return shown(bucket)
}

function lock(call: Call): unknown {
  const bucket = bucketOf(call)
  permit(call.cloud, 'storage.buckets.update', bucket.name)
  if (call.query.get('ifMetagenerationMatch') !== String(bucket.metageneration))
    throw new GoogleError(
      412,
      'FAILED_PRECONDITION',
      'At least one of the pre-conditions you specified did not hold.',
    )
  if (!bucket.retentionPolicy)
    throw new GoogleError(400, 'INVALID_ARGUMENT', 'The bucket has no retention policy.')
  bucket.retentionPolicy.isLocked = true
  bucket.metageneration++
  return shown(bucket)
}

function metadata(bucket: Bucket, object: Bucket['objects'][number]): object {
  const period = Number(bucket.retentionPolicy?.retentionPeriod ?? 0)
  return {
    kind: 'storage#object',
    name: object.name,
    bucket: bucket.name,
    generation: String(object.generation),
    metageneration: '1',
    size: String(object.bytes.length),
    crc32c: gcsChecksum(object.bytes),
    timeCreated: new Date(object.created).toISOString(),
    ...(period > 0
      ? { retentionExpirationTime: new Date(object.created + period * 1000).toISOString() }
      : {}),
  }
}

function upload(call: Call): unknown {
  const bucket = bucketOf(call)
  const name = call.query.get('name') ?? ''
  mayObject(call, 'storage.objects.create', bucket, name)
  const before = bucket.objects.find(object => object.name === name)
  const wanted = call.query.get('ifGenerationMatch')
  if (wanted !== null && wanted !== String(before?.generation ?? 0))
    throw new GoogleError(
      412,
      'FAILED_PRECONDITION',
      'At least one of the pre-conditions you specified did not hold.',
    )
  if (before) {
    mayObject(call, 'storage.objects.delete', bucket, name)
    refuseRetained(call.cloud, bucket, before)
    bucket.objects = bucket.objects.filter(object => object !== before)
  }
  const generation = call.cloud.now() * 1000 + bucket.objects.length
  bucket.objects.push({ name, bytes: call.bytes.slice(), generation, created: call.cloud.now() })
  return metadata(bucket, bucket.objects.at(-1) as Bucket['objects'][number])
}

function refuseRetained(cloud: Cloud, bucket: Bucket, object: Bucket['objects'][number]): void {
  const until = object.created + Number(bucket.retentionPolicy?.retentionPeriod ?? 0) * 1000
  if (cloud.now() < until)
    throw new GoogleError(
      403,
      'PERMISSION_DENIED',
      `Object '${bucket.name}/${object.name}' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until ${new Date(until).toISOString()}`,
    )
}

function objectOf(call: Call): [Bucket, Bucket['objects'][number]] {
  const bucket = bucketOf(call)
  const object = bucket.objects.find(({ name }) => name === call.path[1])
  if (!object) throw notFound(`No such object: ${bucket.name}/${call.path[1]}`)
  return [bucket, object]
}

const pageSize = 3

export const storageRoutes: Route[] = [
  [
    'GET',
    /^\/storage\/v1\/b$/,
    ({ cloud, query }) => {
      const project = permitIn(cloud, 'storage.buckets.list', query.get('project') ?? '', service)
      const buckets = [...cloud.buckets.values()].filter(bucket => bucket.project === project.id)
      return {
        kind: 'storage#buckets',
        items: buckets.filter(({ name }) => visible(cloud, `b/${name}`)).map(shown),
      }
    },
  ],
  ['POST', /^\/storage\/v1\/b$/, createBucket],
  [
    'GET',
    /^\/storage\/v1\/b\/([^/]+)$/,
    call => {
      permit(call.cloud, 'storage.buckets.get', call.path[0] ?? '')
      return shown(bucketOf(call))
    },
  ],
  ['PATCH', /^\/storage\/v1\/b\/([^/]+)$/, patchBucket],
  ['POST', /^\/storage\/v1\/b\/([^/]+)\/lockRetentionPolicy$/, lock],
  [
    'GET',
    /^\/storage\/v1\/b\/([^/]+)\/iam$/,
    call => {
      permit(call.cloud, 'storage.buckets.getIamPolicy', call.path[0] ?? '')
      return { kind: 'storage#policy', ...policyOf(call.cloud, `b/${bucketOf(call).name}`) }
    },
  ],
  [
    'PUT',
    /^\/storage\/v1\/b\/([^/]+)\/iam$/,
    call => {
      permit(call.cloud, 'storage.buckets.setIamPolicy', call.path[0] ?? '')
      return setPolicy(call.cloud, `b/${bucketOf(call).name}`, call.json as Partial<Policy>)
    },
  ],
  ['POST', /^\/upload\/storage\/v1\/b\/([^/]+)\/o$/, upload],
  [
    'GET',
    /^\/storage\/v1\/b\/([^/]+)\/o$/,
    call => {
      const bucket = bucketOf(call)
      mayObject(call, 'storage.objects.list', bucket, '')
      const prefix = call.query.get('prefix') ?? ''
      const startOffset = call.query.get('startOffset') ?? ''
      const from = Number(call.query.get('pageToken') ?? 0)
      const all = bucket.objects
        .filter(({ name }) => name.startsWith(prefix) && name >= startOffset)
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      const more = from + pageSize < all.length ? { nextPageToken: String(from + pageSize) } : {}
      return {
        kind: 'storage#objects',
        items: all.slice(from, from + pageSize).map(o => metadata(bucket, o)),
        ...more,
      }
    },
  ],
  [
    'GET',
    /^\/storage\/v1\/b\/([^/]+)\/o\/(.+)$/,
    call => {
      const [bucket, object] = objectOf(call)
      mayObject(call, 'storage.objects.get', bucket, object.name)
      return call.query.get('alt') === 'media' ? new Response(object.bytes.slice()) : metadata(bucket, object)
    },
  ],
  [
    'DELETE',
    /^\/storage\/v1\/b\/([^/]+)\/o\/(.+)$/,
    call => {
      const [bucket, object] = objectOf(call)
      mayObject(call, 'storage.objects.delete', bucket, object.name)
      refuseRetained(call.cloud, bucket, object)
      bucket.objects = bucket.objects.filter(each => each !== object)
      return new Response(null, { status: 204 })
    },
  ],
]
