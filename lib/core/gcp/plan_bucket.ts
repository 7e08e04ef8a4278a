/** The bucket of the anchors, its retention, who may do what there, and the log sink that writes to it. */

import { ZtError } from '../errors.ts'
import type { Change, Finding } from '../plan.ts'
import { hasBinding, type Observed, type Policy } from './observed.ts'
import {
  auditorAccountId,
  auditorRole,
  emailOf,
  type GcpSettings,
  hostAccountId,
  hostRoleName,
  logFilter,
  prefixCondition,
  sinkRole,
} from './settings.ts'
import { add, type GcpPlan, type GcpStep, seconds, serviceAccount } from './step.ts'

function makeBucket(settings: GcpSettings): GcpStep {
  const { bucket, wormProject, region, retentionDays } = settings
  return {
    id: 'bucket',
    description: 'make the bucket of the anchors',
    changes: [
      add(`gs://${bucket}`, `in ${region}, ${retentionDays} days of retention, uniform access, never public`),
    ],
    commands: [
      [
        ...['storage', 'buckets', 'create', `gs://${bucket}`, '--project', wormProject, '--location', region],
        ...[
          '--uniform-bucket-level-access',
          '--public-access-prevention',
          '--retention-period',
          `${retentionDays}d`,
        ],
      ],
    ],
  }
}

/** @throws REFUSED where a locked retention is longer than the one asked for */
export function bucketSteps(settings: GcpSettings, { bucket }: Observed): GcpPlan {
  if (bucket === null) return { steps: [makeBucket(settings)], findings: [] }
  const name = `gs://${bucket.name}`
  const changes: Change[] = []
  const flags: string[] = []
  const findings: Finding[] = []
  const { uniformBucketLevelAccess, publicAccessPrevention } = bucket.iamConfiguration
  if (uniformBucketLevelAccess?.enabled !== true) {
    changes.push({ item: `uniform access of ${name}`, before: 'off', after: 'on' })
    flags.push('--uniform-bucket-level-access')
  }
  if (publicAccessPrevention !== 'enforced') {
    changes.push({
      item: `public access of ${name}`,
      before: publicAccessPrevention ?? 'inherited',
      after: 'prevented',
    })
    flags.push('--public-access-prevention')
  }
  const held = Number(bucket.retentionPolicy?.retentionPeriod ?? 0)
  const locked = bucket.retentionPolicy?.isLocked === true
  if (held < seconds(settings.retentionDays)) {
    changes.push({
      item: `retention of ${name}`,
      before: `${held / 86_400} days`,
      after: `${settings.retentionDays} days`,
    })
    flags.push('--retention-period', `${settings.retentionDays}d`)
  } else if (held > seconds(settings.retentionDays))
    throw new ZtError(
      'REFUSED',
      `${name}: keeps objects for ${held / 86_400} days, longer than the ${settings.retentionDays} asked for`,
      {
        hint: locked
          ? `the retention is locked and cannot be shortened: give --retention-days ${held / 86_400}`
          : `this program never shortens a retention: give --retention-days ${held / 86_400}`,
      },
    )
  if (!locked)
    findings.push({
      item: name,
      detail: 'its retention is not locked: whoever may change the bucket can end it (--lock-retention)',
    })
  const commands = flags.length === 0 ? [] : [['storage', 'buckets', 'update', name, ...flags]]
  return {
    steps:
      changes.length === 0
        ? []
        : [{ id: 'bucket', description: 'set the bucket of the anchors', changes, commands }],
    findings,
  }
}

/** Irreversible, so it stands alone and is asked for with the bucket's name. */
export function lockStep(settings: GcpSettings, { bucket }: Observed): GcpStep[] {
  if (bucket?.retentionPolicy?.isLocked === true) return []
  return [
    {
      id: 'lock',
      description: `lock the retention of ${settings.retentionDays} days FOR EVER: nobody can shorten it, nor delete an object before its time, nor the bucket`,
      changes: [
        { item: `retention of gs://${settings.bucket}`, before: 'can be changed', after: 'locked for ever' },
      ],
      commands: [['storage', 'buckets', 'update', `gs://${settings.bucket}`, '--lock-retention-period']],
      asks: true,
    },
  ]
}

interface Right {
  member: string
  role: string
  expression?: string
  why: string
}

export function bucketRights(settings: GcpSettings, observed: Observed): GcpStep[] {
  const policy: Policy = observed.bucket?.policy ?? { bindings: [] }
  const rights: Right[] = [
    {
      member: serviceAccount(emailOf(hostAccountId, settings.project)),
      role: hostRoleName(settings),
      expression: prefixCondition(settings),
      why: 'let the host put anchors there, and nothing else',
    },
    {
      member: serviceAccount(emailOf(auditorAccountId, settings.wormProject)),
      role: auditorRole,
      why: 'let the auditor read',
    },
    ...(observed.sink === null
      ? []
      : [{ member: observed.sink.writerIdentity, role: sinkRole, why: 'let the log sink write' }]),
  ]
  return rights
    .filter(({ member, role, expression }) => !hasBinding(policy, role, member, expression))
    .map(({ member, role, expression, why }) => ({
      id: `bucket-${role.split(/[/.]/).at(-1)}`,
      description: why,
      changes: [
        add(
          `${member} on gs://${settings.bucket}`,
          role + (expression === undefined ? '' : ` where ${expression}`),
        ),
      ],
      commands: [
        [
          ...[
            'storage',
            'buckets',
            'add-iam-policy-binding',
            `gs://${settings.bucket}`,
            '--member',
            member,
            '--role',
            role,
          ],
          '--condition',
          expression === undefined ? 'None' : `expression=${expression},title=ztmysql-anchors`,
        ],
      ],
    }))
}

export function sinkStep(settings: GcpSettings, { sink }: Observed): GcpStep[] {
  const destination = `storage.googleapis.com/${settings.bucket}`
  const after = `${logFilter} → ${destination}`
  const before =
    sink === null ? null : `${sink.filter} → ${sink.destination}${sink.disabled ? ' (disabled)' : ''}`
  if (before === after) return []
  const flags = ['--log-filter', logFilter, '--project', settings.project]
  const update = sink?.disabled ? ['--no-disabled'] : []
  return [
    {
      id: 'sink',
      description: 'send each AUDIT_CHAIN_HEAD line of the log to the bucket',
      changes: [{ item: `log sink ${settings.sink}`, before, after }],
      commands: [
        [
          'logging',
          'sinks',
          sink === null ? 'create' : 'update',
          settings.sink,
          destination,
          ...flags,
          ...update,
        ],
      ],
    },
  ]
}
