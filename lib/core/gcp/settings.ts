/** What a set-up on Google Cloud is to look like, from flags and environment, judged before anything is asked of Google. */
import { ZtError } from '../errors.ts'

export interface GcpSettings {
  /** Project of keys, logs and the database host (PROJECT_ID). */
  project: string
  /** Project of the bucket alone (WORM_PROJECT_ID). */
  wormProject: string
  region: string
  /** KRING */
  keyRing: string
  /** KNAME: each tenant's key is `KNAME-TENANT`. */
  keyPrefix: string
  /** BUCKET */
  bucket: string
  /** SINK */
  sink: string
  retentionDays: number
  rotationDays: number
  /** How long a destroyed key version can be restored. */
  destroyDays: number
  /** Labels of tenants, in order. */
  tenants: string[]
}

export const gcpDefaults = {
  region: 'europe-west3',
  keyRing: 'zero-trust',
  keyPrefix: 'mysql',
  sink: 'ztmysql-audit',
  retentionDays: 365,
  rotationDays: 90,
  destroyDays: 30,
} as const

/** Objects of anchors lie under it; the host may write nowhere else. */
export const anchorPrefix = 'anchors/'

export const clientRole = 'roles/cloudkms.cryptoKeyEncrypterDecrypter'
export const auditorRole = 'roles/storage.objectViewer'
export const sinkRole = 'roles/storage.objectCreator'
export const logRole = 'roles/logging.logWriter'

/** A custom role, as none that Google ships may create and get without listing. */
export const hostRole = {
  id: 'ztmysqlAnchor',
  title: 'Zero-Trust MySQL anchor: create and get objects',
} as const
export const hostPermissions = ['storage.objects.create', 'storage.objects.get'] as const

export const logFilter = 'textPayload:"AUDIT_CHAIN_HEAD" OR jsonPayload.message:"AUDIT_CHAIN_HEAD"'

/** Services that a project must have switched on. */
export const services = {
  project: ['cloudkms.googleapis.com', 'iam.googleapis.com', 'logging.googleapis.com'],
  worm: ['iam.googleapis.com', 'storage.googleapis.com'],
} as const

interface Rule {
  pattern: RegExp
  is: string
  example: string
}

// Google's own rules for these names.
const rules = {
  project: { pattern: /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, is: 'a project id', example: 'acme-prod-1' },
  region: { pattern: /^[a-z]+(?:-[a-z]+[0-9]+)?$/, is: 'a location', example: 'europe-west3' },
  keyRing: { pattern: /^[a-zA-Z0-9_-]{1,63}$/, is: 'a key ring', example: 'zero-trust' },
  keyPrefix: { pattern: /^[a-z][a-z0-9-]{0,22}$/, is: 'a prefix of keys', example: 'mysql' },
  bucket: {
    pattern: /^(?!goog)(?!.*google)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/,
    is: 'a bucket',
    example: 'acme-anchors',
  },
  sink: { pattern: /^[a-zA-Z0-9_.-]{1,100}$/, is: 'a log sink', example: 'ztmysql-audit' },
  tenant: { pattern: /^[a-z][a-z0-9-]{0,39}$/, is: 'the label of a tenant', example: 'acme' },
} satisfies Record<string, Rule>

function checkName(value: string, { pattern, is, example }: Rule, given: string): string {
  if (pattern.test(value)) return value
  throw new ZtError('BAD_INPUT', `${given} ${JSON.stringify(value)}: not the name of ${is}`, {
    hint: `for example ${example}`,
  })
}

function checkDays(value: number, least: number, most: number, given: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ZtError('BAD_INPUT', `${given} ${value}: expected ${least} to ${most} days`)
}

/** @throws BAD_INPUT, naming the flag */
export function checkGcpSettings(given: GcpSettings): GcpSettings {
  checkName(given.project, rules.project, '--project')
  checkName(given.wormProject, rules.project, '--worm-project')
  checkName(given.region, rules.region, '--region')
  checkName(given.keyRing, rules.keyRing, '--keyring')
  checkName(given.keyPrefix, rules.keyPrefix, '--key-prefix')
  checkName(given.bucket, rules.bucket, '--bucket')
  checkName(given.sink, rules.sink, '--sink')
  for (const tenant of given.tenants) checkName(tenant, rules.tenant, '--tenant')
  checkDays(given.retentionDays, 1, 36_500, '--retention-days')
  checkDays(given.rotationDays, 1, 3650, '--rotation-days')
  checkDays(given.destroyDays, 1, 120, '--destroy-days')
  return { ...given, tenants: [...new Set(given.tenants)].sort() }
}

export const keyId = ({ keyPrefix }: GcpSettings, tenant: string): string => `${keyPrefix}-${tenant}`

export const keyRingName = ({ project, region, keyRing }: GcpSettings): string =>
  `projects/${project}/locations/${region}/keyRings/${keyRing}`

/** The resource name, which a client takes as `gcp-kms://…`. */
export const keyName = (settings: GcpSettings, tenant: string): string =>
  `${keyRingName(settings)}/cryptoKeys/${keyId(settings, tenant)}`

// An account id has 6 to 30 characters: a long label keeps its beginning and its own end.
const short = (label: string): string =>
  label.length <= 22 ? label : `${label.slice(0, 13)}-${label.slice(-8)}`

export const clientAccountId = (tenant: string): string => `zt-app-${short(tenant)}`
export const hostAccountId = 'zt-host'
export const auditorAccountId = 'zt-auditor'

export const emailOf = (accountId: string, project: string): string =>
  `${accountId}@${project}.iam.gserviceaccount.com`

export const hostRoleName = ({ wormProject }: GcpSettings): string =>
  `projects/${wormProject}/roles/${hostRole.id}`

/** CEL of IAM conditions: objects of anchors alone. */
export const prefixCondition = ({ bucket }: GcpSettings): string =>
  `resource.name.startsWith("projects/_/buckets/${bucket}/objects/${anchorPrefix}")`

/** A file in the folder of fetched anchors that says what Google said of each object. */
export const objectIndexName = 'objects.json'
