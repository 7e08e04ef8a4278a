/**
 * outside_gcp_setup with the real gcloud against a stand-in for Google's interfaces. Where PATH has no gcloud these are
 * skipped, and counted so.
 */
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { googleControls } from '../../lib/core/controls/google.ts'
import { parsePems } from '../../lib/core/pem.ts'
import { judgeGoogle } from '../../lib/core/proof/google_judgement.ts'
import { attestBy } from '../../lib/edge/gcp/attestation.ts'
import { readGoogleEvidence } from '../../lib/edge/gcp/evidence_file.ts'
import type { Right } from '../../lib/edge/kms_emulator.ts'
import { makeHsm, read, removeHsm, whole } from '../support/attestation.ts'
import { binary } from '../support/binary.ts'
import { type GoogleCloud, startGoogleCloud } from '../support/google_cloud/server.ts'
import { type Cloud, newCloud } from '../support/google_cloud/state.ts'
import { startTestKms } from '../support/kms.ts'

setDefaultTimeout(600_000) // gcloud takes about a second a command, and several on a busy machine

const withGcloud = describe.skipIf(Bun.which('gcloud') === null)
const place = ['--project', 'acme-prod-1', '--worm-project', 'acme-worm-1', '--bucket', 'acme-anchors']
const dir = mkdtempSync(join(tmpdir(), 'zt-gcp-'))

let google: GoogleCloud
let cloud: Cloud
afterAll(async () => {
  await google?.stop()
  removeHsm()
  rmSync(dir, { recursive: true, force: true })
})

async function start(): Promise<void> {
  await google?.stop()
  cloud = newCloud(['acme-prod-1', 'acme-worm-1'])
  google = startGoogleCloud(cloud)
}
beforeEach(async () => {
  if (google === undefined) await start()
})

interface Ran {
  exitCode: number
  stdout: string
  stderr: string
}

