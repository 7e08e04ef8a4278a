/** The end of a set-up, or of one tenant: what can be taken away, and what stays. */

import { ZtError } from '../errors.ts'
import type { Finding } from '../plan.ts'
import type { Observed } from './observed.ts'
import { accountsOf } from './plan.ts'
import { keyPlace } from './plan_keys.ts'
import { emailOf, type GcpSettings, keyId, keyName } from './settings.ts'
import type { GcpPlan, GcpStep } from './step.ts'

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
