/** The judge on synthetic observations: what passes, what fails, what is an error, what is not applicable. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { sha256 } from '@noble/hashes/sha2.js'
import { Findings } from '../../lib/core/audit/findings.ts'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { type Bytes, random, utf8 } from '../../lib/core/bytes.ts'
import { type Check, type Control, type Json, probesOf } from '../../lib/core/controls/control.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { dekCommit, issuerOf, issuerPublicKey, signIssue } from '../../lib/core/envelope/issuer.ts'
import { googleProbe } from '../../lib/core/gcp/evidence.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { checkHolds, describeCheck } from '../../lib/core/proof/check.ts'
import { judge } from '../../lib/core/proof/judge.ts'
import type { Observation } from '../../lib/core/proof/observation.ts'
import type { Evidence, Status } from '../../lib/core/proof/outcome.ts'
import { profiles, satisfies } from '../../lib/core/proof/profile.ts'
import { RowEvidence, readsAsText } from '../../lib/core/proof/row_evidence.ts'
import { settingsFor, variableOf } from '../../lib/core/settings.ts'
import { grantsFor } from '../../lib/core/sqlgen/grants.ts'
import type { Row } from '../../lib/core/tables.ts'
import type { Trust } from '../../lib/core/trust.ts'
import { type Authority, issueServer, makeAuthority } from '../../lib/edge/pki/certificates.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'
import { accessProbes } from '../../lib/edge/probe/access.ts'
import { hostProbes } from '../../lib/edge/probe/host.ts'
import { networkProbes } from '../../lib/edge/probe/network.ts'
import { tableDefinitions } from '../../sql/index.ts'

const emptyTrust = {
  serial: 1,
  time: '2026-01-01T00:00:00.000000Z',
  origin: 'ztmysql.local/0123456789abcdef',
  ca: [],
  crl: [],
  logKeys: [],
  tenants: [],
  certificates: [],
} as const satisfies Trust

const trail = (findings = new Findings()): Verdict => ({
  ok: findings.clean,
  judged: 'all',
  origin: emptyTrust.origin,
  events: 7,
  head: '',
  anchored: 6,
  anchors: 2,
  lastAnchor: 2,
  rows: 3,
  from: 0,
  rowsUnjudged: 0,
  signatureSeconds: 0,
  engine: 'noble',
  base: null,
  signaturesChecked: 3,
  receipts: 0,
  findings,
})

function evidence(observations: Observation[], more: Partial<Evidence> = {}): Evidence {
  return {
    observations: new Map(observations.map(o => [o.id, o])),
    trail: trail(),
    rows: new RowEvidence(emptyTrust),
    trust: emptyTrust,
    definitions: [...tableDefinitions.values()],
    bracketFault: undefined,
    bracketNote: 'between anchor 1 and anchor 2',
    scan: undefined,
    google: { own: false, attest: undefined, anchors: [], opened: null, closed: null },
    ...more,
  }
}

const observed = (id: string, grade: Observation['grade'], result: Json): Observation => ({
  v: 1,
  id,
  time: '2026-01-01T00:00:00.000000Z',
  host: 'db',
  identity: 'somebody',
  grade,
  command: 'something',
  result,
})

function controlOf(id: string): Control {
  const found = controls.find(control => control.id === id)
  if (!found) throw new Error(`no control ${id}`)
  return found
}

/** The status of a control for what its one probe saw. */
function statusOf(id: string, result: Json, more: Partial<Evidence> = {}): Status {
  const control = controlOf(id)
  const [probe = ''] = probesOf(control)
  return judge(control, evidence([observed(probe, control.grade, result)], more)).status
}

