/** What `outside_gcp_setup verify` saw (SPEC §7.5): raw answers of Google's interfaces, judged by whoever holds them. */
import { z } from 'zod'
import { ZtError } from '../errors.ts'
import { bucketSchema, keySchema, policySchema, sinkSchema } from './observed.ts'
import { checkGcpSettings, type GcpSettings } from './settings.ts'

/** A key's attestation as Google gives it. */
export const attestationSchema = z.object({
  format: z.string(),
  content: z.string(),
  certChains: z
    .object({
      caviumCerts: z.array(z.string()).default([]),
      googleCardCerts: z.array(z.string()).default([]),
      googlePartitionCerts: z.array(z.string()).default([]),
    })
    .exactOptional(),
})
export type Attestation = z.infer<typeof attestationSchema>

const settingsSchema: z.ZodType<GcpSettings> = z.strictObject({
  project: z.string(),
  wormProject: z.string(),
  region: z.string(),
  keyRing: z.string(),
  keyPrefix: z.string(),
  bucket: z.string(),
  sink: z.string(),
  retentionDays: z.number(),
  rotationDays: z.number(),
  destroyDays: z.number(),
  tenants: z.array(z.string()),
})

/** Policy of a resource that others inherit from: ring, project, folder, organisation. null: not ours to see. */
const inheritedSchema = z.strictObject({ resource: z.string(), policy: policySchema.nullable() })
export type Inherited = z.infer<typeof inheritedSchema>

const ms = z.int().nonnegative()

/** Times are milliseconds since 1970. */
export const seenSchema = z.strictObject({
  at: ms,
  /** gcloud was sent to another endpoint than Google's. */
  standIn: z.boolean(),
  settings: settingsSchema,
  keys: z.array(keySchema.extend({ policy: policySchema })),
  /** Of the keys: ring, project and what is above it. */
  keyParents: z.array(inheritedSchema),
  /** Service accounts of the set-up, with who may act as them. */
  accounts: z.array(z.strictObject({ email: z.string(), policy: policySchema.nullable() })),
  /** Custom roles that any of these policies gives → their permissions. */
  roles: z.record(z.string(), z.array(z.string()).nullable()),
  bucket: bucketSchema.extend({ policy: policySchema }).nullable(),
  bucketParents: z.array(inheritedSchema),
  sink: sinkSchema.nullable(),
  /** Name of a key → the attestation of its primary version; null: it has none. */
  attestations: z.record(z.string(), attestationSchema.nullable()),
  /** Newest AUDIT_CHAIN_HEAD entry in Cloud Logging. */
  lastEntry: ms.nullable(),
  /** Newest object of an anchor, with Google's clock and checksum. */
  lastAnchor: z.strictObject({ name: z.string(), created: ms, crc32c: z.string() }).nullable(),
  /** Newest object that the sink exported. */
  lastExport: ms.nullable(),
})
export type Seen = z.infer<typeof seenSchema>

/** Name of the observation, and of its file without the ending. */
export const googleProbe = 'google'

/** @throws BAD_FORMAT, BAD_INPUT: whoever wrote another shape hides something */
export function parseSeen(result: unknown): Seen {
  const parsed = seenSchema.safeParse(result)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new ZtError(
      'BAD_FORMAT',
      `the evidence from Google has another shape: ${issue?.path.join('.')}: ${issue?.message}`,
    )
  }
  return { ...parsed.data, settings: checkGcpSettings(parsed.data.settings) }
}
