/** The batch form of create: N rows as one JSON parameter, all or nothing, N receipts. */
import { type Column, columnsOf, type TableDefinition } from '../tables.ts'
import { digestExpression, keyed, liveState, valueCheck } from './columns.ts'
import { keyText } from './event.ts'
import { contextSelect, contextVariables, gateCases, gateVariables, readClock } from './gate.ts'
import { parameterColumns } from './parameters.ts'
import { type Definitions, parentsOf } from './procedures.ts'
import { begin, definer, ident, indent, literal, type SqlObject } from './text.ts'

export const batchLimit = 500

export const eventBatchColumns: Column[] = [
  { name: 'evt_id', type: 'uuid', optional: false, head: false },
  { name: 'evt_sig', type: 'bytes', length: 64, max: 64, optional: false, head: false },
  { name: 'evt_key', type: 'bytes', length: 32, max: 32, optional: false, head: false },
]

const base64Length = (bytes: number): number => 4 * Math.ceil(bytes / 3)

/** A JSON member as it comes: text for UUID and base64. One character more than fits, or an end would be cut unseen. */
function jsonColumn(column: Column): string {
  const path = `PATH '$.${column.name}' ERROR ON EMPTY ERROR ON ERROR`
  const max = column.max ?? 0
  switch (column.type) {
    case 'uuid':
      return `${ident(column.name)} CHAR(36) ${path}`
    case 'text':
      return `${ident(column.name)} VARCHAR(${max}) ${path}`
    case 'bytes':
      return `${ident(column.name)} VARCHAR(${base64Length(max)}) CHARACTER SET ascii ${path}`
    case 'int':
      return `${ident(column.name)} BIGINT ${path}`
    case 'uint':
      return `${ident(column.name)} BIGINT UNSIGNED ${path}`
  }
}

export const jsonTable = (columns: Column[]): string =>
  `JSON_TABLE(p_rows, '$[*]' COLUMNS (\n${indent(columns.map(jsonColumn).join(',\n'), 2)}\n)) j`

export function jsonDecoded(column: Column): string {
  const raw = `j.${ident(column.name)}`
  if (column.type === 'uuid') return `UUID_TO_BIN(${raw})`
  return column.type === 'bytes' ? `FROM_BASE64(${raw})` : raw
}

/** The check of the single form, and that the text was a value's only spelling or no value at all. */
export function jsonCheck(def: TableDefinition, column: Column): string {
  const value = valueCheck(def, column, jsonDecoded(column))
  const raw = `j.${ident(column.name)}`
  if (column.type === 'uuid') return `IFNULL(${raw} = BIN_TO_UUID(${jsonDecoded(column)}), FALSE)`
  if (column.type === 'bytes' && column.optional)
    return `${value} AND (${raw} IS NULL) = (${jsonDecoded(column)} IS NULL)`
  return value
}

