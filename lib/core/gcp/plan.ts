/**
 * What is to be done on Google Cloud: from settings and what is there, the steps, each with the exact commands of gcloud.
 * Nothing is found out by failing: what exists was looked at.
 */
import { ZtError } from '../errors.ts'
import type { Change, Finding } from '../plan.ts'
import { hasBinding, type Observed, type ObservedKey, type Policy } from './observed.ts'
import {
  auditorAccountId,
  auditorRole,
  clientAccountId,
  clientRole,
  emailOf,
  type GcpSettings,
  hostAccountId,
  hostPermissions,
  hostRole,
  hostRoleName,
  keyId,
  keyName,
  keyRingName,
  logFilter,
  logRole,
  prefixCondition,
  services,
  sinkRole,
} from './settings.ts'

export interface GcpStep {
  id: string
  description: string
  changes: Change[]
  /** Arguments of gcloud, a command each. */
  commands: string[][]
  /** gcloud asks about these, and takes a no where nobody answers: this program asked before. */
  asks?: true
}

export interface GcpPlan {
  steps: GcpStep[]
  findings: Finding[]
}

const seconds = (days: number): number => days * 86_400
const daysOf = (duration: string | undefined): number => Number((duration ?? '0s').replace(/s$/, '')) / 86_400
const serviceAccount = (email: string): string => `serviceAccount:${email}`

const add = (item: string, after: string): Change => ({ item, before: null, after })

function serviceSteps(settings: GcpSettings, { services: on }: Observed): GcpStep[] {
  const sides = [
    { id: settings.project, wanted: [...services.project], on: on.project },
    { id: settings.wormProject, wanted: [...services.worm], on: on.worm },
  ]
  return sides.flatMap(({ id, wanted, on }) => {
    const missing = wanted.filter(name => !on.includes(name))
    if (missing.length === 0) return []
    return [
      {
        id: `services-${id}`,
        description: `switch on what project ${id} needs`,
        changes: missing.map(name => add(`service ${name} of ${id}`, 'on')),
        commands: [['services', 'enable', ...missing, '--project', id]],
      },
    ]
  })
}

const keyPlace = (settings: GcpSettings): string[] => [
  '--keyring',
  settings.keyRing,
  '--location',
  settings.region,
  '--project',
  settings.project,
]

function ringStep(settings: GcpSettings, observed: Observed): GcpStep[] {
  if (observed.keyRing) return []
  const { keyRing, region, project } = settings
  return [
    {
      id: 'keyring',
      description: 'make the key ring (a key ring can never be deleted)',
      changes: [add(keyRingName(settings), 'a key ring')],
      commands: [['kms', 'keyrings', 'create', keyRing, '--location', region, '--project', project]],
    },
  ]
}

/** The first rotation is a period from now. */
const rotation = ({ rotationDays }: GcpSettings, now: number): string[] => [
  '--rotation-period',
  `${rotationDays}d`,
  '--next-rotation-time',
  new Date(now + seconds(rotationDays) * 1000).toISOString().replace(/\.\d+Z$/, 'Z'),
]

function makeKey(settings: GcpSettings, tenant: string, now: number): GcpStep {
  const { rotationDays, destroyDays } = settings
  return {
    id: `key-${tenant}`,
    description: `make the key of tenant ${tenant} in an HSM (a key can never be deleted, only its versions)`,
    changes: [
      add(
        keyName(settings, tenant),
        `AES-256, HSM, rotated every ${rotationDays} days, destroyed after ${destroyDays}`,
      ),
    ],
    commands: [
      [
        ...['kms', 'keys', 'create', keyId(settings, tenant), ...keyPlace(settings)],
        ...['--purpose', 'encryption', '--protection-level', 'hsm'],
        ...rotation(settings, now),
        ...['--destroy-scheduled-duration', `${destroyDays}d`, '--labels', `ztmysql-tenant=${tenant}`],
      ],
    ],
  }
}

function mendKey(settings: GcpSettings, tenant: string, key: ObservedKey, now: number): GcpStep[] {
  const changes: Change[] = []
  const flags: string[] = []
  const rotated = daysOf(key.rotationPeriod)
  // a shorter period is somebody's stricter choice
  if (rotated === 0 || rotated > settings.rotationDays || key.nextRotationTime === undefined) {
    changes.push({
      item: `rotation of ${key.name}`,
      before: rotated === 0 ? 'never' : `every ${rotated} days`,
      after: `every ${settings.rotationDays} days`,
    })
    flags.push(...rotation(settings, now))
  }
  const label = key.labels['ztmysql-tenant']
  if (label !== tenant) {
    changes.push({ item: `label of ${key.name}`, before: label ?? null, after: `ztmysql-tenant=${tenant}` })
    flags.push('--update-labels', `ztmysql-tenant=${tenant}`)
  }
  if (changes.length === 0) return []
  const commands = [['kms', 'keys', 'update', keyId(settings, tenant), ...keyPlace(settings), ...flags]]
  return [{ id: `key-${tenant}`, description: `set the key of tenant ${tenant}`, changes, commands }]
}

