/** Triggers of a protected table: each write queues its event in the same transaction, and only legal steps pass. */
import { columnsOf, type TableDefinition } from '../tables.ts'
import { digestExpression, endState, keyed, liveState } from './columns.ts'
import { eventExpression, newValue, oldValue } from './event.ts'
import { wrapColumns } from './rewrap.ts'
import { definer, ident, literal, type SqlObject, utcNow } from './text.ts'

const refuse = `SIGNAL SQLSTATE '45A02' SET MESSAGE_TEXT = 'this table is written through its procedures';`

const queue = (payload: string): string =>
  `  INSERT INTO audit_pending (tenant_id, evt_id, queued_at, payload) VALUES (NEW.tenant_id, v_evt, v_now, ${payload});`

function trigger(def: TableDefinition, name: string, when: string, body: string): SqlObject {
  return {
    kind: 'trigger',
    name,
    sql: `CREATE DEFINER=${definer} TRIGGER ${ident(name)} ${when} ON ${ident(def.table)} FOR EACH ROW\n${body}`,
  }
}

function created(def: TableDefinition): SqlObject {
  const payload = eventExpression(def, {
    action: `'create'`,
    before: `'null'`,
    after: digestExpression(def, newValue),
    signed: 'NEW.evt_id IS NOT NULL AND NEW.evt_sig IS NOT NULL AND NEW.evt_key IS NOT NULL',
  })
  return trigger(
    def,
    `${def.table}_created`,
    'AFTER INSERT',
    `BEGIN
  DECLARE v_now DATETIME(6) DEFAULT ${utcNow};
  DECLARE v_evt BINARY(16) DEFAULT IFNULL(NEW.evt_id, RANDOM_BYTES(16));
  IF NEW.version <> 1 OR NEW.wrap_version <> 1 OR NEW.state <> ${literal(liveState(def))} THEN
    ${refuse}
  END IF;
${queue(payload)}
END`,
  )
}

const same = (name: string): string => `NEW.${ident(name)} <=> OLD.${ident(name)}`

function changed(def: TableDefinition): SqlObject {
  const columns = columnsOf(def).map(c => c.name)
  const key = ['tenant_id', ...(keyed(def) ? [def.key.name] : [])]
  const immutable = def.columns.flatMap(c => (c.kind === 'clear' && c.immutable ? [c.name] : []))
  const wraps = wrapColumns(def)
  const kept = columns.filter(
    name => ![...key, 'version', 'wrap_version', 'state', 'salt', ...wraps].includes(name),
  )
  const cleared = columns.filter(name => ![...key, 'version', 'wrap_version', 'state'].includes(name))
  const erasable = endState(def) === 'erased'
  const live = literal(liveState(def))
  const end = literal(endState(def))
  const all = (names: string[]): string => (names.length === 0 ? 'TRUE' : names.map(same).join(' AND '))
  const ownKept = columns.filter(name => ![...key, 'version', 'wrap_version', 'state', 'salt'].includes(name))
  const ending = erasable
    ? `WHEN OLD.state = ${live} AND NEW.state = ${end} AND NEW.version = OLD.version + 1 AND NEW.wrap_version = 1
        AND COALESCE(${cleared.map(name => `NEW.${ident(name)}`).join(', ')}) IS NULL THEN 'erase'`
    : `WHEN OLD.state = ${live} AND NEW.state = ${end} AND NEW.version = OLD.version + 1 AND NEW.wrap_version = 1
        AND ${all(ownKept)} THEN 'retire'`
  // What an administrator ended, an administrator may renew; what a client ended stays so.
  const from = def.writer === 'administrator' ? '' : `OLD.state = ${live} AND `
  const payload = eventExpression(def, {
    action: 'v_action',
    before: `CONCAT('"', ${digestExpression(def, oldValue)}, '"')`,
    after: digestExpression(def, newValue),
    signed: 'v_fresh AND NEW.evt_sig IS NOT NULL AND NEW.evt_key IS NOT NULL',
  })
  return trigger(
    def,
    `${def.table}_changed`,
    'AFTER UPDATE',
    `BEGIN
  DECLARE v_now DATETIME(6) DEFAULT ${utcNow};
  -- A write that keeps the id of the last one has no signature of its own.
  DECLARE v_fresh BOOLEAN DEFAULT NEW.evt_id IS NOT NULL AND NOT (NEW.evt_id <=> OLD.evt_id);
  DECLARE v_evt BINARY(16) DEFAULT IF(v_fresh, NEW.evt_id, RANDOM_BYTES(16));
  DECLARE v_action VARCHAR(8) DEFAULT CASE
      WHEN NOT (${all(key)}) THEN NULL
      ${ending}
      WHEN ${from}NEW.state = ${live} AND NEW.version = OLD.version + 1 AND NEW.wrap_version = 1
        AND ${all(immutable)} THEN 'update'${
          wraps.length === 0
            ? ''
            : `
      WHEN OLD.state = ${live} AND NEW.state = ${live} AND NEW.version = OLD.version AND NEW.wrap_version = OLD.wrap_version + 1
        AND ${all(kept)} THEN 'rewrap'`
        }
    END;
  IF v_action IS NULL THEN
    ${refuse}
  END IF;
${queue(payload)}
END`,
  )
}

/** AFTER INSERT and UPDATE queue the event; DELETE has no place in a table whose every state is accounted for. */
export function createTriggers(def: TableDefinition): SqlObject[] {
  return [
    created(def),
    changed(def),
    trigger(def, `${def.table}_no_delete`, 'BEFORE DELETE', `${refuse.slice(0, -1)}`),
  ]
}
