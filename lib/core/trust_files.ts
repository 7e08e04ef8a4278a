/** The files of a trust folder (SPEC §6.4): their names and members. */
import { z } from 'zod'
import { isUuid } from './bytes.ts'
import { isOrigin } from './origin.ts'
import { isTime } from './time.ts'

export const roles = ['app', 'auditor', 'administrator', 'probe', 'probe_auditor'] as const
export type Role = (typeof roles)[number]

/** Roles whose account belongs to one tenant. */
export const hasTenant = (role: Role): boolean => role === 'app' || role === 'probe'

export const accountPattern = /^[a-z][a-z0-9_]{0,31}$/
export const labelPattern = /^[a-z][a-z0-9-]{0,39}$/

export const uuidText = z.string().refine(isUuid, 'not a canonical UUID')
export const timeText = z.string().refine(isTime, 'not a canonical time')
export const originText = z.string().refine(isOrigin, 'not an origin')
export const hex32 = z.string().regex(/^[0-9a-f]{64}$/)
export const serialText = z.string().regex(/^(?:[0-9a-f]{2}){1,20}$/)
export const accountText = z.string().regex(accountPattern)
export const labelText = z.string().regex(labelPattern)
export const count = z.int().nonnegative()

export const certificatePath = (account: string, serial: string): string => `certs/${account}-${serial}.pem`

export const manifestSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-trust'),
  serial: z.int().positive(),
  time: timeText,
  files: z.array(z.strictObject({ path: z.string().max(200), size: count, sha256: hex32 })),
})

export const logSchema = z.strictObject({
  v: z.literal(1),
  origin: originText,
  keys: z
    .array(
      z.strictObject({
        ed25519: z.string(),
        mldsa44: z.string(),
        from: z.int().positive(),
        until: z.int().positive().nullable(),
      }),
    )
    .min(1),
})

/** Optional: the witnesses whose cosignatures a checkpoint must carry (SPEC §6.4). */
export const witnessesSchema = z.strictObject({
  v: z.literal(1),
  quorum: z.int().positive().max(14),
  witnesses: z
    .array(
      z.strictObject({
        key: z.string(),
        from: z.int().positive(),
        until: z.int().positive().nullable(),
      }),
    )
    .min(1)
    .max(100),
})

export const tenantsSchema = z.strictObject({
  v: z.literal(1),
  tenants: z.array(
    z.strictObject({
      id: uuidText,
      label: labelText,
      fixture: z.boolean(),
      issuers: z.array(z.string()).min(1),
      kems: z.array(z.string()),
      kmsKeys: z.array(z.string()),
    }),
  ),
})

export const accountsSchema = z.strictObject({
  v: z.literal(1),
  certificates: z.array(
    z.strictObject({
      account: accountText,
      role: z.enum(roles),
      tenant: uuidText.nullable(),
      signer: hex32,
      serial: serialText,
      subject: z.string(),
      notBefore: timeText,
      notAfter: timeText,
      revokedAt: timeText.nullable(),
      path: z.string(),
    }),
  ),
})
