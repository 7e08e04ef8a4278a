/** The re-wrap of many rows in one call: new wraps, the same contents, an event each (SPEC §4.1, §5.4). */
import { type Column, columnsOf, type TableDefinition } from '../tables.ts'
import { eventBatchColumns, jsonCheck, jsonDecoded, jsonTable } from './batch.ts'
import { keyed, liveState } from './columns.ts'
import { keyText } from './event.ts'
import { contextSelect, contextVariables, gateCases, gateVariables, readClock } from './gate.ts'
import { begin, definer, ident, indent, literal, type SqlObject } from './text.ts'

/** Columns that a re-wrap may replace: the wrap itself, never what the row MAC covers (SPEC §3.5). */
export function wrapColumns(def: TableDefinition): string[] {
  if (def.sealed) return ['dek_id', 'record_key']
  const own = def.columns.map(c => c.name)
  return own.includes('wrap_commit')
    ? def.columns.flatMap(c => (c.kind === 'clear' && !c.immutable ? [c.name] : []))
    : []
}

/** Columns that a member of the call has, in order, before those of its event. */
export function rewrapColumns(def: TableDefinition): Column[] {
  const names = [def.key.name, 'version', 'wrap_version', ...wrapColumns(def), 'salt']
  return columnsOf(def).filter(c => names.includes(c.name))
}

/** @throws Error for a table without wraps, or of administrators */
export function createRewrapProcedure(
  def: TableDefinition,
  name: string,
  limit: number,
  debug = false,
): SqlObject {
  const wraps = wrapColumns(def)
  if (def.writer !== 'client' || wraps.length === 0 || !keyed(def))
    throw new Error(`${def.table}: has no wraps that a client may renew`)
  const given = [...rewrapColumns(def), ...eventBatchColumns]
  const j = jsonTable(given)
  const rowKey =
    def.key.type === 'uuid' ? `UUID_TO_BIN(j.${ident(def.key.name)})` : `j.${ident(def.key.name)}`
  const target = `STRAIGHT_JOIN ${ident(def.table)} t ON t.tenant_id = v_tenant AND t.${ident(def.key.name)} = ${rowKey}
  AND t.state = ${literal(liveState(def))}`
  const dek = `STRAIGHT_JOIN data_keys k ON k.tenant_id = v_tenant AND k.id = UUID_TO_BIN(j.dek_id)
  AND k.state = 'active' AND k.purpose = 'record'`
  const versions = 't.version = j.version AND t.wrap_version = j.wrap_version - 1'
  const checks = given
    .filter(c => c.name !== 'version' && c.name !== 'wrap_version')
    .map(c => jsonCheck(def, c))
  const written = [...rewrapColumns(def), ...eventBatchColumns].filter(
    c => c.name !== def.key.name && c.name !== 'version',
  )
  const counted = (columns: Column[], joins: string): string =>
    `SELECT COUNT(*) INTO v_found FROM ${jsonTable(columns)}\n${joins};`
  const only = (...names: string[]) => given.filter(c => names.includes(c.name))
  const explain = [
    // What the statement did change would look like other versions.
    `ROLLBACK AND NO CHAIN NO RELEASE;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
START TRANSACTION;`,
    counted(only(def.key.name), target),
    `IF v_found <> v_rows THEN SET v_fail = '45W06'; LEAVE work; END IF;`,
    counted(only(def.key.name, 'version', 'wrap_version'), `${target}\nWHERE ${versions}`),
    `IF v_found <> v_rows THEN SET v_fail = '45W02'; LEAVE work; END IF;`,
    ...(def.sealed
      ? [counted(only('dek_id'), dek), `IF v_found <> v_rows THEN SET v_fail = '45W07'; LEAVE work; END IF;`]
      : []),
    `SET v_fail = '45W01';`,
  ]
  const key = keyText(def, n => (def.key.type === 'uuid' ? `UUID_TO_BIN(j.${ident(n)})` : `j.${ident(n)}`))
  // Its signature stands for what the digest would say.
  const same = `LOCATE(CONCAT(',"table":"${def.table}","action":"rewrap","key":', JSON_QUOTE(${key}) COLLATE utf8mb4_0900_bin,
    ',"ver":', j.version, ',"wver":', j.wrap_version, ',"scheme":"${def.scheme}","before":'), CONVERT(w.payload USING utf8mb4)) > 0
  AND LOCATE(CONCAT('","sig":"', j.evt_sig, '","signer":"', LOWER(HEX(FROM_BASE64(j.evt_key))), '","data":null}'), CONVERT(w.payload USING utf8mb4)) > 0`
  const known = (from: string): string => `SELECT w.payload, ${same} AS same
FROM ${j} STRAIGHT_JOIN ${from} w ON w.tenant_id = v_tenant AND w.evt_id = UUID_TO_BIN(j.evt_id)`
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
    DECLARE EXIT HANDLER FOR 1062 SET v_fail = '45W04';
${debug ? '' : `    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_fail = '45W00';\n`}    DECLARE EXIT HANDLER FOR 1048, 1264, 1366, 1406, 1411, 3156, 3665, 3666, 3669 SET v_fail = '45W01';
${indent(`${contextSelect(true, [])}\n${readClock}`, 4)}
    SET v_fail = CASE
${indent([...gateCases(true), `WHEN v_rows NOT BETWEEN 1 AND ${limit} OR v_rows IS NULL THEN '45W01'`].join('\n'), 6)}
    END;
    IF v_fail IS NOT NULL THEN
      LEAVE work;
    END IF;
    -- One tenant's rotation must not keep the sealer from the others' events until the gate closes for all.
    SELECT COUNT(*) INTO v_found FROM (SELECT 1 FROM audit_pending q WHERE q.tenant_id = v_tenant LIMIT v_tenant_limit) waiting;
    IF v_found >= v_tenant_limit THEN
      SET v_fail = '45G01';
      LEAVE work;
    END IF;
    UPDATE ${indent(j, 4).trimStart()}
${indent(target, 4)}
${def.sealed ? `${indent(dek, 4)}\n` : ''}    SET ${written.map(c => `t.${ident(c.name)} = ${jsonDecoded(c)}`).join(', ')}
    WHERE ${[versions, 'NOT (t.evt_id <=> UUID_TO_BIN(j.evt_id))', ...checks].join('\n      AND ')};
    IF ROW_COUNT() <> v_rows THEN
${indent(explain.join('\n'), 6)}
      LEAVE work;
    END IF;
    SELECT JSON_ARRAYAGG(CONVERT(q.payload USING utf8mb4)), COUNT(*) INTO v_receipts, v_found
    FROM ${indent(jsonTable(eventBatchColumns.slice(0, 1)), 4).trimStart()}
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
