/** The schema as a step of an installation, and what its roles may do. */
import { definitions } from '../../../sql/index.ts'
import type { Finding, Step } from '../../core/plan.ts'
import { grantsFor } from '../../core/sqlgen/grants.ts'
import type { DesiredAccount } from '../accounts.ts'
import { applySchema, planSchema } from '../schema.ts'
import { anchorAccount } from './accounts.ts'
import type { Granted } from './grants.ts'
import type { Target } from './target.ts'

export { initFileText } from '../schema.ts'

/** @throws REFUSED where an applied migration was changed, NEWER_FORMAT where the schema is a later release's */
export async function schemaStep({
  connection,
  origin,
}: Target): Promise<{ step: Step; findings: Finding[] }> {
  const { changes, findings } = await planSchema(connection, { origin })
  const step = {
    id: 'schema',
    description: 'make tables, routines, views, triggers and events those of this release',
    changes,
    apply: async () => {
      await applySchema(connection, { origin })
    },
  }
  return { step, findings }
}

/** The rights of every account of the archive, and of the anchor. */
export const privilegesOfRoles = (accounts: DesiredAccount[]): Granted[] => [
  ...accounts.map(({ role, user, host, hosts }) => ({
    user,
    host,
    hosts,
    privileges: grantsFor(role, definitions),
  })),
  { ...anchorAccount, hosts: [anchorAccount.host], privileges: grantsFor('anchor', definitions) },
]
