/** Planning and judging a set-up on Google Cloud, without Google. */
import { describe, expect, test } from 'bun:test'
import type { Observed, ObservedKey } from '../../lib/core/gcp/observed.ts'
import { planGcp } from '../../lib/core/gcp/plan.ts'
import { lockStep } from '../../lib/core/gcp/plan_bucket.ts'
import { planRetire, planTeardown } from '../../lib/core/gcp/plan_end.ts'
import { judgePromises, type Seen } from '../../lib/core/gcp/promises.ts'
import {
  auditorRole,
  checkGcpSettings,
  clientAccountId,
  clientRole,
  type GcpSettings,
  gcpDefaults,
  hostPermissions,
  hostRoleName,
  keyName,
  logFilter,
  logRole,
  prefixCondition,
  services,
  sinkRole,
} from '../../lib/core/gcp/settings.ts'

const settings: GcpSettings = {
  ...gcpDefaults,
  project: 'acme-prod-1',
  wormProject: 'acme-worm-1',
  bucket: 'acme-anchors',
  tenants: ['acme', 'globex'],
}
const now = Date.UTC(2026, 10, 24)
const client = (tenant: string) => `serviceAccount:zt-app-${tenant}@acme-prod-1.iam.gserviceaccount.com`
const host = 'serviceAccount:zt-host@acme-prod-1.iam.gserviceaccount.com'
const auditor = 'serviceAccount:zt-auditor@acme-worm-1.iam.gserviceaccount.com'
const writer = 'serviceAccount:service-1000@gcp-sa-logging.iam.gserviceaccount.com'

const key = (tenant: string): ObservedKey => ({
  name: keyName(settings, tenant),
  purpose: 'ENCRYPT_DECRYPT',
  labels: { 'ztmysql-tenant': tenant },
  rotationPeriod: `${90 * 86_400}s`,
  nextRotationTime: '2026-12-24T00:00:00Z',
  destroyScheduledDuration: `${30 * 86_400}s`,
  versionTemplate: { protectionLevel: 'HSM', algorithm: 'GOOGLE_SYMMETRIC_ENCRYPTION' },
  primary: {
    name: `${keyName(settings, tenant)}/cryptoKeyVersions/1`,
    state: 'ENABLED',
    protectionLevel: 'HSM',
  },
  policy: { bindings: [{ role: clientRole, members: [client(tenant)] }] },
})

/** Everything as it shall be. */
const whole = (): Observed => ({
  project: { id: 'acme-prod-1', number: '1000' },
  wormProject: { id: 'acme-worm-1', number: '1001' },
  services: { project: [...services.project], worm: [...services.worm] },
  keyRing: true,
  keys: [key('acme'), key('globex')],
  accounts: ['zt-app-acme', 'zt-app-globex', 'zt-host'].map(
    id => `${id}@acme-prod-1.iam.gserviceaccount.com`,
  ),
  wormAccounts: ['zt-auditor@acme-worm-1.iam.gserviceaccount.com'],
  role: { name: hostRoleName(settings), includedPermissions: [...hostPermissions] },
  bucket: {
    name: 'acme-anchors',
    location: 'EUROPE-WEST3',
    iamConfiguration: { uniformBucketLevelAccess: { enabled: true }, publicAccessPrevention: 'enforced' },
    retentionPolicy: { retentionPeriod: `${365 * 86_400}`, isLocked: true },
    policy: {
      bindings: [
        {
          role: hostRoleName(settings),
          members: [host],
          condition: { title: 'x', expression: prefixCondition(settings) },
        },
        { role: auditorRole, members: [auditor] },
        { role: sinkRole, members: [writer] },
      ],
    },
  },
  sink: {
    name: 'ztmysql-audit',
    destination: 'storage.googleapis.com/acme-anchors',
    filter: logFilter,
    writerIdentity: writer,
  },
  policy: { bindings: [{ role: logRole, members: [host] }] },
  wormPolicy: { bindings: [] },
})

const nothing = (): Observed => ({
  ...whole(),
  services: { project: [], worm: [] },
  keyRing: false,
  keys: [],
  accounts: [],
  wormAccounts: [],
  role: null,
  bucket: null,
  sink: null,
  policy: { bindings: [] },
})

