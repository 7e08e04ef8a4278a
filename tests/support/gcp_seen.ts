/** A set-up on Google Cloud as it shall be: what is observed of it, and the evidence that `verify` makes. */
import { gcsChecksum } from '../../lib/core/crc32c.ts'
import type { Attestation, Seen } from '../../lib/core/gcp/evidence.ts'
import type { Observed, ObservedKey } from '../../lib/core/gcp/observed.ts'
import type { Attest } from '../../lib/core/gcp/promise.ts'
import {
  auditorRole,
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
import { formatObservation } from '../../lib/core/proof/observation.ts'
import { formatTime } from '../../lib/core/time.ts'

export const settings: GcpSettings = {
  ...gcpDefaults,
  project: 'acme-prod-1',
  wormProject: 'acme-worm-1',
  bucket: 'acme-anchors',
  tenants: ['acme', 'globex'],
}
export const now = Date.UTC(2026, 10, 24)
export const client = (tenant: string) =>
  `serviceAccount:zt-app-${tenant}@acme-prod-1.iam.gserviceaccount.com`
export const host = 'serviceAccount:zt-host@acme-prod-1.iam.gserviceaccount.com'
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
export const whole = (): Observed => ({
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

const attestation = (tenant: string): Attestation => ({ format: 'CAVIUM_V2_COMPRESSED', content: tenant })

/** In place of roots: believes what calls itself by a tenant's name. */
export const attest: Attest = said =>
  said === null ? 'missing' : settings.tenants.includes(said.content) ? 'verified' : 'bad'

export const seen = (): Seen => {
  const { keys, bucket, sink, policy, wormPolicy } = whole()
  const above = ['folder 77', 'organization 99'].map(resource => ({ resource, policy: { bindings: [] } }))
  return {
    at: now,
    standIn: false,
    settings,
    keys,
    keyParents: [
      { resource: 'key ring zero-trust', policy: { bindings: [] } },
      { resource: 'project acme-prod-1', policy },
      ...structuredClone(above),
    ],
    accounts: settings.tenants.map(tenant => ({
      email: `zt-app-${tenant}@acme-prod-1.iam.gserviceaccount.com`,
      policy: { bindings: [] },
    })),
    roles: { [hostRoleName(settings)]: [...hostPermissions] },
    bucket,
    bucketParents: [{ resource: 'project acme-worm-1', policy: wormPolicy }, ...structuredClone(above)],
    sink,
    attestations: Object.fromEntries(
      settings.tenants.map(tenant => [keyName(settings, tenant), attestation(tenant)]),
    ),
    lastEntry: now - 60_000,
    lastAnchor: {
      name: 'anchors/anchor-0000000003.json',
      created: now - 60_000,
      crc32c: gcsChecksum(new Uint8Array(3)),
    },
    lastExport: now - 3_600_000,
  }
}

/** The file of this evidence, taken at another time and beside another anchor. */
export function googleFile(at: number, lastAnchor: Seen['lastAnchor']): string {
  const evidence = seen()
  const moved = (time: number | null) => (time === null ? null : time - now + at)
  const { lastEntry, lastExport } = evidence
  const result = { ...evidence, at, lastAnchor, lastEntry: moved(lastEntry), lastExport: moved(lastExport) }
  // keys rotate in years to come
  for (const key of result.keys) key.nextRotationTime = new Date(at + 86_400_000).toISOString()
  return formatObservation({
    v: 1,
    id: 'google',
    time: formatTime(at * 1000),
    host: 'workstation',
    identity: 'the account of gcloud',
    grade: 'off-host',
    command: 'outside_gcp_setup verify',
    result: JSON.parse(JSON.stringify(result)),
  })
}

type Weakness = [what: string, bend: (seen: Seen) => unknown, broken: string[]]

const first = ({ keys: [one] }: Seen): ObservedKey => {
  if (one === undefined) throw new Error('no key')
  return one
}
const above = (s: Seen, level: number, role: string, member: string) =>
  s.keyParents[level]?.policy?.bindings.push({ role, members: [member] })
const onBucket = (s: Seen, role: string, member: string) =>
  s.bucket?.policy.bindings.push({ role, members: [member] })
const onAccount = (s: Seen, role: string, member: string) =>
  s.accounts[0]?.policy?.bindings.push({ role, members: [member] })
const custom = (s: Seen, level: number, member: string, permissions: string[] | null) => {
  const role = 'organizations/99/roles/harmless'
  above(s, level, role, member)
  s.roles[role] = permissions
}
const eve = 'user:eve@example.org'
const robot = 'serviceAccount:ci@acme-prod-1.iam.gserviceaccount.com'

/** Each right taken away and each weakness, with the promises that it breaks. */
export const weaknesses: Weakness[] = [
  [
    'no key at all',
    s => Object.assign(s, { settings: { ...settings, tenants: [] } }),
    ['google.hsm', 'google.attested', 'google.rotation', 'google.tenant-alone', 'google.unborrowed'],
  ],
  [
    'a key in software',
    s => Object.assign(first(s).versionTemplate, { protectionLevel: 'SOFTWARE' }),
    ['google.hsm'],
  ],
  [
    'a primary in software',
    s => Object.assign(first(s).primary ?? {}, { protectionLevel: 'SOFTWARE' }),
    ['google.hsm'],
  ],
  ['a destroyed primary', s => Object.assign(first(s).primary ?? {}, { state: 'DESTROYED' }), ['google.hsm']],
  [
    'an attestation that is bad',
    s => Object.assign(s.attestations, { [first(s).name]: { format: 'x', content: 'x' } }),
    ['google.attested'],
  ],
  ['no attestation', s => Object.assign(s, { attestations: {} }), ['google.attested']],
  [
    "another key's attestation",
    s => Object.assign(s.attestations, { [first(s).name]: attestation('globex') }),
    ['google.attested'],
  ],
  ['no rotation', s => delete first(s).rotationPeriod, ['google.rotation']],
  [
    'a rotation that is slow',
    s => Object.assign(first(s), { rotationPeriod: '31536000s' }),
    ['google.rotation'],
  ],
  [
    'an overdue rotation',
    s => Object.assign(first(s), { nextRotationTime: '2026-01-01T00:00:00Z' }),
    ['google.rotation'],
  ],
  [
    "another tenant's client on a key",
    s => first(s).policy.bindings.push({ role: clientRole, members: [client('globex')] }),
    ['google.tenant-alone'],
  ],
  [
    'a client without its right',
    s => Object.assign(first(s).policy, { bindings: [] }),
    ['google.tenant-alone'],
  ],
  [
    'a right on the ring',
    s => above(s, 0, 'roles/cloudkms.cryptoKeyDecrypter', eve),
    ['google.tenant-alone'],
  ],
  [
    'an operator of all cryptography',
    s => above(s, 1, 'roles/cloudkms.cryptoOperator', eve),
    ['google.tenant-alone'],
  ],
  [
    'a right on the folder',
    s => above(s, 2, 'roles/cloudkms.cryptoKeyDecrypter', eve),
    ['google.tenant-alone'],
  ],
  [
    'a right on the organisation',
    s => above(s, 3, clientRole, 'group:all@example.org'),
    ['google.tenant-alone'],
  ],
  [
    'a custom role that decrypts',
    s => custom(s, 2, eve, ['cloudkms.cryptoKeyVersions.useToDecrypt']),
    ['google.tenant-alone'],
  ],
  ['a custom role whose permissions are hidden', s => custom(s, 2, eve, null), ['google.tenant-alone']],
  [
    'a folder that is not seen',
    s => Object.assign(s.keyParents[2] ?? {}, { policy: null }),
    ['google.tenant-alone'],
  ],
  [
    'a machine that makes tokens of a client',
    s => onAccount(s, 'roles/iam.serviceAccountTokenCreator', robot),
    ['google.unborrowed'],
  ],
  ['a machine that edits the project', s => above(s, 1, 'roles/editor', robot), ['google.unborrowed']],
  [
    'a custom role that makes keys of accounts',
    s => custom(s, 1, robot, ['iam.serviceAccountKeys.create']),
    ['google.unborrowed'],
  ],
  [
    'an account that is not seen',
    s => Object.assign(s.accounts[0] ?? {}, { policy: null }),
    ['google.unborrowed'],
  ],
  [
    'a host with a right on a key',
    s => first(s).policy.bindings.push({ role: 'roles/cloudkms.viewer', members: [host] }),
    ['google.host-keyless'],
  ],
  [
    'a host that owns the project',
    s => above(s, 1, 'roles/owner', host),
    ['google.host-keyless', 'google.administrators'],
  ],
  [
    'a machine that administers keys',
    s => above(s, 1, 'roles/cloudkms.admin', robot),
    ['google.administrators'],
  ],
  [
    'a machine whose custom role destroys versions',
    s => custom(s, 3, robot, ['cloudkms.cryptoKeyVersions.destroy']),
    ['google.administrators'],
  ],
  ['a retention that is not locked', s => delete s.bucket?.retentionPolicy?.isLocked, ['google.retention']],
  [
    'a retention that is short',
    s => Object.assign(s.bucket?.retentionPolicy ?? {}, { retentionPeriod: '86400' }),
    ['google.retention'],
  ],
  [
    'no bucket',
    s => Object.assign(s, { bucket: null }),
    ['google.retention', 'google.private', 'google.host-creates', 'google.exported'],
  ],
  ['a bucket for everybody', s => onBucket(s, auditorRole, 'allUsers'), ['google.private']],
  [
    'access that is not uniform',
    s => Object.assign(s.bucket?.iamConfiguration ?? {}, { uniformBucketLevelAccess: { enabled: false } }),
    ['google.private'],
  ],
  ['a host that may delete', s => onBucket(s, 'roles/storage.objectAdmin', host), ['google.host-creates']],
  [
    'a role that may delete',
    s => s.roles[hostRoleName(settings)]?.push('storage.objects.delete'),
    ['google.host-creates'],
  ],
  ['a role that lost a permission', s => s.roles[hostRoleName(settings)]?.pop(), ['google.host-creates']],
  ['a role that is not seen', s => Object.assign(s, { roles: {} }), ['google.host-creates']],
  [
    'a host without its condition',
    s => delete s.bucket?.policy.bindings[0]?.condition,
    ['google.host-creates'],
  ],
  [
    'a host that edits the other project',
    s => s.bucketParents[0]?.policy?.bindings.push({ role: 'roles/editor', members: [host] }),
    ['google.host-creates'],
  ],
  ['a host that cannot create', s => s.bucket?.policy.bindings.shift(), ['google.host-creates']],
  [
    'one project',
    s => Object.assign(s, { settings: { ...settings, wormProject: settings.project } }),
    ['google.host-creates', 'google.apart'],
  ],
  ['no anchor', s => Object.assign(s, { lastAnchor: null }), ['google.anchored']],
  [
    'an anchor of three minutes ago',
    s => Object.assign(s.lastAnchor ?? {}, { created: now - 180_000 }),
    ['google.anchored'],
  ],
  [
    'an anchor of tomorrow',
    s => Object.assign(s.lastAnchor ?? {}, { created: now + 86_400_000 }),
    ['google.anchored'],
  ],
  ['an entry of six minutes ago', s => Object.assign(s, { lastEntry: now - 360_000 }), ['google.logged']],
  ['no entry', s => Object.assign(s, { lastEntry: null }), ['google.logged']],
  ['a disabled sink', s => Object.assign(s.sink ?? {}, { disabled: true }), ['google.exported']],
  ['a sink with another filter', s => Object.assign(s.sink ?? {}, { filter: 'x' }), ['google.exported']],
  ['a sink that may not write', s => s.bucket?.policy.bindings.pop(), ['google.exported']],
  [
    'an export of five hours ago',
    s => Object.assign(s, { lastExport: now - 18_000_000 }),
    ['google.exported'],
  ],
]
