import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import {
  ailments,
  diagnose,
  type Facts,
  formatComplaints,
  headingAnchor,
} from '../../lib/core/host/doctor.ts'

const root = resolve(import.meta.dir, '../..')
const now = Date.parse('2026-11-24T14:20:00Z')

const well: Facts = {
  now,
  serverError: null,
  trail: {
    recordedNumber: 12,
    recordedSize: 345,
    confirmedNumber: 12,
    confirmedAt: '2026-11-24T14:19:30.000000Z',
    pending: 0,
    oldestPendingAt: null,
    gate: null,
  },
  limits: { unsealedSeconds: 30, anchorSeconds: 300, anchorWarnSeconds: 120 },
  check: { at: '2026-11-24T14:00:00.000000Z', drift: 0 },
  queuedLines: 0,
  expiry: { serverNotAfter: '2027-02-22T14:18:00.000000Z', crlNextUpdate: '2026-12-24T14:18:00.000000Z' },
  certificates: { log_client: '2027-02-22T14:18:00.000000Z' },
  scheduler: 'ON',
  sealerLookedAt: '2026-11-24T14:19:59.500000Z',
  anchor: { timerEnabled: 'enabled', timerActive: 'active', result: 'success', lastError: null },
  idleUnits: {},
  disks: [{ path: '/var/lib/mysql', freeBytes: 50 * 2 ** 30, totalBytes: 100 * 2 ** 30 }],
  clockSynchronised: true,
  store: { location: '/var/lib/ztmysql/worm', error: null },
  logHost: { name: 'log1.example.org:6514', error: null },
  keyring: { status: 'Active', error: null },
  binary: 'same',
}

const trail = (change: Partial<NonNullable<Facts['trail']>>): Partial<Facts> => ({
  trail: well.trail === null ? null : { ...well.trail, ...change },
})

/** Each ailment, how it shows, and what is said of it. */
const cases: [id: string, facts: Partial<Facts>, says: string][] = [
  [
    'server-down',
    { serverError: 'no such socket', trail: null, limits: null },
    'the database does not answer: no such socket',
  ],
  [
    'expiry',
    {
      expiry: { serverNotAfter: '2026-12-20T00:00:00.000000Z', crlNextUpdate: '2026-12-24T14:18:00.000000Z' },
    },
    'certificate of the server: expires in 25 days, on 2026-12-20T00:00:00.000000Z; outside_pki renew server, then vm_oneclick reload-tls --pki-tar FILE',
  ],
  [
    'expiry',
    { expiry: { serverNotAfter: null, crlNextUpdate: '2026-11-24T14:19:59.000000Z' } },
    'CRL: expired on 2026-11-24T14:19:59.000000Z: no client is let in any more; outside_pki crl, then vm_oneclick reload-tls --pki-tar FILE',
  ],
  [
    'log-certificate',
    { certificates: { log_client: '2026-12-01T00:00:00.000000Z' } },
    'certificate log_client: expires on 2026-12-01T00:00:00.000000Z',
  ],
  [
    'gate',
    trail({ gate: '45G02' }),
    'the gate is closed (45G02): the last anchor that the store accepted is too old',
  ],
  [
    'gate',
    trail({ gate: '45G02', confirmedNumber: 0, confirmedAt: null }),
    'the gate is closed (45G02): no anchor yet: run vm_oneclick anchor now',
  ],
  [
    'anchor-late',
    trail({ confirmedAt: '2026-11-24T14:17:00.000000Z' }),
    'the last anchor reached the store 180 s ago: the gate closes at 300 s',
  ],
  [
    'anchor-timer',
    { anchor: { ...well.anchor, timerEnabled: 'disabled', timerActive: 'inactive' } },
    'the timer of the anchor is disabled and inactive: nothing anchors the trail',
  ],
  [
    'anchor-failed',
    { anchor: { ...well.anchor, result: 'exit-code', lastError: 'worm store /mnt: no such folder' } },
    'the last anchor failed (exit-code): worm store /mnt: no such folder',
  ],
  ['sealer', { scheduler: 'OFF' }, 'the sealer does not run: event_scheduler is OFF'],
  ['sealer', { sealerLookedAt: '2026-11-24T14:19:00.000000Z' }, 'the sealer last looked 60 s ago'],
  [
    'units',
    { idleUnits: { 'ztmysql-check.timer': 'disabled and inactive' } },
    'ztmysql-check.timer is disabled and inactive',
  ],
  [
    'disk',
    { disks: [{ path: '/var/log', freeBytes: 2 ** 29, totalBytes: 10 * 2 ** 30 }] },
    'the disk of /var/log has 0.5 GiB left, 5 %',
  ],
  ['clock', { clockSynchronised: false }, 'the clock is not synchronised'],
  [
    'drift',
    { check: { at: '2026-11-24T14:00:00.000000Z', drift: 2 } },
    '2 things are not as installed (seen 1200 s ago)',
  ],
  [
    'drift',
    { check: { at: '2026-11-24T14:00:00.000000Z', drift: null } },
    'the last look for drift (1200 s ago) could not be had',
  ],
  [
    'drift',
    { check: { at: '2026-11-24T09:00:00.000000Z', drift: 0 } },
    'nobody has looked for drift since 2026-11-24T09:00:00.000000Z',
  ],
  ['store', { store: { location: '/mnt', error: 'no such folder' } }, 'the store /mnt: no such folder'],
  [
    'log-host',
    { logHost: { name: 'log1:6514', error: 'connection refused' } },
    'the log host log1:6514: connection refused',
  ],
  ['log-host', { queuedLines: 16 }, '16 lines of anchors wait for the log host log1.example.org:6514'],
  ['keyring', { keyring: { status: 'Disabled', error: null } }, 'the keyring is Disabled'],
  ['binary', { binary: 'changed' }, '/usr/local/sbin/vm_oneclick is not the program that was installed'],
]

