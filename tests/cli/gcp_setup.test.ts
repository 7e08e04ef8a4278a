/**
 * outside_gcp_setup with the real gcloud against a stand-in for Google's interfaces. Where PATH has no gcloud these are
 * skipped, and counted so.
 */
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from '../support/binary.ts'
import { type GoogleCloud, startGoogleCloud } from '../support/google_cloud/server.ts'
import { type Cloud, newCloud } from '../support/google_cloud/state.ts'

setDefaultTimeout(600_000) // gcloud takes about a second a command, and several on a busy machine

const withGcloud = describe.skipIf(Bun.which('gcloud') === null)
const place = ['--project', 'acme-prod-1', '--worm-project', 'acme-worm-1', '--bucket', 'acme-anchors']
const dir = mkdtempSync(join(tmpdir(), 'zt-gcp-'))

let google: GoogleCloud
let cloud: Cloud
afterAll(async () => {
  await google?.stop()
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
    expect(stdout.trim().split('\n').slice(-2)).toEqual([keyOf('acme'), keyOf('globex')])

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

  test('is locked only with the name of the bucket, and then for ever', async () => {
    const wrong = await setup([...place, '--lock-retention', 'other', '--yes'])
    expect([wrong.exitCode, wrong.stderr]).toEqual([2, expect.stringContaining("repeat the bucket's name")])
    expect((await setup([...place, '--lock-retention', 'acme-anchors', '--yes'])).exitCode).toBe(0)
    expect(cloud.buckets.get('acme-anchors')?.retentionPolicy?.isLocked).toBe(true)
    const shorter = await setup([...place, '--retention-days', '30', '--yes'])
    expect([shorter.exitCode, shorter.stderr]).toEqual([1, expect.stringContaining('cannot be shortened')])
  })

  test('is verified: what is kept, and each thing that is not', async () => {
    const bucket = cloud.buckets.get('acme-anchors')
    const project = cloud.projects.get('acme-prod-1')
    if (!bucket || !project) throw new Error('not set up')
    const object = (name: string) => ({ name, bytes: new Uint8Array(3), generation: 1, created: Date.now() })
    bucket.objects.push(
      object('anchors/anchor-0000000001.json'),
      object('syslog/2026/11/24/00:00:00_S0.json'),
    )
    project.logs.push({ timestamp: new Date().toISOString(), logName: 'x', textPayload: 'AUDIT_CHAIN_HEAD' })
    const out = join(dir, 'evidence')
    const whole = await setup(['verify', ...place, '--out', out])
    const broken = (stdout: string) => [...stdout.matchAll(/^BROKEN (\S+)/gm)].map(([, id]) => id)
    expect(broken(whole.stdout)).toEqual(['kms.attested'])
    expect(whole.stdout).toContain('--hsm-roots')
    expect(whole.exitCode).toBe(1)
    expect(JSON.parse(readFileSync(join(out, 'google.json'), 'utf8'))).toMatchObject({
      id: 'google',
      grade: 'off-host',
    })

    cloud.policies.set('folders/77', {
      version: 1,
      etag: 'ACAB',
      bindings: [{ role: 'roles/cloudkms.cryptoKeyDecrypter', members: ['user:eve@example.org'] }],
    })
    cloud.denied.add('resourcemanager.organizations.getIamPolicy')
    const bent = await setup(['verify', ...place])
    expect(broken(bent.stdout)).toEqual(['kms.attested', 'kms.tenant-alone'])
    expect(bent.stdout).toContain('user:eve@example.org has roles/cloudkms.cryptoKeyDecrypter on folder 77')
    expect(bent.stdout).toContain('organization 99: not seen')
    cloud.denied.clear()
  })

  test('fetches an auditor the anchors', async () => {
    const out = join(dir, 'anchors')
    const { exitCode, stdout, stderr } = await setup(
      ['fetch-anchors', '--bucket', 'acme-anchors', '--out', out],
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

  test.skipIf(Bun.which('gcloud') !== null)('no gcloud is one clear error', async () => {
    const { exitCode, stderr } = await setup(['--tenant', 'acme', ...place])
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('gcloud: not installed')])
  })
})