/** What a key has for good, and what others may do with it. */
function keyFindings(settings: GcpSettings, tenant: string, key: ObservedKey): Finding[] {
  const item = key.name
  const found: Finding[] = []
  const level = key.versionTemplate.protectionLevel
  if (level !== 'HSM' || key.purpose !== 'ENCRYPT_DECRYPT')
    found.push({
      item,
      detail: `is ${level} for ${key.purpose}, and that cannot be changed: choose another --key-prefix`,
    })
  if (daysOf(key.destroyScheduledDuration) < settings.destroyDays)
    found.push({
      item,
      detail: `destroys versions after ${daysOf(key.destroyScheduledDuration)} days, for good`,
    })
  const own = serviceAccount(emailOf(clientAccountId(tenant), settings.project))
  for (const { role, members } of key.policy.bindings)
    for (const member of members)
      if (member !== own)
        found.push({ item, detail: `${member} has ${role}: take it away unless you know why` })
  return found
}

function keySteps(settings: GcpSettings, observed: Observed, now: number): GcpPlan {
  const plan: GcpPlan = { steps: [], findings: [] }
  for (const tenant of settings.tenants) {
    const key = observed.keys.find(({ name }) => name === keyName(settings, tenant))
    if (key === undefined) plan.steps.push(makeKey(settings, tenant, now))
    else {
      plan.steps.push(...mendKey(settings, tenant, key, now))
      plan.findings.push(...keyFindings(settings, tenant, key))
    }
  }
  return plan
}

interface Account {
  id: string
  project: string
  description: string
}

const accountsOf = (settings: GcpSettings): Account[] => [
  ...settings.tenants.map(tenant => ({
    id: clientAccountId(tenant),
    project: settings.project,
    description: `client of tenant ${tenant}`,
  })),
  { id: hostAccountId, project: settings.project, description: 'database host' },
  { id: auditorAccountId, project: settings.wormProject, description: 'auditor' },
]

function accountSteps(settings: GcpSettings, observed: Observed): GcpStep[] {
  const there = new Set([...observed.accounts, ...observed.wormAccounts])
  return accountsOf(settings).flatMap(({ id, project, description }) => {
    const email = emailOf(id, project)
    if (there.has(email)) return []
    const name = `Zero-Trust MySQL: ${description}`
    return [
      {
        id: `account-${id}`,
        description: `make the service account of the ${description}`,
        changes: [add(`service account ${email}`, name)],
        commands: [['iam', 'service-accounts', 'create', id, '--display-name', name, '--project', project]],
      },
    ]
  })
}

/** Each tenant's client may use that tenant's key, and no other. */
function keyRights(settings: GcpSettings, observed: Observed): GcpStep[] {
  return settings.tenants.flatMap(tenant => {
    const member = serviceAccount(emailOf(clientAccountId(tenant), settings.project))
    const name = keyName(settings, tenant)
    const policy = observed.keys.find(key => key.name === name)?.policy ?? { bindings: [] }
    if (hasBinding(policy, clientRole, member)) return []
    return [
      {
        id: `right-${tenant}`,
        description: `let the client of tenant ${tenant} use that tenant's key alone`,
        changes: [add(`${member} on ${name}`, clientRole)],
        commands: [
          [
            ...['kms', 'keys', 'add-iam-policy-binding', keyId(settings, tenant), ...keyPlace(settings)],
            ...['--member', member, '--role', clientRole, '--condition', 'None'],
          ],
        ],
      },
    ]
  })
}

