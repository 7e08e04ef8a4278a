/** What the stand-in for Google's REST interfaces keeps, and the errors that it gives, in the words of Google. */

export interface Binding {
  role: string
  members: string[]
  condition?: { title: string; expression: string; description?: string }
}

export interface Policy {
  version: number
  etag: string
  bindings: Binding[]
}

export interface CryptoKey {
  name: string
  purpose: string
  labels: Record<string, string>
  rotationPeriod?: string
  nextRotationTime?: string
  destroyScheduledDuration: string
  versionTemplate: { protectionLevel: string; algorithm: string }
  createTime: string
  versions: KeyVersion[]
}

export interface KeyVersion {
  name: string
  state: string
  protectionLevel: string
  algorithm: string
  createTime: string
  attestation?: { format: string; content: string; certChains: Record<string, string[]> }
}

export interface Bucket {
  name: string
  /** Id of the project that has it. */
  project: string
  location: string
  metageneration: number
  timeCreated: string
  iamConfiguration: {
    uniformBucketLevelAccess: { enabled: boolean }
    publicAccessPrevention: string
  }
  retentionPolicy?: { retentionPeriod: string; effectiveTime: string; isLocked?: boolean }
  labels: Record<string, string>
  objects: StoredObject[]
}

export interface StoredObject {
  name: string
  bytes: Uint8Array
  generation: number
  /** Milliseconds since 1970. */
  created: number
}

export interface Sink {
  name: string
  destination: string
  filter: string
  writerIdentity: string
  disabled?: boolean
}

export interface Project {
  id: string
  number: string
  /** `folders/1`, `organizations/2`, nearest first. */
  ancestors: string[]
  services: Set<string>
  accounts: { email: string; displayName: string }[]
  roles: { name: string; title: string; includedPermissions: string[]; deleted?: boolean }[]
  sinks: Sink[]
  logs: { timestamp: string; logName: string; textPayload: string; labels?: Record<string, string> }[]
}

export interface Cloud {
  projects: Map<string, Project>
  keyRings: string[]
  keys: Map<string, CryptoKey>
  buckets: Map<string, Bucket>
  /** By resource: `projects/P`, `folders/F`, a key's name, `b/BUCKET`, … */
  policies: Map<string, Policy>
  /** Bearer token → who it is. `admin` may do everything that is not denied. */
  callers: Map<string, string>
  /** Permissions that nobody has, as `cloudkms.cryptoKeys.create`. */
  denied: Set<string>
  /** Permission → how many calls are yet to meet RESOURCE_EXHAUSTED. */
  exhausted: Map<string, number>
  /** How many reads a new resource stays invisible for. */
  lag: number
  hidden: Map<string, number>
  /** Locations that have no HSM. */
  withoutHsm: Set<string>
  /** Constraint of an organisation that forbids: permission → what it says. */
  forbidden: Map<string, string>
  now(): number
}

export function newCloud(projects: string[] = []): Cloud {
  return {
    projects: new Map(projects.map((id, i) => [id, newProject(id, `${1000 + i}`)])),
    keyRings: [],
    keys: new Map(),
    buckets: new Map(),
    policies: new Map(),
    callers: new Map([['admin-token', 'admin']]),
    denied: new Set(),
    exhausted: new Map(),
    lag: 0,
    hidden: new Map(),
    withoutHsm: new Set(),
    forbidden: new Map(),
    now: Date.now,
  }
}

export const newProject = (id: string, number: string): Project => ({
  id,
  number,
  ancestors: ['folders/77', 'organizations/99'],
  services: new Set(['serviceusage.googleapis.com', 'cloudresourcemanager.googleapis.com']),
  accounts: [],
  roles: [],
  sinks: [],
  logs: [],
})

/** An answer that is an error, as google.rpc.Status in JSON. */
export class GoogleError extends Error {
  readonly code: number
  readonly status: string
  readonly details: object[]

  constructor(code: number, status: string, message: string, details: object[] = []) {
    super(message)
    this.code = code
    this.status = status
    this.details = details
  }

