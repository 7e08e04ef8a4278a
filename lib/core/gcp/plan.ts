/**
 * What is to be done on Google Cloud: from settings and what is there, the steps, each with the exact commands of gcloud.
 * Nothing is found out by failing: what exists was looked at.
 */

import { hasBinding, type Observed } from './observed.ts'
import { bucketRights, bucketSteps, sinkStep } from './plan_bucket.ts'
import { keyRights, keySteps, ringStep } from './plan_keys.ts'
import {
  auditorAccountId,
  clientAccountId,
  emailOf,
  type GcpSettings,
  hostAccountId,
  hostPermissions,
  hostRole,
  hostRoleName,
  logRole,
  services,
} from './settings.ts'
import { add, type GcpPlan, type GcpStep, serviceAccount } from './step.ts'

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

interface Account {
  id: string
  project: string
  description: string
}

export const accountsOf = (settings: GcpSettings): Account[] => [
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