function roleStep(settings: GcpSettings, { role }: Observed): GcpStep[] {
  const wanted = hostPermissions.join()
  const there = role?.includedPermissions.toSorted().join() ?? null
  if (there === hostPermissions.toSorted().join()) return []
  const verb = role === null ? 'create' : 'update'
  const title = role === null ? ['--title', hostRole.title] : []
  return [
    {
      id: 'role',
      description: 'make the role of the host: create objects and get them; no list, no delete, no overwrite',
      changes: [{ item: hostRoleName(settings), before: there, after: wanted }],
      commands: [
        [
          'iam',
          'roles',
          verb,
          hostRole.id,
          '--project',
          settings.wormProject,
          ...title,
          '--permissions',
          wanted,
        ],
      ],
    },
  ]
}

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
function bucketSteps(settings: GcpSettings, { bucket }: Observed): GcpPlan {
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

function bucketRights(settings: GcpSettings, observed: Observed): GcpStep[] {
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

function sinkStep(settings: GcpSettings, { sink }: Observed): GcpStep[] {
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

function logRight(settings: GcpSettings, { policy }: Observed): GcpStep[] {
  const member = serviceAccount(emailOf(hostAccountId, settings.project))
  if (hasBinding(policy, logRole, member)) return []
  return [
    {
      id: 'log-right',
      description: 'let the host write log entries',
      changes: [add(`${member} on project ${settings.project}`, logRole)],
      commands: [
        [
          ...['projects', 'add-iam-policy-binding', settings.project],
          ...['--member', member, '--role', logRole, '--condition', 'None'],
        ],
      ],
    },
  ]
}

/** Everything between what is there and what shall be. `now`: milliseconds since 1970. @throws REFUSED */
export function planGcp(settings: GcpSettings, observed: Observed, now: number): GcpPlan {
  const keys = keySteps(settings, observed, now)
  const bucket = bucketSteps(settings, observed)
  const findings = [...keys.findings, ...bucket.findings]
  if (settings.project === settings.wormProject)
    findings.push({
      item: `project ${settings.project}`,
      detail:
        'holds the keys and the anchors: whoever owns it owns both (give the bucket a project of its own with --worm-project)',
    })
  return {
    steps: [
      ...serviceSteps(settings, observed),
      ...ringStep(settings, observed),
      ...keys.steps,
      ...accountSteps(settings, observed),
      ...keyRights(settings, observed),
      ...roleStep(settings, observed),
      ...bucket.steps,
      ...sinkStep(settings, observed),
      ...bucketRights(settings, observed),
      ...logRight(settings, observed),
    ],
    findings,
  }
}

/** What can be taken away again, and what cannot, in words. */
export function planTeardown(settings: GcpSettings, observed: Observed): GcpPlan {
  const remove = (id: string, item: string, command: string[]): GcpStep => ({
    id,
    description: `take away ${item}`,
    changes: [{ item, before: 'there', after: null }],
    commands: [command],
  })
  const there = new Set([...observed.accounts, ...observed.wormAccounts])
  const accounts = accountsOf(settings).filter(({ id, project }) => there.has(emailOf(id, project)))
  const steps = [
    ...(observed.sink === null
      ? []
      : [
          remove('sink', `log sink ${settings.sink}`, [
            'logging',
            'sinks',
            'delete',
            settings.sink,
            '--project',
            settings.project,
          ]),
        ]),
    ...accounts.map(({ id, project }) =>
      remove(`account-${id}`, `service account ${emailOf(id, project)}`, [
        ...['iam', 'service-accounts', 'delete', emailOf(id, project), '--project', project],
      ]),
    ),
  ]
  const findings: Finding[] = [
    ...observed.keys.map(({ name }) => ({
      item: name,
      detail:
        'stays: a key cannot be deleted, and without it what it wrapped is lost; destroy its versions by hand if that is what you want',
    })),
    ...(observed.bucket === null
      ? []
      : [
          {
            item: `gs://${settings.bucket}`,
            detail:
              'stays with its anchors until their retention ends; a locked one cannot be deleted before',
          },
        ]),
  ]
  return { steps, findings }
}

/** Taking a tenant's client its right, and leaving the key, without which the tenant's data is lost. */
export function planRetire(settings: GcpSettings, observed: Observed, tenant: string): GcpPlan {
  const name = keyName(settings, tenant)
  const key = observed.keys.find(each => each.name === name)
  if (key === undefined) throw new ZtError('NOT_FOUND', `tenant ${tenant}: there is no key ${name}`)
  const commands = key.policy.bindings.flatMap(({ role, members }) =>
    members.map(member => [
      ...['kms', 'keys', 'remove-iam-policy-binding', keyId(settings, tenant), ...keyPlace(settings)],
      ...['--member', member, '--role', role, '--all'],
    ]),
  )
  const changes = key.policy.bindings.flatMap(({ role, members }) =>
    members.map(member => ({ item: `${member} on ${name}`, before: role, after: null })),
  )
  return {
    steps:
      commands.length === 0
        ? []
        : [
            {
              id: `retire-${tenant}`,
              description: `let nobody use the key of tenant ${tenant}`,
              changes,
              commands,
            },
          ],
    findings: [
      { item: name, detail: 'stays: without it the data of the tenant cannot be opened by anybody, ever' },
    ],
  }
}
