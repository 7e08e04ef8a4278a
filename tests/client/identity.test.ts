import { beforeAll, describe, expect, test } from 'bun:test'
import { findTenant, readIdentity } from '../../lib/client/identity.ts'
import { toHex } from '../../lib/core/bytes.ts'
import { formatPem } from '../../lib/core/pem.ts'
import { parseTrust, type Trust } from '../../lib/core/trust.ts'
import { buildTrust } from '../../lib/core/trust_build.ts'
import { codeOf } from '../support/envelope.ts'
import { type Client, makeCa, makeClient, makeContent, now, tenantA } from '../support/trust.ts'

const files = (certificate: Client, key: Client = certificate) => ({
  certificate: formatPem('CERTIFICATE', certificate.der),
  certificatePath: 'a-cert.pem',
  key: formatPem('PRIVATE KEY', key.pair.pkcs8),
  keyPath: 'a-key.pem',
})
const day = 86_400e6

let trust: Trust
let app: Client
let auditor: Client
let revoked: Client
let stranger: Client

beforeAll(async () => {
  const ca = await makeCa()
  app = await makeClient(ca, 'app_user', 'app', tenantA)
  auditor = await makeClient(ca, 'auditor', 'auditor', null)
  revoked = await makeClient(ca, 'app_gone', 'app', tenantA)
  revoked.revokedAt = '2026-01-02T00:00:00.000000Z'
  stranger = await makeClient(ca, 'app_new', 'app', tenantA)
  trust = parseTrust(buildTrust(await makeContent([ca], [app, auditor, revoked]), [ca.scalar]))
})

describe('identity', () => {
  test('is account, tenant and signer as the trust folder has them', () => {
    const identity = readIdentity(trust, files(app), now)
    expect(identity.account).toBe('app_user')
    expect(identity.tenant.label).toBe('tenant-a')
    const known = trust.certificates.find(entry => entry.account === 'app_user')
    expect(toHex(identity.signer)).toBe(known?.signer ?? '')
    expect(identity.secretKey).toEqual(app.pair.scalar)
  })

  test('refuses another certificate’s key, an unknown, revoked or expired certificate, and one without a tenant', () => {
    const code = (certificate: Client, at = now, key = certificate) =>
      codeOf(() => readIdentity(trust, files(certificate, key), at))
    expect(code(app)).toBeUndefined()
    expect(code(app, now, stranger)).toBe('BAD_INPUT')
    expect(code(stranger)).toBe('REFUSED')
    expect(code(revoked)).toBe('REFUSED')
    expect(code(auditor)).toBe('REFUSED')
    expect(code(app, now + 91 * day)).toBe('REFUSED')
    expect(code(app, now - 10 * day)).toBe('REFUSED')
  })

  test('a tenant is found by UUID or label alone', () => {
    expect(findTenant(trust, 'tenant-a').id).toBe(tenantA)
    expect(findTenant(trust, tenantA).label).toBe('tenant-a')
    expect(codeOf(() => findTenant(trust, 'tenant'))).toBe('NOT_FOUND')
  })
})