describe('the list of controls', () => {
  test('names each once, says what it claims, rests on, enforces it and breaks it', () => {
    const ids = controls.map(control => control.id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const control of controls) {
      expect(control.id.startsWith(`${control.layer}.`)).toBe(true)
      for (const text of [control.claim, control.enforcedBy, control.sabotage, ...control.standard])
        expect(text.trim().length).toBeGreaterThan(2)
      expect(control.dependsOn.filter(id => !ids.includes(id) || id === control.id)).toEqual([])
    }
  })

  test('rests on no control that rests on it', () => {
    const reach = (id: string, seen: string[]): string[] => {
      expect(seen).not.toContain(id)
      return controlOf(id).dependsOn.flatMap(next => [next, ...reach(next, [...seen, id])])
    }
    for (const { id } of controls) reach(id, [])
  })

  test('asks for probes that exist and are of its grade, and leaves none unused', () => {
    const probes = new Map<string, string>(
      [...networkProbes, ...accessProbes, ...hostProbes].map(p => [p.id, p.grade]),
    ).set(googleProbe, 'off-host') // of outside_gcp_setup verify
    const used = new Set<string>()
    for (const control of controls)
      for (const probe of probesOf(control)) {
        used.add(probe)
        expect([control.id, probe, probes.get(probe)]).toEqual([control.id, probe, control.grade])
      }
    expect([...probes.keys()].filter(id => !used.has(id))).toEqual([])
  })

  test('has no finding that would fail a trail and turns no control red', () => {
    for (const control of controls)
      if (control.expect.kind === 'trail')
        for (const code of control.expect.codes) {
          const findings = new Findings()
          findings.add(code, 'event 3', 'something')
          const one = judge(control, evidence([], { trail: trail(findings) }))
          expect([one.status, one.reason]).toEqual(['fail', `${code} ×1; first: event 3: something`])
        }
  })
})

describe('a check', () => {
  const result = {
    attempts: { a: { errno: 1142 }, b: { errno: 1142 } },
    list: [1, 2],
    text: 'one\ntwo',
    none: null,
  }
  const holds = (check: Omit<Check, 'probe'>) => checkHolds({ probe: 'p', ...check }, result)

  test('holds only where every value is as demanded', () => {
    expect(holds({ at: 'attempts.*.errno', is: 1142 })).toBe(true)
    expect(holds({ at: 'attempts.a.errno', in: [1142, 1044] })).toBe(true)
    expect(holds({ at: 'text', matches: '^two$' })).toBe(true)
    expect(holds({ at: 'text', lacks: 'three' })).toBe(true)
    expect(holds({ at: 'list', length: 2 })).toBe(true)
    expect(holds({ at: 'list.*', in: [1, 2] })).toBe(true)
    expect(holds({ at: 'none', is: null })).toBe(true)
    for (const check of [
      { at: 'attempts.*.errno', is: 1143 },
      { at: 'attempts.a.errno', is: '1142' },
      { at: 'attempts.a.errno', matches: '1142' },
      { at: 'text', matches: 'three' },
      { at: 'text', lacks: 'one' },
      { at: 'list', lacks: 'three' },
      { at: 'list', length: 3 },
      { at: 'list.*', is: 1 },
      { at: 'text', matches: 'one', lacks: 'two' },
    ])
      expect([check, holds(check)]).toEqual([check, false])
  })

  test('never holds by meeting nothing, nor by demanding nothing', () => {
    for (const check of [
      { at: 'nothing', is: 1 },
      { at: 'nothing.*.errno', is: 1142 },
      { at: 'attempts.*.state', lacks: 'x' },
      { at: 'attempts.*.errno.*', is: 1142 },
      { at: 'none.*', is: null },
      { at: 'toString', lacks: 'x' },
      { at: 'list.length', is: 2 },
      { at: 'text' },
    ])
      expect([check, holds(check)]).toEqual([check, false])
    expect(checkHolds({ probe: 'p', at: 'attempts.*.errno', is: 1142 }, { attempts: {} })).toBe(false)
    expect(checkHolds({ probe: 'p', at: 'found', length: 0 }, { found: {} })).toBe(false)
  })

  test('says what was expected and what came, in bounds', () => {
    expect(describeCheck({ probe: 'p', at: 'text', is: 1 }, { text: 'x'.repeat(500) }).length).toBeLessThan(
      300,
    )
    expect(describeCheck({ probe: 'p', at: 'gone', is: 1 }, {})).toBe('p: gone: expected 1, got nothing')
  })
})

describe('a control', () => {
  const control = controlOf('identity.certificate-binding')
  const good = observed('other_certificate', 'network', { errno: 1045 })
  const status = (observations: Observation[]) => judge(control, evidence(observations)).status

  test('passes by the exact answer, and is an error where there is none of its grade', () => {
    expect(status([good])).toBe('pass')
    expect(status([{ ...good, result: { errno: 1044 } }])).toBe('fail')
    expect(status([{ ...good, result: { rows: 0 } }])).toBe('fail')
    expect(status([])).toBe('error')
    expect(status([{ ...good, grade: 'host' }])).toBe('error')
    const { result: _, ...failed } = good
    expect(status([{ ...failed, error: 'openssl is not installed' }])).toBe('error')
    expect(status([failed])).toBe('fail')
  })

  test('seen over the network is never not applicable', () => {
    expect(status([{ ...good, result: { not_applicable: 'as the host says' } }])).toBe('fail')
  })
})

