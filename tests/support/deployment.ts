/** A server with the zero-trust settings, the schema, two tenants and an auditor behind mTLS, and an open gate. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newUuid, random, toHex, uuidBytes } from '../../lib/core/bytes.ts'
import { dekCommit } from '../../lib/core/envelope/issuer.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { signerOf } from '../../lib/core/signature.ts'
import { grantsFor, type Role } from '../../lib/core/sqlgen/grants.ts'
import { parametersOf } from '../../lib/core/sqlgen/parameters.ts'
import { columnValue, type Row, type TableDefinition } from '../../lib/core/tables.ts'
import { prepareWrite, type Write } from '../../lib/core/write.ts'
import { putAccount } from '../../lib/edge/accounts.ts'
import { anchorDatabase } from '../../lib/edge/anchor_database.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { type Connection, type MysqlOptions, openMysql, type Parameter } from '../../lib/edge/mysql.ts'
import { type Authority, issueClient, issueServer, makeAuthority } from '../../lib/edge/pki/certificates.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'
import { applySchema, initFileText } from '../../lib/edge/schema.ts'
import { definitions as releaseDefinitions } from '../../sql/index.ts'
import { freshServer, type Mysqld } from './mysql.ts'

export interface Signer {
  origin: string
  signer: Uint8Array
  secretKey: Uint8Array
}

export interface TestTenant {
  id: string
  /** Its application's MySQL account. */
  account: string
  by: Signer
  /** An active data key for records. */
  dekId: string
}

export interface Deployment extends AsyncDisposable {
  server: Mysqld
  /** root over the socket, in securedb. */
  root: Connection
  origin: string
  /** Issued every certificate of it. */
  readonly ca: Authority
  tenants: [TestTenant, TestTenant]
  administrator: Signer
  auditor: string
  definitions: Map<string, TableDefinition>
  options(account: string): MysqlOptions
  /** A fresh connection over TCP with the account's certificate, in securedb; an app's with its tenant set. */
  connect(account: string): Promise<Connection>
  /** The same without a tenant. */
  connectBare(account: string): Promise<Connection>
  /** A fresh connection of the anchor's account, as whoever runs the tests. */
  connectAnchor(): Promise<Connection>
  /** Restarts the server; `root` is a new connection then. */
  restart(): Promise<void>
  /** A real anchor, recorded and confirmed: opens the gate. */
  anchor(): Promise<void>
  define(table: string): TableDefinition
  /** A signed write through its procedure; the payload. */
  write(connection: Connection, write: Write): Promise<string>
}

/** The positional call of a write's procedure (SPEC §5.4), from the generator's own list of parameters. */
export function procedureCall({ def, action, row, ...write }: Write): {
  procedure: string
  params: Parameter[]
} {
  if (action === 'rewrap') throw new Error('no procedure')
  const event: Record<string, Parameter> = {
    evt_id: uuidBytes(write.event),
    evt_sig: write.signature,
    evt_key: write.signer,
  }
  const params = parametersOf(def, action).map(p => {
    if (!p.column) return event[p.name] ?? null
    const value = columnValue(row, p.column)
    return p.column.type === 'uuid' && typeof value === 'string' ? uuidBytes(value) : value
  })
  return { procedure: def.procedures[action] ?? '', params }
}

async function openRoot(socket: string): Promise<Connection> {
  const root = await openMysql({ socket, user: 'root' })
  await root.run("SET SESSION time_zone = '+00:00'")
  const [found] = await root.query("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'securedb'")
  if (found) await root.run('USE securedb')
  return root
}

const validity = { now: Date.now() * 1000, seconds: 3600 }

export interface DeploymentOptions {
  /** Lines of my.cnf that win over the zero-trust settings. */
  options?: string[]
  definitions?: readonly TableDefinition[]
  /** Errors inside procedures come out as they are: to find one's own mistakes. */
  debug?: boolean
}