const ids = (observed: Observed, with_: Partial<GcpSettings> = {}): string[] =>
  planGcp({ ...settings, ...with_ }, observed, now).steps.map(({ id }) => id)

describe('a plan', () => {
  test('of a whole set-up is empty, with nothing to look at', () => {
    expect(planGcp(settings, whole(), now)).toEqual({ steps: [], findings: [] })
    expect(lockStep(settings, whole())).toEqual([])
  })

  test('of an empty project makes everything, rights last', () => {
    expect(ids(nothing())).toEqual([
      'services-acme-prod-1',
      'services-acme-worm-1',
      'keyring',
      'key-acme',
      'key-globex',
      'account-zt-app-acme',
      'account-zt-app-globex',
      'account-zt-host',
      'account-zt-auditor',
      'right-acme',
      'right-globex',
      'role',
      'bucket',
      'sink',
      'bucket-ztmysqlAnchor',
      'bucket-objectViewer',
      'log-right',
    ])
  })

  type Bend = (observed: Observed) => void
  const bucketOf = ({ bucket }: Observed) => {
    if (bucket === null) throw new Error('no bucket')
    return bucket
  }
  const keyOf = ({ keys: [first] }: Observed) => {
    if (first === undefined) throw new Error('no key')
    return first
  }
  test.each<[string, Bend, string[]]>([
    ['a service that is off', o => o.services.project.pop(), ['services-acme-prod-1']],
    ['a tenant without a key', o => o.keys.pop(), ['key-globex', 'right-globex']],
    ['a key that never rotates', o => delete keyOf(o).rotationPeriod, ['key-acme']],
    ['a key without a label', o => Object.assign(keyOf(o), { labels: {} }), ['key-acme']],
    ['a client without its right', o => Object.assign(keyOf(o).policy, { bindings: [] }), ['right-acme']],
    ['a missing account', o => o.accounts.pop(), ['account-zt-host']],
    ['a role that may delete', o => o.role?.includedPermissions.push('storage.objects.delete'), ['role']],
    [
      'access that is not uniform',
      o => Object.assign(bucketOf(o), { iamConfiguration: { publicAccessPrevention: 'enforced' } }),
      ['bucket'],
    ],
    [
      'a retention that is short',
      o => Object.assign(bucketOf(o), { retentionPolicy: { retentionPeriod: '86400' } }),
      ['bucket'],
    ],
    [
      'a host without its condition',
      o => delete bucketOf(o).policy.bindings[0]?.condition,
      ['bucket-ztmysqlAnchor'],
    ],
    ['a sink with another filter', o => Object.assign(o.sink ?? {}, { filter: 'x' }), ['sink']],
    ['a disabled sink', o => Object.assign(o.sink ?? {}, { disabled: true }), ['sink']],
    ['a sink that may not write', o => bucketOf(o).policy.bindings.pop(), ['bucket-objectCreator']],
    ['a host that may not log', o => Object.assign(o.policy, { bindings: [] }), ['log-right']],
  ])('mends %s', (_, bend, expected) => {
    const observed = whole()
    bend(observed)
    expect(ids(observed)).toEqual(expected)
  })

  test('takes nothing from others, and names them', () => {
    const observed = whole()
    keyOf(observed).policy.bindings.push({
      role: clientRole,
      members: [client('globex'), 'user:eve@example.org'],
    })
    const { steps, findings } = planGcp(settings, observed, now)
    expect(steps).toEqual([])
    expect(findings.map(({ detail }) => detail.split(' ')[0])).toEqual([
      client('globex'),
      'user:eve@example.org',
    ])
  })

  test('names what a key has for good, and one project for both', () => {
    const observed = whole()
    keyOf(observed).versionTemplate.protectionLevel = 'SOFTWARE'
    expect(planGcp(settings, observed, now).findings[0]?.detail).toContain('cannot be changed')
    const one = planGcp({ ...settings, wormProject: settings.project }, whole(), now)
    expect(one.findings.at(-1)?.detail).toContain('--worm-project')
  })

  test('never shortens a retention', () => {
    expect(() => planGcp({ ...settings, retentionDays: 30 }, whole(), now)).toThrow('longer than the 30')
    const unlocked = whole()
    delete unlocked.bucket?.retentionPolicy?.isLocked
    expect(() => planGcp({ ...settings, retentionDays: 30 }, unlocked, now)).toThrow('30 asked for')
    expect(planGcp(settings, unlocked, now).findings[0]?.detail).toContain('not locked')
    expect(lockStep(settings, unlocked).map(({ id }) => id)).toEqual(['lock'])
  })

  test('of a teardown leaves keys and anchors, and says so', () => {
    const { steps, findings } = planTeardown(settings, whole())
    expect(steps.map(({ id }) => id)).toEqual([
      'sink',
      'account-zt-app-acme',
      'account-zt-app-globex',
      'account-zt-host',
      'account-zt-auditor',
    ])
    expect(findings.map(({ item }) => item)).toEqual([
      keyName(settings, 'acme'),
      keyName(settings, 'globex'),
      'gs://acme-anchors',
    ])
    expect(JSON.stringify(steps)).not.toMatch(/kms|storage/)
  })

  test('of a retired tenant takes every right on its key and leaves the key', () => {
    const { steps, findings } = planRetire(settings, whole(), 'acme')
    expect(steps[0]?.commands.map(args => args.slice(0, 4).join(' '))).toEqual([
      'kms keys remove-iam-policy-binding mysql-acme',
    ])
    expect(findings[0]?.detail).toContain('stays')
    expect(() => planRetire(settings, whole(), 'initech')).toThrow('there is no key')
  })
})