describe('what the host says', () => {
  const appendOnly = { errno: 1644, sqlState: '45A01' }
  const cases: [id: string, result: Json, status: Status][] = [
    ['host.confinement', { label: '/usr/sbin/mysqld (enforce)' }, 'pass'],
    ['host.confinement', { label: '/usr/sbin/mysqld (complain)' }, 'fail'],
    ['host.confinement', { label: 'unconfined' }, 'fail'],
    ['host.confinement', { label: '' }, 'fail'],
    ['host.confinement', { not_applicable: 'the kernel runs neither' }, 'not-applicable'],
    ['host.fips', { enabled: '1' }, 'pass'],
    ['host.fips', { enabled: '0' }, 'fail'],
    ['host.scan', { not_applicable: 'no OpenSCAP scan was run' }, 'not-applicable'],
    ['host.scan', { profile: 'cis_level2_server' }, 'fail'],
    ['data.canary-absent', { control_found: true, found: [] }, 'pass'],
    ['data.canary-absent', { control_found: false, found: [] }, 'fail'],
    ['data.canary-absent', { control_found: true, found: ['/var/lib/mysql/ibdata1'] }, 'fail'],
    ['audit.append-only', { attempts: { update: appendOnly, delete: appendOnly } }, 'pass'],
    ['audit.append-only', { attempts: { update: appendOnly, delete: { rows: 0 } } }, 'fail'],
    [
      'audit.append-only',
      { attempts: { update: appendOnly, delete: { ...appendOnly, sqlState: '45W00' } } },
      'fail',
    ],
    ['audit.append-only', { attempts: { update: appendOnly } }, 'fail'],
    ['audit.append-only', { attempts: {} }, 'fail'],
  ]
  for (const [id, result, status] of cases)
    test(`${id} is ${status} for ${JSON.stringify(result)}`, () => {
      expect(statusOf(id, result)).toBe(status)
    })

  test('may be not applicable to this machine, in words alone', () => {
    for (const { id } of controls.filter(c => c.grade === 'host' && probesOf(c).length > 0)) {
      expect(statusOf(id, { not_applicable: 'no host of ours' })).toBe('not-applicable')
      expect(statusOf(id, { not_applicable: true })).toBe('fail')
    }
  })
})

describe('accounts', () => {
  const subject = '/O=Zero-Trust MySQL/OU=app/CN=app_user/serialNumber=01'
  const account = {
    user: 'app_user',
    host: '127.0.0.1',
    ssl_type: 'SPECIFIED',
    x509_subject: subject,
    x509_issuer: '/CN=ca',
    plugin: 'caching_sha2_password',
    locked: false,
    has_secret: true,
  }
  const certificate = {
    account: 'app_user',
    role: 'app' as const,
    tenant: null,
    signer: '',
    serial: '01',
    subject,
    issuer: '/CN=ca',
    notBefore: '2026-01-01T00:00:00.000000Z',
    notAfter: '2026-06-01T00:00:00.000000Z',
    revokedAt: null,
    publicKey: utf8(''),
    der: utf8(''),
  }
  const status = (rows: Json, revokedAt: string | null = null) =>
    statusOf('identity.accounts-bound', rows, {
      trust: { ...emptyTrust, certificates: [{ ...certificate, revokedAt }] },
    })
  const beside = (change: object): Json => [account, { ...account, user: 'x', ...change }]

  test('bound to a certificate of the trust folder pass; locked ones and the socket’s need none', () => {
    expect(status([account])).toBe('pass')
    expect(status(beside({ plugin: 'mysql_no_login', ssl_type: '' }))).toBe('pass')
    expect(status(beside({ locked: true, ssl_type: '' }))).toBe('pass')
    expect(
      status(beside({ host: 'localhost', plugin: 'auth_socket', ssl_type: '', has_secret: false })),
    ).toBe('pass')
  })

  test('open to more fail', () => {
    for (const change of [
      { user: '' },
      { host: '%' },
      { host: '10.%' },
      { host: '' },
      { host: 'localhost', ssl_type: '', has_secret: false },
      { ssl_type: 'ANY' },
      { ssl_type: '' },
      { x509_subject: '' },
      { x509_issuer: '' },
      { has_secret: false },
      { x509_subject: `${subject}1` },
      { x509_issuer: '/CN=other' },
      { user: 'y' },
    ])
      expect([change, status(beside({ user: 'app_user', ...change }))]).toEqual([change, 'fail'])
    expect(status([account], '2026-02-01T00:00:00.000000Z')).toBe('fail')
    expect(status([])).toBe('fail')
  })

  test('in another shape than the probe makes fail', () => {
    for (const rows of [null, 'none', {}, [{ ...account, more: 1 }], [{ ...account, locked: 'N' }], [{}]])
      expect(status(rows as Json)).toBe('fail')
  })
})

