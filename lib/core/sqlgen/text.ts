/** Words of SQL. Names come from validated definitions, literals from code: nothing of a user's gets here. */
import { type Bytes, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'

export const definer = '`api_definer`@`localhost`'

/** A quoted identifier. @throws BAD_INPUT on anything but a plain name */
export function ident(name: string): string {
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(name))
    throw new ZtError('BAD_INPUT', `sql: "${name}" is not a plain name`)
  return `\`${name}\``
}

/** A text literal that reads the same under every sql_mode. @throws BAD_INPUT on a backslash */
export function literal(text: string): string {
  if (text.includes('\\'))
    throw new ZtError('BAD_INPUT', `sql: a backslash in a literal depends on sql_mode: ${text}`)
  return `'${text.replaceAll("'", "''")}'`
}

export const hexLiteral = (bytes: Bytes): string => `X'${toHex(bytes).toUpperCase()}'`

/** UTC whatever the caller's zone, and beyond the reach of SET timestamp; NULL under a zone with summer time, whose
 * repeated hour would make a gate's ages wrong. */
export const utcNow = `CONVERT_TZ(SYSDATE(6), IF(LEFT(@@session.time_zone, 1) IN ('+', '-'), @@session.time_zone, NULL), '+00:00')`

/** The caller's account: SESSION_USER() is account@client-host. */
export const callerAccount = `LEFT(SESSION_USER(), CHAR_LENGTH(SESSION_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(SESSION_USER(), '@', -1)) - 1)`

export const begin = `  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;`

export const indent = (text: string, by: number): string => text.replace(/^(?=.)/gm, ' '.repeat(by))

/** One object of the schema and the statement that makes it. */
export interface SqlObject {
  kind: 'table' | 'view' | 'procedure' | 'function' | 'trigger' | 'event'
  name: string
  sql: string
}
