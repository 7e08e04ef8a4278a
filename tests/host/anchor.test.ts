import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAnchor } from '../../lib/core/audit/anchor.ts'
import { binary } from '../support/binary.ts'
import { bootHost, hostsSupported, type TestHost } from '../support/hosts.ts'
import { openssl } from '../support/openssl.ts'
import { PkiCli } from '../support/pki_cli.ts'

setDefaultTimeout(600_000)

const oneclick = '/usr/local/sbin/vm_oneclick'
const logName = 'log1.example.org'
const clientName = 'db1.example.org'
const pki = new PkiCli()
let folder: string
let db: TestHost
let log: TestHost

const at = (name: string) => join(folder, name)

/** A certificate of the log host's own CA. */
function certify(file: string, name: string, usage: string): void {
  const extensions = `subjectAltName=DNS:${name}\nextendedKeyUsage=${usage}\nbasicConstraints=CA:FALSE\n`
  writeFileSync(at(`${file}.ext`), extensions)
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const key = ['-keyout', at(`${file}-key.pem`)]
  for (const args of [
    ['req', ...ec, ...key, '-subj', `/CN=${name}`, '-out', at(`${file}.csr`)],
    [
      'x509',
      '-req',
      '-in',
      at(`${file}.csr`),
      '-CA',
      at('ca.pem'),
      '-CAkey',
      at('ca-key.pem'),
      '-days',
      '90',
      '-extfile',
      at(`${file}.ext`),
      '-out',
      at(`${file}-cert.pem`),
    ],
  ])
    expect(openssl(...args).ok).toBe(true)
  chmodSync(at(`${file}-key.pem`), 0o600)
}

function makeCertificates(): void {
  const ca = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-days', '90']
  const made = openssl('req', ...ca, '-subj', '/CN=log CA', '-keyout', at('ca-key.pem'), '-out', at('ca.pem'))
  expect(made.ok).toBe(true)
  certify('db', clientName, 'clientAuth')
  certify('stranger', 'stranger.example.org', 'clientAuth')
  certify('log', logName, 'serverAuth')
}

const install = (...args: string[]) => db.exec('/root/vm_oneclick', 'apply', '--yes', ...args)

/** Polls a command of a host until it succeeds: what is waited for has no bound of its own but the test's. */
const until = (host: TestHost, condition: string) => host.mustSh(`until ${condition}; do sleep 0.2; done`)

async function stored(): Promise<Map<string, string>> {
  const dir = await db.pull('/var/lib/ztmysql/worm', mkdtempSync(at('store-')))
  return new Map(readdirSync(dir).map(name => [name, readFileSync(join(dir, name), 'utf8')]))
}

/** What an auditor makes of the log host's file. */
async function received(): Promise<{ anchors: Map<string, string>; dir: string; says: string }> {
  const base = mkdtempSync(at('log-'))
  const folder = await log.pull('/var/log/ztmysql', base)
  const names = readdirSync(folder).filter(name => name.startsWith('received.log'))
  // received.log-DATE, the oldest first, before the one that grows
  const files = [...names.filter(name => name !== 'received.log').sort(), 'received.log'].map(name =>
    join(folder, name),
  )
  const dir = join(base, 'anchors')
  const child = Bun.spawnSync([await binary('chain_verify'), 'anchors-from-log', ...files, '--out', dir])
  expect([child.exitCode, String(child.stderr)]).toEqual([0, ''])
  const anchors = new Map(readdirSync(dir).map(name => [name, readFileSync(join(dir, name), 'utf8')]))
  return { anchors, dir, says: String(child.stdout) }
}

const newestName = 'ls /var/lib/ztmysql/worm | tail -1'

/** Waits until the log host has all that the store has now, and sees that it is the very same and has no gap. */
async function expectShipped(): Promise<Awaited<ReturnType<typeof received>>> {
  const there = await stored()
  const newest = [...there.keys()].sort().at(-1) ?? ''
  const number = Number(/[0-9]+/.exec(newest)?.[0])
  await until(log, `grep -q ' number="${number}" ' /var/log/ztmysql/received.log*`)
  const found = await received()
  // the timer may have added to it meanwhile
  const common = new Map([...found.anchors].filter(([name]) => name <= newest))
  expect(common).toEqual(there)
  gapless(found.anchors)
  return found
}

/** Every anchor, numbered from 1 without a gap. */
function gapless(objects: Map<string, string>): number[] {
  const numbers = [...objects.values()]
    .map(text => parseAnchor(Buffer.from(text)).number)
    .sort((a, b) => a - b)
  expect(numbers).toEqual(numbers.map((_, i) => i + 1))
  return numbers
}

