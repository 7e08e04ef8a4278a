/** The one door to MySQL: TLS 1.3 with the server's name checked, one statement at a time, values safe and plain. */
import type { TLSSocket } from 'node:tls'
import mysql from 'mysql2'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { type ClientConfig, parseClientConfig } from '../core/mycnf.ts'
import type { Row, Value } from '../core/tables.ts'
import { readPrivateFile, readRegularFile } from './files.ts'
import { mysqlError } from './mysql_error.ts'

export { MysqlError, mysqlError } from './mysql_error.ts'

/** PEM texts. The server must show a certificate of `ca` that names the host. */
export interface TlsMaterial {
  ca: string | Bytes
  cert?: string | Bytes
  key?: string | Bytes
}

export interface MysqlOptions {
  /** A `[client]` option file, private to its owner. What stands beside it here wins over it. */
  defaultsFile?: string
  host?: string
  port?: number
  /** A unix socket: counts as secure transport, needs no TLS. Wins over the host. */
  socket?: string
  user?: string
  password?: string
  database?: string
  ssl?: TlsMaterial
  connectTimeoutSeconds?: number
}

export type Parameter = Value | boolean

export interface TlsInfo {
  protocol: string
  cipher: string
  /** DER of the server's certificate. */
  peerCertificate: Bytes
}

export interface ConnectionInfo {
  threadId: number
  where: string
  /** null on a socket. */
  tls: TlsInfo | null
}

export interface Changed {
  affectedRows: number
  warnings: number
}

/**
 * Values come as: integers number, or bigint beyond 2^53; DECIMAL, DATETIME, JSON string; BINARY and BLOB Uint8Array.
 * Errors are ZtError: UNREACHABLE, TLS, DENIED, and MysqlError with errno and sqlState.
 */
export interface Connection {
  /** The rows of the (first) result set; none for a statement that returns none. `?` are placeholders. */
  query(sql: string, params?: readonly Parameter[]): Promise<Row[]>
  run(sql: string, params?: readonly Parameter[]): Promise<Changed>
  /** Every result set of `CALL procedure(params…)`. */
  call(procedure: string, params?: readonly Parameter[]): Promise<Row[][]>
  /** Rows one by one, in constant memory. Leaving the loop early ends the connection. */
  stream(sql: string, params?: readonly Parameter[]): AsyncIterable<Row>
  /** COM_RESET_CONNECTION: drops session variables, and with them the tenant. */
  reset(): Promise<void>
  /** COM_CHANGE_USER. */
  changeUser(user: string, password: string): Promise<void>
  info(): ConnectionInfo
  close(): Promise<void>
  /** Drops the connection without a word. */
  destroy(): void
}

const pemMaxBytes = 1 << 20

function fromDefaultsFile(path: string): MysqlOptions {
  const config = parseClientConfig(readPrivateFile(path, 'defaults file').toString('utf8'), path)
  refuseWeaker(config, path)
  const { sslCa, sslCert, sslKey, sslMode: _mode, tlsVersion: _version, ...rest } = config
  return {
    ...rest,
    ...(sslCa === undefined
      ? {}
      : {
          ssl: {
            ca: readRegularFile(sslCa, 'ssl-ca', pemMaxBytes),
            ...(sslCert ? { cert: readRegularFile(sslCert, 'ssl-cert', pemMaxBytes) } : {}),
            ...(sslKey ? { key: readPrivateFile(sslKey, 'ssl-key') } : {}),
          },
        }),
  }
}

// We always verify and always speak TLS 1.3: a file that asks for less deserves an answer, not silence.
function refuseWeaker(config: ClientConfig, path: string): void {
  if (config.sslMode !== undefined && config.sslMode.toUpperCase() !== 'VERIFY_IDENTITY')
    throw new ZtError('BAD_INPUT', `${path}: ssl-mode must be VERIFY_IDENTITY`)
  if (config.tlsVersion !== undefined && config.tlsVersion !== 'TLSv1.3')
    throw new ZtError('BAD_INPUT', `${path}: tls-version must be TLSv1.3`)
}

const buffer = (pem: string | Bytes): Buffer => Buffer.from(pem as Uint8Array)

function connectionOptions(options: MysqlOptions): mysql.ConnectionOptions {
  const { socket, ssl } = options
  if (options.user === undefined)
    throw new ZtError('USAGE', 'mysql: no user given', { hint: 'give --user, or a --defaults-file' })
  if (socket === undefined && ssl === undefined)
    throw new ZtError('USAGE', 'mysql: a connection over the network needs the CA certificate', {
      hint: 'give --ssl-ca, --ssl-cert and --ssl-key, or a --defaults-file, or --socket',
    })
  const tls: mysql.SslOptions = {
    ...(ssl ? { ca: buffer(ssl.ca) } : {}),
    ...(ssl?.cert ? { cert: buffer(ssl.cert) } : {}),
    ...(ssl?.key ? { key: buffer(ssl.key) } : {}),
    minVersion: 'TLSv1.3',
    rejectUnauthorized: true,
    verifyIdentity: true,
  }
  return {
    user: options.user,
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.database === undefined ? {} : { database: options.database }),
    ...(socket === undefined
      ? { host: options.host ?? '127.0.0.1', port: options.port ?? 3306, ssl: tls }
      : { socketPath: socket }),
    connectTimeout: (options.connectTimeoutSeconds ?? 10) * 1000,
    charset: 'UTF8MB4_BIN', // the handshake has one byte for it: utf8mb4_0900_bin (309) does not fit
    multipleStatements: false,
    dateStrings: true,
    jsonStrings: true,
    supportBigNumbers: true,
    stringifyObjects: true,
    flags: ['-LOCAL_FILES'], // a rogue server could ask for any file of ours
    typeCast: (field, next) => {
      const value = next()
      if (Buffer.isBuffer(value)) return new Uint8Array(value) // a view would keep the whole packet alive
      return field.type === 'LONGLONG' && typeof value === 'string' ? BigInt(value) : value
    },
  }
}

