/**
 * What a set-up on Google Cloud promises, each judged from what Google's interfaces answered: at every level that a key
 * or bucket inherits from. A thing that could not be asked is no promise kept.
 */
import type { ObservedBucket, ObservedKey, ObservedSink, Policy } from './observed.ts'
import {
  clientAccountId,
  emailOf,
  type GcpSettings,
  hostAccountId,
  hostRoleName,
  keyName,
  logFilter,
  prefixCondition,
} from './settings.ts'

/** Policy of a resource that others inherit from: ring, project, folder, organisation. null: not ours to see. */
export interface Inherited {
  resource: string
  policy: Policy | null
}

/** What `verify` saw. Times are milliseconds since 1970. */
export interface Seen {
  at: number
  settings: GcpSettings
  keys: ObservedKey[]
  /** Of the keys: ring, project and what is above it. */
  keyParents: Inherited[]
  bucket: ObservedBucket | null
  bucketParents: Inherited[]
  sink: ObservedSink | null
  /** Name of a key → what its primary version's attestation says; null where no roots were given. */
  attestations: Record<string, 'verified' | 'missing' | 'bad' | null>
  /** Newest AUDIT_CHAIN_HEAD entry in Cloud Logging. */
  lastEntry: number | null
  /** Newest object of an anchor, by the store's clock. */
  lastAnchor: number | null
  /** Newest object that the sink exported. */
  lastExport: number | null
}

export interface Kept {
  id: string
  promise: string
  holds: boolean
  /** What was seen, or what breaks it. */
  detail: string
}

/** Roles whose holder opens what a key wrapped. */
const uses = /^roles\/cloudkms\.cryptoKey(?:Encrypter|Decrypter|EncrypterDecrypter)(?:ViaDelegation)?$/
/** Roles whose holder can give himself such a role, or destroy versions. */
const rules =
  /^roles\/(?:owner|cloudkms\.admin|iam\.securityAdmin|resourcemanager\.(?:projectIamAdmin|folderAdmin|organizationAdmin))$/
const anybody = ['allUsers', 'allAuthenticatedUsers']

const holders = (policy: Policy | null, role: RegExp): [member: string, role: string][] =>
  (policy?.bindings ?? []).flatMap(each =>
    role.test(each.role) ? each.members.map((member): [string, string] => [member, each.role]) : [],
  )

const minutes = (ms: number): string => `${Math.round(ms / 60_000)} min`

type Verdict = [holds: boolean, detail: string]

const all = (broken: string[], whole: string): Verdict => [broken.length === 0, broken.join('; ') || whole]

const keysOf = ({ settings, keys }: Seen): [tenant: string, key: ObservedKey | undefined][] =>
  settings.tenants.map(tenant => [tenant, keys.find(({ name }) => name === keyName(settings, tenant))])

/** Where there is no key, nothing holds for each. */
const ofKeys =
  (judge: (seen: Seen) => Verdict) =>
  (seen: Seen): Verdict =>
    seen.settings.tenants.length === 0 ? [false, 'there is no key of any tenant'] : judge(seen)

function inHsm(seen: Seen): Verdict {
  const pairs = keysOf(seen)
  return all(
    pairs.flatMap(([tenant, key]) => {
      if (key === undefined) return [`${tenant}: no key`]
      const levels = [key.versionTemplate.protectionLevel, key.primary?.protectionLevel]
      if (levels.some(level => level !== 'HSM')) return [`${tenant}: ${levels.join(', ')}`]
      return key.primary?.state === 'ENABLED'
        ? []
        : [`${tenant}: its primary version is ${key.primary?.state}`]
    }),
    `${pairs.length} keys`,
  )
}

function attested(seen: Seen): Verdict {
  const broken = keysOf(seen).flatMap(([tenant, key]) => {
    const said = key === undefined ? 'missing' : (seen.attestations[key.name] ?? null)
    return said === 'verified' ? [] : [`${tenant}: ${said ?? 'no roots were given (--hsm-roots)'}`]
  })
  return all(broken, 'both chains end in the roots given')
}

function rotates(seen: Seen): Verdict {
  return all(
    keysOf(seen).flatMap(([tenant, key]) => {
      const days = Number((key?.rotationPeriod ?? '0s').replace(/s$/, '')) / 86_400
      if (days === 0) return [`${tenant}: never`]
      if (days > seen.settings.rotationDays) return [`${tenant}: every ${days} days`]
      return Date.parse(key?.nextRotationTime ?? '') > seen.at
        ? []
        : [`${tenant}: the next rotation is overdue`]
    }),
    `every ${seen.settings.rotationDays} days or sooner`,
  )
}

/** Nobody but the tenant's client uses its key; other tenants' clients are named like anybody else. */
function tenantAlone(seen: Seen): Verdict {
  const hidden = seen.keyParents
    .filter(({ policy }) => policy === null)
    .map(({ resource }) => `${resource}: not seen`)
  const above = seen.keyParents.flatMap(({ resource, policy }) =>
    holders(policy, uses).map(([member, role]) => `${member} has ${role} on ${resource}`),
  )
  const on = keysOf(seen).flatMap(([tenant, key]) => {
    const own = `serviceAccount:${emailOf(clientAccountId(tenant), seen.settings.project)}`
    return holders(key?.policy ?? null, uses)
      .filter(([member]) => member !== own)
      .map(([member, role]) => `${member} has ${role} on the key of ${tenant}`)
  })
  return all([...hidden, ...above, ...on], 'each key is used by its own client alone')
}

