/** What must change to make the schema this release's: found by comparing, never by believing a note of what was done. */
import {
  golden,
  handwritten,
  type Migration,
  definitions as ownDefinitions,
  migrations as ownMigrations,
} from '../../sql/index.ts'
import { schemaFingerprint } from '../core/audit/schema.ts'
import { toHex } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { privilegeDrift } from '../core/grants.ts'
import { checkOrigin } from '../core/origin.ts'
import type { Change, Finding } from '../core/plan.ts'
import { definerGrants } from '../core/sqlgen/grants.ts'
import { generateObjects, type SqlObject } from '../core/sqlgen/objects.ts'
import type { TableDefinition } from '../core/tables.ts'
import { version } from '../version.ts'
import type { Connection } from './mysql.ts'
import { readState, type SchemaState, sha256 } from './schema_state.ts'

export interface SchemaOptions {
  origin: string
  /** The protected tables (default: those of the release). */
  definitions?: readonly TableDefinition[]
  /** Hand-written migrations (default: those of the release). */
  migrations?: readonly Migration[]
  /** Errors of the generated procedures pass as they are: for development alone. */
  debug?: boolean
}

export interface NamedStatement {
  name: string
  sql: string
  /** Recorded without being run: the table was made in its newest form. */
  skip?: boolean
}

export interface SchemaPlan {
  options: SchemaOptions
  definitions: readonly TableDefinition[]
  state: SchemaState
  /** Migrations to run, then to record. */
  migrations: NamedStatement[]
  /** Objects to make or replace, in order. */
  objects: SqlObject[]
  /** Objects that are not this release's. */
  extra: { kind: string; name: string }[]
  definerAccount: boolean
  grants: { missing: string[]; extra: string[] }
  changes: Change[]
  /** Tables that are not as this release made them. No statement of ours puts that right: a person must. */
  findings: Finding[]
}

const replaceable = ['procedure', 'function', 'trigger', 'event', 'view']

export const releaseName = `schema/${version}`

const number = (name: string): number[] => name.slice('schema/'.length).split('.').map(Number)

function isNewer(a: string, b: string): boolean {
  const [x, y] = [number(a), number(b)]
  const at = x.findIndex((n, i) => n !== (y[i] ?? 0))
  return at >= 0 && (x[at] ?? 0) > (y[at] ?? 0)
}

/** Every migration of this release in order: hand-written ones, then one for each protected table's present form. */
function allMigrations(
  migrations: readonly Migration[],
  defs: readonly TableDefinition[],
  tables: SqlObject[],
  state: SchemaState,
): NamedStatement[] {
  const made = defs.map((def, i) => ({ name: def.scheme, sql: tables[i]?.sql ?? '' }))
  const raises = /_raise_([a-z_]+)_([0-9]+)$/
  const standing = new Set(state.objects.filter(o => o.kind === 'table').map(o => o.name))
  const written = migrations.map(m => {
    const table = raises.exec(m.name)?.[1]
    return table !== undefined && !standing.has(table) ? { ...m, skip: true } : m
  })
  const first = written.filter(m => !raises.test(m.name))
  const later = written.filter(m => raises.test(m.name))
  // A table that stands in an older form is raised by its migration, not made anew: CREATE … IF NOT EXISTS passes it by.
  return [...first, ...made, ...later]
}

function refuse(all: NamedStatement[], state: SchemaState): void {
  const known = new Map(all.map(m => [m.name, sha256(m.sql)]))
  for (const [name, applied] of state.migrations) {
    if (name.startsWith('schema/')) {
      if (isNewer(name, releaseName))
        throw new ZtError(
          'NEWER_FORMAT',
          `schema: the database was made by ${name}, this is ${releaseName}`,
          {
            hint: 'use the newer release',
          },
        )
      continue
    }
    const own = known.get(name)
    const older = all.some(m => /^[a-z_]+\/[0-9]+$/.test(name) && m.name.startsWith(`${name.split('/')[0]}/`))
    if (own === undefined && !older)
      throw new ZtError(
        'NEWER_FORMAT',
        `schema: the database has the migration ${name}, which this release does not know`,
        {
          hint: 'use the newer release',
        },
      )
    if (own !== undefined && !own.equals(Buffer.from(applied)))
      throw new ZtError(
        'REFUSED',
        `schema: migration ${name} was applied in another form than this release has it`,
        {
          hint: 'an applied migration is never changed: write a new one',
        },
      )
  }
}

const goldenOf = new Map(golden.objects.map(o => [`${o.kind} ${o.name}`, o]))

/** True where the object stands as this release made it, seen on a server. Without such a record: replace it. */
function stands(object: SqlObject, live: Map<string, string>): boolean {
  const key = `${object.kind} ${object.name}`
  const known = goldenOf.get(key)
  const definition = live.get(key)
  return (
    known !== undefined &&
    definition !== undefined &&
    known.source === toHex(sha256(object.sql)) &&
    known.live === toHex(sha256(definition))
  )
}

