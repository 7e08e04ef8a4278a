import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issuerPublicKey } from '../../lib/core/envelope/issuer.ts'
import { parseIssuerFile } from '../../lib/core/envelope/key_files.ts'
import { openSealedFile } from '../../lib/core/envelope/sealed_file.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { parseClientConfig } from '../../lib/core/mycnf.ts'
import { parseOrder, verifyOrder } from '../../lib/core/order.ts'
import { parsePkiServer } from '../../lib/core/pki_server.ts'
import { issueAccount, renewAccount } from '../../lib/edge/pki/accounts.ts'
import { beginRollover, finishRollover } from '../../lib/edge/pki/authorities.ts'
import { type Draft, definitions } from '../../lib/edge/pki/draft.ts'
import { revoke } from '../../lib/edge/pki/revocations.ts'
import { addTenant, retireTenant } from '../../lib/edge/pki/tenants.ts'
import { changePki, createPki, readPki, renewAll, renewProbes } from '../../lib/edge/pki.ts'
import { checkMaterial, readServerArchive } from '../../lib/edge/server_material.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { openssl, verify } from '../support/openssl.ts'
import { copyPki, passphrase, sharedPki } from '../support/pki.ts'

setDefaultTimeout(120_000) // key derivation is slow on purpose

let shared: string
let base: string
let copies = 0
beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'zt-pki-test-'))
  shared = await sharedPki()
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

const fresh = () => copyPki(join(base, `pki${++copies}`))
const change = (dir: string, act: (draft: Draft) => void | Promise<void>, now?: number) =>
  changePki(dir, { passphrase, ...(now === undefined ? {} : { now }) }, act)
const pinOf = (dir: string, i = 0) => readPki(dir).authorities[i]?.sha256
const trustOf = (dir: string) => readTrust(join(dir, 'trust'), { caSha256: pinOf(dir) })
const files = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(path => statSync(join(dir, path)).isFile())
    .sort()
const snapshot = (dir: string) =>
  files(dir).map(
    path =>
      `${path} ${createHash('sha256')
        .update(readFileSync(join(dir, path)))
        .digest('hex')}`,
  )
const serverOf = (dir: string) => parsePkiServer(readFileSync(join(dir, 'server/server.json')))
const subjectOf = (dir: string, account: string) =>
  serverOf(dir).accounts.find(a => a.account === account)?.subject

