/**
 * A deployment as an operator makes it: PKI, installed server behind mTLS, folder as WORM store, people's rows, probes.
 * What auditors and attackers work on. No KMS is needed: cells and wraps are random bytes of the right lengths, but
 * everything that a verifier can check (signatures, issuers' signatures, versions, digests) is real.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { type Bytes, fromHex, newUuid, random, utf8 } from '../../lib/core/bytes.ts'
import { dekCommit, issuerOf, issuerPublicKey, signIssue } from '../../lib/core/envelope/issuer.ts'
import { parseIssuerFile } from '../../lib/core/envelope/key_files.ts'
import { openSealedFile } from '../../lib/core/envelope/sealed_file.ts'
import { parsePem } from '../../lib/core/pem.ts'
import { p256Secret } from '../../lib/core/pkcs8.ts'
import type { BundleVerdict } from '../../lib/core/proof/verify_bundle.ts'
import type { Row, TableDefinition } from '../../lib/core/tables.ts'
import { callOf, prepareWrite, type Write } from '../../lib/core/write.ts'
import { readCertificate } from '../../lib/core/x509.ts'
import { anchorNow, type Hooks } from '../../lib/edge/anchor_service.ts'
import { unpackArchive } from '../../lib/edge/archive.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { installDatabase } from '../../lib/edge/database.ts'
import { makePrivateDir, writeFileAtomic } from '../../lib/edge/files.ts'
import { judgeBundle } from '../../lib/edge/judge_bundle.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { decryptKey } from '../../lib/edge/pki/keys.ts'
import { createPki } from '../../lib/edge/pki.ts'
import { type CollectOptions, collectBundle } from '../../lib/edge/proof.ts'
import { type JudgeOptions, judgeTrail } from '../../lib/edge/verify.ts'
import { tableDefinitions } from '../../sql/index.ts'
import type { Signer } from './deployment.ts'
import { freshServer, type Mysqld } from './mysql.ts'
import { systemUser } from './oneclick.ts'
import { passphrase } from './pki.ts'

/** One tenant of the deployment with what its people hold. */
export interface LiveTenant {
  id: string
  label: string
  account: string
  kmsKey: string
  by: Signer
  /** Of its key issuer, 32 bytes. */
  issuerSeed: Bytes
  /** A live data key that its issuer signed. */
  dekId: string
}

const testsGapSeconds = 24 * 3600 // a loaded machine may take its time between two anchors

export class Live implements AsyncDisposable {
  readonly dir: string
  readonly server: Mysqld
  readonly origin: string
  readonly tenants: [LiveTenant, LiveTenant]
  root: Connection

  constructor(
    dir: string,
    server: Mysqld,
    origin: string,
    tenants: [LiveTenant, LiveTenant],
    root: Connection,
  ) {
    this.dir = dir
    this.server = server
    this.origin = origin
    this.tenants = tenants
    this.root = root
  }

  at(...names: string[]): string {
    return join(this.dir, ...names)
  }

  /** Seals, anchors, stores, confirms. */
  async anchor(hooks: Hooks = {}): Promise<void> {
    await anchorNow(anchorSettings(this.dir, this.server), hooks)
  }

  /** What chain_verify finds, over the socket unless `options` name another source. */
  verify(options: Partial<JudgeOptions> = {}): Promise<Verdict> {
    return judgeTrail(
      {
        ...(options.file === undefined && options.defaultsFile === undefined
          ? { socket: this.server.socket }
          : {}),
        trust: this.at('pki', 'trust'),
        anchors: this.at('worm'),
        signatures: 'last',
        gapSeconds: testsGapSeconds,
        ...options,
      },
      () => undefined,
    )
  }

  async collect(options: Partial<CollectOptions> = {}): Promise<string> {
    const out = this.at('bundle.tar.gz')
    await collectBundle({
      clientsDir: this.at('probes'),
      out,
      tool: 'test',
      commit: 'test',
      socket: this.server.socket,
      install: { tlsDir: this.at('tls'), confDir: this.at('conf'), bindAddress: '127.0.0.1' },
      wormDir: this.at('worm'),
      anchorNow: () => this.anchor(),
      ...options,
    })
    return out
  }