/**
 * Reads and compares; changes nothing.
 * @throws REFUSED on an applied migration that was changed or another log's database, NEWER_FORMAT on a newer schema
 */
export async function planSchema(connection: Connection, options: SchemaOptions): Promise<SchemaPlan> {
  return compareSchema(await readState(connection), options)
}

/** What a server that is still to be installed will get. */
export const predictSchema = (options: SchemaOptions): SchemaPlan =>
  compareSchema(
    { started: false, origin: null, mysql: '', migrations: new Map(), objects: [], definer: null },
    options,
  )

function compareSchema(state: SchemaState, options: SchemaOptions): SchemaPlan {
  const origin = checkOrigin(options.origin)
  const definitions = options.definitions ?? ownDefinitions
  if (state.origin !== null && state.origin !== origin)
    throw new ZtError('REFUSED', `schema: this database belongs to the log ${state.origin}, not ${origin}`)
  const byTable = new Map(definitions.map(d => [d.table, d]))
  const generated = definitions.map(d => generateObjects(d, byTable, options.debug))
  const tables = generated.flatMap(list => list.filter(o => o.kind === 'table'))
  const wanted = [...handwritten, ...generated.flatMap(list => list.filter(o => o.kind !== 'table'))]
  const all = allMigrations(options.migrations ?? ownMigrations, definitions, tables, state)
  refuse(all, state)
  const live = new Map(state.objects.map(o => [`${o.kind} ${o.name}`, o.definition]))
  const names = new Set(wanted.map(o => `${o.kind} ${o.name}`))
  const plan: SchemaPlan = {
    options: { ...options, origin },
    definitions,
    state,
    migrations: all.filter(m => !state.migrations.has(m.name)),
    objects: wanted.filter(o => !stands(o, live)),
    extra: state.objects
      .filter(o => replaceable.includes(o.kind) && !names.has(`${o.kind} ${o.name}`))
      .map(({ kind, name }) => ({ kind, name })),
    definerAccount: state.definer === null || !definerStands(live),
    grants: privilegeDrift(definerGrants(definitions), state.definer ?? []),
    changes: [],
    findings: [],
  }
  if (plan.migrations.length === 0) plan.findings = drift(state, new Set(migrated(options, definitions)))
  plan.changes = describe(plan, live)
  return plan
}

/** Tables that the migrations make. */
function migrated(options: SchemaOptions, definitions: readonly TableDefinition[]): string[] {
  const written = (options.migrations ?? ownMigrations).flatMap(
    m => /CREATE TABLE IF NOT EXISTS `([a-z0-9_]+)`/.exec(m.sql)?.[1] ?? [],
  )
  return [...written, ...definitions.map(d => d.table)]
}

function drift(state: SchemaState, own: Set<string>): Finding[] {
  return state.objects
    .filter(o => o.kind === 'table')
    .flatMap(({ name, definition }) => {
      const known = goldenOf.get(`table ${name}`)
      const item = `table ${name}`
      if (!own.has(name)) return [{ item, detail: 'is not of this release: move it to another database' }]
      if (
        known === undefined ||
        !state.mysql.startsWith(golden.mysql) ||
        known.live === toHex(sha256(definition))
      )
        return []
      return [{ item, detail: 'has other columns, indexes or constraints than this release gave it' }]
    })
}

const definerStands = (live: Map<string, string>): boolean =>
  live.get("account 'api_definer'@'localhost'")?.startsWith('mysql_no_login none locked=Y require= ') ?? false

function describe(plan: SchemaPlan, live: Map<string, string>): Change[] {
  const { state } = plan
  const fingerprint = state.started ? toHex(schemaFingerprint(state.objects)) : null
  const recorded = state.migrations.get(releaseName)
  const changes: Change[] = [
    ...(plan.definerAccount
      ? [{ item: 'account api_definer', before: state.definer ? 'another' : null, after: 'no log-in' }]
      : []),
    ...plan.migrations.map(m => ({ item: `migration ${m.name}`, before: null, after: 'applied' })),
    ...plan.objects.map(o => ({
      item: `${o.kind} ${o.name}`,
      before: live.has(`${o.kind} ${o.name}`) ? 'another' : null,
      after: `of ${version}`,
    })),
    ...plan.extra.map(o => ({ item: `${o.kind} ${o.name}`, before: 'not of this release', after: null })),
    ...plan.grants.missing.map(after => ({ item: 'grant to api_definer', before: null, after })),
    ...plan.grants.extra.map(before => ({ item: 'grant to api_definer', before, after: null })),
  ]
  if (
    changes.length === 0 &&
    plan.findings.length === 0 &&
    fingerprint !== (recorded ? toHex(recorded) : null)
  )
    changes.push({ item: 'event schema', before: recorded ? toHex(recorded) : null, after: fingerprint })
  return changes
}
