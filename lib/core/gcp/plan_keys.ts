/** The key ring, a key in an HSM for each tenant, and who may use it. */

import type { Change, Finding } from '../plan.ts'
import { hasBinding, type Observed, type ObservedKey } from './observed.ts'
import {
  clientAccountId,
  clientRole,
  emailOf,
  type GcpSettings,
  keyId,
  keyName,
  keyRingName,
} from './settings.ts'
import { add, daysOf, type GcpPlan, type GcpStep, seconds, serviceAccount } from './step.ts'

export const keyPlace = (settings: GcpSettings): string[] => [
  '--keyring',
  settings.keyRing,
  '--location',
  settings.region,
  '--project',
  settings.project,
]

export function ringStep(settings: GcpSettings, observed: Observed): GcpStep[] {
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

export function keySteps(settings: GcpSettings, observed: Observed, now: number): GcpPlan {
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

/** Each tenant's client may use that tenant's key, and no other. */
export function keyRights(settings: GcpSettings, observed: Observed): GcpStep[] {
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
