/** Rows of baselines that rest on files, processes and databases: sound ones pass, each bent one turns its rows red. */
import { describe, expect, test } from 'bun:test'
import { baselines } from '../../lib/core/controls/baselines/index.ts'
import type { Json } from '../../lib/core/controls/control.ts'
import { type FactProbe, factProbes, type HostFact } from '../../lib/core/controls/host_facts.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { hostJudgements } from '../../lib/core/proof/host_judgements.ts'
import type { Observation } from '../../lib/core/proof/observation.ts'
import {
  type FileGroup,
  type FilesSeen,
  factFaults,
  type ProcessSeen,
  probeOf,
} from '../../lib/core/proof/server_facts.ts'
import { judgeBaselines } from '../../lib/core/report/baselines.ts'

const group = (kind: FileGroup['kind'], path: string, mode = '0640', owner = 'mysql', of = 'mysql') => ({
  kind,
  path,
  mode,
  owner,
  group: of,
  count: 1,
})

const files: FilesSeen = {
  user: 'mysql',
  files: [
    group('data-folder', '/var/lib/mysql', '0700'),
    group('system-tablespace', '/var/lib/mysql/ibdata1'),
    group('binary-log', '/var/lib/mysql/binlog.000001'),
    group('error-log', '/var/log/mysql/error.log', '0640', 'mysql', 'adm'),
    group('key', '/etc/ztmysql/tls/server-key.pem', '0600'),
    group('plug-in', '/usr/lib/mysql/plugin', '0755', 'root', 'root'),
    group('option-file', '/etc/mysql/my.cnf', '0640', 'root'),
    group('option-folder', '/etc/mysql/conf.d', '0750', 'root'),
  ],
  options: [
    { path: '/etc/mysql/my.cnf', mode: '0640', owner: 'root', group: 'mysql', passwords: 0, suspicious: [] },
  ],
}

const processes: ProcessSeen = {
  servers: [
    {
      pid: 7,
      users: ['mysql', 'mysql', 'mysql', 'mysql'],
      capabilities: '0000000000000000',
      command: 'mysqld',
    },
  ],
  account: { user: 'mysql', shell: '/bin/false', home: '/nonexistent' },
  histories: [{ path: '/root/.mysql_history', kind: 'link', bytes: 9 }],
  password: { processes: [], profiles: [] },
}

const sound: Record<FactProbe, Json> = {
  files: files as unknown as Json,
  process: processes as unknown as Json,
  databases: { databases: ['information_schema', 'mysql', 'performance_schema', 'securedb', 'sys'] },
}

/** The files with those of one kind changed, or left out. */
const bent = (kind: FileGroup['kind'], change: Partial<FileGroup> | null): Json => ({
  ...files,
  files: files.files.flatMap(file =>
    file.kind !== kind ? [file] : change === null ? [] : [{ ...file, ...change }],
  ),
})
const added = (...more: FileGroup[]): Json => ({ ...files, files: [...files.files, ...more] })
const option = (change: Partial<FilesSeen['options'][0]>): Json => ({
  ...files,
  options: files.options.map(one => ({ ...one, ...change })),
})
const process_ = (change: Partial<ProcessSeen>): Json => ({ ...processes, ...change }) as Json
const server = (change: Partial<ProcessSeen['servers'][0]>): Json =>
  process_({ servers: processes.servers.map(one => ({ ...one, ...change })) })
const database = (name: string): Json => ({ databases: ['mysql', name] })

const sabotages: Record<HostFact, Json[]> = {
  'data-folder': [
    bent('data-folder', { mode: '0705' }),
    bent('data-folder', { mode: '0770' }),
    bent('data-folder', { owner: 'root' }),
    bent('data-folder', { group: 'users' }),
    bent('data-folder', null),
  ],
  'system-tablespace': [bent('system-tablespace', { mode: '0644' }), bent('system-tablespace', null)],
  'binary-logs': [
    bent('binary-log', { mode: '0644' }),
    added(group('binary-log', '/var/lib/mysql/binlog.000002', '0666')),
    bent('binary-log', null),
  ],
  'error-log': [
    bent('error-log', { mode: '0644' }),
    bent('error-log', { group: 'users' }),
    bent('error-log', null),
  ],
  'slow-log': [added(group('slow-log', '/var/lib/mysql/slow.log', '0644'))],
  'general-log': [added(group('general-log', '/var/lib/mysql/db.log', '0644'))],
  'relay-logs': [added(group('relay-log', '/var/lib/mysql/relay.000001', '0644'))],
  'key-files': [bent('key', { mode: '0640' }), bent('key', { owner: 'root' }), bent('key', null)],
  'plug-ins': [
    bent('plug-in', { mode: '0775' }),
    bent('plug-in', { owner: 'mysql' }),
    added(group('plug-in', '/usr/lib/mysql/plugin/x.so', '0646', 'root', 'root')),
    bent('plug-in', null),
  ],
  'option-file': [
    bent('option-file', { mode: '0644' }),
    bent('option-file', { owner: 'mysql' }),
    bent('option-file', null),
  ],
  'option-folders': [bent('option-folder', { mode: '0755' }), bent('option-folder', null)],
  'passwords-in-options': [option({ passwords: 1, mode: '0644' }), option({ passwords: 1, group: 'users' })],
  'strange-functions': [option({ suspicious: ['allow-suspicious-udfs'] })],
  'one-server': [process_({ servers: [...processes.servers, ...processes.servers] })],
  'own-account': [
    server({ users: ['mysql', 'root', 'mysql', 'mysql'] }),
    server({ capabilities: '0000000000000002' }),
  ],
  'no-log-in': [
    process_({ account: { user: 'mysql', shell: '/bin/bash', home: '/nonexistent' } }),
    process_({ account: { user: 'mysql', shell: '', home: '/nonexistent' } }),
  ],
  'no-history': [process_({ histories: [{ path: '/root/.mysql_history', kind: 'file', bytes: 1 }] })],
  'password-in-processes': [process_({ password: { processes: [{ pid: 9, command: 'sh' }], profiles: [] } })],
  'password-in-profiles': [process_({ password: { processes: [], profiles: ['/etc/environment'] } })],
  'sample-databases': ['test', 'test_x', 'sakila', 'world', 'employees', 'TEST'].map(database),
}

