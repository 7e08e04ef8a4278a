/** The standard procedures, one row a call. Each owns its transaction, so a returned receipt is durable. */
import { type Column, columnsOf, type TableDefinition } from '../tables.ts'
import { digestExpression, endState, keyed, liveState, valueCheck } from './columns.ts'
import { keyText } from './event.ts'
import {
  contextSelect,
  contextVariables,
  gateCases,
  gateVariables,
  keyCase,
  keyLookup,
  parentCase,
  parentLookup,
  readClock,
} from './gate.ts'
import { type Action, parameterColumns, parametersOf } from './parameters.ts'
import { begin, definer, ident, indent, literal, type SqlObject } from './text.ts'

/** Definitions by table, to find parents in. */
export type Definitions = ReadonlyMap<string, TableDefinition>

const parameter = (name: string): string => `p_${name}`

export function parentsOf(
  def: TableDefinition,
  all: Definitions,
): { column: string; parent: TableDefinition }[] {
  return def.parents.map(p => {
    const parent = all.get(p.table)
    if (!parent) throw new Error(`${def.table}: parent table ${p.table} is not defined`)
    return { column: p.column, parent }
  })
}

/** The value of each column after the action, as SQL: a parameter, a constant, NULL, or the stored one. */
function valueAfter(def: TableDefinition, action: Action): (column: Column) => string {
  const given = new Set(parameterColumns(def, action).map(c => c.name))
  const ends = action === 'erase' || action === 'retire'
  return column => {
    if (column.name === 'tenant_id') return 'v_tenant'
    if (column.name === 'state') return literal(ends ? endState(def) : liveState(def))
    if (given.has(column.name)) return parameter(column.name)
    if (column.name === 'wrap_version') return '1'
    return action === 'retire' ? `r.${ident(column.name)}` : 'NULL'
  }
}

function checks(def: TableDefinition, action: Action): string {
  const columns = parameterColumns(def, action).filter(c => c.name !== 'version' && c.name !== 'wrap_version')
  const all = columns.map(c => valueCheck(def, c, parameter(c.name)))
  all.push(action === 'create' ? 'p_version <=> 1' : 'IFNULL(p_version > 1, FALSE)')
  if (action === 'create' || action === 'update') all.push('p_wrap_version <=> 1')
  all.push('IFNULL(LENGTH(p_evt_id) = 16 AND LENGTH(p_evt_sig) = 64 AND LENGTH(p_evt_key) = 32, FALSE)')
  return all.join('\n    AND ')
}

const where = (def: TableDefinition): string =>
  `tenant_id = v_tenant${keyed(def) ? ` AND ${ident(def.key.name)} = ${parameter(def.key.name)}` : ''}`

function writeStatement(def: TableDefinition, action: Action): string {
  const value = valueAfter(def, action)
  const columns = columnsOf(def)
  if (action === 'create') {
    const names = [...columns.map(c => c.name), 'evt_id', 'evt_sig', 'evt_key']
    const values = [...columns.map(value), 'p_evt_id', 'p_evt_sig', 'p_evt_key']
    return `INSERT INTO ${ident(def.table)} (${names.map(ident).join(', ')})\nVALUES (${values.join(', ')});`
  }
  const fixed = immutables(def)
  const changes = columns.filter(
    c =>
      c.name !== 'tenant_id' &&
      c.name !== def.key.name &&
      !(action === 'update' && fixed.includes(c.name)) &&
      !(action === 'retire' && !['version', 'wrap_version', 'state', 'salt'].includes(c.name)),
  )
  // Under the last write's id the trigger would take this one for unsigned, and the receipt would be the last one's.
  const conditions = [where(def), 'version = p_version - 1', 'NOT (evt_id <=> p_evt_id)']
  if (def.writer === 'client' || action !== 'update') conditions.push(`state = ${literal(liveState(def))}`)
  if (action === 'update') conditions.push(...fixed.map(name => `${ident(name)} <=> ${parameter(name)}`))
  return `UPDATE ${ident(def.table)}
SET ${changes.map(c => `${ident(c.name)} = ${value(c)}`).join(', ')},
  evt_id = p_evt_id, evt_sig = p_evt_sig, evt_key = p_evt_key
WHERE ${conditions.join(' AND ')};
IF ROW_COUNT() <> 1 THEN
  SET v_fail = '45W02';
  LEAVE work;
END IF;`
}

const immutables = (def: TableDefinition): string[] =>
  def.columns.flatMap(c => (c.kind === 'clear' && c.immutable ? [c.name] : []))

