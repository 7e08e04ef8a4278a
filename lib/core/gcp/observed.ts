/** What Google's interfaces answered, as far as the set-up looks at it. Strict where it matters: an absence is no answer. */
import { z } from 'zod'
import { ZtError } from '../errors.ts'

const bindingSchema = z.object({
  role: z.string(),
  members: z.array(z.string()).default([]),
  condition: z.object({ title: z.string().optional(), expression: z.string() }).optional(),
})
export const policySchema = z.object({ bindings: z.array(bindingSchema).default([]) })

export const projectSchema = z.object({ projectId: z.string(), projectNumber: z.string() })

export const serviceSchema = z.object({ config: z.object({ name: z.string() }), state: z.string() })

export const keySchema = z.object({
  name: z.string(),
  purpose: z.string(),
  labels: z.record(z.string(), z.string()).default({}),
  rotationPeriod: z.string().optional(),
  nextRotationTime: z.string().optional(),
  destroyScheduledDuration: z.string().optional(),
  versionTemplate: z.object({ protectionLevel: z.string(), algorithm: z.string() }),
  primary: z.object({ name: z.string(), state: z.string(), protectionLevel: z.string() }).optional(),
})

export const bucketSchema = z.object({
  name: z.string(),
  location: z.string(),
  iamConfiguration: z
    .object({
      uniformBucketLevelAccess: z.object({ enabled: z.boolean() }).optional(),
      publicAccessPrevention: z.string().optional(),
    })
    .default({}),
  retentionPolicy: z
    .object({
      retentionPeriod: z.string(),
      isLocked: z.boolean().optional(),
      effectiveTime: z.string().optional(),
    })
    .optional(),
})

export const sinkSchema = z.object({
  name: z.string(),
  destination: z.string(),
  filter: z.string().default(''),
  writerIdentity: z.string(),
  disabled: z.boolean().optional(),
})

export const accountSchema = z.object({ email: z.string(), disabled: z.boolean().optional() })

export const roleSchema = z.object({
  name: z.string(),
  includedPermissions: z.array(z.string()).default([]),
  deleted: z.boolean().optional(),
})

export type Binding = z.infer<typeof bindingSchema>
export type Policy = z.infer<typeof policySchema>
export type ObservedKey = z.infer<typeof keySchema> & { policy: Policy }
export type ObservedBucket = z.infer<typeof bucketSchema> & { policy: Policy }
export type ObservedSink = z.infer<typeof sinkSchema>

/** null: that is not there. */
export interface Observed {
  /** Ids and numbers of the two projects; the same where they are one. */
  project: { id: string; number: string }
  wormProject: { id: string; number: string }
  /** Services that are on; by project. */
  services: { project: string[]; worm: string[] }
  keyRing: boolean
  keys: ObservedKey[]
  /** Emails in the project of the keys. */
  accounts: string[]
  /** Emails in the project of the bucket. */
  wormAccounts: string[]
  role: z.infer<typeof roleSchema> | null
  bucket: ObservedBucket | null
  sink: ObservedSink | null
  policy: Policy
  wormPolicy: Policy
}

/** An answer of gcloud in its schema. @throws BAD_FORMAT, naming what was asked */
export function readAnswer<S extends z.ZodType>(json: string, schema: S, what: string): z.output<S> {
  let value: unknown
  try {
    value = JSON.parse(json === '' ? 'null' : json)
  } catch (cause) {
    throw new ZtError('BAD_FORMAT', `${what}: gcloud answered no JSON`, { cause })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new ZtError(
    'BAD_FORMAT',
    `${what}: gcloud answered something else: ${issue?.path.join('.')} ${issue?.message}`,
    {
      hint: 'this program was tested with Google Cloud CLI 528: another one may answer differently',
    },
  )
}

export const hasBinding = (policy: Policy, role: string, member: string, expression?: string): boolean =>
  policy.bindings.some(
    each => each.role === role && each.members.includes(member) && each.condition?.expression === expression,
  )
