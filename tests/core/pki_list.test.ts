import { beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { formatPkiList, listPki } from '../../lib/core/pki_list.ts'
import type { PkiState } from '../../lib/core/pki_state.ts'
import { formatTime } from '../../lib/core/time.ts'
import { readPki } from '../../lib/edge/pki.ts'
import { sharedPki } from '../support/pki.ts'

setDefaultTimeout(60_000) // key derivation is slow on purpose

let state: PkiState
beforeAll(async () => {
  state = readPki(await sharedPki())
})
const after = (days: number) => formatTime(Date.parse(state.created) * 1000 + days * 86_400e6 + 60e6)
const warnings = (days: number, changed = state) => listPki(changed, after(days)).warnings

test('nothing wants attention on the first day', () => {
  expect(warnings(0)).toEqual([])
})

test('probes, CRL, certificates and CA are watched, each in its time', () => {
  const probes = 'the probes have no certificate in force: outside_pki probes'
  expect(warnings(2)).toEqual([probes])
  expect(warnings(19)).toEqual([probes])
  expect(warnings(20)).toEqual([
    expect.stringMatching(/^the CRL ends .*, and then the server refuses every client: outside_pki crl$/),
    probes,
  ])
  expect(warnings(76)).toContain('server: ends in 13 days: outside_pki renew server')
  expect(warnings(76)).toContain('app_user: ends in 13 days: outside_pki renew app_user')
  expect(warnings(91)).toContain('administrator: expired: outside_pki renew administrator')
  expect(warnings(75).filter(line => line.startsWith('server'))).toEqual([])
  expect(warnings(3480)).toContain('the CA ends soon: outside_pki rollover')
})

test('a revoked certificate wants a new one, unless its account is retired', () => {
  const revoked = structuredClone(state)
  for (const c of revoked.certificates) if (c.account === 'app_user') c.revokedAt = state.created
  expect(warnings(0, revoked)).toEqual(['app_user: revoked: outside_pki renew app_user'])
  for (const a of revoked.accounts) if (a.account === 'app_user') a.retired = true
  expect(warnings(0, revoked)).toEqual([])
})

test('the table leaves out what no longer matters, unless asked', () => {
  const list = listPki(state, after(2))
  expect(formatPkiList(list, false)).not.toContain('probe_a')
  expect(formatPkiList(list, true)).toMatch(/^probe_a +probe +probe-a +\S+ +-2 +expired +[0-9a-f]{32}$/m)
  expect(list.certificates.map(c => c.status).filter(s => s === 'expired')).toHaveLength(3)
})