  judge(bundle: string, options: Partial<Parameters<typeof judgeBundle>[1]> = {}): Promise<BundleVerdict> {
    return judgeBundle(bundle, {
      trust: this.at('pki', 'trust'),
      anchors: this.at('worm'),
      require: 'database',
      signatures: 'last',
      gapSeconds: testsGapSeconds,
      ...options,
    })
  }

  client(account: string): string {
    return this.at('pki', 'clients', `${account}.cnf`)
  }

  /** As an application: over TLS with its certificate, in its tenant. */
  async asTenant<T>(tenant: LiveTenant, act: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await openMysql({
      defaultsFile: this.client(tenant.account),
      port: this.server.port,
      database: 'securedb',
    })
    try {
      await connection.call('security_set_tenant', [tenant.id])
      return await act(connection)
    } finally {
      await connection.close()
    }
  }

  /** One honest write; the receipt's payload. */
  async write(tenant: LiveTenant, table: string, action: Write['action'], row: Row): Promise<Bytes> {
    const { procedure, params } = callOf(prepareWrite(definitionOf(table), action, row, tenant.by))
    return this.asTenant(tenant, async connection => {
      const [rows] = await connection.call(procedure, params)
      return utf8(String(rows?.[0]?.receipt))
    })
  }

  /** Whoever signs tenants and grants on the workstation. */
  async administrator(): Promise<Signer> {
    const read = (...names: string[]) => readFileSync(this.at('pki', ...names), 'utf8')
    const keyPath = 'administrators/administrator-key.pem'
    const { scalar } = await decryptKey(read(keyPath), passphrase, 'P-256', keyPath)
    const cert = read('administrators', 'administrator-cert.pem')
    const { signer } = readCertificate(parsePem(cert, 'CERTIFICATE', 'administrator'), 'administrator')
    return { origin: this.origin, signer: fromHex(signer, 'signer', 32), secretKey: scalar }
  }

  async seal(): Promise<void> {
    await this.root.call('securedb.seal_due')
  }