export async function deployment(settings: DeploymentOptions = {}): Promise<Deployment> {
  const definitions = settings.definitions ?? releaseDefinitions
  const dir = mkdtempSync(join(tmpdir(), 'zt-'))
  const path = (name: string): string => join(dir, name)
  const ca = await makeAuthority(await makeKey('P-384'), { ...validity, seconds: 7200 })
  const caPem = formatPem('CERTIFICATE', ca.certificate.der)
  const serverKey = await makeKey('P-256')
  const serverCertificate = await issueServer(ca, ['127.0.0.1', 'localhost'], serverKey.spki, validity)
  writeFileSync(path('ca.pem'), caPem)
  writeFileSync(path('server.pem'), formatPem('CERTIFICATE', serverCertificate.der))
  writeFileSync(path('server.key'), formatPem('PRIVATE KEY', serverKey.pkcs8), { mode: 0o600 })
  writeFileSync(path('init.sql'), initFileText)
  const server = await freshServer({
    options: [
      `ssl_ca=${path('ca.pem')}`,
      `ssl_cert=${path('server.pem')}`,
      `ssl_key=${path('server.key')}`,
      'tls_version=TLSv1.3',
      'tls_ciphersuites=TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
      'tls_certificates_enforced_validation=ON',
      'require_secure_transport=ON',
      'default_time_zone=+00:00',
      'transaction_isolation=READ-COMMITTED',
      'character_set_server=utf8mb4',
      'collation_server=utf8mb4_0900_bin',
      'local_infile=OFF',
      'log_error_verbosity=3',
      ...(settings.options ?? []),
    ],
    initFile: path('init.sql'),
  })
  const origin = `ztmysql.local/${toHex(random(8))}`
  const root = await openRoot(server.socket)
  await applySchema(root, { origin, definitions, debug: settings.debug ?? false })
  const keys = new Map<string, MysqlOptions>()

  const addAccount = async (account: string, role: Role, tenant: string | null): Promise<Signer> => {
    const key = await makeKey('P-256')
    const certificate = await issueClient(
      ca,
      { role, account, tenant } as Parameters<typeof issueClient>[1],
      key.spki,
      validity,
    )
    const password = toHex(random(16))
    await putAccount(
      root,
      {
        user: account,
        host: '127.0.0.1',
        hosts: ['127.0.0.1'],
        role: role as 'app',
        subject: certificate.subject,
        issuer: certificate.issuer,
        maxConnections: 64,
        stored: null,
        password,
      },
      [],
    )
    for (const privilege of grantsFor(role, definitions))
      await root.run(`GRANT ${privilege} TO ?@?`, [account, '127.0.0.1'])
    keys.set(account, {
      host: '127.0.0.1',
      port: server.port,
      user: account,
      password,
      database: 'securedb',
      ssl: {
        ca: caPem,
        cert: formatPem('CERTIFICATE', certificate.der),
        key: formatPem('PRIVATE KEY', key.pkcs8),
      },
    })
    return { origin, signer: signerOf(key.spki), secretKey: key.scalar }
  }

  const me = Bun.spawnSync(['id', '-un']).stdout.toString().trim()
  await root.run('CREATE USER anchor@localhost IDENTIFIED WITH auth_socket AS ?', [me])
  for (const privilege of grantsFor('anchor', definitions))
    await root.run(`GRANT ${privilege} TO anchor@localhost`)

  const administrator = await (async (): Promise<Signer> => {
    const key = await makeKey('P-256')
    return { origin, signer: signerOf(key.spki), secretKey: key.scalar }
  })()

  const byTable = new Map(definitions.map(d => [d.table, d]))
  const self: Deployment = {
    server,
    root,
    origin,
    ca,
    administrator,
    auditor: 'auditor',
    tenants: [] as unknown as [TestTenant, TestTenant],
    definitions: byTable,
    define(table) {
      const def = byTable.get(table)
      if (!def) throw new Error(`no table ${table}`)
      return def
    },
    options(account) {
      const found = keys.get(account)
      if (!found) throw new Error(`no account ${account}`)
      return found
    },
    connectBare: account => openMysql(self.options(account)),
    async connect(account) {
      const connection = await openMysql(self.options(account))
      const tenant = self.tenants.find(t => t.account === account)
      if (tenant) await connection.call('security_set_tenant', [tenant.id])
      return connection
    },
    connectAnchor: () => openMysql({ socket: server.socket, user: 'anchor', database: 'securedb' }),
    async restart() {
      self.root.destroy()
      await server.restart()
      self.root = await openRoot(server.socket)
    },
    async anchor() {
      const connection = await self.connectAnchor()
      const database = anchorDatabase(connection)
      const status = await database.status()
      const number = status.confirmedNumber + 1
      const prev = Uint8Array.from(Buffer.from(status.confirmedSha256, 'hex'))
      const fingerprint = await database.fingerprint()
      await database.record({ number, fingerprint, prev, from: status.recordedSize }, () => undefined)
      await database.confirm(number, random(32)) // what the WORM store would hold
      await connection.close()
    },
    async write(connection, write) {
      const { procedure, params } = procedureCall(write)
      return String((await connection.call(procedure, params))[0]?.[0]?.receipt)
    },
    async [Symbol.asyncDispose]() {
      self.root.destroy()
      await server.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }

  const addTenant = async (label: string, account: string): Promise<TestTenant> => {
    const id = newUuid()
    const head = { version: 1, wrap_version: 1, state: 'active', salt: random(16) }
    const admin = (table: string, row: Row) =>
      self.write(root, prepareWrite(self.define(table), 'create', row, administrator))
    await admin('tenants', { tenant_id: id, ...head, label })
    const by = await addAccount(account, 'app', id)
    await admin('tenant_grant', { tenant_id: id, account, ...head })
    const tenant: TestTenant = { id, account, by, dekId: newUuid() }
    self.tenants.push(tenant)
    return tenant
  }
  await addTenant('tenant-a', 'app_user')
  await addTenant('tenant-b', 'app_other')
  await addAccount('auditor', 'auditor', null)
  await root.run('CALL seal_due()')
  await self.anchor()
  for (const tenant of self.tenants) {
    const connection = await self.connect(tenant.account)
    await self.write(
      connection,
      prepareWrite(self.define('data_keys'), 'create', dataKeyRow(tenant, tenant.dekId), tenant.by),
    )
    await connection.close()
  }
  return self
}

/** Random bytes whose first is 0: a test that marks rows by their first byte must not find its mark by chance. */
function unmarked(length: number): Uint8Array {
  const bytes = random(length)
  bytes[0] = 0
  return bytes
}

/** A row of data_keys of the right shape; its wrap opens nowhere. */
export function dataKeyRow(tenant: TestTenant, id: string, purpose = 'record'): Row {
  return {
    tenant_id: tenant.id,
    id,
    version: 1,
    wrap_version: 1,
    state: 'active',
    purpose,
    suite: 'kms',
    kms_key: 'gcp-kms-emulator://projects/p/locations/l/keyRings/r/cryptoKeys/k',
    kms_ciphertext: unmarked(120),
    kem_ciphertext: null,
    kem_fingerprint: null,
    sealed_key: unmarked(60),
    wrap_commit: unmarked(32),
    dek_commit: dekCommit({ tenant: tenant.id, id, purpose }, random(32)),
    issuer: random(32),
    issuer_sig: random(3309),
    salt: unmarked(16),
  }
}

/** A live row of users of the right shape; its cells open nowhere. */
export function userRow(tenant: TestTenant, changes: Row = {}): Row {
  return {
    tenant_id: tenant.id,
    id: newUuid(),
    version: 1,
    wrap_version: 1,
    state: 'live',
    role: 'staff',
    full_name: random(40),
    email: random(44),
    phone: random(40),
    email_bidx: random(16),
    phone_bidx: random(16),
    field_suite: 'hkdf-sha256/aes-256-gcm',
    dek_id: tenant.dekId,
    record_key: random(60),
    mac: random(32),
    salt: random(16),
    ...changes,
  }
}

/** A live row of accounts of the right shape. */
export function accountRow(tenant: TestTenant, userId: string, changes: Row = {}): Row {
  return {
    tenant_id: tenant.id,
    id: newUuid(),
    version: 1,
    wrap_version: 1,
    state: 'live',
    user_id: userId,
    currency: 'EUR',
    balance_minor: 1000,
    field_suite: 'hkdf-sha256/aes-256-gcm',
    dek_id: tenant.dekId,
    record_key: random(60),
    mac: random(32),
    salt: random(16),
    ...changes,
  }
}

/** The row after an erasure: its head, and nothing else. */
export function erasedRow(def: TableDefinition, row: Row): Row {
  const head = ['tenant_id', def.key.name]
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (head.includes(name)) return [name, value]
      if (name === 'version') return [name, Number(value) + 1]
      if (name === 'wrap_version') return [name, 1]
      return [name, name === 'state' ? def.states[1] : null]
    }),
  )
}

let shared: Promise<Deployment> | undefined

/** The one deployment of this test process. Write rows of your own; change nothing that others rely on. */
export function sharedDeployment(): Promise<Deployment> {
  shared ??= deployment().then(made => {
    onExit(async () => made[Symbol.asyncDispose]())
    return made
  })
  return shared
}
