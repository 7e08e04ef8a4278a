/** The whole journey on real parts: PKI, install, encrypt, audit, proof, offline verdict, and two attacks by root. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newUuid, random, toHex } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { onExit } from '../cleanup.ts'
import { makePrivateDir, readRegularFile, writeFileAtomic } from '../files.ts'
import { type Mysqld, mysqlClientCommand, startMysqld } from '../mysqld.ts'
import { tamper } from './attack.ts'
import {
  endProcess,
  type Instance,
  mysqlDir,
  type ProcessRecord,
  startTimeOf,
  writeInstance,
} from './instance.ts'
import { expectRun, type Narrator, refusal, run } from './stage.ts'

interface DemoTenant {
  label: string
  account: string
  kmsKey: string
  tokenFile: string
  receipts: string
}

const people = [
  { full_name: 'Ada Example', role: 'customer', email: 'ada@example.org', phone: '+49 30 1234567' },
  { full_name: 'Grace Sample', role: 'customer', email: 'grace@example.org' },
]

export interface DemoOptions {
  /** An empty folder of the caller's. */
  dir: string
  keep: boolean
  /** The repository: scripts run from its source. */
  root: string
}

/** @throws what a step that was not as it should be says */
export async function tellStory(
  stage: Narrator,
  options: DemoOptions,
): Promise<{ instance: Instance; matrix: string }> {
  const { dir, keep, root } = options
  const binary = (name: string): string => join(root, 'dist', name)
  const at = (...names: string[]): string => join(dir, ...names)
  for (const name of ['kms', 'worm', 'receipts', 'probes', 'conf', 'tls', 'anchor']) makePrivateDir(at(name))
  const processes: ProcessRecord[] = []
  const start = (name: string, command: string[], env: Record<string, string> = {}): void => {
    processes.push(startProcess(name, command, env, keep))
  }

  const passphrase = at('passphrase')
  writeFileAtomic(passphrase, `${toHex(random(16))}\n`)
  const tenants: [DemoTenant, DemoTenant] = [
    demoTenant(dir, 'acme', 'app_user'),
    demoTenant(dir, 'globex', 'globex_app'),
  ]

  const server = await stage.chapter('a private MySQL, a local KMS, a folder as WORM store', async () => {
    const mysqld = await startMysqld({ detached: keep, ...(keep ? { dir: mysqlDir(dir) } : {}) })
    stage.shows(`MySQL ${mysqld.version} on 127.0.0.1:${mysqld.port}`)
    return mysqld
  })
  const kms = await startKms(stage, { root, dir, tenants, start })
  const clients = at('pki', 'clients')
  const client = (account: string) => [...mysqlClient, `--defaults-file=${join(clients, `${account}.cnf`)}`]
  const mysqlClient = await mysqlClientCommand()

  await stage.chapter('PKI: CA, server, two tenants, their applications, auditor, probes', async () => {
    const pki = (...args: string[]) =>
      expectRun([binary('outside_pki'), '--dir', at('pki'), '--passphrase-file', passphrase, ...args])
    const [first, second] = tenants
    const place = ['--server-name', '127.0.0.1', '--port', String(server.port)]
    await pki(
      'init',
      ...place,
      '--tenant',
      first.label,
      '--account',
      first.account,
      '--kms-key',
      first.kmsKey,
      '--probes-dir',
      at('probes'),
    )
    await pki('tenant', 'add', second.label, '--kms-key', second.kmsKey)
    await pki('issue', second.account, '--tenant', second.label)
    await expectRun(['tar', '-xzf', at('pki', 'pki_probes.tar.gz'), '-C', at('probes')])
  })

  const install = [
    '--socket',
    server.socket,
    '--conf-dir',
    at('conf'),
    '--tls-dir',
    at('tls'),
    '--anchor-dir',
    at('anchor'),
  ]
  const settings = { config: `!include ${at('conf', 'zero-trust.cnf')}` }
  const socket = { MYSQL_SOCKET: server.socket }
  const anchorFlags = [
    '--user',
    'root',
    '--worm',
    at('worm'),
    '--state',
    at('anchor'),
    '--key',
    at('anchor', 'anchor_key.json'),
    '--syslog',
    'none',
  ]
  const anchor = () => expectRun([binary('anchor_head'), 'now', ...anchorFlags], { env: socket })
  await stage.chapter('install: settings, TLS, schema, accounts, signed orders', async () => {
    const tar = at('pki_server.tar.gz')
    cpSync(at('pki', 'pki_server.tar.gz'), tar)
    await expectRun([
      binary('vm_oneclick'),
      'apply',
      '--yes',
      '--pki-tar',
      tar,
      '--anchor-user',
      await systemUser(),
      ...install,
    ])
    await server.restart(settings)
    const again = await expectRun([binary('vm_oneclick'), 'apply', '--yes', ...install])
    stage.shows(`a second run: ${lastLine(again.stdout) || lastLine(again.stderr)}`)
    await anchor()
  })
  if (keep) start('anchor', [binary('anchor_head'), 'loop', '--every', '60', ...anchorFlags], socket)

  const envelope = (tenant: DemoTenant, ...args: string[]) => [
    binary('pq_envelope_cli'),
    ...args,
    '--defaults-file',
    join(clients, `${tenant.account}.cnf`),
    '--trust',
    at('pki', 'trust'),
    '--receipts',
    tenant.receipts,
  ]
  const asClient = (tenant: DemoTenant) => ({
    KMS_EMULATOR_HOST: kms,
    KMS_EMULATOR_TOKEN_FILE: tenant.tokenFile,
  })
  const ids: string[] = []
  await stage.chapter(
    'write and read people: sealed in the client, signed, through one procedure',
    async () => {
      for (const tenant of tenants) {
        const issuer = at('pki', 'issuers', `${tenant.label}-issuer.json`)
        await expectRun(envelope(tenant, 'tenant-key', '--issuer', issuer, '--passphrase-file', passphrase), {
          env: asClient(tenant),
        })
        for (const person of people) {
          const made = await expectRun(envelope(tenant, 'create', '--input', '-'), {
            env: asClient(tenant),
            input: JSON.stringify({ ...person, role: 'customer' }),
          })
          ids.push(idIn(made.stdout))
        }
      }
      const [first] = ids
      const read = await expectRun(envelope(tenants[0], 'read', first ?? ''), { env: asClient(tenants[0]) })
      if (!read.stdout.includes('Ada Example'))
        throw new ZtError('VERIFY_FAILED', 'what was read is not what was written')
      stage.shows(`${ids.length} people of 2 tenants; ${first} reads back as ${people[0]?.full_name}`)
    },
  )

  await stage.chapter('what must be refused', () =>
    refusals(stage, { client, tenants, ids, server, envelope, asClient, trust: at('pki', 'trust') }),
  )

  const bundle = at('proof_bundle.tar.gz')
  await stage.chapter('collect a proof bundle between two anchors', async () => {
    const canary = at('canary')
    writeFileAtomic(canary, 'Ada Example\n')
    const collected = await expectRun(
      [
        binary('proof_suite'),
        '--out',
        bundle,
        '--socket',
        server.socket,
        '--conf-dir',
        at('conf'),
        '--tls-dir',
        at('tls'),
        '--canary',
        canary,
        '--worm',
        at('worm'),
        '--anchor-now',
        '--anchor-state',
        at('anchor'),
      ],
      { env: { CLIENTS_DIR: at('probes') } },
    )
    stage.shows(lastLine(collected.stdout))
  })

  const evidence = ['--trust', at('pki', 'trust'), '--anchors', at('worm')]
  const matrix = await stage.chapter('verify it offline, with one binary in an empty folder', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'zt-auditor-'))
    const forget = onExit(() => rmSync(empty, { recursive: true, force: true }))
    try {
      cpSync(binary('proof_suite'), join(empty, 'proof_suite'))
      cpSync(bundle, join(empty, 'proof_bundle.tar.gz'))
      return (
        await expectRun(
          ['./proof_suite', 'verify', 'proof_bundle.tar.gz', ...evidence, '--require', 'database'],
          { cwd: empty },
        )
      ).stdout
    } finally {
      forget()
      rmSync(empty, { recursive: true, force: true })
    }
  })

  await stage.chapter(
    'root on a copy of the database: edits a row; edits another and forges its event',
    async () => {
      const copy = await copyOf(server, settings)
      try {
        const edited = await tamper(copy, ids.slice(0, 2))
        const found = await expectRun(
          [binary('chain_verify'), ...evidence, '--socket', copy.socket, '--receipts', tenants[0].receipts],
          { code: 1 },
        )
        for (const [code, id] of edited) {
          const line = found.stdout
            .split('\n')
            .find(text => text.includes(code) && (code !== 'ROW_EDITED' || text.includes(id)))
          if (line === undefined)
            throw new ZtError(
              'VERIFY_FAILED',
              `the verifier did not name ${code} for ${id}:\n${found.stdout}`,
            )
          stage.shows(line.trim().slice(0, 150))
        }
      } finally {
        await copy.stop()
      }
      await expectRun([binary('chain_verify'), ...evidence, '--socket', server.socket])
      stage.shows('the original still verifies')
    },
  )

  const instance: Instance = {
    v: 1,
    mysql: { host: '127.0.0.1', port: server.port, socket: server.socket },
    clientsDir: clients,
    kms: { endpoint: kms, keyName: tenants[0].kmsKey },
    wormDir: at('worm'),
    trustDir: at('pki', 'trust'),
    receipts: tenants[0].receipts,
    bundle,
    tenants: tenants.map(tenant => ({
      id: tenantId(at('pki', 'trust'), tenant.label),
      label: tenant.label,
      account: tenant.account,
      kmsKey: tenant.kmsKey,
      kmsTokenFile: tenant.tokenFile,
      receipts: tenant.receipts,
    })),
    pids: {
      ...Object.fromEntries(processes.map(({ name, pid }) => [name, pid])),
      ...(server.pid ? { mysqld: server.pid } : {}),
    },
    processes,
  }
  if (keep) writeInstance(dir, instance)
  else {
    for (const one of processes) await endProcess(one)
    await server.stop()
  }
  return { instance, matrix }
}

