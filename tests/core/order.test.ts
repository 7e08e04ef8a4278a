import { beforeAll, describe, expect, test } from 'bun:test'
import { p256 } from '@noble/curves/nist.js'
import { newUuid, random } from '../../lib/core/bytes.ts'
import { formatOrder, type Order, parseOrder, signOrder, verifyOrder } from '../../lib/core/order.ts'
import { signerOf } from '../../lib/core/signature.ts'
import { p256Spki } from '../../lib/core/x509.ts'
import { definitions } from '../../lib/edge/pki/draft.ts'
import { logName, refusal, tenantA } from '../support/trust.ts'

const { tenants, tenant_grant } = definitions
const all = [tenants, tenant_grant]
const secretKey = p256.utils.randomSecretKey()
const publicKey = p256.getPublicKey(secretKey, false)
const by = { origin: logName, secretKey, signer: signerOf(p256Spki(publicKey)) }
const tenantRow = (version: number, state = 'active') => ({
  tenant_id: tenantA,
  version,
  wrap_version: 1,
  state,
  label: 'tenant-a',
  salt: random(16),
})
const grantRow = (version: number, state = 'active') => ({
  tenant_id: tenantA,
  account: 'app_user',
  version,
  wrap_version: 1,
  state,
  salt: random(16),
})

let order: Order
beforeAll(() => {
  order = signOrder(tenant_grant, grantRow(1), 'create', by)
})

test('an order goes round, and its signature verifies', () => {
  const text = formatOrder(tenant_grant, order)
  const { definition, order: read } = parseOrder(all, text)
  expect(definition.table).toBe('tenant_grant')
  expect(formatOrder(definition, read)).toBe(text)
  expect(verifyOrder(definition, read, publicKey)).toBe(true)
  expect(Object.keys(JSON.parse(text) as object)).toEqual([
    'v',
    'kind',
    'origin',
    'table',
    'action',
    'row',
    'event',
    'sig',
    'signer',
  ])
})

test('retire and renewal go round', () => {
  for (const [def, row, action] of [
    [tenants, tenantRow(1), 'create'],
    [tenants, tenantRow(2, 'retired'), 'retire'],
    [tenant_grant, grantRow(2, 'revoked'), 'retire'],
    [tenant_grant, grantRow(3), 'update'],
  ] as const) {
    const { definition, order: read } = parseOrder(all, formatOrder(def, signOrder(def, row, action, by)))
    expect(verifyOrder(definition, read, publicKey)).toBe(true)
  }
})

test('the signature covers every part', () => {
  const changes: Partial<Order>[] = [
    { origin: 'ztmysql.local/other' },
    { event: newUuid() },
    { row: { ...order.row, account: 'app_two' } },
    { row: { ...order.row, tenant_id: newUuid() } },
    { row: { ...order.row, salt: random(16) } },
    { row: { ...order.row, version: 2 }, action: 'update' },
    { signature: Uint8Array.from(order.signature, (byte, i) => (i === 40 ? byte ^ 1 : byte)) },
  ]
  for (const change of changes)
    expect(verifyOrder(tenant_grant, { ...order, ...change }, publicKey)).toBe(false)
  expect(verifyOrder(tenant_grant, order, p256.getPublicKey(random(32), false))).toBe(false)
})

describe('refuses', () => {
  test.each([
    ['create of version 2', grantRow(2), 'create'],
    ['update of version 1', grantRow(1), 'update'],
    ['create of a revoked row', grantRow(1, 'revoked'), 'create'],
    ['retire that leaves it active', grantRow(2), 'retire'],
    ['a wrap version', { ...grantRow(1), wrap_version: 2 }, 'create'],
  ] as const)('to sign %s', (_, row, action) => {
    expect(refusal(() => signOrder(tenant_grant, row, action, by)).code).toBe('BAD_FORMAT')
  })

  test('a table that administrators do not write', () => {
    const users = { ...tenants, table: 'users', writer: 'client' as const }
    expect(refusal(() => signOrder(users, tenantRow(1), 'create', by)).code).toBe('BAD_FORMAT')
  })

  test.each([
    ['an unknown table', (s: string) => s.replace('"tenant_grant"', '"users"')],
    ['an unknown member', (s: string) => s.replace('"v":1,', '"v":1,"x":1,')],
    ['a missing member', (s: string) => s.replace('"kind":"ztmysql-order",', '')],
    ['an unknown action', (s: string) => s.replace('"create"', '"rewrap"')],
    ['another column', (s: string) => s.replace('"account":', '"acount":')],
    ['a missing newline', (s: string) => s.trimEnd()],
    ['white space', (s: string) => s.replace('"v":1,', '"v":1, ')],
    [
      'an event id in capitals',
      (s: string) => s.replace(/"event":"[^"]*"/, x => x.toUpperCase().replace('EVENT', 'event')),
    ],
    ['a short signature', (s: string) => s.replace(/"sig":"[^"]*"/, '"sig":"AAAA"')],
    ['a number that is no decimal', (s: string) => s.replace('"version":"1"', '"version":"01"')],
    ['a newer version', (s: string) => s.replace('"v":1', '"v":2')],
  ] as const)('%s', (_, change) => {
    const text = formatOrder(tenant_grant, order)
    expect(change(text)).not.toBe(text)
    expect(['BAD_FORMAT', 'BAD_LENGTH', 'NEWER_FORMAT']).toContain(
      refusal(() => parseOrder(all, change(text))).code,
    )
  })
})
