/** Steps that need the host's keyring and components: only where the host is set up too. */

import { ZtError } from '../../core/errors.ts'
import type { Step } from '../../core/plan.ts'
import { hostComponents } from '../../core/settings_host.ts'
import type { Connection } from '../mysql.ts'
import type { Target } from './target.ts'

const urn = (component: string): string => `file://${component}`

/** Password policy and connection control, so that their settings are known. */
export async function componentsStep({ connection }: Target): Promise<Step> {
  const rows = await connection.query('SELECT component_urn AS urn FROM mysql.component')
  const there = new Set(rows.map(row => String(row.urn)))
  const missing = hostComponents.filter(component => !there.has(urn(component)))
  return {
    id: 'components',
    description: 'load the components of password policy and connection control',
    changes: missing.map(name => ({ item: `component ${name}`, before: null, after: 'installed' })),
    apply: async () => {
      for (const name of missing) await connection.run(`INSTALL COMPONENT '${urn(name)}'`)
    },
  }
}

interface Clear {
  item: string
  statement: string
}

const quoted = (name: string): string => {
  if (!/^[a-z0-9_]+$/i.test(name)) throw new ZtError('INTERNAL', `tablespace ${name}: not a name of ours`)
  return `\`${name}\``
}

/** Tablespaces and schemas whose bytes a stolen disk would show. The temporary one is emptied at each start. */
async function inClear(connection: Connection): Promise<Clear[]> {
  const spaces = await connection.query(
    `SELECT NAME AS name, SPACE_TYPE AS type FROM information_schema.INNODB_TABLESPACES
     WHERE ENCRYPTION <> 'Y' AND (SPACE_TYPE = 'Single' OR NAME = 'mysql') ORDER BY NAME`,
  )
  const schemas = await connection.query(
    `SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA
     WHERE DEFAULT_ENCRYPTION <> 'YES' AND SCHEMA_NAME IN ('securedb', 'sys') ORDER BY SCHEMA_NAME`,
  )
  return [
    ...schemas.map(({ name }) => ({
      item: `schema ${name}`,
      statement: `ALTER SCHEMA ${quoted(String(name))} DEFAULT ENCRYPTION = 'Y'`,
    })),
    ...spaces.map(({ name, type }) => {
      if (type !== 'Single')
        return {
          item: `tablespace ${name}`,
          statement: `ALTER TABLESPACE ${quoted(String(name))} ENCRYPTION = 'Y'`,
        }
      const [schema = '', table = ''] = String(name).split('/')
      return {
        item: `table ${schema}.${table}`,
        statement: `ALTER TABLE ${quoted(schema)}.${quoted(table)} ENCRYPTION = 'Y'`,
      }
    }),
  ]
}

/** What was made before there was a keyring is written anew, encrypted; what is made later is so from its start. */
export async function atRestStep({ connection }: Target): Promise<Step> {
  return {
    id: 'at-rest',
    description: 'encrypt tables and tablespaces that were made in clear',
    changes: (await inClear(connection)).map(({ item }) => ({
      item,
      before: 'in clear',
      after: 'encrypted',
    })),
    apply: async () => {
      for (const { statement } of await inClear(connection)) await connection.run(statement)
    },
  }
}