describe('rights', () => {
  const trust: Trust = {
    ...emptyTrust,
    certificates: [['app_user', 'app'] as const, ['auditor', 'auditor'] as const].map(([account, role]) => ({
      account,
      role,
      tenant: null,
      signer: '',
      serial: '01',
      subject: '',
      issuer: '',
      notBefore: '2026-01-01T00:00:00.000000Z',
      notAfter: '2026-06-01T00:00:00.000000Z',
      revokedAt: null,
      publicKey: utf8(''),
      der: utf8(''),
    })),
  }
  const app = grantsFor('app', [...tableDefinitions.values()])
  const sound = [
    { account: "'app_user'@'127.0.0.1'", rights: app },
    { account: "'anchor'@'localhost'", rights: grantsFor('anchor', []) },
    { account: "'root'@'localhost'", rights: ['SELECT ON *.* WITH GRANT OPTION'] },
  ]
  const status = (result: Json) => statusOf('identity.rights', result, { trust })

  test('of its role, and no others, are what an account holds', () => {
    expect(status(sound)).toBe('pass')
    const [first, ...rest] = sound
    const bent = (account: string, rights: string[]) => status([{ account, rights }, ...rest])
    const name = first?.account ?? ''
    expect(bent(name, [...app, 'SELECT ON securedb.users'])).toBe('fail')
    expect(bent(name, app.slice(1))).toBe('fail')
    expect(bent(name, [...app.slice(1), `${app[0]} WITH GRANT OPTION`])).toBe('fail')
    expect(bent(name, [...app, 'ROLE dba@%'])).toBe('fail')
    expect(bent(name, [])).toBe('fail')
    expect(bent("'stranger'@'127.0.0.1'", ['SELECT ON securedb.users'])).toBe('fail')
    expect(bent("'root'@'127.0.0.1'", ['SELECT ON *.*'])).toBe('fail')
    expect(bent("'anchor'@'127.0.0.1'", grantsFor('anchor', []))).toBe('fail')
    expect(status([{ account: "'root'@'localhost'", rights: [] }])).toBe('fail')
    for (const other of [null, {}, [], [{ account: name }]]) expect(status(other as Json)).toBe('fail')
  })
})

describe('settings', () => {
  const input = { tlsDir: '/etc/ztmysql/tls', initFile: '/etc/mysql/init.sql', bindAddress: '127.0.0.1' }
  const variables = Object.fromEntries(
    settingsFor(input).flatMap((setting): [string, string][] => {
      const name = variableOf(setting)
      return name === null ? [] : [[name, setting.reads ?? setting.value]]
    }),
  )
  const status = (result: Json) => statusOf('host.settings', result)

  test('as the release has them pass; one that differs, is unknown or is left out fails', () => {
    expect(status({ input, variables })).toBe('pass')
    expect(Object.keys(variables)).toContain('mysqlx')
    for (const name of Object.keys(variables)) {
      expect([name, status({ input, variables: { ...variables, [name]: 'other' } })]).toEqual([name, 'fail'])
      const { [name]: _, ...fewer } = variables
      expect([name, status({ input, variables: fewer })]).toEqual([name, 'fail'])
    }
    expect(status({ input: { ...input, tlsDir: '../tls' }, variables })).toBe('fail')
    expect(status({ input, variables: {} })).toBe('fail')
    expect(status({ input: {}, variables })).toBe('fail')
  })
})