  async reopen(): Promise<void> {
    this.root.destroy()
    this.root = await openMysql({ socket: this.server.socket, user: 'root', database: 'securedb' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.root.destroy()
    await this.server.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export function definitionOf(table: string): TableDefinition {
  const def = tableDefinitions.get(table)
  if (!def) throw new Error(`no table ${table}`)
  return def
}

const anchorSettings = (dir: string, server: Mysqld) => ({
  socket: server.socket,
  user: 'root',
  worm: join(dir, 'worm'),
  state: join(dir, 'anchor'),
  key: join(dir, 'anchor', 'anchor_key.json'),
  syslog: 'none',
  waitSeconds: 60,
})

/** A data key that the tenant's issuer signed; its wrap opens nowhere. */
export function dataKeyRow(tenant: LiveTenant, changes: Row = {}): Row {
  const id = newUuid()
  const name = { tenant: tenant.id, id, purpose: 'record' }
  const commit = dekCommit(name, random(32))
  return {
    tenant_id: tenant.id,
    id,
    version: 1,
    wrap_version: 1,
    state: 'active',
    purpose: name.purpose,
    suite: 'kms',
    kms_key: tenant.kmsKey,
    kms_ciphertext: random(120),
    kem_ciphertext: null,
    kem_fingerprint: null,
    sealed_key: random(60),
    wrap_commit: random(32),
    dek_commit: commit,
    issuer: issuerOf(issuerPublicKey(tenant.issuerSeed)),
    issuer_sig: signIssue(tenant.issuerSeed, name, commit),
    salt: random(16),
    ...changes,
  }
}

export function userRow(tenant: LiveTenant, changes: Row = {}): Row {
  return {
    tenant_id: tenant.id,
    id: newUuid(),
    version: 1,
    wrap_version: 1,
    state: 'live',
    role: 'customer',
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

export function accountRow(tenant: LiveTenant, userId: string): Row {
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
  }
}

export function signerIn(dir: string, account: string, origin: string): Signer {
  const read = (what: string) => readFileSync(join(dir, `${account}-${what}.pem`), 'utf8')
  const { signer } = readCertificate(parsePem(read('cert'), 'CERTIFICATE', account), account)
  return { origin, signer: fromHex(signer, 'signer', 32), secretKey: p256Secret(read('key'), account) }
}

const kmsKeyOf = (label: string): string =>
  `gcp-kms-emulator://projects/p/locations/l/keyRings/r/cryptoKeys/${label}`

/** Two tenants with one live data key each, and an anchor. */
export async function live(): Promise<Live> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-live-'))
  const at = (...names: string[]): string => join(dir, ...names)
  for (const name of ['worm', 'probes', 'conf', 'tls', 'anchor']) makePrivateDir(at(name))
  const server = await freshServer()
  const labels = ['acme', 'globex'] as const
  await createPki(at('pki'), {
    passphrase,
    host: '127.0.0.1',
    port: server.port,
    probesDir: at('probes'),
    tenants: [
      { label: 'acme', account: 'app_user', kmsKeys: [kmsKeyOf('acme')] },
      { label: 'globex', account: 'globex_app', kmsKeys: [kmsKeyOf('globex')] },
    ],
  })
  const probes = await unpackArchive(readFileSync(at('pki', 'pki_probes.tar.gz')), 'probes', 1 << 24)
  for (const [name, bytes] of probes) writeFileAtomic(at('probes', name), bytes)
  cpSync(at('pki', 'pki_server.tar.gz'), at('pki_server.tar.gz'))
  const places = { confDir: at('conf'), tlsDir: at('tls'), anchorDir: at('anchor') }
  await installDatabase({
    socket: server.socket,
    ...places,
    anchorUser: systemUser,
    pkiTar: at('pki_server.tar.gz'),
  })
  await server.restart({ config: readFileSync(at('conf', 'zero-trust.cnf'), 'utf8') })
  const { tenants: listed } = JSON.parse(readFileSync(at('pki', 'trust', 'tenants.json'), 'utf8')) as {
    tenants: { id: string; label: string }[]
  }
  const { origin } = JSON.parse(readFileSync(at('pki', 'trust', 'log.json'), 'utf8')) as { origin: string }
  const tenants = labels.map((label): LiveTenant => {
    const account = label === 'acme' ? 'app_user' : 'globex_app'
    const file = `${label}-issuer.json`
    const opened = openSealedFile(file, readFileSync(at('pki', 'issuers', file)), passphrase)
    return {
      id: listed.find(tenant => tenant.label === label)?.id ?? '',
      label,
      account,
      kmsKey: kmsKeyOf(label),
      by: signerIn(at('pki', 'clients'), account, origin),
      issuerSeed: parseIssuerFile(opened, file).seed,
      dekId: '',
    }
  }) as [LiveTenant, LiveTenant]
  const root = await openMysql({ socket: server.socket, user: 'root', database: 'securedb' })
  // a test counts the anchors that it makes, and a busy machine takes its time between two of them
  await root.run('UPDATE gate_limits SET anchor_seconds = 86400')
  const made = new Live(dir, server, origin, tenants, root)
  await made.anchor()
  for (const tenant of tenants) {
    const key = dataKeyRow(tenant)
    await made.write(tenant, 'data_keys', 'create', key)
    tenant.dekId = String(key.id)
  }
  await made.anchor()
  return made
}

let shared: Promise<Live> | undefined

/** The one of this test process. Leave it as you found it. */
export function sharedLive(): Promise<Live> {
  shared ??= live().then(made => {
    onExit(async () => made[Symbol.asyncDispose]())
    return made
  })
  return shared
}
