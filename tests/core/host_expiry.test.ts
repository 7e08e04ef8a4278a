import { describe, expect, test } from 'bun:test'
import { daysLeft, expiryWarnings } from '../../lib/core/host/expiry.ts'

const now = Date.parse('2026-06-01T00:00:00Z')
const inDays = (days: number, seconds = 0): string =>
  new Date(now + days * 86_400_000 + seconds * 1000).toISOString().replace('Z', '000Z')
const fine = { serverNotAfter: inDays(80), crlNextUpdate: inDays(20) }
const items = (expiry: { serverNotAfter?: string | null; crlNextUpdate?: string | null }) =>
  expiryWarnings({ ...fine, ...expiry }, now).map(({ item }) => item)

describe('warnings before something expires', () => {
  test('says nothing while there is time', () => {
    expect(items({})).toEqual([])
    expect(items({ serverNotAfter: null, crlNextUpdate: null })).toEqual([])
  })

  test('begins 30 days before a certificate, and not a second earlier', () => {
    expect(items({ serverNotAfter: inDays(30, 1) })).toEqual([])
    expect(items({ serverNotAfter: inDays(30) })).toEqual(['certificate of the server'])
  })

  test('begins 7 days before a CRL, and not a second earlier', () => {
    expect(items({ crlNextUpdate: inDays(7, 1) })).toEqual([])
    expect(items({ crlNextUpdate: inDays(7) })).toEqual(['CRL'])
  })

  test('counts whole days, says when, and what to do', () => {
    expect(daysLeft(inDays(3, 3600), now)).toBe(3)
    expect(daysLeft(inDays(0, -1), now)).toBe(-1)
    const [warning] = expiryWarnings({ ...fine, crlNextUpdate: inDays(3, 3600) }, now)
    expect(warning?.detail).toBe(
      `expires in 3 days, on ${inDays(3, 3600)}; outside_pki crl, then vm_oneclick reload-tls --pki-tar FILE`,
    )
  })

  test('says what happens once it is over', () => {
    const [certificate, crl] = expiryWarnings({ serverNotAfter: inDays(0), crlNextUpdate: inDays(-1) }, now)
    expect(certificate?.detail).toStartWith(`expired on ${inDays(0)}: no client connects any more`)
    expect(crl?.detail).toStartWith(`expired on ${inDays(-1)}: no client is let in any more`)
  })
})