  body(): object {
    const { code, message, status, details } = this
    const reason =
      { 404: 'notFound', 403: 'forbidden', 409: 'conflict', 412: 'conditionNotMet' }[code] ?? 'invalid'
    return {
      error: {
        code,
        message,
        status,
        errors: [{ message, domain: 'global', reason }],
        ...(details.length > 0 ? { details } : {}),
      },
    }
  }
}

export const notFound = (what: string): GoogleError => new GoogleError(404, 'NOT_FOUND', `${what} not found.`)

export const alreadyExists = (what: string): GoogleError =>
  new GoogleError(409, 'ALREADY_EXISTS', `${what} already exists.`)

export const denied = (permission: string, resource: string): GoogleError =>
  new GoogleError(
    403,
    'PERMISSION_DENIED',
    `Permission '${permission}' denied on resource '${resource}' (or it may not exist).`,
    [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'IAM_PERMISSION_DENIED',
        domain: 'iam.googleapis.com',
        metadata: { permission, resource },
      },
    ],
  )

export const disabled = (service: string, project: string): GoogleError =>
  new GoogleError(
    403,
    'PERMISSION_DENIED',
    `${service} has not been used in project ${project} before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/${service}/overview?project=${project} then retry.`,
    [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'SERVICE_DISABLED',
        domain: 'googleapis.com',
        metadata: { service, consumer: `projects/${project}` },
      },
    ],
  )

export function projectOf(cloud: Cloud, id: string): Project {
  const found = cloud.projects.get(id) ?? [...cloud.projects.values()].find(({ number }) => number === id)
  if (found) return found
  throw new GoogleError(
    403,
    'PERMISSION_DENIED',
    `The caller does not have permission on project ${id} (or it may not exist).`,
  )
}

/** Refuses what the test took away, before anything is looked at. */
export function permit(cloud: Cloud, permission: string, resource: string): void {
  const left = cloud.exhausted.get(permission) ?? 0
  if (left > 0) {
    cloud.exhausted.set(permission, left - 1)
    throw new GoogleError(429, 'RESOURCE_EXHAUSTED', `Quota exceeded for quota metric of ${permission}.`)
  }
  const forbidden = cloud.forbidden.get(permission)
  if (forbidden !== undefined) throw new GoogleError(412, 'FAILED_PRECONDITION', forbidden)
  if (cloud.denied.has(permission)) throw denied(permission, resource)
}

/** A project's own rights and services. */
export function permitIn(cloud: Cloud, permission: string, projectId: string, service: string): Project {
  const project = projectOf(cloud, projectId)
  permit(cloud, permission, `projects/${projectId}`)
  if (!project.services.has(service)) throw disabled(service, project.id)
  return project
}

/** A new resource is invisible for `lag` reads. */
export const hide = (cloud: Cloud, name: string): void => {
  if (cloud.lag > 0) cloud.hidden.set(name, cloud.lag)
}

export function visible(cloud: Cloud, name: string): boolean {
  const left = cloud.hidden.get(name) ?? 0
  if (left === 0) return true
  cloud.hidden.set(name, left - 1)
  return false
}

export function policyOf(cloud: Cloud, resource: string): Policy {
  return cloud.policies.get(resource) ?? { version: 1, etag: 'ACAB', bindings: [] }
}

/** As setIamPolicy does: another etag means that somebody else was quicker. */
export function setPolicy(cloud: Cloud, resource: string, wanted: Partial<Policy>): Policy {
  const before = policyOf(cloud, resource)
  if (wanted.etag !== undefined && wanted.etag !== before.etag)
    throw new GoogleError(
      409,
      'ABORTED',
      'There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.',
    )
  const bindings = wanted.bindings ?? []
  if (bindings.some(each => each.condition) && (wanted.version ?? 1) < 3)
    throw new GoogleError(400, 'INVALID_ARGUMENT', 'Conditions need policy version 3.')
  const next = {
    version: wanted.version ?? 1,
    etag: Buffer.from(`${cloud.policies.size}-${cloud.now()}-${Math.random()}`).toString('base64'),
    bindings,
  }
  cloud.policies.set(resource, next)
  return next
}
