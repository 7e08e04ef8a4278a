import type { Column, TableDefinition } from '../tables.ts'
import { keyed } from './columns.ts'
import { ident } from './text.ts'

const keyColumn = (def: TableDefinition): string => (keyed(def) ? def.key.name : 'tenant_id')

/** The row's key in text, as SQL: UUID, or the text itself. */
export function keyText(def: TableDefinition, value: (name: string) => string): string {
  const key = value(keyColumn(def))
  return def.key.type === 'uuid' ? `BIN_TO_UUID(${key})` : key
}

/**
 * The payload of a row event as one SQL expression (SPEC §4.1). Expects NEW, and the variables v_evt, v_now,
 * v_action; `before` and `after` are SQL for digests in hex, `signed` SQL that is true where NEW's signature is this
 * write's own.
 */
export function eventExpression(
  def: TableDefinition,
  parts: { action: string; before: string; after: string; signed: string },
): string {
  const fresh = (name: string) => `NEW.${ident(name)}`
  const key = keyText(def, fresh)
  const keyJson = def.key.type === 'uuid' ? `'","key":"', ${key}, '"'` : `'","key":', JSON_QUOTE(${key})`
  return `CONCAT('{"v":1,"id":"', BIN_TO_UUID(v_evt), '","time":"', DATE_FORMAT(v_now, '%Y-%m-%dT%H:%i:%s.%fZ'),
    '","actor":', JSON_QUOTE(SESSION_USER()) COLLATE utf8mb4_0900_bin, ',"conn":', CONNECTION_ID(), ',"tenant":"', BIN_TO_UUID(NEW.tenant_id),
    '","table":"${def.table}","action":"', ${parts.action}, ${keyJson},
    ',"ver":', NEW.version, ',"wver":', NEW.wrap_version, ',"scheme":${JSON.stringify(def.scheme)},"before":', ${parts.before},
    ',"after":"', ${parts.after},
    IF(${parts.signed},
      CONCAT('","sig":"', REPLACE(TO_BASE64(NEW.evt_sig), '\\n', ''), '","signer":"', LOWER(HEX(NEW.evt_key)), '","data":null}'),
      '","sig":null,"signer":null,"data":null}'))`
}

export const newValue = (column: Column): string => `NEW.${ident(column.name)}`
export const oldValue = (column: Column): string => `OLD.${ident(column.name)}`
