/** What the probes of files, processes and handshakes keep of what they see. */
import { afterAll, beforeEach, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { utf8 } from '../../lib/core/bytes.ts'
import { formatScanSummary, type ScanSummary } from '../../lib/core/openscap.ts'
import { readScan } from '../../lib/edge/openscap_kept.ts'
import { sha256Hex } from '../../lib/edge/owned_files.ts'
import { withoutSession } from '../../lib/edge/probe/network.ts'
import { observeFiles, type ServerPlaces } from '../../lib/edge/probe/server_files.ts'
import { observeProcesses } from '../../lib/edge/probe/server_process.ts'

const root = mkdtempSync(join(tmpdir(), 'zt-server-probes-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const at = (path: string): string => join(root, path)

function put(path: string, text = 'x', mode = 0o640): void {
  mkdirSync(dirname(at(path)), { recursive: true })
  writeFileSync(at(path), text)
  chmodSync(at(path), mode)
}

const { uid, gid } = userInfo()

beforeEach(() => {
  rmSync(root, { recursive: true, force: true })
  put(
    'etc/passwd',
    `mysql:x:${uid}:${gid}:MySQL:/nonexistent:/bin/false\nroot2:x:99999:99999::${at('root')}:/bin/sh\n`,
  )
  put('etc/group', `mysql:x:${gid}:\n`)
  put('etc/profile', '# MYSQL_PWD= is not set here\n')
  mkdirSync(at('root'))
  put('proc/7/status', 'Name:\tmysqld\nUid:\t99999\t99999\t99999\t99999\nCapEff:\t0000000000000000\n')
  put('proc/7/comm', 'mysqld\n')
  put('proc/7/environ', 'PATH=/bin\0NOT_MYSQL_PWD=x\0')
})

const places = (): ServerPlaces => ({
  user: 'mysql',
  datadir: at('data'),
  errorLog: at('log/error.log'),
  slowLog: at('data/slow.log'),
  generalLog: at('data/general.log'),
  binaryLog: at('data/binlog'),
  relayLog: at('data/relay'),
  keys: [at('tls/key.pem'), at('tls/none.pem')],
  plugins: at('plugin'),
  optionFile: at('etc/my.cnf'),
  optionFolders: [at('etc/conf.d'), at('etc/nowhere.d')],
})

test('files are seen by kind, mode and owner, and what is not there is not made up', () => {
  for (const name of [
    'ibdata1',
    'binlog.000001',
    'binlog.000002',
    'binlog.index',
    'binlog.txt',
    'binlogs.000001',
  ])
    put(`data/${name}`)
  chmodSync(at('data/binlog.000002'), 0o644)
  put('log/error.log')
  put('tls/key.pem', 'secret', 0o600)
  put('plugin/a.so', 'x', 0o644)
  put(
    'etc/conf.d/a.cnf',
    '[client]\npassword="of nobody\'s business"\nloose-allow_suspicious_udfs\n# password = x\n',
  )
  put('etc/conf.d/b.cnf', 'allow-suspicious-udfs = OFF\npassword_history=5\npassword =\n')
  put('etc/real.cnf', '[mysqld]\n')
  symlinkSync(at('etc/real.cnf'), at('etc/my.cnf'))
  const seen = observeFiles(places(), at('etc'))
  const of = (kind: string) =>
    seen.files
      .filter(file => file.kind === kind)
      .map(({ mode, owner, group, count }) => `${mode} ${owner}:${group} ${count}`)
  expect(of('binary-log')).toEqual(['0640 mysql:mysql 2', '0644 mysql:mysql 1'])
  expect(of('system-tablespace')).toEqual(['0640 mysql:mysql 1'])
  expect(of('key')).toEqual(['0600 mysql:mysql 1'])
  expect(of('plug-in').length).toBe(2)
  expect(of('slow-log')).toEqual([])
  expect(of('option-file')).toEqual(['0640 mysql:mysql 1'])
  expect(seen.options.map(({ path, passwords, suspicious }) => [path, passwords, suspicious])).toEqual([
    [at('etc/real.cnf'), 0, []],
    [at('etc/conf.d/a.cnf'), 1, ['loose-allow_suspicious_udfs']],
    [at('etc/conf.d/b.cnf'), 0, []],
  ])
  expect(JSON.stringify(seen)).not.toContain('nobody')
})

const observe = () => observeProcesses('mysql', { proc: at('proc'), etc: at('etc') })

test('the server and its account are seen, and nothing else', () => {
  put('proc/8/status', 'Name:\tsh\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n')
  put('proc/8/comm', 'sh\n')
  put('proc/8/environ', '')
  expect(observe()).toEqual({
    servers: [{ pid: 7, users: Array(4).fill('root2'), capabilities: '0000000000000000', command: 'mysqld' }],
    account: { user: 'mysql', home: '/nonexistent', shell: '/bin/false' },
    histories: [],
    password: { processes: [], profiles: [] },
  })
})

test('a password in an environment or a profile is told of, and not told', () => {
  put('proc/7/environ', 'PATH=/bin\0MYSQL_PWD=hunter2\0')
  put('etc/profile.d/x.sh', 'export MYSQL_PWD=hunter2\n')
  put('root/.bashrc', '  MYSQL_PWD =hunter2\n')
  const seen = observe()
  expect(seen.password.processes).toEqual([{ pid: 7, command: 'mysqld' }])
  expect(seen.password.profiles).toEqual([at('etc/profile.d/x.sh'), at('root/.bashrc')])
  expect(JSON.stringify(seen)).not.toContain('hunter2')
})

test('histories are found in every home, links to nothing apart', () => {
  put('root/.mysql_history', 'GRANT ALL\n')
  expect(observe().histories).toEqual([{ path: at('root/.mysql_history'), kind: 'file', bytes: 10 }])
  rmSync(at('root/.mysql_history'))
  symlinkSync('/dev/null', at('root/.mysql_history'))
  expect(observe().histories).toMatchObject([{ kind: 'link' }])
})

test('a process that ends meanwhile is no error', () => {
  mkdirSync(at('proc/9'))
  expect(observe().servers.map(({ pid }) => pid)).toEqual([7])
})

test('a transcript keeps the chain and every word but sessions, tickets and bytes that are no text', () => {
  const said = `CONNECTED(00000003)\n---\nCertificate chain\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n---
New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\n---\nPost-Handshake New Session Ticket arrived:\nSSL-Session:
    Resumption PSK: 00FF\n    TLS session ticket:\n    0000 - 01 02\n---\nread R BLOCK\n\u0000\u0001\u00ffDONE\n`
  const kept = withoutSession(said)
  expect(kept).not.toMatch(/PSK|ticket|0000 -/i)
  expect(kept).toContain('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
  expect(kept).toContain('New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384')
  expect(kept).toEndWith('read R BLOCK\n...DONE\n')
})

test('a scan is taken whole from the folder of scans, or not at all', () => {
  const result = '<TestResult id="x"><rule-result idref="a"><result>pass</result></rule-result></TestResult>'
  const arf = `<arf><Benchmark/>${result}</arf>`
  const summary: ScanSummary = {
    v: 1,
    kind: 'ztmysql-scan',
    version: '0.1.0',
    time: '2026-11-24T14:00:00.000000Z',
    host: 'h1',
    system: 'Debian',
    scanner: 'oscap',
    content: { path: '/ds.xml', sha256: 'ab' },
    profile: 'p',
    title: 't',
    counts: { pass: 1 },
    score: null,
    failed: [],
    state: { fips: null, opensslProviders: null, apparmor: null, selinux: null },
    files: [{ path: '/var/lib/ztmysql/scan/results.xml', sha256: sha256Hex(utf8(arf)) }],
  }
  put('scan/results.xml', arf, 0o600)
  put('scan/summary.json', formatScanSummary(summary), 0o600)
  expect(new TextDecoder().decode(readScan(at('scan')).testResult)).toBe(`${result}\n`)
  put('scan/results.xml', arf.replace('pass', 'fail'), 0o600)
  expect(() => readScan(at('scan'))).toThrow('is not what')
})