/** @throws Error for a table of administrators: their rows are signed one by one */
export function createBatchProcedure(
  def: TableDefinition,
  name: string,
  all: Definitions,
  debug = false,
): SqlObject {
  if (def.writer !== 'client') throw new Error(`${def.table}: administrators write one row a call`)
  const given = [...parameterColumns(def, 'create'), ...eventBatchColumns]
  const value = (column: Column): string => {
    if (column.name === 'tenant_id') return 'v_tenant'
    return column.name === 'state' ? literal(liveState(def)) : jsonDecoded(column)
  }
  const names = [...columnsOf(def), ...eventBatchColumns]
  const checks = given.map(c =>
    c.name === 'version' || c.name === 'wrap_version' ? `j.${c.name} <=> 1` : jsonCheck(def, c),
  )
  const parents = parentsOf(def, all)
  const evt = jsonTable(eventBatchColumns.slice(0, 1))
  const locks = parents.map(
    ({ column, parent }) => `SELECT COUNT(*) INTO v_found
  FROM ${jsonTable(columnsOf(def).filter(c => c.name === column))}
  STRAIGHT_JOIN ${ident(parent.table)} p ON p.tenant_id = v_tenant${
    keyed(parent) ? ` AND p.${ident(parent.key.name)} = UUID_TO_BIN(j.${ident(column)})` : ''
  } AND p.state = ${literal(liveState(parent))}
  FOR SHARE OF p;
IF v_found <> v_rows THEN
  SET v_fail = '45W03';
  LEAVE work;
END IF;`,
  )
  const keyJoin = `STRAIGHT_JOIN data_keys k ON k.tenant_id = v_tenant AND k.id = UUID_TO_BIN(j.dek_id)
  AND k.state = 'active' AND k.purpose = 'record'`
  const missingKey = def.sealed
    ? `  SELECT COUNT(*) INTO v_found FROM ${jsonTable(columnsOf(def).filter(c => c.name === 'dek_id'))}
  ${keyJoin};
  SET v_fail = IF(v_found = v_rows, '45W01', '45W07');`
    : `  SET v_fail = '45W01';`
  const key = keyText(def, n =>
    n === 'tenant_id' ? 'v_tenant' : `${def.key.type === 'uuid' ? 'UUID_TO_BIN' : ''}(j.${ident(n)})`,
  )
  const known = (
    from: string,
  ): string => `SELECT w.payload, same_write(w.payload, '${def.table}', 'create', ${key}, j.version, '${def.scheme}',
  ${digestExpression(def, value)}, FROM_BASE64(j.evt_sig), FROM_BASE64(j.evt_key)) AS same
FROM ${jsonTable(given)} STRAIGHT_JOIN ${from} w ON w.tenant_id = v_tenant AND w.evt_id = UUID_TO_BIN(j.evt_id)`
  const sql = `CREATE DEFINER=${definer} PROCEDURE ${ident(name)}(IN p_rows JSON)
    MODIFIES SQL DATA
BEGIN
${contextVariables}
${gateVariables}
  DECLARE v_rows INT DEFAULT IF(JSON_TYPE(p_rows) COLLATE utf8mb4_0900_bin = 'ARRAY', JSON_LENGTH(p_rows), 0);
  DECLARE v_found INT;
  DECLARE v_same INT;
  DECLARE v_receipts JSON;
  DECLARE v_fail CHAR(5);
${begin}
  work: BEGIN
    DECLARE EXIT HANDLER FOR 1062 SET v_fail = '45W05';
${debug ? '' : `    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_fail = '45W00';\n`}    DECLARE EXIT HANDLER FOR 1048, 1264, 1366, 1406, 1411, 3156, 3665, 3666, 3669 SET v_fail = '45W01';
${indent(`${contextSelect(true, [])}\n${readClock}`, 4)}
    SET v_fail = CASE
${indent([...gateCases(true), `WHEN v_rows NOT BETWEEN 1 AND ${batchLimit} OR v_rows IS NULL THEN '45W01'`].join('\n'), 6)}
    END;
    IF v_fail IS NOT NULL THEN
      LEAVE work;
    END IF;
    -- One tenant's import must not keep the sealer from the others' events until the gate closes for all.
    SELECT COUNT(*) INTO v_found FROM (SELECT 1 FROM audit_pending q WHERE q.tenant_id = v_tenant LIMIT v_tenant_limit) waiting;
    IF v_found >= v_tenant_limit THEN
      SET v_fail = '45G01';
      LEAVE work;
    END IF;
${locks.length ? `${indent(locks.join('\n'), 4)}\n` : ''}    INSERT INTO ${ident(def.table)} (${names.map(c => ident(c.name)).join(', ')})
    SELECT ${names.map(value).join(', ')}
    FROM ${indent(jsonTable(given), 4).trimStart()}
${def.sealed ? `${indent(keyJoin, 4)}\n` : ''}    WHERE ${checks.join('\n      AND ')};
    IF ROW_COUNT() <> v_rows THEN
${indent(missingKey, 4)}
      LEAVE work;
    END IF;
    SELECT JSON_ARRAYAGG(CONVERT(q.payload USING utf8mb4)), COUNT(*) INTO v_receipts, v_found
    FROM ${indent(evt, 4).trimStart()}
    STRAIGHT_JOIN audit_pending q ON q.tenant_id = v_tenant AND q.evt_id = UUID_TO_BIN(j.evt_id)
    WHERE NOT EXISTS (SELECT 1 FROM audit_events e WHERE e.tenant_id = v_tenant AND e.evt_id = UUID_TO_BIN(j.evt_id));
    IF v_found <> v_rows THEN
      SET v_fail = '45W04';
    END IF;
  END;
  IF v_fail IS NULL THEN
    COMMIT AND NO CHAIN NO RELEASE;
  ELSE
    ROLLBACK AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
    START TRANSACTION;
    IF v_tenant IS NOT NULL AND v_fail <> '45W01' THEN
      BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_receipts = NULL;
        SELECT JSON_ARRAYAGG(CONVERT(known.payload USING utf8mb4)), COUNT(*), SUM(IFNULL(known.same, 0))
        INTO v_receipts, v_found, v_same FROM (
${indent(known('audit_pending'), 10)}
          UNION ALL
${indent(known('audit_events'), 10)}
        ) known;
        IF v_found > 0 THEN
          SET v_fail = IF(v_found = v_rows AND v_same = v_rows, NULL, '45W04');
        END IF;
      END;
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
    IF v_fail IS NOT NULL THEN
      CALL signal_state(v_fail);
    END IF;
  END IF;
  SELECT v_receipts AS receipts;
END`
  return { kind: 'procedure', name, sql }
}
