/** Promises about the store of anchors: its bucket, who may write there, and whether anchors and log entries arrive. */
import type { Seen } from './evidence.ts'
import { all, type Promised, type Verdict, young } from './promise.ts'
import { anybody } from './rights.ts'
import {
  emailOf,
  hostAccountId,
  hostPermissions,
  hostRoleName,
  logFilter,
  prefixCondition,
} from './settings.ts'

function retained({ bucket, settings }: Seen): Verdict {
  const policy = bucket?.retentionPolicy
  const days = Number(policy?.retentionPeriod ?? 0) / 86_400
  if (!(days >= settings.retentionDays))
    return [false, `${days} days, ${settings.retentionDays} were asked for`]
  return policy?.isLocked === true
    ? [true, `${days} days, locked`]
    : [false, `${days} days, not locked: it can be shortened, and an object deleted`]
}

function isPrivate({ bucket }: Seen): Verdict {
  if (bucket === null) return [false, 'there is no bucket']
  const { uniformBucketLevelAccess, publicAccessPrevention } = bucket.iamConfiguration
  const open = bucket.policy.bindings.flatMap(({ role, members }) =>
    members.filter(member => anybody.includes(member)).map(member => `${member} has ${role}`),
  )
  return all(
    [
      ...(uniformBucketLevelAccess?.enabled === true ? [] : ['access is not uniform']),
      ...(publicAccessPrevention === 'enforced' ? [] : ['public access is not prevented']),
      ...open,
    ],
    'uniform access, never public',
  )
}

/** The host creates and gets under its prefix; whatever else it has there is too much. */
function hostOnlyCreates({ settings, bucket, bucketParents, roles }: Seen): Verdict {
  const host = `serviceAccount:${emailOf(hostAccountId, settings.project)}`
  const name = hostRoleName(settings)
  const own = (bucket?.policy.bindings ?? []).filter(({ members }) => members.includes(host))
  const meant = ({ role, condition }: (typeof own)[number]): boolean =>
    role === name && condition?.expression === prefixCondition(settings)
  const granted = Object.hasOwn(roles, name) ? roles[name] : null
  const permissions = granted ?? []
  const lacks = hostPermissions.filter(permission => !permissions.includes(permission))
  const extra = permissions.filter(permission => !hostPermissions.some(each => each === permission))
  const above = bucketParents.flatMap(({ resource, policy }) =>
    (policy?.bindings ?? [])
      .filter(({ role, members }) => members.includes(host) && role !== 'roles/logging.logWriter')
      .map(({ role }) => `it has ${role} on ${resource}`),
  )
  const hidden = bucketParents.filter(({ policy }) => policy === null)
  return all(
    [
      ...(own.some(meant) ? [] : ['it cannot create anchors']),
      ...(granted == null ? [`${name}: not seen`] : lacks.map(each => `its role lacks ${each}`)),
      ...extra.map(each => `its role has ${each}`),
      ...own.filter(each => !meant(each)).map(({ role }) => `it has ${role} on the bucket`),
      ...above,
      ...hidden.map(({ resource }) => `${resource}: not seen`),
    ],
    'create and get under anchors/',
  )
}

const apart = ({ settings }: Seen): Verdict =>
  settings.project === settings.wormProject
    ? [false, `both in ${settings.project}: whoever owns it owns keys and anchors`]
    : [true, `${settings.project} and ${settings.wormProject}`]

function sinkShips(seen: Seen): Verdict {
  const { sink, settings, bucket } = seen
  if (sink === null) return [false, 'there is no sink']
  const { writerIdentity } = sink
  const writes = (bucket?.policy.bindings ?? []).some(
    ({ role, members }) => role === 'roles/storage.objectCreator' && members.includes(writerIdentity),
  )
  const broken = [
    ...(sink.disabled === true ? ['it is disabled'] : []),
    ...(sink.filter === logFilter ? [] : [`its filter is ${sink.filter}`]),
    ...(sink.destination === `storage.googleapis.com/${settings.bucket}`
      ? []
      : [`it goes to ${sink.destination}`]),
    ...(writes ? [] : [`${writerIdentity} may not create objects in the bucket`]),
  ]
  if (broken.length > 0) return [false, broken.join('; ')]
  return young(seen, seen.lastExport, 4 * 3_600_000, 'export')
}

export const storePromises: Promised[] = [
  { id: 'google.retention', promise: 'the retention is long enough and locked', judge: retained },
  { id: 'google.private', promise: 'the bucket is private', judge: isPrivate },
  {
    id: 'google.host-creates',
    promise: 'the database host creates anchors in the bucket and can do nothing else there',
    judge: hostOnlyCreates,
  },
  { id: 'google.apart', promise: 'keys and anchors are in projects of their own', judge: apart },
  {
    id: 'google.anchored',
    promise: "an anchor's own object arrived in the last two minutes",
    judge: seen => young(seen, seen.lastAnchor?.created ?? null, 120_000, 'anchor'),
  },
  {
    id: 'google.logged',
    promise: 'an AUDIT_CHAIN_HEAD entry came to Cloud Logging in the last five minutes',
    judge: seen => young(seen, seen.lastEntry, 300_000, 'entry'),
  },
  {
    id: 'google.exported',
    promise: 'the sink ships to the bucket, last in the last four hours',
    judge: sinkShips,
  },
]