function demoTenant(dir: string, label: string, account: string): DemoTenant {
  const receipts = join(dir, 'receipts', label)
  makePrivateDir(receipts)
  return {
    label,
    account,
    kmsKey: `gcp-kms-emulator://projects/demo/locations/local/keyRings/zero-trust/cryptoKeys/mysql-${label}`,
    tokenFile: join(dir, 'kms', `${label}.token`),
    receipts,
  }
}

const idIn = (stdout: string): string => {
  const { id } = JSON.parse(stdout) as { id?: unknown }
  if (typeof id === 'string') return id
  throw new ZtError('VERIFY_FAILED', 'the envelope CLI printed no id')
}

function tenantId(trust: string, label: string): string {
  const { tenants } = JSON.parse(
    readRegularFile(join(trust, 'tenants.json'), 'tenants', 1 << 24).toString(),
  ) as {
    tenants: { id: string; label: string }[]
  }
  return tenants.find(tenant => tenant.label === label)?.id ?? ''
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? ''

/** `os.userInfo()` can say `unknown` for root. */
const systemUser = async (): Promise<string> => (await expectRun(['id', '-un'])).stdout.trim()

function startProcess(
  name: string,
  command: string[],
  env: Record<string, string>,
  keep: boolean,
): ProcessRecord {
  const child = Bun.spawn(command, {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/', ...env },
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: keep,
  })
  if (keep) child.unref()
  const record = { name, pid: child.pid, startTime: startTimeOf(child.pid) }
  onExit(() => (keep && done.has(record.pid) ? undefined : endProcess(record)))
  return record
}

/** Processes that outlive a demo that came to its good end. */
const done = new Set<number>()
export const leaveRunning = (instance: Instance): void => {
  for (const { pid } of instance.processes) done.add(pid)
}

interface KmsStart {
  root: string
  dir: string
  tenants: DemoTenant[]
  start: (name: string, command: string[], env?: Record<string, string>) => void
}

/** Keys and one identity a tenant, which may use its own key alone; then the service. Returns its endpoint. */
async function startKms(stage: Narrator, { root, dir, tenants, start }: KmsStart): Promise<string> {
  return stage.chapter('KMS: one key a tenant, one identity a key', async () => {
    const state = join(dir, 'kms', 'state.json')
    const ready = join(dir, 'kms', 'ready.json')
    const emulator = (...args: string[]) => [
      process.execPath,
      join(root, 'scripts', 'kms_emulator.ts'),
      ...args,
    ]
    for (const { account, kmsKey, tokenFile } of tenants) {
      const key = kmsKey.replace('gcp-kms-emulator://', '')
      await expectRun(emulator('create-key', '--state', state, '--key', key))
      await expectRun(
        emulator(
          'grant',
          '--state',
          state,
          '--identity',
          account,
          '--key',
          key,
          '--rights',
          'encrypt,decrypt',
          '--token-file',
          tokenFile,
        ),
      )
    }
    start('kms', emulator('serve', '--state', state, '--ready-file', ready))
    for (let i = 0; i < 100; i++) {
      if (readdirSync(join(dir, 'kms')).includes('ready.json')) {
        const { endpoint } = JSON.parse(readRegularFile(ready, 'ready file', 1 << 16).toString()) as {
          endpoint: string
        }
        return endpoint
      }
      await Bun.sleep(100)
    }
    throw new ZtError('UNREACHABLE', 'the KMS emulator did not start within ten seconds')
  })
}

interface RefusalContext {
  client: (account: string) => string[]
  tenants: [DemoTenant, DemoTenant]
  ids: string[]
  server: Mysqld
  envelope: (tenant: DemoTenant, ...args: string[]) => string[]
  asClient: (tenant: DemoTenant) => Record<string, string>
  trust: string
}

async function refusals(stage: Narrator, c: RefusalContext): Promise<void> {
  const [own, other] = c.tenants
  const refused = (...args: Parameters<typeof refusal>): void => stage.shows(refusal(...args))
  const sql = (statement: string) => run([...c.client(own.account), 'securedb', '-e', statement])
  const asRoot = (statement: string) => run([...c.server.clientCommand, 'securedb', '-e', statement])
  const neighbour = tenantId(c.trust, other.label)
  refused(
    "another tenant's context",
    await sql(`CALL security_set_tenant('${neighbour}')`),
    /ERROR 1644 \(45T02\)/,
  )
  const theirs = await run(c.envelope(own, 'read', c.ids.at(-1) ?? newUuid()), { env: c.asClient(own) })
  refused("another tenant's person", theirs, /pq_envelope_cli: error: /)
  refused(
    'an INSERT past the procedures',
    await sql('INSERT INTO users (tenant_id) VALUES (0)'),
    /ERROR 1142 \(42000\)/,
  )
  refused(
    'an UPDATE of the audit trail by root',
    await asRoot('UPDATE audit_events SET payload = 0 WHERE seq = 1'),
    /ERROR 1644 \(45A01\)/,
  )
  const plain = [...c.client(own.account), '--ssl-mode=DISABLED', '-e', 'SELECT 1']
  refused('a connection without TLS', await run(plain), /ERROR (3159|1045|2026)/)
}

/** A second server on a copy of the data, as root could take one from the disk or a backup. */
async function copyOf(server: Mysqld, settings: { config: string }): Promise<Mysqld> {
  const copy = await startMysqld()
  await copy.stop({ keep: true })
  await server.stop({ keep: true })
  rmSync(copy.dataDir, { recursive: true })
  mkdirSync(copy.dataDir, { mode: 0o700 })
  cpSync(server.dataDir, copy.dataDir, { recursive: true })
  await server.restart(settings)
  await copy.restart(settings)
  return copy
}