const doctor = async (): Promise<string[]> => {
  const { stdout } = await db.exec(oneclick, 'doctor', '--json')
  const { complaints } = JSON.parse(stdout) as { complaints: { id: string; says: string }[] }
  // a host without a network has nobody to ask for the time
  return complaints.filter(({ id }) => id !== 'clock').map(({ says }) => says)
}

beforeAll(async () => {
  expect(await hostsSupported()).toBeUndefined()
  folder = mkdtempSync(join(tmpdir(), 'zt-anchor-'))
  makeCertificates()
  expect((await pki.make('init', '--server-name', clientName, '--tenant', 'tenant-a')).code).toBe(0)
  db = await bootHost({ name: 'a1', ip: '10.77.0.41', base: 'installed' })
  log = await bootHost({ name: 'a2', ip: '10.77.0.42', base: 'installed' })
  await db.push([await binary('vm_oneclick'), join(pki.dir, 'pki_server.tar.gz')], '/root')
  await db.push(
    ['ca.pem', 'db-cert.pem', 'db-key.pem', 'stranger-cert.pem', 'stranger-key.pem'].map(at),
    '/root',
  )
  await db.mustSh(`chmod 600 /root/*.tar.gz; echo '${log.ip} ${logName}' >> /etc/hosts`)

  const config = await db.must('/root/vm_oneclick', 'log-host-config', '--client', clientName)
  await log.write('/etc/rsyslog.d/30-ztmysql.conf', config)
  for (const [from, to, mode] of [
    ['ca.pem', 'ca.pem', 0o644],
    ['log-cert.pem', 'cert.pem', 0o644],
    ['log-key.pem', 'key.pem', 0o600],
  ] as const)
    await log.write(`/etc/ztmysql/log/${to}`, readFileSync(at(from)), mode)
  await log.write(
    '/etc/logrotate.d/ztmysql',
    await db.must('/root/vm_oneclick', 'log-host-config', '--rotation'),
  )
  await log.must('systemctl', 'restart', 'rsyslog')
})