/** After a roll-back: an UPDATE that met no row tells why. */
function explain(def: TableDefinition, action: Action): string {
  const notLive =
    def.writer === 'client' || action !== 'update' ? `r.state <> ${literal(liveState(def))}` : 'FALSE'
  const fixed = action === 'update' ? immutables(def).map(n => `r.${ident(n)} <=> ${parameter(n)}`) : []
  const moved = fixed.length
    ? `\n      WHEN r.version = p_version - 1 AND NOT (${fixed.join(' AND ')}) THEN '45W01'`
    : ''
  return `  IF v_fail = '45W02' THEN
    SET v_fail = IFNULL((SELECT CASE WHEN ${notLive} THEN '45W06'${moved} ELSE '45W02' END
      FROM ${ident(def.table)} r WHERE ${where(def)}), '45W06');
  END IF;`
}

function afterDigest(def: TableDefinition, action: Action): string {
  const digest = digestExpression(def, valueAfter(def, action))
  if (action !== 'retire') return digest
  return `(SELECT ${digest} FROM ${ident(def.table)} r WHERE ${where(def)})`
}

/** One standard procedure. With `debug` errors pass as they are: for finding one's own mistakes, never in a release. */
export function createProcedure(
  def: TableDefinition,
  action: Action,
  name: string,
  all: Definitions,
  debug = false,
): SqlObject {
  const client = def.writer === 'client'
  const gated = client && (action === 'create' || action === 'update')
  const writes = action === 'create' || action === 'update'
  const parents = writes ? parentsOf(def, all) : []
  const sealed = def.sealed && writes
  const lookups = [
    ...(sealed ? [keyLookup] : []),
    ...parents.map(({ column, parent }, i) =>
      parentLookup(parent, parameter(column), i, client ? 'c.tenant_id' : 'v_tenant'),
    ),
  ]
  const declares = parents.map((_, i) => `  DECLARE v_parent${i} VARCHAR(16);\n`).join('')
  const first = client
    ? `${contextSelect(gated, lookups)}${gated ? `\n${readClock}` : ''}`
    : `SET v_tenant = LEFT(p_tenant_id, 16);${lookups
        .map(
          l =>
            `\nSELECT ${l.value} INTO ${l.into} FROM (SELECT 1) x ${l.join}${l.lock ? ` FOR SHARE OF ${l.lock}` : ''};`,
        )
        .join('')}`
  const cases = [
    ...(client ? gateCases(gated) : []),
    `WHEN NOT (${checks(def, action)}) THEN '45W01'`,
    ...(sealed ? [keyCase] : []),
    ...parents.map(({ parent }, i) => parentCase(parent, i)),
  ]
  const list = parametersOf(def, action)
    .map(p => `IN ${parameter(p.name)} ${p.sqlType}`)
    .join(', ')
  const key = keyText(def, n => (n === 'tenant_id' ? 'v_tenant' : parameter(n)))
  const sql = `CREATE DEFINER=${definer} PROCEDURE ${ident(name)}(${list})
    MODIFIES SQL DATA
BEGIN
${client ? contextVariables : '  DECLARE v_tenant BINARY(16);'}
${gated ? `${gateVariables}\n` : ''}${sealed ? '  DECLARE v_key BOOLEAN;\n' : ''}${declares}  DECLARE v_fail CHAR(5);
  DECLARE v_payload VARBINARY(4096);
${begin}
  work: BEGIN
    DECLARE EXIT HANDLER FOR 1062 SET v_fail = '45W05';
${debug ? '' : `    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_fail = '45W00';\n`}${indent(first, 4)}
    SET v_fail = CASE
${indent(cases.join('\n'), 6)}
    END;
    IF v_fail IS NOT NULL THEN
      LEAVE work;
    END IF;
${indent(writeStatement(def, action), 4)}
    -- Read while the queue's row is locked: an id that was sealed before shows here, whoever raced whom.
    SELECT q.payload INTO v_payload FROM audit_pending q
    WHERE q.tenant_id = v_tenant AND q.evt_id = p_evt_id
      AND NOT EXISTS (SELECT 1 FROM audit_events e FORCE INDEX (tenant_event) WHERE e.tenant_id = v_tenant AND e.evt_id = p_evt_id);
    IF v_payload IS NULL THEN
      SET v_fail = '45W04';
    END IF;
  END;
  IF v_fail IS NULL THEN
    COMMIT AND NO CHAIN NO RELEASE;
  ELSE
    ROLLBACK AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
    START TRANSACTION;
${action === 'create' ? '' : `${indent(explain(def, action), 2)}\n`}    IF v_tenant IS NOT NULL AND v_fail <> '45W01'${def.key.type === 'uuid' && keyed(def) ? ` AND LENGTH(${parameter(def.key.name)}) = 16` : ''} THEN
      CALL find_receipt(v_fail, v_tenant, p_evt_id, '${def.table}', '${action}', ${key}, p_version, '${def.scheme}',
        ${afterDigest(def, action)}, p_evt_sig, p_evt_key, v_payload);
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
    IF v_fail IS NOT NULL THEN
      CALL signal_state(v_fail);
    END IF;
  END IF;
  SELECT CONVERT(v_payload USING utf8mb4) AS receipt;
END`
  return { kind: 'procedure', name, sql }
}