describe('the server’s certificate', () => {
  let ca: Authority
  let stranger: Authority
  const now = Date.now() * 1000
  beforeAll(async () => {
    ca = await makeAuthority(await makeKey('P-384'), { now, seconds: 7200 })
    stranger = await makeAuthority(await makeKey('P-384'), { now, seconds: 7200 })
  })
  const seen = async (
    by: Authority,
    host: string,
    names = ['127.0.0.1'],
    time = now,
    chain = (leaf: Bytes) => [leaf],
  ): Promise<Status> => {
    const { spki } = await makeKey('P-256')
    const { der } = await issueServer(by, names, spki, { now, seconds: 3600 })
    const trust = { ...emptyTrust, ca: [ca.certificate] }
    const at = new Date(time / 1000).toISOString().replace('Z', '000Z')
    const result = {
      protocol: 'TLSv1.3',
      cipher: 'x',
      certificate: formatPem('CERTIFICATE', der),
      host,
      time: at,
      transcript: `Certificate chain\n${chain(der)
        .map(each => formatPem('CERTIFICATE', each))
        .join(' 1 s:CA\n')}---\n`,
    }
    return statusOf('network.server-identity', result, { trust })
  }

  test('passes if the CA signed it, it names the host and is in force', async () => {
    expect(await seen(ca, '127.0.0.1')).toBe('pass')
    expect(await seen(stranger, '127.0.0.1')).toBe('fail')
    expect(await seen(ca, 'db.example')).toBe('fail')
    expect(await seen(ca, '127.0.0.1', ['db.example'])).toBe('fail')
    expect(await seen(ca, '127.0.0.1', ['127.0.0.1'], now + 7200e6)).toBe('fail')
    expect(await seen(ca, '127.0.0.1', ['127.0.0.1'], now - 7200e6)).toBe('fail')
  })

  test('stands in its transcript with nothing but the CA behind it', async () => {
    const with_ = (chain: (leaf: Bytes) => Bytes[]) => seen(ca, '127.0.0.1', undefined, undefined, chain)
    expect(await with_(leaf => [leaf, ca.certificate.der])).toBe('pass')
    expect(await with_(leaf => [leaf, stranger.certificate.der])).toBe('fail')
    expect(await with_(leaf => [ca.certificate.der, leaf])).toBe('fail')
    expect(await with_(() => [])).toBe('fail')
    expect(await with_(leaf => [leaf, ...Array<Bytes>(10).fill(ca.certificate.der)])).toBe('fail')
    expect(await with_(leaf => [leaf, utf8('no certificate')])).toBe('fail')
  })

  test('that is none, or that the probe did not show, fails', () => {
    for (const result of [
      {},
      { certificate: 'none', host: '127.0.0.1', time: '2026-01-01T00:00:00.000000Z' },
      [],
    ])
      expect(statusOf('network.server-identity', result)).toBe('fail')
  })
})