afterAll(async () => {
  pki.clean()
  await db.stop()
  await log.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe('a host with a log host', () => {
  test('is refused before anything is changed where the certificates do not fit', async () => {
    const given = ['--pki-tar', '/root/pki_server.tar.gz', '--log-host', `${logName}:6514`]
    const without = await install(...given)
    expect([without.exitCode, without.stderr.split('\n')[0]]).toEqual([
      3,
      `vm_oneclick: error: log host ${logName}:6514: no certificates in /etc/ztmysql/log`,
    ])
    const mixed = ['--log-ca', 'ca.pem', '--log-cert', 'db-cert.pem', '--log-key', 'stranger-key.pem']
    const wrong = await install(...given, ...mixed)
    expect([wrong.exitCode, wrong.stderr.split('\n')[0]]).toEqual([
      2,
      'vm_oneclick: error: --log-key: not the key of --log-cert',
    ])
    expect((await db.exec('test', '-e', oneclick)).exitCode).toBe(1)
  })

  test('is installed with the anchor running', async () => {
    const given = ['--pki-tar', '/root/pki_server.tar.gz', '--log-host', `${logName}:6514`]
    const fit = ['--log-ca', 'ca.pem', '--log-cert', 'db-cert.pem', '--log-key', 'db-key.pem']
    const { exitCode, stderr } = await install(...given, ...fit)
    expect([exitCode, stderr.includes('error')]).toEqual([0, false])
    expect(stderr).toMatch(/^the unit of the anchor: exposure 0\.[0-5] of 10, SAFE /m)
    const states = await db.must(
      'systemctl',
      'is-active',
      'ztmysql-anchor.timer',
      'ztmysql-check.timer',
      'ztmysql-metrics.timer',
    )
    expect(states).toBe('active\nactive\nactive\n')
    expect((await db.must(oneclick, 'anchor', 'status')).includes('gate       open')).toBe(true)
    expect((await db.exec(oneclick, 'check')).stdout).toBe('no drift\n')
    expect(await doctor()).toEqual([])
  })

  test('runs its anchor in a unit that systemd calls safe', async () => {
    const exposure = await db.must('systemd-analyze', 'security', '--no-pager', 'ztmysql-anchor.service')
    const score = Number(/exposure level for ztmysql-anchor.service: ([0-9.]+) SAFE/.exec(exposure)?.[1])
    expect(score).toBeLessThanOrEqual(0.5)
  })

  test('anchors by itself, at the full minute', async () => {
    const before = (await db.mustSh(newestName)).trim()
    await until(db, `[ "$(${newestName})" != ${before} ]`)
    gapless(await stored())
    // empty while the service that it started runs
    const next = 'systemctl show ztmysql-anchor.timer -p NextElapseUSecRealtime --value'
    expect(await db.mustSh(`until ${next} | grep :; do sleep 0.2; done`)).toMatch(/ \d\d:\d\d:00 UTC\n$/)
    expect(await db.must('systemctl', 'show', 'ztmysql-anchor.timer', '-p', 'AccuracyUSec')).toBe(
      'AccuracyUSec=1s\n',
    )
  })

  test('has every anchor on the log host, as the very object, and its own name alone opens the way', async () => {
    const { anchors, dir } = await expectShipped()
    const newest = [...anchors.keys()].sort().at(-1) ?? ''
    const { time } = parseAnchor(readFileSync(join(dir, newest)))
    const late = statSync(join(dir, newest)).mtimeMs - Date.parse(time)
    expect(late).toBeGreaterThan(0)
    expect(late).toBeLessThan(60_000)

    const dial = (...more: string[]) =>
      db.sh(
        `(sleep 1; echo) | timeout 20 openssl s_client -connect ${logName}:6514 -servername ${logName} -CAfile ca.pem ${more.join(' ')} 2>&1`,
      )
    const as = (file: string) => ['-cert', `${file}-cert.pem`, '-key', `${file}-key.pem`]
    const said = async (words: string, ...args: string[]) => {
      const lines = Number(await log.mustSh('wc -l < /var/log/syslog'))
      await dial(...args)
      await until(log, `tail -n +${lines + 1} /var/log/syslog | grep imrelp | grep -q '${words}'`)
    }
    expect((await dial(...as('db'), '-tls1_2')).stdout).toContain('alert protocol version')
    await said('no permited name found., peer is .DNSname: stranger.example.org', ...as('stranger'))
    await said('peer did not return a certificate')
  })
})

test('a new file on the log host takes nothing from the old one', async () => {
  const digest = () => log.mustSh('sha256sum < /var/log/ztmysql/received.log-*')
  await log.must('logrotate', '-f', '/etc/logrotate.d/ztmysql')
  const before = await digest()
  await db.must(oneclick, 'anchor', 'now')
  await expectShipped()
  const again = await log.exec('logrotate', '-f', '/etc/logrotate.d/ztmysql') // that day's file is there already
  expect([again.exitCode, again.stderr]).toEqual([
    1,
    expect.stringMatching(/already exists, skipping rotation$/m),
  ])
  expect(await digest()).toBe(before)
  await db.must(oneclick, 'anchor', 'now')
  await expectShipped()
})

describe('an outage', () => {
  test('of the log host loses no anchor, even where its power goes', async () => {
    await log.kill()
    for (let i = 0; i < 3; i += 1) await db.must(oneclick, 'anchor', 'now')
    expect((await db.must(oneclick, 'anchor', 'status')).includes('gate       open')).toBe(true)
    const [complaint = ''] = await doctor()
    expect(complaint).toStartWith(`the log host ${logName}:6514: `)
    await log.start()
    await db.must(oneclick, 'anchor', 'now')
    await expectShipped()
  })

  test('of rsyslog on this host loses none either', async () => {
    await db.must('systemctl', 'stop', 'rsyslog.service', 'syslog.socket')
    for (let i = 0; i < 2; i += 1) await db.must(oneclick, 'anchor', 'now')
    expect(await doctor()).toContain('rsyslog.service is inactive')
    await db.must('systemctl', 'start', 'rsyslog.service')
    await expectShipped()
  })

  test('of the database is caught up with, without a gap', async () => {
    await db.must('systemctl', 'stop', 'mysql')
    const down = await db.exec(oneclick, 'anchor', 'now')
    expect(down.exitCode).toBe(3)
    expect((await doctor())[0]).toStartWith('the database does not answer: ')
    expect(await db.must(oneclick, 'metrics', '--out', '-')).toContain('\nztmysql_up 0\n')
    await db.must('systemctl', 'start', 'mysql')
    await db.must(oneclick, 'anchor', 'now')
    gapless(await stored())
  })

  test('of the whole host ends with anchors going on and reaching the log host', async () => {
    expect(await db.reboot()).toBe('running')
    const before = (await db.mustSh(newestName)).trim()
    await until(db, `[ "$(${newestName})" != ${before} ]`)
    await expectShipped()
    expect((await db.exec(oneclick, 'check')).stdout).toBe('no drift\n')
  })
})

test('an auditor judges the trail by what the log host received, and sees what it lacks', async () => {
  const chainVerify = await binary('chain_verify')
  await db.push([chainVerify], '/root')
  const { dir, anchors } = await expectShipped()
  const socket = ['--socket', '/run/mysqld/mysqld.sock']
  await db.must('/root/chain_verify', 'export', ...socket, '--out', '/root/trail.ndjson')
  const file = await db.pull('/root/trail.ndjson', mkdtempSync(at('trail-')))
  const judge = () =>
    Bun.spawnSync([
      chainVerify,
      ...['--trust', join(pki.dir, 'trust'), '--anchors', dir, '--file', file],
      ...['--as-of', String(anchors.size)],
    ])
  const good = judge()
  expect([good.exitCode, String(good.stdout).trimEnd().split('\n').at(-1)]).toEqual([
    0,
    expect.stringContaining('verdict: '),
  ])
  rmSync(join(dir, 'anchor-0000000003.json'))
  const bad = judge()
  expect(bad.exitCode).toBe(1)
  expect(String(bad.stdout)).toContain('FAIL ANCHOR_MISSING: anchor 3')
})

describe('the gate', () => {
  const limits = (anchor: number, warn: number) =>
    db.must(
      'mysql',
      '-e',
      `UPDATE securedb.gate_limits SET anchor_seconds = ${anchor}, anchor_warn_seconds = ${warn} WHERE id = 1`,
    )
  const gate = async () => (await db.exec(oneclick, 'anchor', 'status', '--json')).stdout
  const metric = (name: string) => db.mustSh(`${oneclick} metrics --out - | grep '^ztmysql_${name} '`)

  test('is warned of, closes when the timer is stopped, and opens with anchor now', async () => {
    await db.must('systemctl', 'stop', 'ztmysql-anchor.timer')
    await db.must(oneclick, 'anchor', 'now')
    await limits(3600, 2)
    const warning = 'warning: the last anchor reached the store .* the gate closes at 3600 s'
    await until(db, `grep -q '${warning}' <(${oneclick} metrics)`)
    await limits(30, 2)
    // closed, it exits 1
    await until(db, `grep -q '"gate":"45G02"' <(${oneclick} anchor status --json 2>/dev/null)`)
    expect(await metric('gate_open')).toBe('ztmysql_gate_open 0\n')
    expect(await doctor()).toEqual([
      'the gate is closed (45G02): the last anchor that the store accepted is too old',
      'the timer of the anchor is enabled and inactive: nothing anchors the trail',
    ])
    const { exitCode, stderr } = await db.exec(oneclick, 'anchor', 'now')
    expect([exitCode, stderr]).toEqual([
      0,
      'gate before: closed (45G02): the last anchor that the store accepted is too old\ngate after: open\n',
    ])
    expect(await gate()).toContain('"gate":null')
    expect(await metric('gate_open')).toBe('ztmysql_gate_open 1\n')
    await limits(300, 120)
    await db.must('systemctl', 'start', 'ztmysql-anchor.timer')
    expect(await doctor()).toEqual([])
  })
})

describe('an upgrade', () => {
  test('of the program misses no anchor, whenever it comes', async () => {
    const before = (await stored()).size
    const script = `
      systemctl start --no-block ztmysql-anchor.service
      for i in $(seq 12); do
        cp /root/vm_oneclick ${oneclick}.new && mv ${oneclick}.new ${oneclick}
        systemctl start ztmysql-anchor.service
      done`
    expect((await db.sh(script)).exitCode).toBe(0)
    const numbers = gapless(await stored())
    expect(numbers.length).toBeGreaterThan(before)
    expect((await db.exec('systemctl', 'is-failed', 'ztmysql-anchor.service')).stdout).toBe('inactive\n')
  })

  test('that nobody made is seen', async () => {
    await db.mustSh(`cp ${oneclick} /root/kept; printf x >> ${oneclick}`)
    // asked of the program that is known: another one says what it likes
    const { stdout } = await db.exec('/root/kept', 'doctor', '--json')
    expect(stdout).toContain('/usr/local/sbin/vm_oneclick is not the program that was installed')
    await db.mustSh(`mv /root/kept ${oneclick}`)
    expect(await doctor()).toEqual([])
  })
})

describe('what is done by hand', () => {
  const dropIn = '/etc/systemd/system/ztmysql-anchor.service.d'
  const byHand: Record<string, string> = {
    'unit ztmysql-anchor.service': `mkdir ${dropIn}; printf '[Service]\nPrivateNetwork=no\n' > ${dropIn}/x.conf; systemctl daemon-reload`,
    '/etc/systemd/system/ztmysql-anchor.timer':
      'sed -i s/minutely/hourly/ /etc/systemd/system/ztmysql-anchor.timer',
    'unit ztmysql-metrics.timer': 'systemctl disable --now -q ztmysql-metrics.timer',
    '/etc/rsyslog.d/30-ztmysql-anchors.conf':
      'sed -i s/log1.example.org/log2.example.org/ /etc/rsyslog.d/30-ztmysql-anchors.conf',
    '/etc/ztmysql/log/key.pem': 'chmod 644 /etc/ztmysql/log/key.pem',
    '/var/lib/ztmysql/worm': 'chown root /var/lib/ztmysql/worm',
    '/etc/ztmysql/binary.sha256': 'echo 0 > /etc/ztmysql/binary.sha256',
  }

  test('is drift, each by its name, counted by the timer in its fences, and put right', async () => {
    for (const change of Object.values(byHand)) await db.mustSh(change)
    const check = await db.exec(oneclick, 'check', '--json')
    expect(check.exitCode).toBe(1)
    const { steps, findings } = JSON.parse(check.stdout) as {
      steps: { changes: { item: string }[] }[]
      findings: { item: string }[]
    }
    const seen = [...steps.flatMap(({ changes }) => changes), ...findings].map(({ item }) => item)
    for (const item of Object.keys(byHand)) expect([item, seen.includes(item)]).toEqual([item, true])

    expect((await db.exec('systemctl', 'start', 'ztmysql-check.service')).exitCode).toBe(1)
    const journal = await db.must('journalctl', '-u', 'ztmysql-check.service', '-o', 'cat', '--no-pager')
    for (const item of Object.keys(byHand)) expect(journal).toContain(`drift: ${item}\n`)
    const metric = await db.mustSh(`${oneclick} metrics --out - | grep '^ztmysql_check_drift_items '`)
    expect(Number(metric.split(' ')[1])).toBe(seen.length)
    expect(await doctor()).toContainEqual(expect.stringMatching(/^[0-9]+ things are not as installed/))

    // a drop-in is for its author to take away
    await db.mustSh(`rm -r ${dropIn}; systemctl daemon-reload`)
    expect((await db.exec(oneclick, 'apply', '--yes')).exitCode).toBe(0)
    await db.must('systemctl', 'start', 'ztmysql-check.service')
    expect(await db.must('cat', '/var/lib/ztmysql/check.json')).toContain('"drift":0')
    expect(await doctor()).toEqual([])
  })

  test('the metrics are whole, and everybody may read them', async () => {
    const file = '/var/lib/ztmysql/metrics/ztmysql.prom'
    await db.must(oneclick, 'metrics')
    expect(await db.must('stat', '-c', '%a %U', file)).toBe('644 root\n')
    expect(await db.must('cat', file)).toContain('\nztmysql_check_drift_items 0\n')
    expect(await db.must('ls', '-A', '/var/lib/ztmysql/metrics')).toBe('ztmysql.prom\n')
  })

  test('certificates that outside_pki made take the place of others, on both sides', async () => {
    expect((await pki.make('log-host', logName, '--client', clientName)).code).toBe(0)
    const made = (side: string, name: string) => join(pki.dir, 'log_host', side, name)
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) {
      const mode = name === 'key.pem' ? 0o600 : 0o644
      await log.write(`/etc/ztmysql/log/${name}`, readFileSync(made('log', name)), mode)
      await db.write(`/root/new/${name}`, readFileSync(made('db', name)), mode)
    }
    await log.must('systemctl', 'restart', 'rsyslog')
    const files = ['--log-ca', 'new/ca.pem', '--log-cert', 'new/cert.pem', '--log-key', 'new/key.pem']
    expect((await install(...files)).exitCode).toBe(0)
    await db.must(oneclick, 'anchor', 'now')
    await expectShipped()
    expect(await doctor()).toEqual([])
  })

  test('a log host is taken away again', async () => {
    expect((await db.exec(oneclick, 'apply', '--yes', '--no-log-host')).exitCode).toBe(0)
    expect((await db.exec('test', '-e', '/etc/rsyslog.d/30-ztmysql-anchors.conf')).exitCode).toBe(1)
    expect(await db.must('systemctl', 'cat', 'ztmysql-anchor.service')).not.toContain('ANCHOR_SHIP')
    expect((await db.exec(oneclick, 'check')).stdout).toBe('no drift\n')
  })
})
