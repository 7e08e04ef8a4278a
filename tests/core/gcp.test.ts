/** Planning and judging a set-up on Google Cloud, without Google. */
import { describe, expect, test } from 'bun:test'
import type { Seen } from '../../lib/core/gcp/evidence.ts'
import type { Observed } from '../../lib/core/gcp/observed.ts'
import { planGcp } from '../../lib/core/gcp/plan.ts'
import { lockStep } from '../../lib/core/gcp/plan_bucket.ts'
import { planRetire, planTeardown } from '../../lib/core/gcp/plan_end.ts'
import { judgePromises, promises } from '../../lib/core/gcp/promises.ts'
import {
  checkGcpSettings,
  clientAccountId,
  clientRole,
  type GcpSettings,
  keyName,
} from '../../lib/core/gcp/settings.ts'
import { attest, client, now, seen, settings, weaknesses, whole } from '../support/gcp_seen.ts'

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
  const broken = (bend: (seen: Seen) => unknown): string[] => {
    const bent = seen()
    bend(bent)
    return judgePromises(bent, attest)
      .filter(({ holds }) => !holds)
      .map(({ id }) => id)
  }

  test('of a whole set-up are kept', () => {
    expect(judgePromises(seen(), attest).filter(({ holds }) => !holds)).toEqual([])
  })

  test('are not kept where nobody gave roots to check attestations against', () => {
    expect(
      judgePromises(seen())
        .filter(({ holds }) => !holds)
        .map(({ id, detail }) => [id, detail.split(' ').slice(0, 2).join(' ')]),
    ).toEqual([['google.attested', 'no roots']])
  })

  test('name people who rule over keys, and break for none of them', () => {
    const bent = seen()
    bent.keyParents[1]?.policy?.bindings.push({ role: 'roles/owner', members: ['user:ann@example.org'] })
    const [found] = judgePromises(bent, attest).filter(({ id }) => id === 'google.administrators')
    expect(found).toMatchObject({ holds: true, detail: expect.stringContaining('user:ann@example.org') })
  })

  test.each(weaknesses)('%s breaks its own promise', (_, bend, expected) => {
    expect(broken(bend)).toEqual(expected)
  })

  test('each has a weakness that breaks it', () => {
    expect([...new Set(weaknesses.flatMap(([, , ids]) => ids))].sort()).toEqual(
      promises.map(({ id }) => id).sort(),
    )
  })
})