function placeName(options: MysqlOptions): string {
  return options.socket ?? `${options.host ?? '127.0.0.1'}:${options.port ?? 3306}`
}

/** @throws UNREACHABLE, TLS, DENIED, USAGE, and what reading the defaults-file throws */
export async function openMysql(given: MysqlOptions): Promise<Connection> {
  const options = given.defaultsFile ? { ...fromDefaultsFile(given.defaultsFile), ...given } : given
  const where = placeName(options)
  const raw = mysql.createConnection(connectionOptions(options))
  try {
    await new Promise<void>((resolve, reject) => raw.connect(error => (error ? reject(error) : resolve())))
  } catch (thrown) {
    raw.destroy()
    throw mysqlError(thrown, where)
  }
  // Between two statements nobody listens: the next statement reports that the connection has gone.
  raw.on('error', () => undefined)
  return wrap(raw, where)
}

/** Answers a challenge by hash alone: whoever asks for the password itself, over a plain connection, gets nothing. */
const challengeOnly: mysql.AuthPlugin = meta => {
  const answer = mysql.authPlugins.caching_sha2_password({})(meta)
  return data => {
    if (data.length === 1 && data[0] === 4)
      throw new ZtError('REFUSED', 'the server asked for the password in full over a connection without TLS')
    return answer(data)
  }
}

const neverAnswered: mysql.AuthPlugin = () => () => {
  throw new ZtError('REFUSED', 'the server asked for another method than caching_sha2_password')
}

/**
 * Tries to log in without TLS, as nobody should be able to, and closes what opens. For the proof suite. The server
 * answers 1045 where the account is bound to a certificate, 3159 where it is not; log in over TLS first: that leaves a
 * hash in the server's cache by which a challenge is enough, and the password never travels in the clear.
 * @throws what the server answers; REFUSED where it asks for the password itself
 */
export async function openPlaintext(given: MysqlOptions): Promise<void> {
  const options = given.defaultsFile ? { ...fromDefaultsFile(given.defaultsFile), ...given } : given
  const { host, port, user, password } = connectionOptions(options)
  const raw = mysql.createConnection({
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    connectTimeout: 10_000,
    authPlugins: {
      caching_sha2_password: challengeOnly,
      sha256_password: neverAnswered,
      mysql_native_password: neverAnswered,
    },
  })
  try {
    await new Promise<void>((resolve, reject) => raw.connect(error => (error ? reject(error) : resolve())))
  } catch (thrown) {
    throw mysqlError(thrown, placeName(options))
  } finally {
    raw.destroy()
  }
}

type Callback<T> = (error: mysql.QueryError | null, result: T) => void

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null

function wrap(raw: mysql.Connection, where: string): Connection {
  const promise = <T>(start: (done: Callback<T>) => unknown): Promise<T> =>
    new Promise((resolve, reject) =>
      start((error, result) => (error ? reject(mysqlError(error, where)) : resolve(result))),
    )
  const send = (sql: string, params: readonly Parameter[]): Promise<unknown> =>
    promise<unknown>(done => raw.query(sql, [...params], done as Callback<mysql.QueryResult>))

  return {
    async query(sql, params = []) {
      const result = await send(sql, params)
      if (!Array.isArray(result)) return []
      return (Array.isArray(result[0]) ? result[0] : result).filter(isRow) as Row[]
    },
    async run(sql, params = []) {
      const result = await send(sql, params)
      const header = (Array.isArray(result) ? result.at(-1) : result) as Partial<mysql.ResultSetHeader>
      return { affectedRows: header.affectedRows ?? 0, warnings: header.warningStatus ?? 0 }
    },
    async call(procedure, params = []) {
      const result = await send(`CALL ${procedure}(${params.map(() => '?').join()})`, params)
      return Array.isArray(result) ? (result.filter(set => Array.isArray(set)) as Row[][]) : []
    },
    async *stream(sql, params = []) {
      let finished = false
      const rows = raw.query(sql, [...params]).stream({ highWaterMark: 16 }) // a hostile server makes rows as large as a packet
      try {
        for await (const row of rows) yield row as Row
        finished = true
      } catch (thrown) {
        finished = true
        throw mysqlError(thrown, where)
      } finally {
        if (!finished) raw.destroy()
      }
    },
    reset: () => promise<void>(done => raw.reset(error => done(error, undefined))),
    changeUser: (user, password) =>
      promise<void>(done => raw.changeUser({ user, password }, error => done(error, undefined))),
    info: () => ({ threadId: raw.threadId, where, tls: tlsInfo(raw) }),
    close: () => promise<void>(done => raw.end(error => done(error ?? null, undefined))),
    destroy: () => raw.destroy(),
  }
}

function tlsInfo(raw: mysql.Connection): TlsInfo | null {
  const stream = (raw as unknown as { stream: TLSSocket }).stream
  if (typeof stream.getProtocol !== 'function' || !stream.encrypted) return null
  const protocol = stream.getProtocol() ?? ''
  return { protocol, cipher: stream.getCipher().name, peerCertificate: stream.getPeerCertificate().raw }
}