describe('rows', () => {
  const seed = random(32)
  const kem = random(1184)
  const tenant = {
    id: '0b2c0000-0000-4000-8000-000000000001',
    label: 'acme',
    fixture: false,
    issuers: [issuerPublicKey(seed)],
    kems: [kem],
    kmsKeys: ['gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k'],
  }
  const trust = { ...emptyTrust, tenants: [tenant] }
  const id = '0b2c0000-0000-4000-8000-000000000002'
  const commit = dekCommit({ tenant: tenant.id, id, purpose: 'record' }, random(32))
  const key: Row = {
    tenant_id: tenant.id,
    id,
    version: 1,
    wrap_version: 1,
    state: 'active',
    purpose: 'record',
    suite: 'kms',
    kms_key: tenant.kmsKeys[0] ?? '',
    kms_ciphertext: random(100),
    kem_ciphertext: null,
    kem_fingerprint: null,
    sealed_key: random(60),
    wrap_commit: random(32),
    dek_commit: commit,
    issuer: issuerOf(issuerPublicKey(seed)),
    issuer_sig: signIssue(seed, { tenant: tenant.id, id, purpose: 'record' }, commit),
    salt: random(16),
  }
  const user: Row = {
    tenant_id: tenant.id,
    id,
    state: 'live',
    full_name: random(40),
    email: random(40),
    phone: null,
  }
  const status = (control: string, table: string, row?: Row) => {
    const rows = new RowEvidence(trust)
    const def = tableDefinitions.get(table)
    if (!def) throw new Error(`no table ${table}`)
    if (row) rows.add(def, row)
    return judge(controlOf(control), evidence([], { rows, trust })).status
  }

  test('hold ciphertext: no cell reads as text, none is too short, none is missing', () => {
    const of = (change: Row = {}) => status('data.ciphertext-only', 'users', { ...user, ...change })
    expect(status('data.ciphertext-only', 'users')).toBe('not-applicable')
    expect(of()).toBe('pass')
    const name = 'Ada Example of 1 Example Street'
    for (const change of [
      { full_name: utf8(name) },
      { full_name: new Uint8Array([...random(12), ...utf8(name)]) },
      { full_name: utf8('Zoë Beispiel, Straße 1, 10115 Berlin') },
      { full_name: random(27) },
      { full_name: null },
      { email: name },
      { phone: random(3) },
    ])
      expect([change, of(change)]).toEqual([change, 'fail'])
    // an erased row has nothing left
    expect(of({ state: 'erased', full_name: null, email: null })).toBe('not-applicable')
  })

  test('hold data keys that their tenant’s issuer signed, wrapped by its own KMS key', () => {
    const of = (change: Row = {}) => status('data.wrapped-keys', 'data_keys', { ...key, ...change })
    expect(status('data.wrapped-keys', 'data_keys')).toBe('not-applicable')
    expect(of()).toBe('pass')
    const other = random(32)
    for (const change of [
      { kms_key: 'gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/other' },
      { issuer: issuerOf(issuerPublicKey(other)) },
      { issuer_sig: signIssue(other, { tenant: tenant.id, id, purpose: 'record' }, commit) },
      { issuer_sig: random(3309) },
      { issuer_sig: null },
      { issuer: null },
      { dek_commit: random(32) },
      { purpose: 'blind:users.email' },
      { id: '0b2c0000-0000-4000-8000-000000000003' },
      { tenant_id: '0b2c0000-0000-4000-8000-000000000003' },
    ])
      expect([Object.keys(change), of(change)]).toEqual([Object.keys(change), 'fail'])
  })

  test('hold hybrid wraps to the tenant’s own ML-KEM key', () => {
    const of = (kem_fingerprint: Bytes) =>
      status('data.hybrid-wrap', 'data_keys', {
        ...key,
        suite: 'kms+ml-kem-768',
        kem_ciphertext: random(1088),
        kem_fingerprint,
      })
    expect(status('data.hybrid-wrap', 'data_keys', key)).toBe('not-applicable')
    expect(of(sha256(kem))).toBe('pass')
    expect(of(random(32))).toBe('fail')
  })

  test('random bytes of a cell’s length do not read as text', () => {
    for (let i = 0; i < 2000; i++) expect(readsAsText(random(28))).toBe(false)
    expect(readsAsText(utf8('a name, perhaps'))).toBe(true)
    expect(readsAsText(utf8('a\u0000'))).toBe(false)
  })
})

describe('a profile', () => {
  const any = controlOf('network.tls-1.3')
  const judged = (status: Status, change: Partial<Control> = {}) => ({
    control: { ...any, ...change },
    status,
    reason: '',
  })

  test('is satisfied by a pass, and by little else', () => {
    for (const profile of profiles) {
      expect(satisfies(judged('pass'), profile)).toBe(true)
      for (const status of ['fail', 'error', 'not-applicable'] as const)
        expect([profile, status, satisfies(judged(status), profile)]).toEqual([profile, status, false])
      for (const status of ['fail', 'error'] as const) {
        expect(satisfies(judged(status, { grade: 'recomputed' }), profile)).toBe(false)
        expect(satisfies(judged(status, { status: 'available' }), profile)).toBe(false)
        expect(satisfies(judged(status, { status: 'optional' }), profile)).toBe(true)
      }
      expect(satisfies(judged('not-applicable', { grade: 'recomputed' }), profile)).toBe(true)
    }
  })

  test('off-host rests on nothing that the host says; database asks for no whole host; full asks for all', () => {
    const host = { grade: 'host', layer: 'host' } as const
    expect(profiles.map(profile => satisfies(judged('fail', host), profile))).toEqual([false, false, true])
    expect(profiles.map(profile => satisfies(judged('not-applicable', host), profile))).toEqual([
      false,
      true,
      true,
    ])
  })
})

test('a bracket fault is a failure, and its absence says where the bundle lies', () => {
  const control = controlOf('audit.bracketed')
  expect(judge(control, evidence([])).reason).toBe('between anchor 1 and anchor 2')
  expect(judge(control, evidence([], { bracketFault: 'no nonce' })).status).toBe('fail')
})