const facts = Object.values(factProbes).flat() as HostFact[]

const observed = (results: Record<string, Json>): Map<string, Observation> =>
  new Map(
    Object.entries(results).map(([id, result]) => [
      id,
      {
        v: 1,
        id,
        time: '2026-01-01T00:00:00.000000Z',
        host: 'db',
        identity: 'root',
        grade: 'host',
        command: 'stat',
        result,
      },
    ]),
  )

/** Rows that rest on a question, with their verdicts. */
function rowsOf(results: Record<string, Json>): Map<string, string> {
  const judged = controls.map(control => ({ control, status: 'pass' as const, reason: '' }))
  return new Map(
    judgeBaselines(judged, observed(results)).flatMap(({ rows }, i) =>
      rows.flatMap((row): [string, string][] =>
        baselines[i]?.rows.find(({ id }) => id === row.id)?.facts ? [[row.id, row.verdict]] : [],
      ),
    ),
  )
}

test('every question has a row in a baseline and a sabotage', () => {
  const asked = baselines.flatMap(({ rows }) => rows.flatMap(row => row.facts ?? []))
  expect([...new Set<string>(asked)].sort()).toEqual([...facts].sort())
  expect(Object.keys(sabotages).sort()).toEqual([...facts].sort())
})

test('a sound host passes every row and every control', () => {
  expect([...new Set(rowsOf(sound).values())]).toEqual(['pass'])
  for (const [probe, result] of Object.entries(sound))
    expect([probe, hostJudgements[probe as FactProbe](result).status]).toEqual([probe, 'pass'])
})

describe('turns red its own rows and no others:', () => {
  for (const fact of facts)
    test(fact, () => {
      for (const result of sabotages[fact]) {
        const probe = probeOf(fact)
        const red = [...rowsOf({ ...sound, [probe]: result })].filter(([, verdict]) => verdict !== 'pass')
        const own = baselines.flatMap(({ rows }) =>
          rows.filter(row => row.facts?.includes(fact)).map(({ id }) => id),
        )
        expect(red.map(([id]) => id).sort()).toEqual(own.sort())
        expect(red.every(([, verdict]) => verdict === 'fail')).toBe(true)
        expect(hostJudgements[probe](result).status).toBe('fail')
      }
    })
})

test('what hides something by its shape answers no question', () => {
  for (const fact of facts)
    for (const result of [null, [], {}, { ...(sound[probeOf(fact)] as object), more: 1 }] as Json[])
      expect([fact, factFaults(fact, result).length > 0]).toEqual([fact, true])
  expect(factFaults('sample-databases', { databases: [] })).toEqual(['the list is not whole'])
  expect(factFaults('own-account', process_({ servers: [] }))).toEqual(['no server was seen'])
  expect(factFaults('no-log-in', process_({ account: null }))).not.toEqual([])
})

test('on a machine that is no host of ours nothing is shown, and what could not run is an error', () => {
  const absent = { not_applicable: 'no host' }
  const verdicts = rowsOf({ ...sound, files: absent, process: absent, databases: absent })
  // conf-03 rests on settings too, which nobody observed
  expect([...new Set(verdicts.values())]).toEqual(['not-applicable'])
  const failed = observed(sound)
  const { result: _, ...one } = failed.get('files') as Observation
  failed.set('files', { ...one, error: 'permission denied' })
  const judged = controls.map(control => ({ control, status: 'pass' as const, reason: '' }))
  const row = judgeBaselines(judged, failed)
    .flatMap(({ rows }) => rows)
    .find(({ id }) => id === '3.1')
  expect([row?.verdict, row?.reason]).toEqual(['error', 'files could not run: permission denied'])
})
