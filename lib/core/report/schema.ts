/**
 * The one model that every report is printed from, and at the same time the shape of `--format json`, version 2.
 * docs/schemas/proof-report-v2.json is made from it: `proof_suite schema`.
 */
import { z } from 'zod'
import { grades, layers } from '../controls/control.ts'

const count = z.int().nonnegative()
const hash = z.string().regex(/^[0-9a-f]{64}$/)
const time = z.string().describe('ISO 8601, UTC')
export const verdicts = ['pass', 'fail', 'error', 'not-applicable'] as const
const verdict = z.enum(verdicts)

const control = z.strictObject({
  id: z.string(),
  layer: z.enum(layers),
  claim: z.string(),
  standard: z.array(z.string()),
  status: z.enum(['enforced', 'available', 'optional']),
  grade: z.enum(grades).describe('who vouches for what was observed'),
  enforcedBy: z.string(),
  dependsOn: z.array(z.string()).describe('controls without which this one says nothing'),
  required: z.boolean().describe('whether a failure of it breaks the verdict that was asked for'),
  met: z.boolean().describe('whether its verdict is good enough for what was asked for'),
  verdict,
  reason: z.string(),
  hint: z.string().nullable(),
  observations: z.array(z.string()),
})

const observation = z.strictObject({
  id: z.string(),
  time,
  host: z.string(),
  identity: z.string(),
  grade: z.enum(grades),
  command: z.string(),
  path: z.string().describe('of the whole observation, in the bundle'),
  failed: z.boolean().describe('the probe could not run'),
  excerpt: z.string().describe('what was observed, as JSON, or why nothing was; clipped'),
  clipped: z.boolean(),
})

const finding = z.strictObject({
  code: z.string().describe('stable; docs/findings.md explains each'),
  severity: z.enum(['fail', 'pending', 'note']),
  evidence: z.string(),
  where: z.string(),
  what: z.string(),
  means: z.string(),
})

const point = z.strictObject({ number: count, size: count, made: time, received: time.nullable() })

const gap = z.strictObject({
  after: count.describe('number of the anchor before the gap'),
  before: count,
  seconds: z.number(),
  missing: count.describe('numbered anchors that are absent'),
  firstEvent: count.describe('the first event that was covered only after the gap'),
})

const certificate = z.strictObject({
  name: z.string(),
  role: z.string(),
  source: z.enum(['trust', 'bundle']).describe('whose word it is that this certificate belongs here'),
  subject: z.string(),
  serial: z.string(),
  notBefore: time,
  notAfter: time,
  state: z.enum(['in force', 'expired', 'not yet valid', 'revoked']),
  days: z.int().describe('left; negative once expired'),
})

const row = z.strictObject({
  id: z.string(),
  title: z.string(),
  verdict: z.enum([...verdicts, 'exception']),
  by: z.array(z.string()).describe('controls and settings that show it'),
  reason: z.string(),
})

export const reportSchema = z.strictObject({
  v: z.literal(2),
  kind: z.literal('ztmysql-report'),
  ok: z.boolean(),
  requirement: z.string(),
  judged: z.strictObject({ at: time, tool: z.string(), commit: z.string() }),
  bundle: z.strictObject({
    digest: hash.describe('SHA-256 of manifest.json'),
    tool: z.string(),
    commit: z.string(),
    host: z.string(),
    origin: z.string(),
    nonce: hash,
    nonceAsked: z.boolean().describe('the auditor named this nonce himself'),
    created: time,
    opened: time.nullable().describe("store's time of the opening anchor"),
    closed: time.nullable(),
    files: count,
    signer: z.string().nullable().describe('who countersigned it, where that was asked for and verified'),
  }),
  trust: z.strictObject({
    serial: count,
    time,
    pinned: z
      .boolean()
      .describe('whether the auditor named the CA by its digest, had by another way than the folder'),
  }),
  counts: z.strictObject({ pass: count, fail: count, error: count, notApplicable: count }),
  controls: z.array(control),
  observations: z.array(observation),
  unknownObservations: z.array(z.string()),
  trail: z.strictObject({
    events: count,
    head: z.string(),
    anchored: count,
    anchors: count,
    lastAnchor: count,
    rows: count,
    signaturesChecked: count,
  }),
  findings: z.array(finding),
  findingCounts: z.record(z.string(), count),
  anchors: z.strictObject({
    count,
    limitSeconds: z.number(),
    gaps: z.array(gap),
    points: z.array(point).describe('thinned out where there are many'),
  }),
  certificates: z.array(certificate),
  baselines: z.array(
    z.strictObject({ id: z.string(), title: z.string(), source: z.string(), rows: z.array(row) }),
  ),
})

export type Report = z.infer<typeof reportSchema>
export type ReportControl = Report['controls'][number]
export type ReportObservation = Report['observations'][number]
export type ReportCertificate = Report['certificates'][number]
export type ReportBaseline = Report['baselines'][number]
export type AnchorGap = Report['anchors']['gaps'][number]
export type ReportVerdict = (typeof verdicts)[number]

/** JSON Schema (draft 2020-12) of `--format json`. */
export function reportJsonSchema(): object {
  return {
    $id: 'urn:ztmysql:schema:proof-report:2',
    title: 'Verdict of proof_suite verify, version 2',
    ...z.toJSONSchema(reportSchema),
  }
}