describe('settings', () => {
  test.each<[Partial<GcpSettings>, string]>([
    [{ project: 'X' }, '--project'],
    [{ wormProject: 'a/b' }, '--worm-project'],
    [{ bucket: 'goog-x' }, '--bucket'],
    [{ bucket: 'Acme' }, '--bucket'],
    [{ region: 'europe west3' }, '--region'],
    [{ keyPrefix: '-x' }, '--key-prefix'],
    [{ tenants: ['acme; rm -rf /'] }, '--tenant'],
    [{ retentionDays: 0 }, '--retention-days'],
    [{ destroyDays: 121 }, '--destroy-days'],
  ])('%j is refused by the name of its flag', (bad, flag) => {
    expect(() => checkGcpSettings({ ...settings, ...bad })).toThrow(flag)
  })

  test('keep tenants once and in order; long labels have accounts of their own', () => {
    expect(checkGcpSettings({ ...settings, tenants: ['b', 'a', 'b'] }).tenants).toEqual(['a', 'b'])
    const [one, two] = ['x'.repeat(39), `${'x'.repeat(38)}y`].map(clientAccountId)
    expect(one).not.toBe(two)
    expect(one?.length).toBeLessThanOrEqual(30)
  })
})

describe('the promises', () => {
  const seen = (): Seen => {
    const { keys, bucket, sink } = whole()
    return {
      at: now,
      settings,
      keys,
      keyParents: ['keyRing', 'project', 'folder', 'organisation'].map(resource => ({
        resource,
        policy: { bindings: [] },
      })),
      bucket,
      bucketParents: [{ resource: 'project', policy: { bindings: [] } }],
      sink,
      attestations: Object.fromEntries(keys.map(({ name }) => [name, 'verified' as const])),
      lastEntry: now - 60_000,
      lastAnchor: now - 60_000,
      lastExport: now - 3_600_000,
    }
  }
  const broken = (bend: (seen: Seen) => void): string[] => {
    const bent = seen()
    bend(bent)
    return judgePromises(bent)
      .filter(({ holds }) => !holds)
      .map(({ id }) => id)
  }

  test('of a whole set-up are kept', () => {
    expect(judgePromises(seen()).filter(({ holds }) => !holds)).toEqual([])
  })

  const first = (s: Seen): ObservedKey => {
    const [one] = s.keys
    if (one === undefined) throw new Error('no key')
    return one
  }
  const above = (s: Seen, level: number, role: string, member: string) =>
    s.keyParents[level]?.policy?.bindings.push({ role, members: [member] })
  const onBucket = (s: Seen, role: string, member: string) =>
    s.bucket?.policy.bindings.push({ role, members: [member] })
  test.each<[string, (s: Seen) => void, string[]]>([
    [
      'no key at all',
      s => Object.assign(s, { settings: { ...settings, tenants: [] } }),
      ['kms.hsm', 'kms.attested', 'kms.rotation', 'kms.tenant-alone'],
    ],
    [
      'a key in software',
      s => Object.assign(first(s).versionTemplate, { protectionLevel: 'SOFTWARE' }),
      ['kms.hsm'],
    ],
    [
      'a primary in software',
      s => Object.assign(first(s).primary ?? {}, { protectionLevel: 'SOFTWARE' }),
      ['kms.hsm'],
    ],
    ['a destroyed primary', s => Object.assign(first(s).primary ?? {}, { state: 'DESTROYED' }), ['kms.hsm']],
    [
      'an attestation that is bad',
      s => Object.assign(s.attestations, { [first(s).name]: 'bad' }),
      ['kms.attested'],
    ],
    ['attestations without roots', s => Object.assign(s, { attestations: {} }), ['kms.attested']],
    ['no rotation', s => delete first(s).rotationPeriod, ['kms.rotation']],
    [
      'an overdue rotation',
      s => Object.assign(first(s), { nextRotationTime: '2026-01-01T00:00:00Z' }),
      ['kms.rotation'],
    ],
    [
      "another tenant's client on a key",
      s => first(s).policy.bindings.push({ role: clientRole, members: [client('globex')] }),
      ['kms.tenant-alone'],
    ],
    [
      'a right on the ring',
      s => above(s, 0, 'roles/cloudkms.cryptoKeyDecrypter', 'user:eve@example.org'),
      ['kms.tenant-alone'],
    ],
    [
      'a right on the organisation',
      s => above(s, 3, clientRole, 'group:all@example.org'),
      ['kms.tenant-alone'],
    ],
    [
      'a folder that is not seen',
      s => Object.assign(s.keyParents[2] ?? {}, { policy: null }),
      ['kms.tenant-alone'],
    ],
    [
      'a host with a right on a key',
      s => first(s).policy.bindings.push({ role: 'roles/cloudkms.viewer', members: [host] }),
      ['kms.host-none'],
    ],
    [
      'a host that owns the project',
      s => above(s, 1, 'roles/owner', host),
      ['kms.host-none', 'kms.administrators'],
    ],
    [
      'a machine that administers keys',
      s => above(s, 1, 'roles/cloudkms.admin', 'serviceAccount:ci@x'),
      ['kms.administrators'],
    ],
    ['a retention that is not locked', s => delete s.bucket?.retentionPolicy?.isLocked, ['worm.retention']],
    [
      'no bucket',
      s => Object.assign(s, { bucket: null }),
      ['worm.retention', 'worm.private', 'worm.host-creates'],
    ],
    ['a bucket for everybody', s => onBucket(s, auditorRole, 'allUsers'), ['worm.private']],
    ['a host that may delete', s => onBucket(s, 'roles/storage.objectAdmin', host), ['worm.host-creates']],
    [
      'a host that owns the other project',
      s => s.bucketParents[0]?.policy?.bindings.push({ role: 'roles/editor', members: [host] }),
      ['worm.host-creates'],
    ],
    ['a host that cannot create', s => s.bucket?.policy.bindings.shift(), ['worm.host-creates']],
    [
      'one project',
      s => Object.assign(s, { settings: { ...settings, wormProject: settings.project } }),
      ['worm.host-creates', 'worm.apart'],
    ],
    ['no anchor', s => Object.assign(s, { lastAnchor: null }), ['worm.fresh']],
    ['an anchor of three minutes ago', s => Object.assign(s, { lastAnchor: now - 180_000 }), ['worm.fresh']],
    ['an entry of six minutes ago', s => Object.assign(s, { lastEntry: now - 360_000 }), ['log.fresh']],
    ['a disabled sink', s => Object.assign(s.sink ?? {}, { disabled: true }), ['log.sink']],
    ['an export of five hours ago', s => Object.assign(s, { lastExport: now - 18_000_000 }), ['log.sink']],
  ])('%s breaks its own promise', (_, bend, expected) => {
    expect(broken(bend)).toEqual(expected)
  })
})