function hostHasNoKey(seen: Seen): Verdict {
  const host = `serviceAccount:${emailOf(hostAccountId, seen.settings.project)}`
  const policies = [...seen.keyParents, ...seen.keys.map(({ name, policy }) => ({ resource: name, policy }))]
  return all(
    policies.flatMap(({ resource, policy }) =>
      (policy?.bindings ?? [])
        .filter(({ role, members }) => members.includes(host) && (/cloudkms/.test(role) || rules.test(role)))
        .map(({ role }) => `it has ${role} on ${resource}`),
    ),
    'the database host has no right on any key',
  )
}

/** Who can give himself a right: named, for somebody always can. */
function fewAdministrators(seen: Seen): Verdict {
  const found = seen.keyParents.flatMap(({ resource, policy }) =>
    holders(policy, rules).map(([member, role]) => `${member} (${role} on ${resource})`),
  )
  const machines = found.filter(
    each => each.startsWith('serviceAccount:') || anybody.some(any => each.startsWith(any)),
  )
  return machines.length > 0
    ? [false, machines.join('; ')]
    : [true, found.join('; ') || 'nobody that this account can see']
}

function retained(seen: Seen): Verdict {
  const policy = seen.bucket?.retentionPolicy
  const days = Number(policy?.retentionPeriod ?? 0) / 86_400
  if (days < seen.settings.retentionDays)
    return [false, `${days} days, ${seen.settings.retentionDays} were asked for`]
  return policy?.isLocked === true
    ? [true, `${days} days, locked`]
    : [false, `${days} days, not locked: it can be shortened`]
}

function isPrivate(seen: Seen): Verdict {
  const { bucket } = seen
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
function hostOnlyCreates(seen: Seen): Verdict {
  const { settings, bucket, bucketParents } = seen
  const host = `serviceAccount:${emailOf(hostAccountId, settings.project)}`
  const own = (bucket?.policy.bindings ?? []).filter(({ members }) => members.includes(host))
  const right = own.some(
    ({ role, condition }) =>
      role === hostRoleName(settings) && condition?.expression === prefixCondition(settings),
  )
  const more = own
    .filter(
      ({ role, condition }) =>
        role !== hostRoleName(settings) || condition?.expression !== prefixCondition(settings),
    )
    .map(({ role }) => `it has ${role} on the bucket`)
  const above = bucketParents.flatMap(({ resource, policy }) =>
    (policy?.bindings ?? [])
      .filter(({ role, members }) => members.includes(host) && !/^roles\/logging\./.test(role))
      .map(({ role }) => `it has ${role} on ${resource}`),
  )
  return all(
    [...(right ? [] : ['it cannot create anchors']), ...more, ...above],
    'create and get under anchors/',
  )
}

const apart = ({ settings }: Seen): Verdict =>
  settings.project === settings.wormProject
    ? [false, `both in ${settings.project}: whoever owns it owns keys and anchors`]
    : [true, `${settings.project} and ${settings.wormProject}`]

const young = (seen: Seen, time: number | null, limitMs: number, what: string): Verdict => {
  if (time === null) return [false, `there is no ${what}`]
  const age = seen.at - time
  return [age <= limitMs, `the newest is ${minutes(age)} old`]
}

function sinkShips(seen: Seen): Verdict {
  const { sink, settings } = seen
  if (sink === null) return [false, 'there is no sink']
  const broken = [
    ...(sink.disabled === true ? ['it is disabled'] : []),
    ...(sink.filter === logFilter ? [] : [`its filter is ${sink.filter}`]),
    ...(sink.destination === `storage.googleapis.com/${settings.bucket}`
      ? []
      : [`it goes to ${sink.destination}`]),
  ]
  if (broken.length > 0) return [false, broken.join('; ')]
  return young(seen, seen.lastExport, 4 * 3_600_000, 'export')
}

const promises: [id: string, promise: string, judge: (seen: Seen) => Verdict][] = [
  ['kms.hsm', "each tenant's key lives in an HSM and is enabled", ofKeys(inHsm)],
  ['kms.attested', "the HSM's attestation verifies to both roots", ofKeys(attested)],
  ['kms.rotation', 'each key rotates', ofKeys(rotates)],
  ['kms.tenant-alone', "nobody but a tenant's client uses its key, at any level", ofKeys(tenantAlone)],
  ['kms.host-none', 'the database host has no right on a key', hostHasNoKey],
  ['kms.administrators', 'no machine can give itself a right on a key', fewAdministrators],
  ['worm.retention', 'the retention is long enough and locked', retained],
  ['worm.private', 'the bucket is private', isPrivate],
  ['worm.host-creates', 'the host creates anchors and can do nothing else', hostOnlyCreates],
  ['worm.apart', 'keys and anchors are in projects of their own', apart],
  [
    'worm.fresh',
    'an anchor arrived in the last two minutes',
    seen => young(seen, seen.lastAnchor, 120_000, 'anchor'),
  ],
  [
    'log.fresh',
    'an AUDIT_CHAIN_HEAD entry came in the last five minutes',
    seen => young(seen, seen.lastEntry, 300_000, 'entry'),
  ],
  ['log.sink', 'the sink ships to the bucket, last in the last four hours', sinkShips],
]

export const judgePromises = (seen: Seen): Kept[] =>
  promises.map(([id, promise, judge]) => {
    const [holds, detail] = judge(seen)
    return { id, promise, holds, detail }
  })
