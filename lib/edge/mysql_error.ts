/** What MySQL, TLS and the network say when they refuse, in plain words. */
import { type ErrorCode, ZtError } from '../core/errors.ts'

/** An error that the server itself sent. `errno` and `sqlState` are the server's (`1644`, `45T01`). */
export class MysqlError extends ZtError {
  readonly errno: number
  readonly sqlState: string

  constructor(
    errno: number,
    sqlState: string,
    code: ErrorCode,
    message: string,
    options: { hint?: string; cause?: unknown } = {},
  ) {
    super(code, message, options)
    this.errno = errno
    this.sqlState = sqlState
  }
}

type Words = readonly [code: ErrorCode, message: string, hint?: string]

/** The SQLSTATEs of our routines (SPEC §5). */
const states: Record<string, Words> = {
  '45T01': ['DENIED', 'no tenant is set for this session', 'call security_set_tenant first, in this session'],
  '45T02': ['DENIED', 'this account has no grant for that tenant', 'ask an administrator for the grant'],
  '45T03': [
    'REFUSED',
    'the transaction is not READ COMMITTED, or is one that something else controls',
    'set transaction_isolation to READ-COMMITTED and use no XA',
  ],
  '45G01': [
    'REFUSED',
    'writes are closed: events wait unsealed for too long',
    'see that the event scheduler runs; after a large import wait a few seconds and try again',
  ],
  '45G02': [
    'REFUSED',
    'writes are closed: the last anchor in the WORM store is too old',
    'run anchor_head now on the database host, and see that its timer runs',
  ],
  '45G03': [
    'REFUSED',
    'writes are closed: the clock of the database went backwards',
    'check the time service',
  ],
  '45W00': ['MYSQL', 'the write failed', 'try again; the error log of the database may say more'],
  '45W01': ['BAD_INPUT', 'a value was refused: its length or form is wrong, or it is missing'],
  '45W02': ['CONFLICT', 'somebody else changed the row in between', 'read it again and repeat the change'],
  '45W03': ['NOT_FOUND', 'the row that this one belongs to does not exist or is erased'],
  '45W04': ['CONFLICT', 'the event id was used for another write', 'choose a new event id'],
  '45W05': ['CONFLICT', 'the row exists already'],
  '45W06': ['NOT_FOUND', 'the row does not exist, or is erased or retired'],
  '45W07': ['REFUSED', 'the data key is unknown, retired or meant for another purpose'],
  '45W08': ['BAD_INPUT', 'the amounts of the transfer do not agree'],
  '45A01': ['REFUSED', 'the audit trail is append-only'],
  '45A02': ['REFUSED', 'this table is written through its procedures alone'],
  '45S01': ['DRIFT', 'the sealer found the trail inconsistent', 'run chain_verify'],
  '45N01': ['CONFLICT', 'the anchor does not follow the last one that was recorded'],
}

/** Errors of the server that mean: not with this account, certificate or right. */
const denied = new Set([1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419, 1698, 3118, 3159, 3162, 3955, 4031])

const busy: Record<number, string> = {
  1040: 'too many connections: try again later',
  1203: 'this account has as many connections as it may have: close some',
  1205: 'try again',
  1213: 'try again',
  1226: 'this account has used what it may use in an hour: try again later',
  3024: 'the statement took longer than it may take',
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : '')

/** The server's own message may be quoted: it speaks to whoever sent the statement. */
export function serverError(
  errno: number,
  sqlState: string,
  serverMessage: string,
  cause?: unknown,
): MysqlError {
  const words = states[sqlState]
  if (words) {
    const [code, message, hint] = words
    return new MysqlError(errno, sqlState, code, `mysql: ${message} (${errno}, ${sqlState})`, {
      cause,
      ...(hint ? { hint } : {}),
    })
  }
  const message = `mysql: ${serverMessage || 'error without a message'} (${errno}, ${sqlState})`
  if (denied.has(errno))
    return new MysqlError(errno, sqlState, 'DENIED', message, {
      cause,
      hint: 'check the account, its certificate and its grants',
    })
  const hint = busy[errno]
  return new MysqlError(errno, sqlState, 'MYSQL', message, { cause, ...(hint ? { hint } : {}) })
}

const tlsCode =
  /^(?:ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HANDSHAKE_|EPROTO|HOSTNAME_)/

/** Turns anything that mysql2 throws into a ZtError. `where` names the server (`127.0.0.1:3306`). */
export function mysqlError(thrown: unknown, where: string): ZtError {
  if (thrown instanceof ZtError) return thrown
  if (!(thrown instanceof Error)) return new ZtError('MYSQL', `mysql ${where}: ${String(thrown)}`)
  const raw = thrown as Error & {
    errno?: unknown
    code?: unknown
    sqlState?: unknown
    sqlMessage?: unknown
    sql?: unknown
  }
  delete raw.sql // the statement with its values: must not reach a log by way of a cause
  // -1 and other negative numbers are the operating system's, not MySQL's.
  if (typeof raw.errno === 'number' && raw.errno > 0 && raw.sqlMessage !== undefined)
    return serverError(raw.errno, asText(raw.sqlState) || 'HY000', asText(raw.sqlMessage), thrown)
  const code = asText(raw.code)
  if (tlsCode.test(code))
    return new ZtError('TLS', `mysql ${where}: ${raw.message} (${code})`, {
      cause: thrown,
      hint: 'check ssl-ca, the client certificate and its key, and the host name that the server certificate carries',
    })
  if (/^(?:E[A-Z]+|PROTOCOL_[A-Z_]+|FailedToOpenSocket)$/.test(code) || /closed state/.test(raw.message))
    return new ZtError('UNREACHABLE', `mysql ${where}: ${raw.message} (${code})`, {
      cause: thrown,
      hint: 'check that the server runs and that host, port or socket are right',
    })
  return new ZtError('MYSQL', `mysql ${where}: ${raw.message}`, { cause: thrown })
}
