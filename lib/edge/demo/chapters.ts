/** The chapters of the demo, in the order in which they are told. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../../core/errors.ts'
import { onExit } from '../cleanup.ts'
import { readRegularFile, writeFileAtomic } from '../files.ts'
import { type Mysqld, startMysqld } from '../mysqld.ts'
import { tamper } from './attack.ts'
import { people, type Scene } from './scene.ts'
import { expectRun, lastLine, refusal, run } from './stage.ts'

/** One key a tenant, one identity a key; then the service. */
export async function startKms(scene: Scene): Promise<void> {
  const [state, ready] = [scene.at('kms', 'state.json'), scene.at('kms', 'ready.json')]
  const emulator = (...args: string[]) => [
    process.execPath,
    join(scene.options.root, 'scripts', 'kms_emulator.ts'),
    ...args,
  ]
  for (const { account, kmsKey, tokenFile } of scene.tenants) {
    const key = kmsKey.replace('gcp-kms-emulator://', '')
    await expectRun(emulator('create-key', '--state', state, '--key', key))
    const rights = ['--rights', 'encrypt,decrypt', '--token-file', tokenFile]
    await expectRun(emulator('grant', '--state', state, '--identity', account, '--key', key, ...rights))
  }
  scene.processes.start('kms', emulator('serve', '--state', state, '--ready-file', ready))
  for (let i = 0; i < 300 && !existsSync(ready); i++) await Bun.sleep(100)
  if (!existsSync(ready))
    throw new ZtError('UNREACHABLE', 'the KMS emulator did not start within thirty seconds')
  const { endpoint } = JSON.parse(readRegularFile(ready, 'ready file', 1 << 16).toString('utf8')) as {
    endpoint: string
  }
  scene.kms = endpoint
}

export async function makePki(scene: Scene): Promise<void> {
  const [first, second] = scene.tenants
  const place = [
    '--server-name',
    '127.0.0.1',
    '--port',
    String(scene.server.port),
    '--probes-dir',
    scene.at('probes'),
  ]
  await scene.pki(
    'init',
    ...place,
    '--tenant',
    first.label,
    '--account',
    first.account,
    '--kms-key',
    first.kmsKey,
  )
  await scene.pki('tenant', 'add', second.label, '--kms-key', second.kmsKey)
  await scene.pki('issue', second.account, '--tenant', second.label)
  const [keygen] = scene.envelope(second, 'keygen')
  const out = second.kem ?? ''
  await expectRun([
    keygen[0] ?? '',
    'keygen',
    '--trust',
    scene.at('pki', 'trust'),
    '--tenant',
    second.label,
    '--out',
    out,
    '--passphrase-file',
    scene.passphrase,
  ])
  await scene.pki('tenant', 'kem', second.label, `${out.replace(/\.json$/, '')}.pub`)
  await expectRun(['tar', '-xzf', scene.at('pki', 'pki_probes.tar.gz'), '-C', scene.at('probes')])
}

export async function install(scene: Scene): Promise<void> {
  const tar = scene.at('pki_server.tar.gz')
  cpSync(scene.at('pki', 'pki_server.tar.gz'), tar)
  const { stdout } = await expectRun(['id', '-un']) // os.userInfo() can say `unknown` for root
  const apply = [scene.binary('vm_oneclick'), 'apply', '--yes', ...scene.installFlags]
  await expectRun([...apply, '--pki-tar', tar, '--anchor-user', stdout.trim()])
  await scene.server.restart(scene.settings)
  const again = await expectRun(apply)
  scene.narrator.shows(`a second run: ${lastLine(again.stdout) || lastLine(again.stderr)}`)
  const [command, env] = scene.anchorHead('now')
  await expectRun(command, { env })
}

export async function writePeople(scene: Scene): Promise<void> {
  for (const tenant of scene.tenants) {
    const issuer = [
      '--issuer',
      scene.at('pki', 'issuers', `${tenant.label}-issuer.json`),
      '--passphrase-file',
      scene.passphrase,
    ]
    const [keys, env] = scene.envelope(tenant, 'tenant-key', ...issuer, ...(tenant.kem ? ['--pq'] : []))
    await expectRun(keys, { env })
    for (const person of people) {
      const [create] = scene.envelope(tenant, 'create', '--input', '-')
      const made = JSON.parse((await expectRun(create, { env, input: JSON.stringify(person) })).stdout) as {
        id: string
      }
      tenant.people.push(made.id)
    }
  }
  const [first] = scene.tenants
  const [read, env] = scene.envelope(first, 'read', first.people[0] ?? '')
  const opened = await expectRun(read, { env })
  if (!opened.stdout.includes(people[0].full_name))
    throw new ZtError('VERIFY_FAILED', 'what was read is not what was written')
  scene.narrator.shows(`${first.people[0]} reads back as ${people[0].full_name}`)
}