async function setup(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  writeFileSync(join(dir, 'token'), 'admin-token')
  const apis = ['CLOUDKMS', 'LOGGING', 'IAM', 'SERVICEUSAGE', 'CLOUDRESOURCEMANAGER']
  const child = Bun.spawn([await binary('outside_gcp_setup'), ...args], {
    env: {
      PATH: process.env.PATH ?? '',
      HOME: dir,
      CLOUDSDK_CONFIG: join(dir, 'gcloud'),
      CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: join(dir, 'token'),
      ...Object.fromEntries(apis.map(api => [`CLOUDSDK_API_ENDPOINT_OVERRIDES_${api}`, google.url])),
      CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: `${google.url}storage/v1/`,
      STORAGE_EMULATOR_HOST: google.url,
      ...env,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { stdout, stderr, exitCode }
}

const writes = (): string[] =>
  google.calls.filter(
    call => /^(?:POST|PUT|PATCH|DELETE)/.test(call) && !/getIamPolicy|getAncestry|entries:list/.test(call),
  )
const keyOf = (tenant: string): string =>
  `projects/acme-prod-1/locations/europe-west3/keyRings/zero-trust/cryptoKeys/mysql-${tenant}`

withGcloud('a set-up', () => {
  /** The end of stdout, as a script takes it. */
  let keyNames: string[] = []

  test('is printed with its exact commands, and nothing is changed', async () => {
    await start()
    const { exitCode, stdout } = await setup(['--tenant', 'acme', ...place, '--dry-run'])
    expect(exitCode).toBe(0)
    expect(writes()).toEqual([])
    const commands = stdout
      .slice(stdout.indexOf('commands:\n'))
      .replace(/\d{4}-\d\d-\d\dT[\d:]+Z/, 'IN-90-DAYS')
    expect(commands).toMatchSnapshot()
  })

  test('is made whole, ends with the names of the keys, and a second run has nothing to do', async () => {
    const { exitCode, stdout, stderr } = await setup([
      '--tenant',
      'acme',
      '--tenant',
      'globex',
      ...place,
      '--yes',
    ])
    expect([exitCode, stderr.includes('error')]).toEqual([0, false])
    keyNames = stdout.trim().split('\n').slice(-2)
    expect(keyNames).toEqual([keyOf('acme'), keyOf('globex')])

    const key = cloud.keys.get(keyOf('acme'))
    expect(key).toMatchObject({
      purpose: 'ENCRYPT_DECRYPT',
      versionTemplate: { protectionLevel: 'HSM' },
      rotationPeriod: '7776000s',
      destroyScheduledDuration: '2592000s',
      labels: { 'ztmysql-tenant': 'acme' },
    })
    const client = (tenant: string) => `serviceAccount:zt-app-${tenant}@acme-prod-1.iam.gserviceaccount.com`
    expect(cloud.policies.get(keyOf('globex'))?.bindings).toEqual([
      { role: 'roles/cloudkms.cryptoKeyEncrypterDecrypter', members: [client('globex')] },
    ])
    const bucket = cloud.buckets.get('acme-anchors')
    expect(bucket).toMatchObject({
      project: 'acme-worm-1',
      iamConfiguration: { uniformBucketLevelAccess: { enabled: true }, publicAccessPrevention: 'enforced' },
      retentionPolicy: { retentionPeriod: '31536000' },
    })
    expect(bucket?.retentionPolicy?.isLocked).toBeUndefined()
    expect(
      cloud.policies
        .get('b/acme-anchors')
        ?.bindings.map(({ role }) => role)
        .sort(),
    ).toEqual([
      'projects/acme-worm-1/roles/ztmysqlAnchor',
      'roles/storage.objectCreator',
      'roles/storage.objectViewer',
    ])
    const host = 'serviceAccount:zt-host@acme-prod-1.iam.gserviceaccount.com'
    const ofHost = [...cloud.policies].flatMap(([resource, { bindings }]) =>
      bindings.filter(({ members }) => members.includes(host)).map(({ role }) => `${role} on ${resource}`),
    )
    expect(ofHost.sort()).toEqual([
      'projects/acme-worm-1/roles/ztmysqlAnchor on b/acme-anchors',
      'roles/logging.logWriter on projects/acme-prod-1',
    ])

    google.calls.length = 0
    const again = await setup([...place, '--yes'])
    expect(again.exitCode).toBe(0)
    expect(again.stderr).toContain('nothing to do')
    expect(again.stdout.trim().split('\n').slice(-2)).toEqual([keyOf('acme'), keyOf('globex')])
    expect(writes()).toEqual([])
  })

  test('has keys that Google’s client uses, each for its own tenant: the emulator with their names and rights', async () => {
    const kms = await startTestKms()
    const rightsOf: Record<string, Right[]> = {
      'roles/cloudkms.cryptoKeyEncrypterDecrypter': ['encrypt', 'decrypt'],
    }
    const tokens = new Map<string, string>()
    for (const name of keyNames) {
      await kms.emulator.createKey(name)
      for (const { role, members } of cloud.policies.get(name)?.bindings ?? [])
        for (const member of members) {
          const account = member.replace(/^serviceAccount:(.*)@.*$/, '$1')
          tokens.set(account, await kms.identity(account, { [name]: rightsOf[role] ?? [] }))
        }
    }
    const [acme = '', globex = ''] = keyNames
    const own = await kms.open(acme, tokens.get('zt-app-acme'))
    const secret = new Uint8Array(32).fill(7)
    const sealed = await own.encrypt(own.keyUri, secret, new Uint8Array(1))
    expect(await own.decrypt(own.keyUri, sealed, new Uint8Array(1))).toEqual(secret)
    const other = await kms.open(globex, tokens.get('zt-app-acme'))
    await expect(other.encrypt(other.keyUri, secret, new Uint8Array(1))).rejects.toMatchObject({
      code: 'DENIED',
    })
    await kms.stop()
  })

  test('is locked only with the name of the bucket, and then for ever', async () => {
    const wrong = await setup([...place, '--lock-retention', 'other', '--yes'])
    expect([wrong.exitCode, wrong.stderr]).toEqual([2, expect.stringContaining("repeat the bucket's name")])
    expect((await setup([...place, '--lock-retention', 'acme-anchors', '--yes'])).exitCode).toBe(0)
    expect(cloud.buckets.get('acme-anchors')?.retentionPolicy?.isLocked).toBe(true)
    const shorter = await setup([...place, '--retention-days', '30', '--yes'])
    expect([shorter.exitCode, shorter.stderr]).toEqual([1, expect.stringContaining('cannot be shortened')])
  })

  const broken = (stdout: string) => [...stdout.matchAll(/^BROKEN (\S+)/gm)].map(([, id]) => id)
  const out = join(dir, 'evidence')
  const verify = () => setup(['verify', ...place, '--out', out, '--hsm-roots', join(dir, 'roots.pem')])
  /** Whatever came, came this moment, however long gcloud takes to ask. */
  function fresh(): void {
    const always = (get: () => unknown) => ({ get, enumerable: true, configurable: true })
    for (const object of cloud.buckets.get('acme-anchors')?.objects ?? [])
      Object.defineProperty(object, 'created', always(Date.now))
    for (const entry of cloud.projects.get('acme-prod-1')?.logs ?? [])
      Object.defineProperty(
        entry,
        'timestamp',
        always(() => new Date().toISOString()),
      )
  }
  /** Every row of the matrix by the file alone, as proof_suite judges it. */
  function offline(): Record<string, string> {
    const google = readGoogleEvidence(out)
    const at = Date.parse(google.time)
    const context = {
      own: true,
      attest: attestBy(parsePems(readFileSync(join(dir, 'roots.pem'), 'utf8'), 'CERTIFICATE', 'roots')),
      anchors: [{ name: 'anchor-0000000001.json', bytes: new Uint8Array(3), receivedAt: null }],
      opened: at,
      closed: at,
    }
    return Object.fromEntries(
      googleControls.map(({ id }) => [id, judgeGoogle(id, google, context, { tenants: [] }).status]),
    )
  }
  const rows = (red: (string | undefined)[]) =>
    Object.fromEntries(googleControls.map(({ id }) => [id, red.includes(id) ? 'fail' : 'pass']))

  test('is verified, and its evidence is green wherever it is judged', async () => {
    const bucket = cloud.buckets.get('acme-anchors')
    const project = cloud.projects.get('acme-prod-1')
    if (!bucket || !project) throw new Error('not set up')
    makeHsm()
    writeFileSync(join(dir, 'roots.pem'), read('maker.pem') + read('google.pem'))
    for (const tenant of ['acme', 'globex'])
      Object.assign(cloud.keys.get(keyOf(tenant))?.versions[0] ?? {}, { attestation: whole(tenant) })
    const object = (name: string) => ({ name, bytes: new Uint8Array(3), generation: 1, created: Date.now() })
    bucket.objects.push(
      object('anchors/anchor-0000000001.json'),
      object('syslog/2026/11/24/00:00:00_S0.json'),
    )
    project.logs.push({ timestamp: new Date().toISOString(), logName: 'x', textPayload: 'AUDIT_CHAIN_HEAD' })
    fresh()
    const { exitCode, stdout } = await verify()
    expect([exitCode, broken(stdout)]).toEqual([0, []])
    expect(stdout).toContain('google.attested')
    expect(offline()).toEqual(rows([]))
    expect(readGoogleEvidence(out)).toMatchObject({
      grade: 'off-host',
      identity: 'the account of gcloud, AT A STAND-IN AND NOT AT GOOGLE',
    })
  })

  interface Weak {
    bend(): unknown
    breaks: string
    said: string
  }
  const eve = 'user:eve@example.org'
  const robot = 'serviceAccount:ci@acme-prod-1.iam.gserviceaccount.com'
  const hostMember = 'serviceAccount:zt-host@acme-prod-1.iam.gserviceaccount.com'
  const give = (resource: string, role: string, member: string) => () =>
    cloud.policies.set(resource, {
      ...(cloud.policies.get(resource) ?? { version: 1, etag: 'ACAB' }),
      bindings: [...(cloud.policies.get(resource)?.bindings ?? []), { role, members: [member] }],
    })
  const take = (resource: string, role: RegExp) => () =>
    cloud.policies.set(resource, {
      ...(cloud.policies.get(resource) ?? { version: 1, etag: 'ACAB' }),
      bindings: (cloud.policies.get(resource)?.bindings ?? []).filter(each => !role.test(each.role)),
    })
  const inProject = (id: string) => cloud.projects.get(id) ?? never()
  const bucketThere = () => cloud.buckets.get('acme-anchors') ?? never()
  const ring = 'projects/acme-prod-1/locations/europe-west3/keyRings/zero-trust'

  /** Given by who should not, taken away, stopped or hidden: all at once, as gcloud takes its time, and each named. */
  const weaknesses: Weak[] = [
    {
      bend: take(keyOf('acme'), /cloudkms/),
      breaks: 'google.tenant-alone',
      said: 'acme: its client cannot use its key',
    },
    {
      bend: give(ring, 'roles/cloudkms.cryptoKeyDecrypter', eve),
      breaks: 'google.tenant-alone',
      said: `${eve} has roles/cloudkms.cryptoKeyDecrypter on key ring zero-trust`,
    },
    {
      bend: give('folders/77', 'roles/cloudkms.cryptoKeyEncrypterDecrypter', eve),
      breaks: 'google.tenant-alone',
      said: `${eve} has roles/cloudkms.cryptoKeyEncrypterDecrypter on folder 77`,
    },
    {
      bend: () => {
        inProject('acme-prod-1').roles.push({
          name: 'projects/acme-prod-1/roles/reader',
          title: '',
          includedPermissions: ['cloudkms.cryptoKeyVersions.useToDecrypt'],
        })
        give('projects/acme-prod-1', 'projects/acme-prod-1/roles/reader', eve)()
      },
      breaks: 'google.tenant-alone',
      said: `${eve} has projects/acme-prod-1/roles/reader on project acme-prod-1`,
    },
    {
      bend: give(
        keyOf('acme'),
        'roles/cloudkms.cryptoKeyDecrypter',
        'serviceAccount:zt-app-globex@acme-prod-1.iam.gserviceaccount.com',
      ),
      breaks: 'google.tenant-alone',
      said: 'serviceAccount:zt-app-globex@acme-prod-1.iam.gserviceaccount.com has roles/cloudkms.cryptoKeyDecrypter on the key of acme',
    },
    {
      bend: give(keyOf('globex'), 'roles/cloudkms.viewer', hostMember),
      breaks: 'google.host-keyless',
      said: `it has roles/cloudkms.viewer on ${keyOf('globex')}`,
    },
    {
      bend: give('folders/77', 'roles/owner', robot),
      breaks: 'google.administrators',
      said: `${robot} has roles/owner on folder 77`,
    },
    {
      bend: give('folders/77', 'roles/iam.serviceAccountTokenCreator', robot),
      breaks: 'google.unborrowed',
      said: `${robot} has roles/iam.serviceAccountTokenCreator on folder 77`,
    },
    {
      bend: give('b/acme-anchors', 'roles/storage.objectViewer', 'allUsers'),
      breaks: 'google.private',
      said: 'allUsers has roles/storage.objectViewer',
    },
    {
      bend: give('projects/acme-worm-1', 'roles/storage.admin', hostMember),
      breaks: 'google.host-creates',
      said: 'it has roles/storage.admin on project acme-worm-1',
    },
    {
      bend: () => inProject('acme-worm-1').roles[0]?.includedPermissions.push('storage.objects.delete'),
      breaks: 'google.host-creates',
      said: 'its role has storage.objects.delete',
    },
    {
      bend: () => Object.assign(cloud.keys.get(keyOf('acme')) ?? {}, { rotationPeriod: '31536000s' }),
      breaks: 'google.rotation',
      said: 'acme: every 365 days',
    },
    {
      bend: () =>
        Object.assign(cloud.keys.get(keyOf('acme'))?.versions[0]?.attestation?.certChains ?? {}, {
          googlePartitionCerts: [read('forged.pem')],
        }),
      breaks: 'google.attested',
      said: 'acme: bad',
    },
    {
      bend: () => cloud.denied.add('resourcemanager.organizations.getIamPolicy'),
      breaks: 'google.tenant-alone',
      said: 'organization 99: not seen',
    },
    {
      bend: () => cloud.denied.add('iam.serviceAccounts.getIamPolicy'),
      breaks: 'google.unborrowed',
      said: 'zt-app-globex@acme-prod-1.iam.gserviceaccount.com: not seen',
    },
    {
      bend: () => {
        const key = cloud.keys.get(keyOf('globex'))
        key?.versions.push({ ...(key.versions[0] ?? never()), protectionLevel: 'SOFTWARE' })
      },
      breaks: 'google.hsm',
      said: 'globex: HSM, SOFTWARE',
    },
    {
      bend: () => delete bucketThere().retentionPolicy?.isLocked,
      breaks: 'google.retention',
      said: 'not locked',
    },
    {
      bend: take('b/acme-anchors', /objectCreator/),
      breaks: 'google.exported',
      said: 'may not create objects in the bucket',
    },
    {
      bend: () => bucketThere().objects.splice(0, 1),
      breaks: 'google.anchored',
      said: 'there is no anchor',
    },
    {
      bend: () => inProject('acme-prod-1').logs.splice(0),
      breaks: 'google.logged',
      said: 'there is no entry',
    },
  ]

  test('is verified: each weakness is named, and turns its row red and no other', async () => {
    const before = structuredClone({
      policies: cloud.policies,
      keys: cloud.keys,
      buckets: cloud.buckets,
      projects: cloud.projects,
    })
    fresh()
    for (const { bend } of weaknesses) bend()
    const { exitCode, stdout } = await verify()
    expect(exitCode).toBe(1)
    const lines = new Map([...stdout.matchAll(/^BROKEN (\S+) (.*)$/gm)].map(([, id, text]) => [id, text]))
    for (const { breaks, said } of weaknesses)
      expect([breaks, lines.get(breaks)]).toEqual([breaks, expect.stringContaining(said)])
    const red = [...new Set(weaknesses.map(({ breaks }) => breaks))]
    expect(broken(stdout).sort()).toEqual(red.sort())
    // who names no anchor has no evidence of this log
    expect(offline()).toEqual(rows([...red, ...(red.includes('google.anchored') ? ['google.evidence'] : [])]))
    Object.assign(cloud, before)
    cloud.denied.clear()
  })

  test('fetches an auditor the anchors', async () => {
    const copy = join(dir, 'anchors')
    const { exitCode, stdout, stderr } = await setup(
      ['fetch-anchors', '--bucket', 'acme-anchors', '--out', copy],
      {
        STORAGE_EMULATOR_TOKEN_FILE: tokenFile('admin-token-of-the-auditor'),
      },
    )
    expect([exitCode, stdout]).toEqual([0, '1 fetched, 0 were here; newest anchor-0000000001.json\n'])
    expect(stderr).toContain('not from Google')
  })

  test('loses a tenant its client and keeps its key; a teardown keeps keys and anchors', async () => {
    expect((await setup(['tenant', 'retire', 'globex', ...place, '--yes'])).exitCode).toBe(0)
    expect(cloud.policies.get(keyOf('globex'))?.bindings).toEqual([])
    expect(cloud.keys.size).toBe(2)
    const { exitCode, stdout } = await setup([...place, '--teardown', '--yes'])
    expect(exitCode).toBe(0)
    expect(stdout).toContain('stays with its anchors')
    expect(cloud.projects.get('acme-prod-1')).toMatchObject({ accounts: [], sinks: [] })
    expect([cloud.keys.size, cloud.buckets.size]).toEqual([2, 1])
  })
})

function tokenFile(token: string): string {
  const path = join(dir, 'auditor.token')
  writeFileSync(path, token, { mode: 0o600 })
  cloud.callers.set(token, 'admin')
  return path
}

withGcloud('what Google refuses', () => {
  const ring = 'projects/acme-prod-1/locations/europe-west3/keyRings/zero-trust'
  /** A project where everything but the last steps is done, so that a refusal comes soon. */
  async function ready(): Promise<void> {
    await start()
    for (const project of cloud.projects.values())
      for (const service of ['cloudkms', 'iam', 'logging', 'storage'])
        project.services.add(`${service}.googleapis.com`)
    cloud.keyRings.push(ring)
  }

  test.each<[string, () => unknown, string[], number, RegExp, RegExp]>([
    [
      'a project that is not there',
      () => cloud.projects.delete('acme-worm-1'),
      [],
      3,
      /acme-worm-1/,
      /hint: check the project/,
    ],
    [
      'a right that is missing',
      () => cloud.denied.add('cloudkms.cryptoKeys.create'),
      [],
      3,
      /cloudkms\.cryptoKeys\.create/,
      /ask for the right/,
    ],
    [
      'a region without HSM',
      () => cloud.withoutHsm.add('europe-west3'),
      [],
      2,
      /HSM is not supported/,
      /--region/,
    ],
    [
      'a project without billing',
      () => {
        cloud.projects.get('acme-prod-1')?.services.delete('cloudkms.googleapis.com')
        cloud.forbidden.set(
          'serviceusage.services.enable',
          "Billing account for project '1000' is not found. Billing must be enabled for activation of service(s) 'cloudkms.googleapis.com' to proceed.",
        )
      },
      [],
      1,
      /Billing must be enabled/,
      /gcloud billing projects link/,
    ],
    [
      'a policy of the organisation',
      () =>
        cloud.forbidden.set(
          'cloudkms.cryptoKeys.create',
          'Constraint constraints/gcp.restrictNonCmekServices violated.',
        ),
      [],
      1,
      /constraints\//,
      /policy of the organisation/,
    ],
  ])('%s is one clear error', async (_, bend, more, code, message, hint) => {
    await ready()
    bend()
    const { exitCode, stderr } = await setup(['--tenant', 'acme', ...place, '--yes', ...more])
    expect(exitCode).toBe(code)
    expect(
      stderr
        .trim()
        .split('\n')
        .filter(line => !line.startsWith('done ')).length,
    ).toBe(2)
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(hint)
  })

  test('a bucket of somebody else is told, what was done before it stays, and the next run goes on', async () => {
    await ready()
    cloud.projects.set('strangers-1', {
      ...(cloud.projects.get('acme-worm-1') ?? never()),
      id: 'strangers-1',
    })
    cloud.buckets.set('acme-anchors', {
      name: 'acme-anchors',
      project: 'strangers-1',
      location: 'US',
      metageneration: 1,
      timeCreated: '',
      iamConfiguration: { uniformBucketLevelAccess: { enabled: true }, publicAccessPrevention: 'enforced' },
      labels: {},
      objects: [],
    })
    const { exitCode, stderr } = await setup(['--tenant', 'acme', ...place, '--yes'])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('choose another --bucket')])
    expect(stderr).toMatch(/step bucket: .*before it are done and stay/)
    expect(cloud.keys.size).toBe(1)
    cloud.lag = 1
    cloud.exhausted.set('storage.buckets.create', 1)
    const place2 = place.map(each => (each === 'acme-anchors' ? 'acme-anchors-2' : each))
    expect((await setup(['--tenant', 'acme', ...place2, '--yes'])).exitCode).toBe(0)
    expect(cloud.buckets.get('acme-anchors-2')?.project).toBe('acme-worm-1')
  })
})

const never = (): never => {
  throw new Error('no such project')
}

describe('without Google', () => {
  test.each<[string, string[], Record<string, string>, number, string]>([
    ['no project', ['--bucket', 'acme-anchors'], {}, 2, '--project ID or PROJECT_ID'],
    ['no bucket', ['--project', 'acme-prod-1'], {}, 2, '--bucket NAME or BUCKET'],
    ['a bad name', ['--project', 'acme-prod-1', '--bucket', 'goog', '--tenant', 'a'], {}, 2, '--bucket'],
    ['no folder for the anchors', ['fetch-anchors', '--bucket', 'acme-anchors'], {}, 2, '--out'],
  ])('%s is one clear error', async (_, args, env, code, message) => {
    const { exitCode, stderr, stdout } = await setup(args, env)
    expect([exitCode, stdout]).toEqual([code, ''])
    expect(stderr).toContain(message)
    expect(stderr.trim().split('\n').length).toBe(2)
  })

  // a program looks in the folders of the system, whatever PATH says
  test.skipIf(Bun.which('gcloud') !== null)('no gcloud is one clear error', async () => {
    const { exitCode, stderr } = await setup(['--tenant', 'acme', ...place])
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('gcloud: not installed')])
    expect(stderr).toContain('hint: install the Google Cloud CLI')
  })

  test('an old gcloud is one clear error', async () => {
    mkdirSync(join(dir, 'old'))
    writeFileSync(join(dir, 'old', 'gcloud'), '#!/bin/sh\necho 300.0.0\n', { mode: 0o755 })
    const path = `${join(dir, 'old')}:${process.env.PATH ?? ''}`
    const { exitCode, stderr } = await setup(['--tenant', 'acme', ...place], { PATH: path })
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('gcloud is version 300.0.0')])
    expect(stderr).toContain('hint: update it: gcloud components update')
  })

  test.skipIf(Bun.which('gcloud') === null)('a gcloud that is not logged in is one clear error', async () => {
    const { exitCode, stderr, stdout } = await setup(['--tenant', 'acme', ...place], {
      CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: '',
      CLOUDSDK_CONFIG: join(dir, 'nobody'),
    })
    expect([exitCode, stdout]).toEqual([3, ''])
    expect(stderr).toContain('hint: log in: gcloud auth login')
    expect(stderr.trim().split('\n').length).toBe(2)
  })
})