describe('the doctor', () => {
  test('finds nothing on a host that is well', () => {
    expect(diagnose(well)).toEqual([])
    expect(formatComplaints([])).toEqual(['nothing is wrong that can be seen from here'])
  })

  test.each(cases)('finds %s where it shows, and nothing else', (id, facts, says) => {
    expect(diagnose({ ...well, ...facts }).map(complaint => [complaint.id, complaint.says])).toEqual([
      [id, says],
    ])
  })

  test('is tried on everything that it knows', () => {
    expect([...new Set(cases.map(([id]) => id))].sort()).toEqual(ailments.map(({ id }) => id).sort())
  })

  test('makes no complaint of what is as good as it can be known', () => {
    const young: Partial<Facts> = {
      check: null,
      clockSynchronised: null,
      keyring: null,
      logHost: null,
      queuedLines: null,
      binary: 'unknown',
    }
    expect(diagnose({ ...well, ...young })).toEqual([])
    expect(diagnose({ ...well, ...trail({ confirmedAt: '2026-11-24T14:18:00.000000Z' }) })).toEqual([])
  })
})

const page = readFileSync(join(root, 'docs/operations.md'), 'utf8')
const headings = [...page.matchAll(/^#{2,3} (.+)$/gm)].map(([, heading = '']) => heading)

describe('the runbook', () => {
  test('has a part for everything that the doctor can say', () => {
    const anchors = headings.map(headingAnchor)
    for (const { id, runbook } of ailments) expect([id, anchors.includes(runbook)]).toEqual([id, true])
    expect(new Set(anchors).size).toBe(anchors.length)
  })

  test('has a part for each refusal that the database can give', () => {
    const sources = ['sql/*.sql', 'lib/core/sqlgen/*.ts'].flatMap(glob => [
      ...new Bun.Glob(glob).scanSync({ cwd: root }),
    ])
    const states = new Set(
      sources.flatMap(path => readFileSync(join(root, path), 'utf8').match(/\b45[A-Z][0-9]{2}\b/g) ?? []),
    )
    expect(states.size).toBeGreaterThan(15)
    expect([...states].filter(state => !headings.includes(state))).toEqual([])
    const parts = page.split(/^### /m).slice(1)
    for (const part of parts)
      expect([part.slice(0, 5), part.split('\n').slice(1).join('').trim().length > 60]).toEqual([
        part.slice(0, 5),
        true,
      ])
  })
})