export async function refusals(scene: Scene): Promise<void> {
  const [own, other] = scene.tenants
  const refused = (...args: Parameters<typeof refusal>): void => scene.narrator.shows(refusal(...args))
  const sql = (statement: string) => run([...scene.mysqlAs(own.account), 'securedb', '-e', statement])
  const neighbour = scene.tenantId(other.label)
  refused(
    "another tenant's context",
    await sql(`CALL security_set_tenant('${neighbour}')`),
    /ERROR 1644 \(45T02\)/,
  )
  const [read, env] = scene.envelope(own, 'read', other.people[0] ?? '')
  refused("another tenant's person", await run(read, { env }), /pq_envelope_cli: error: /)
  refused(
    'an INSERT past the procedures',
    await sql('INSERT INTO users (tenant_id) VALUES (0)'),
    /ERROR 1142 \(42000\)/,
  )
  const asRoot = [
    ...scene.server.clientCommand,
    'securedb',
    '-e',
    'UPDATE audit_events SET payload = 0 WHERE seq = 1',
  ]
  refused('an UPDATE of the audit trail by root', await run(asRoot), /ERROR 1644 \(45A01\)/)
  const plain = [...scene.mysqlAs(own.account), '--ssl-mode=DISABLED', '-e', 'SELECT 1']
  refused('a connection without TLS', await run(plain), /ERROR 1045 \(28000\)/)
}

export async function collectProof(scene: Scene): Promise<string> {
  const bundle = scene.at('proof_bundle.tar.gz')
  const canary = scene.at('canary')
  writeFileAtomic(canary, `${people[0].full_name}\n`)
  const [anchor] = [['--anchor-now', '--anchor-state', scene.at('anchor'), '--worm', scene.at('worm')]]
  const places = [
    '--conf-dir',
    scene.at('conf'),
    '--tls-dir',
    scene.at('tls'),
    '--socket',
    scene.server.socket,
  ]
  const collected = await expectRun(
    [scene.binary('proof_suite'), '--out', bundle, ...places, '--canary', canary, ...(anchor ?? [])],
    { env: { CLIENTS_DIR: scene.at('probes') } },
  )
  scene.narrator.shows(lastLine(collected.stdout))
  return bundle
}

/** One binary and the bundle in an empty folder: what an auditor has. Returns the matrix. */
export async function verifyOffline(scene: Scene, bundle: string): Promise<string> {
  const empty = mkdtempSync(join(tmpdir(), 'zt-auditor-'))
  const forget = onExit(() => rmSync(empty, { recursive: true, force: true }))
  try {
    cpSync(scene.binary('proof_suite'), join(empty, 'proof_suite'))
    cpSync(bundle, join(empty, 'proof_bundle.tar.gz'))
    const verify = [
      './proof_suite',
      'verify',
      'proof_bundle.tar.gz',
      ...scene.evidence,
      '--require',
      'database',
    ]
    return (await expectRun(verify, { cwd: empty })).stdout
  } finally {
    forget()
    rmSync(empty, { recursive: true, force: true })
  }
}

export async function attackCopy(scene: Scene): Promise<void> {
  const [tenant] = scene.tenants
  const copy = await copyOf(scene)
  const chain = [scene.binary('chain_verify'), ...scene.evidence, '--receipts', tenant.receipts]
  try {
    const attacks = await tamper(copy, tenant.people)
    const { stdout } = await expectRun([...chain, '--socket', copy.socket], { code: 1 })
    for (const { code, about } of attacks) {
      const line = stdout.split('\n').find(text => text.includes(`FAIL ${code}`) && text.includes(about))
      if (line === undefined)
        throw new ZtError('VERIFY_FAILED', `the verifier did not name ${code} for ${about}:\n${stdout}`)
      scene.narrator.shows(line)
    }
  } finally {
    await copy.stop()
  }
  await expectRun([...chain, '--socket', scene.server.socket])
  scene.narrator.shows('the original still verifies')
}

/** A second server on a copy of the data, as root could take one from the disk or a backup. */
async function copyOf({ server, settings }: Scene): Promise<Mysqld> {
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