async function refusal(act: Promise<unknown>): Promise<ZtError> {
  try {
    await act
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

describe('a new folder', () => {
  test('is closed to others, down to every file', () => {
    const open = readdirSync(shared, { recursive: true, encoding: 'utf8' }).filter(path => {
      const stats = statSync(join(shared, path))
      return (stats.mode & 0o777) !== (stats.isDirectory() ? 0o700 : 0o600)
    })
    expect(open).toEqual([])
  })

  test('gives the installer an archive that it takes', async () => {
    const archive = await readServerArchive(join(shared, 'pki_server.tar.gz'), Object.values(definitions))
    const { caSha256 } = checkMaterial(archive, { pin: pinOf(shared) ?? '' })
    expect(caSha256).toEqual([pinOf(shared) ?? ''])
    expect(archive.serverName).toBe('db.example')
    expect(archive.accounts.map(a => [a.account, a.role])).toEqual([
      ['app_user', 'app'],
      ['auditor', 'auditor'],
      ['probe_a', 'probe'],
      ['probe_b', 'probe'],
      ['probe_auditor', 'probe_auditor'],
    ])
    expect(new Set(archive.accounts.map(a => a.password)).size).toBe(5)
  })

  test('holds orders that the administrator of the trust folder signed', () => {
    const trust = trustOf(shared)
    const administrator = trust.certificates.find(c => c.role === 'administrator')
    const orders = readdirSync(join(shared, 'server/orders'))
    expect(orders).toHaveLength(6)
    for (const name of orders) {
      const bytes = new Uint8Array(readFileSync(join(shared, 'server/orders', name)))
      const { definition, order } = parseOrder(Object.values(definitions), bytes, name)
      expect(order.origin).toBe(trust.origin)
      expect(verifyOrder(definition, order, administrator?.publicKey ?? new Uint8Array())).toBe(true)
    }
  })

  test('holds an issuer key for each tenant, which opens with the passphrase alone', () => {
    const tenant = trustOf(shared).tenants.find(t => t.label === 'tenant-a')
    const sealed = readFileSync(join(shared, 'issuers/tenant-a-issuer.json'))
    const { tenant: id, seed } = parseIssuerFile(
      openSealedFile('tenant-a-issuer.json', sealed, passphrase),
      'issuer',
    )
    expect(id).toBe(tenant?.id ?? '')
    expect(issuerPublicKey(seed)).toEqual(tenant?.issuers[0] ?? new Uint8Array())
  })

  test('keeps no key of CA, administrator or issuer in the clear', () => {
    for (const path of files(shared).filter(p => /^(ca|administrators|issuers)\/.*(key\.pem|json)$/.test(p)))
      expect(readFileSync(join(shared, path), 'utf8')).toMatch(
        /^-----BEGIN ENCRYPTED PRIVATE KEY|"kind":"ztmysql-sealed"/,
      )
  })

  test('has option files with absolute paths, and probes that go to their own host', () => {
    const app = parseClientConfig(readFileSync(join(shared, 'clients/app_user.cnf'), 'utf8'))
    const probe = parseClientConfig(readFileSync(join(shared, 'probes/probe_a.cnf'), 'utf8'))
    expect(app).toMatchObject({ user: 'app_user', host: 'db.example', port: 3306, tlsVersion: 'TLSv1.3' })
    expect(app).toMatchObject({
      sslKey: join(shared, 'clients/app_user-key.pem'),
      sslMode: 'VERIFY_IDENTITY',
    })
    expect(probe).toMatchObject({ host: '127.0.0.1', sslCa: join(shared, 'probes/probe_a-ca.pem') })
    expect(readdirSync(join(shared, 'clients')).filter(name => name.startsWith('probe'))).toEqual([])
  })

  test('is refused where there is anything already', async () => {
    const dir = join(base, 'taken')
    await Bun.write(join(dir, 'x'), 'x')
    chmodSync(dir, 0o700)
    expect((await refusal(createPki(dir, { passphrase }))).code).toBe('CONFLICT')
    expect((await refusal(createPki(shared, { passphrase }))).code).toBe('CONFLICT')
    expect(readdirSync(dir)).toEqual(['x'])
  })
})

describe('openssl', () => {
  const certificates = ['app_user', 'auditor'].map(name => `clients/${name}-cert.pem`)
  const probes = ['probe_a', 'probe_b', 'probe_auditor'].map(name => `probes/${name}-cert.pem`)
  const clients = [...certificates, ...probes, 'administrators/administrator-cert.pem']

  test('verifies every certificate strictly, for its own purpose only', () => {
    const server = 'server/server-cert.pem'
    expect(verify(shared, 'sslserver', join(shared, server)).out).toEndWith('OK')
    expect(verify(shared, 'sslclient', join(shared, server)).ok).toBe(false)
    for (const path of clients) {
      expect(verify(shared, 'sslclient', join(shared, path)).out).toEndWith('OK')
      expect(verify(shared, 'sslserver', join(shared, path)).ok).toBe(false)
    }
  })

  test('prints the subjects and issuers that accounts are bound to', () => {
    const { accounts } = serverOf(shared)
    for (const path of [...certificates, ...probes]) {
      const name = path.replace(/^.*\/(.*)-cert\.pem$/, '$1')
      const { out } = openssl(
        'x509',
        '-in',
        join(shared, path),
        '-noout',
        '-nameopt',
        'compat',
        '-subject',
        '-issuer',
      )
      const account = accounts.find(a => a.account === name)
      expect(out).toBe(`subject=${account?.subject}\nissuer=${account?.issuer}`)
    }
  })

  test('finds all names of the server, and no other', () => {
    const is = (kind: string, name: string) =>
      openssl('x509', '-in', join(shared, 'server/server-cert.pem'), '-noout', kind, name).out
    for (const name of ['db.example', 'localhost']) expect(is('-checkhost', name)).toContain('does match')
    for (const name of ['192.0.2.7', '127.0.0.1']) expect(is('-checkip', name)).toContain('does match')
    expect(is('-checkhost', 'db2.example')).toContain('does NOT match')
  })

  test('opens CA and administrator keys with the passphrase and no other', () => {
    const file = join(base, 'pass')
    writeFileSync(file, `${passphrase}\n`, { mode: 0o600 })
    writeFileSync(`${file}.wrong`, `${passphrase}.\n`, { mode: 0o600 })
    for (const path of files(shared).filter(p => /^(ca|administrators)\/.*-key\.pem$/.test(p))) {
      const open = (from: string) =>
        openssl('pkey', '-in', join(shared, path), '-passin', `file:${from}`, '-noout')
      expect([path, open(file).ok, open(`${file}.wrong`).ok]).toEqual([path, true, false])
      expect(openssl('asn1parse', '-in', join(shared, path)).out).toContain(':0927C0') // 600,000 rounds
    }
  })
})

describe('accounts', () => {
  test('issue, renew, revoke, retire and issue again', async () => {
    const dir = await fresh()
    await change(dir, draft => addTenant(draft, 'acme'))
    await change(dir, draft => issueAccount(draft, 'acme_app', { role: 'app', tenant: 'acme' }))
    const first = subjectOf(dir, 'acme_app')
    expect(verify(dir, 'sslclient', join(dir, 'clients/acme_app-cert.pem')).out).toEndWith('OK')

    await change(dir, draft => renewAccount(draft, 'acme_app'))
    const second = subjectOf(dir, 'acme_app')
    expect(second).not.toBe(first)
    expect(second?.replace(/serialNumber=.*/, '')).toBe(first?.replace(/serialNumber=.*/, ''))

    await change(dir, draft => revoke(draft, 'acme_app'))
    expect(verify(dir, 'sslclient', join(dir, 'clients/acme_app-cert.pem')).out).toContain(
      'certificate revoked',
    )
    const revoked = trustOf(dir).certificates.filter(c => c.account === 'acme_app')
    expect(revoked).toHaveLength(2)
    expect(revoked.map(c => c.revokedAt === null)).toEqual([false, false])
    expect(subjectOf(dir, 'acme_app')).toBe(second) // still bound, and shut out by the CRL

    await change(dir, draft => revoke(draft, 'acme_app', { retire: true }))
    expect(subjectOf(dir, 'acme_app')).toBeUndefined()
    expect(files(dir).filter(path => path.startsWith('clients/acme_app'))).toEqual([])

    await change(dir, draft => issueAccount(draft, 'acme_app', { role: 'app', tenant: 'acme' }))
    expect(verify(dir, 'sslclient', join(dir, 'clients/acme_app-cert.pem')).out).toEndWith('OK')
    const orders = readdirSync(join(dir, 'server/orders'))
      .sort()
      .slice(6)
      .map(
        name =>
          JSON.parse(readFileSync(join(dir, 'server/orders', name), 'utf8')) as {
            table: string
            action: string
            row: { version: string; state: string }
          },
      )
    expect(orders.map(o => [o.table, o.action, o.row.version, o.row.state])).toEqual([
      ['tenants', 'create', '1', 'active'],
      ['tenant_grant', 'create', '1', 'active'],
      ['tenant_grant', 'retire', '2', 'revoked'],
      ['tenant_grant', 'update', '3', 'active'],
    ])
  })

  test('what is there already changes nothing', async () => {
    const dir = await fresh()
    const before = snapshot(dir)
    for (const act of [
      (draft: Draft) => issueAccount(draft, 'app_user', { role: 'app' as const, tenant: 'tenant-a' }),
      (draft: Draft) => addTenant(draft, 'tenant-a'),
      (draft: Draft) => finishRollover(draft),
    ])
      expect((await change(dir, act)).changes).toEqual([])
    expect(snapshot(dir)).toEqual(before)
  })

  test('a name keeps its tenant and role, the last administrator stays, fixtures are for probes', async () => {
    const dir = await fresh()
    const before = snapshot(dir)
    const codeOf = async (act: (draft: Draft) => Promise<void>) => (await refusal(change(dir, act))).code
    expect(await codeOf(d => issueAccount(d, 'app_user', { role: 'app', tenant: 'probe-a' }))).toBe('REFUSED')
    expect(await codeOf(d => issueAccount(d, 'auditor', { role: 'app', tenant: 'tenant-a' }))).toBe(
      'CONFLICT',
    )
    expect(await codeOf(d => issueAccount(d, 'x', { role: 'app', tenant: 'nobody' }))).toBe('NOT_FOUND')
    expect(await codeOf(d => issueAccount(d, 'X', { role: 'auditor' }))).toBe('BAD_INPUT')
    expect(await codeOf(d => issueAccount(d, 'server', { role: 'auditor' }))).toBe('BAD_INPUT')
    expect(await codeOf(d => issueAccount(d, 'x', { role: 'auditor' }, { days: 826 }))).toBe('BAD_INPUT')
    expect(await codeOf(d => revoke(d, 'administrator'))).toBe('REFUSED')
    expect(await codeOf(d => revoke(d, 'app_user', { serial: '00' }))).toBe('NOT_FOUND')
    expect(await codeOf(d => retireTenant(d, 'probe-a'))).toBe('REFUSED')
    expect(await codeOf(d => addTenant(d, 'Bad'))).toBe('BAD_INPUT')
    expect(snapshot(dir)).toEqual(before)
  })

  test('a request gets a certificate for its own key, which is never here', async () => {
    const dir = await fresh()
    const key = join(base, 'own-key.pem')
    const csr = join(base, 'own.csr')
    const request = (...extra: string[]) =>
      openssl(
        'req',
        '-new',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        key,
        '-subj',
        '/CN=whoever',
        '-out',
        csr,
        ...extra,
      )
    expect(request().ok).toBe(true)
    await change(dir, draft => issueAccount(draft, 'app_own', { role: 'app', tenant: 'tenant-a' }, { csr }))
    const certificate = join(dir, 'clients/app_own-cert.pem')
    expect(existsSync(join(dir, 'clients/app_own-key.pem'))).toBe(false)
    expect(openssl('x509', '-in', certificate, '-noout', '-pubkey').out).toBe(
      openssl('pkey', '-in', key, '-pubout').out,
    )
    expect(openssl('x509', '-in', certificate, '-noout', '-subject').out).not.toContain('whoever')

    const reuse = change(dir, draft =>
      issueAccount(draft, 'app_two', { role: 'app', tenant: 'tenant-a' }, { csr }),
    )
    expect((await refusal(reuse)).code).toBe('REFUSED')
    const der = Buffer.from(readFileSync(csr, 'utf8').replace(/-----.*-----|\n/g, ''), 'base64')
    der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1
    writeFileSync(
      csr,
      `-----BEGIN CERTIFICATE REQUEST-----\n${der
        .toString('base64')
        .match(/.{1,64}/g)
        ?.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`,
    )
    const forged = change(dir, draft => renewAccount(draft, 'app_own', { csr }))
    expect((await refusal(forged)).code).toBe('BAD_INPUT')
    expect(
      openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-subj', '/CN=x', '-out', csr)
        .ok,
    ).toBe(true)
    expect((await refusal(change(dir, draft => renewAccount(draft, 'app_own', { csr })))).code).toBe(
      'BAD_INPUT',
    )
  })
})

test('a tenant that is retired takes its accounts along', async () => {
  const dir = await fresh()
  await change(dir, draft => retireTenant(draft, 'tenant-a'))
  expect(subjectOf(dir, 'app_user')).toBeUndefined()
  const trust = trustOf(dir)
  expect(trust.certificates.find(c => c.account === 'app_user')?.revokedAt).not.toBeNull()
  expect(trust.tenants.map(t => t.label)).toContain('tenant-a') // its past still has to be judged
  expect(verify(dir, 'sslclient', join(dir, 'clients/auditor-cert.pem')).out).toEndWith('OK')
  expect((await refusal(change(dir, draft => renewAccount(draft, 'app_user')))).code).toBe('REFUSED')
  expect((await change(dir, draft => retireTenant(draft, 'tenant-a'))).changes).toEqual([])
})

test('roots of an HSM that lie in the folder come with the trust folder at its next change', async () => {
  const dir = await fresh()
  expect(trustOf(dir).hsmRoots).toBeUndefined()
  const pem = readFileSync(join(dir, 'ca.pem'), 'utf8') // any certificate will do
  writeFileSync(join(dir, 'hsm-roots.pem'), pem)
  await change(dir, draft => renewAccount(draft, 'app_user'))
  expect(trustOf(dir).hsmRoots?.length).toBe(1)
  expect(readFileSync(join(dir, 'trust/hsm-roots.pem'), 'utf8')).toBe(pem)
  writeFileSync(join(dir, 'hsm-roots.pem'), `Root of the maker\n${pem}`)
  expect((await refusal(change(dir, draft => renewAccount(draft, 'app_user')))).code).toBe('BAD_FORMAT')
})

test('probes live a day, and fresh ones are bound in the archive', async () => {
  const dir = await fresh()
  const tomorrow = Date.now() + 25 * 3600_000
  const before = subjectOf(dir, 'probe_a')
  await change(dir, draft => renewProbes(draft), tomorrow)
  expect(subjectOf(dir, 'probe_a')).not.toBe(before)
  const probe = trustOf(dir)
    .certificates.filter(c => c.account === 'probe_a')
    .at(-1)
  expect(Date.parse(probe?.notAfter ?? '') - tomorrow).toBeLessThanOrEqual(86_400_000)
  expect(Date.parse(probe?.notAfter ?? '') - tomorrow).toBeGreaterThan(86_398_000)
})

test('a change renews a CRL that would end soon', async () => {
  const dir = await fresh()
  const soon = Date.now() + 16 * 86_400_000
  expect(readPki(dir).crlNumber).toBe(1)
  const { state } = await change(dir, draft => issueAccount(draft, 'auditor_two', { role: 'auditor' }), soon)
  expect(state.crlNumber).toBe(2)
  expect(openssl('crl', '-in', join(dir, 'crl.pem'), '-noout', '-crlnumber').out).toBe('crlNumber=0x02')
})

test('a rollover overlaps: both CAs hold until nothing stands on the old one', async () => {
  const dir = await fresh()
  const oldPin = pinOf(dir)
  const oldCa = join(base, 'old-ca.pem')
  writeFileSync(oldCa, readFileSync(join(dir, 'ca.pem')))
  const certificate = join(dir, 'clients/app_user-cert.pem')

  await change(dir, beginRollover)
  expect((await refusal(change(dir, beginRollover))).code).toBe('CONFLICT')
  expect(verify(dir, 'sslclient', certificate).out).toEndWith('OK') // still of the old CA
  for (const caSha256 of [oldPin, pinOf(dir)]) readTrust(join(dir, 'trust'), { caSha256 })
  const clientCa = readFileSync(join(dir, 'clients/app_user-ca.pem'), 'utf8')
  expect(clientCa.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
  const early = await refusal(change(dir, finishRollover))
  expect([early.code, early.message]).toEqual([
    'REFUSED',
    'the old CA is still in use, by: server, administrator, app_user, auditor, probe_a, probe_b, probe_auditor',
  ])

  await change(dir, draft => revoke(draft, 'probe_b'))
  await change(dir, renewAll)
  expect(verify(dir, 'sslclient', certificate).out).toEndWith('OK')
  expect(verify(dir, 'sslclient', certificate, oldCa).ok).toBe(false)
  const archive = await readServerArchive(join(dir, 'pki_server.tar.gz'), Object.values(definitions))
  expect(checkMaterial(archive, { pin: oldPin ?? '' }).caSha256).toHaveLength(2)

  await change(dir, finishRollover)
  expect(() => readTrust(join(dir, 'trust'), { caSha256: oldPin })).toThrow('not the pinned one')
  expect(
    trustOf(dir)
      .certificates.filter(c => c.account === 'probe_b')
      .map(c => c.revokedAt === null),
  ).toEqual([false, true])
  expect(files(dir).filter(path => path.startsWith('ca/') && path.endsWith('-key.pem'))).toHaveLength(1)
  expect(verify(dir, 'sslclient', certificate).out).toEndWith('OK')
  await change(dir, draft => issueAccount(draft, 'auditor_two', { role: 'auditor' }))
})
