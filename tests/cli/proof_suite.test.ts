/** proof_suite as operator and auditor type it: collect on the host, verify anywhere, refuse what is no bundle. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Header, pack } from 'tar-stream'
import { type Bytes, concat, random, utf8 } from '../../lib/core/bytes.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { gcsChecksum } from '../../lib/core/crc32c.ts'
import type { Report } from '../../lib/core/report/schema.ts'
import { packArchive, unpackArchive } from '../../lib/edge/archive.ts'
import { judgeBundle } from '../../lib/edge/judge_bundle.ts'
import { controlsMarkdown } from '../../lib/report.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { binary } from '../support/binary.ts'
import { googleFile } from '../support/gcp_seen.ts'
import { userRow } from '../support/live.ts'

setDefaultTimeout(120_000)

let a: Attacked
let dir: string
let program: string
const at = (...names: string[]) => join(dir, ...names)

interface Answer {
  code: number
  stdout: string
  stderr: string
  rssBytes: number
}

function start(args: string[], env: Record<string, string> = {}) {
  return Bun.spawn([program, ...args], {
    cwd: dir,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

async function ended(child: ReturnType<typeof start>): Promise<Answer> {
  const watched = peakBytes(child)
  const [stdout, stderr, code, rssBytes] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
    watched,
  ])
  return { code, stdout, stderr, rssBytes }
}

/** The kernel's own high-water mark; what wait() tells is never less than that of the process which forked. */
async function peakBytes(child: ReturnType<typeof start>): Promise<number> {
  let peak = 0
  while (child.exitCode === null && child.signalCode === null) {
    const status = existsSync(`/proc/${child.pid}/status`)
      ? readFileSync(`/proc/${child.pid}/status`, 'utf8')
      : ''
    const cmdline = existsSync(`/proc/${child.pid}/cmdline`)
      ? readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
      : ''
    if (cmdline.startsWith(program))
      peak = Math.max(peak, 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0))
    await Bun.sleep(20)
  }
  return peak
}

const run = (...args: string[]): Promise<Answer> => ended(start(args))

const onHost = () => [
  ...['--socket', a.live.server.socket, '--conf-dir', a.live.at('conf')],
  ...['--tls-dir', relative(dir, a.live.at('tls'))], // a person types what is short
  ...['--worm', a.live.at('worm'), '--anchor-now', '--anchor-state', a.live.at('anchor')],
]
const evidence = () => [
  '--trust',
  a.live.at('pki', 'trust'),
  '--anchors',
  a.live.at('worm'),
  '--gap',
  '86400',
]
const nonce = 'ab'.repeat(32)

const statuses = ({ stdout }: Answer): Record<string, string> =>
  Object.fromEntries((JSON.parse(stdout) as Report).controls.map(({ id, verdict }) => [id, verdict]))

beforeAll(async () => {
  a = await attacked()
  program = await binary('proof_suite')
  dir = mkdtempSync(join(tmpdir(), 'zt-proof-'))
}, 300_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** What `outside_gcp_setup verify --out` leaves, of a set-up whose bucket has the newest anchor of the store. */
function writeGoogleEvidence(folder: string): void {
  const name = readdirSync(a.live.at('worm'))
    .filter(each => each.startsWith('anchor-'))
    .sort()
    .at(-1)
  if (name === undefined) throw new Error('no anchor')
  const created = Math.floor(statSync(a.live.at('worm', name)).mtimeMs)
  const crc32c = gcsChecksum(readFileSync(a.live.at('worm', name)))
  mkdirSync(folder)
  writeFileSync(
    join(folder, 'google.json'),
    googleFile(created + 60_000, { name: `anchors/${name}`, created, crc32c }),
  )
}

describe('a bundle', () => {
  let collected: Answer
  beforeAll(async () => {
    await a.shell.root.run('SET GLOBAL sync_binlog = 1')
    await a.shell.root.run('SET GLOBAL innodb_flush_log_at_trx_commit = 1')
    writeFileSync(at('canary'), 'Ada Example of 1 Example Street\n', { mode: 0o600 })
    writeGoogleEvidence(at('google'))
    const args = [...onHost(), '--canary', at('canary'), '--nonce', nonce, '--google', 'google']
    collected = await ended(start(args, { CLIENTS_DIR: a.live.at('probes'), OUT: at('bundle.tar.gz') }))
  }, 120_000)
  afterAll(async () => {
    await a.shell.root.run('SET GLOBAL sync_binlog = 0')
    await a.shell.root.run('SET GLOBAL innodb_flush_log_at_trx_commit = 0')
    await a.shell.rollback()
  })

  test('is collected by one command, whole and private', () => {
    expect([collected.code, collected.stderr]).toEqual([0, ''])
    expect(collected.stdout).toContain(`${at('bundle.tar.gz')}: `)
    expect(collected.stdout).toContain(`nonce ${nonce}`)
    expect(statSync(at('bundle.tar.gz')).mode & 0o777).toBe(0o600)
    expect(readdirSync(dir).filter(name => name.startsWith('.zt-'))).toEqual([])
  })

  test('holds no secret: no key, no password, no data in the clear', async () => {
    const files = await unpackArchive(readFileSync(at('bundle.tar.gz')), 'bundle', 1 << 28)
    const everything = Buffer.concat([...files.values()])
    for (const name of readdirSync(a.live.at('probes')).filter(each => each.endsWith('.cnf'))) {
      const password = /^password="?([^"\n]+)"?$/m.exec(readFileSync(a.live.at('probes', name), 'utf8'))?.[1]
      expect(password?.length).toBeGreaterThan(20)
      expect(everything.includes(password ?? '')).toBe(false)
    }
    for (const secret of ['PRIVATE KEY', 'Ada Example']) expect(everything.includes(secret)).toBe(false)
  })

  test('is judged by the profile that is asked for', async () => {
    const bundle = ['verify', 'bundle.tar.gz', ...evidence()]
    const database = await run(...bundle, '--require', 'database', '--nonce', nonce)
    expect([database.code, database.stderr]).toEqual([0, ''])
    expect(database.stdout.trim().split('\n').at(-1)).toBe('verdict: everything asked for holds')
    for (const { id, grade } of controls)
      expect(database.stdout).toMatch(new RegExp(`^${id} +(pass|n/a) +${grade} `, 'm'))
    const full = await run(...bundle)
    expect([full.code, full.stdout.trim().split('\n').at(-1)]).toEqual([
      1,
      'verdict: does not hold: host.firewall, host.intrusion, host.updates, host.services, host.files, host.process',
    ])
    const offHost = await run(...bundle, '--require', 'off-host', '--json')
    const report = JSON.parse(offHost.stdout) as Report
    expect([offHost.code, report.ok, report.requirement, report.bundle.nonce]).toEqual([
      0,
      true,
      'off-host',
      nonce,
    ])
    for (const { id, grade, required } of report.controls)
      if (grade === 'host') expect([id, required]).toEqual([id, false])
  }, 60_000)

  test('holds the evidence from Google as its collector’s word; the auditor’s own takes its place', async () => {
    const bundle = ['verify', 'bundle.tar.gz', ...evidence(), '--require', 'google', '--json']
    const rows = (answer: Answer) =>
      (JSON.parse(answer.stdout) as Report).controls.filter(({ layer }) => layer === 'google')
    const carried = await run(...bundle)
    // the trust folder has no roots of an HSM
    const unmet = (answer: Answer) =>
      rows(answer)
        .filter(({ verdict }) => verdict !== 'pass')
        .map(({ id, verdict }) => [id, verdict])
    expect([carried.code, unmet(carried)]).toEqual([1, [['google.attested', 'not-applicable']]])
    expect(rows(carried)[0]?.reason).toContain('collector’s word')

    const own = JSON.parse(readFileSync(at('google', 'google.json'), 'utf8'))
    own.result.bucket.retentionPolicy.isLocked = false
    writeFileSync(at('own.json'), `${JSON.stringify(own)}\n`)
    const brought = await run(...bundle, '--google', 'own.json')
    expect(unmet(brought)).toEqual([
      ['google.attested', 'not-applicable'],
      ['google.retention', 'fail'],
    ])
    expect(rows(brought)[0]?.reason).toContain('your own')

    writeFileSync(at('none.json'), '{}\n')
    const none = await run(...bundle, '--google', 'none.json')
    expect([none.code, none.stdout]).toEqual([3, ''])
    expect(none.stderr).toContain('observations/google.json')
  }, 60_000)

  test('does not answer for another nonce, another log or another store', async () => {
    const bundle = ['verify', 'bundle.tar.gz', '--json']
    const other = await run(...bundle, ...evidence(), '--require', 'database', '--nonce', 'cd'.repeat(32))
    expect([other.code, statuses(other)['audit.bracketed']]).toEqual([1, 'fail'])
    const pinned = await run(...bundle, ...evidence(), '--ca-sha256', 'cd'.repeat(32))
    expect([pinned.code, pinned.stdout]).toEqual([1, ''])
    const early = await run(
      ...bundle,
      '--trust',
      a.live.at('pki', 'trust'),
      '--anchors',
      a.live.at('auditor'),
    )
    expect([early.code, statuses(early)['audit.anchored'], statuses(early)['audit.bracketed']]).toEqual([
      1,
      'pass',
      'fail',
    ])
  }, 60_000)

  describe('handed on', () => {
    const bundle = () => ['verify', 'bundle.tar.gz', ...evidence(), '--require', 'database']

    test('is reported in every form, to stdout or to a file, by the same verdict', async () => {
      const begins = {
        text: 'log ',
        json: '{"v":2,',
        html: '<!doctype html>',
        oscal: '{\n',
        junit: '<?xml',
        md: '# ',
      }
      for (const [format, begin] of Object.entries(begins)) {
        const shown = await run(...bundle(), '--format', format)
        expect([format, shown.code, shown.stderr, shown.stdout.slice(0, begin.length)]).toEqual([
          format,
          0,
          '',
          begin,
        ])
        const kept = await run(...bundle(), '--format', format, '--out', 'report')
        expect([kept.code, kept.stdout]).toEqual([0, ''])
        expect(kept.stderr).toBe(`report: ${format} report; verdict: everything asked for holds\n`)
        expect(statSync(at('report')).mode & 0o777).toBe(0o600)
      }
      const full = await run('verify', 'bundle.tar.gz', ...evidence(), '--format', 'junit', '--out', 'report')
      expect([full.code, readFileSync(at('report'), 'utf8').includes('<failure')]).toEqual([1, true])
    }, 120_000)

    test('is countersigned, and OpenSSL agrees', async () => {
      const openssl = (...args: string[]) => Bun.spawnSync(['openssl', ...args], { cwd: dir })
      openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'key.pem')
      openssl('pkey', '-in', 'key.pem', '-pubout', '-out', 'key.pub')
      openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'other.pem')
      openssl('pkey', '-in', 'other.pem', '-pubout', '-out', 'other.pub')
      chmodSync(at('key.pem'), 0o600)
      const signed = await run('sign', 'bundle.tar.gz', '--sign-key', 'key.pem')
      expect([signed.code, signed.stderr]).toEqual([0, ''])

      const envelope = JSON.parse(readFileSync(at('bundle.tar.gz.dsse.json'), 'utf8'))
      const body = Buffer.from(envelope.payload, 'base64')
      expect(envelope.payloadType).toBe('application/vnd.in-toto+json')
      const head = `DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${body.length} `
      writeFileSync(at('pae'), concat(utf8(head), body))
      writeFileSync(at('sig'), Buffer.from(envelope.signatures[0].sig, 'base64'))
      const checked = openssl('dgst', '-sha256', '-verify', 'key.pub', '-signature', 'sig', 'pae')
      expect(checked.stdout.toString()).toBe('Verified OK\n')
      const statement = JSON.parse(body.toString())
      expect(statement._type).toBe('https://in-toto.io/Statement/v1')
      const files = await unpackArchive(readFileSync(at('bundle.tar.gz')), 'bundle', 1 << 28)
      expect(statement.subject.map((one: { name: string }) => one.name)).toEqual([...files.keys()].sort())

      const good = await run(...bundle(), '--signed-by', 'key.pub', '--json')
      expect([good.code, (JSON.parse(good.stdout) as Report).bundle.signer]).toEqual([
        0,
        expect.stringMatching(/^key [0-9a-f]{64}, who says/),
      ])
      for (const [flags, says] of [
        [['--signed-by', 'other.pub'], 'not signed by the key that was named'],
        [['--signed-by', 'key.pub', '--signature', 'nowhere'], 'nowhere'],
        [['--signed-by', 'key.pem'], 'PUBLIC KEY'],
      ] as const) {
        const refused = await run(...bundle(), ...flags)
        expect([refused.code === 0, refused.stdout]).toEqual([false, ''])
        expect(refused.stderr).toContain(says)
      }
      // of other bytes: another bundle of the same log
      const others = new Map(files).set('schema.json', utf8('[]\n'))
      writeFileSync(at('other.tar.gz'), await packArchive(others, 0o644))
      const another = await run(
        'verify',
        'other.tar.gz',
        ...evidence(),
        '--signed-by',
        'key.pub',
        '--signature',
        'bundle.tar.gz.dsse.json',
      )
      expect([another.code, another.stderr]).toEqual([1, expect.stringContaining('signs other files')])
      envelope.payload = Buffer.from(body.toString().replace('received', 'recieved')).toString('base64')
      writeFileSync(at('bent.json'), JSON.stringify(envelope))
      const bent = await run(...bundle(), '--signed-by', 'key.pub', '--signature', 'bent.json')
      expect([bent.code, bent.stderr]).toEqual([1, expect.stringContaining('not signed by the key')])
    }, 120_000)

    test('holds the parts of the tool and public certificates alone', async () => {
      const files = await unpackArchive(readFileSync(at('bundle.tar.gz')), 'bundle', 1 << 28)
      const bom = JSON.parse(Buffer.from(files.get('sbom.cdx.json') ?? '').toString())
      expect([bom.bomFormat, bom.components.length > 50]).toEqual(['CycloneDX', true])
      const names = [...files.keys()].filter(name => name.startsWith('certificates/'))
      expect(names).toEqual(
        ['ca-1', 'probe_a', 'probe_auditor', 'probe_b', 'server'].map(name => `certificates/${name}.pem`),
      )
    })
  })

  test('is compared with a later one, which goes on where it ended', async () => {
    await a.live.write(a.acme, 'users', 'create', userRow(a.acme))
    await a.shell.root.run('SET GLOBAL local_infile = ON')
    try {
      const atOnce = ['--trust', a.live.at('pki', 'trust'), '--require', 'host.settings']
      const args = [...onHost(), '--out', 'later.tar.gz', ...atOnce]
      const collected = await ended(start(args, { CLIENTS_DIR: a.live.at('probes') }))
      // the collecting run sees it too
      expect([collected.code, collected.stdout.includes('\nFAIL host.settings\n')]).toEqual([1, true])
    } finally {
      await a.shell.root.run('SET GLOBAL local_infile = OFF')
    }
    const plain = await run('diff', 'bundle.tar.gz', 'later.tar.gz')
    expect([plain.code, plain.stderr]).toEqual([0, ''])
    expect(plain.stdout).toContain(
      'changed  observation settings\n         result.variables.local_infile:\n           - "OFF"\n           + "ON"',
    )
    expect(plain.stdout).toContain('verdict: the newer bundle continues the older one')
    const judged = await run('diff', 'bundle.tar.gz', 'later.tar.gz', ...evidence(), '--require', 'database')
    expect([judged.code, judged.stdout.includes('host.settings: pass → fail')]).toEqual([1, true])
    const back = await run('diff', 'later.tar.gz', 'bundle.tar.gz', '--json')
    expect([back.code, JSON.parse(back.stdout)]).toEqual([
      1,
      expect.objectContaining({ continues: false, fault: expect.stringContaining('ends before event') }),
    ])
    expect(
      (await run('diff', 'bundle.tar.gz', 'later.tar.gz', '--trust', a.live.at('pki', 'trust'))).code,
    ).toBe(2)
    expect((await run('diff', 'bundle.tar.gz', 'nothing.tar.gz')).code).toBe(3)
  }, 120_000)
})

test('a collector that is not on the host sees what the network shows, and waits for the timer’s anchors', async () => {
  try {
    const child = start(['--out', 'far.tar.gz'], { CLIENTS_DIR: a.live.at('probes') })
    const collecting = ended(child)
    let done = false
    void collecting.finally(() => {
      done = true
    })
    while (!done) {
      await a.live.anchor()
      await Bun.sleep(1500) // the timer of this test
    }
    const { code, stderr } = await collecting
    expect([code, stderr]).toEqual([0, ''])
    const verdict = await run('verify', 'far.tar.gz', ...evidence(), '--require', 'off-host', '--json')
    expect(verdict.code).toBe(0)
    for (const { id, grade, expect: wanted } of controls) {
      // what the trail shows is there from anywhere, though the host vouches for it
      if (grade !== 'host' || wanted.kind === 'trail')
        expect([id, statuses(verdict)[id]]).toEqual([id, expect.stringMatching(/pass|not-applicable/)])
      else expect([id, statuses(verdict)[id]]).toEqual([id, 'not-applicable'])
    }
  } finally {
    await a.shell.rollback()
  }
}, 120_000)

describe('collecting is refused, and leaves no file,', () => {
  const attempt = (args: string[], clients = a.live.at('probes')) =>
    ended(start(['--out', 'none.tar.gz', ...args], { CLIENTS_DIR: clients }))

  test('with the certificate of a real client in the folder, by name', async () => {
    const { code, stderr } = await attempt(onHost(), a.live.at('pki', 'clients'))
    expect([code, existsSync(at('none.tar.gz'))]).toEqual([1, false])
    expect(stderr).toMatch(
      /error: .*\/(app_user|auditor|globex_app)-cert\.pem: belongs to .*, a real client\n/,
    )
    expect(stderr).toContain('hint: the host may hold probe certificates only')
  })

  test('without a folder, a server or a way to anchor', async () => {
    for (const [args, clients, code, says] of [
      [onHost(), at('nowhere'), 3, 'no such folder of probe certificates'],
      [['--socket', at('no.sock')], undefined, 3, 'no.sock'],
      [['--anchor-now'], undefined, 2, '--anchor-now needs --socket and --worm'],
      [['--nonce', 'AB'], undefined, 2, '64 lower-case hex digits'],
      [['--conf-dir', '/etc'], undefined, 2, 'belong together'],
      [['--canary', at('no-canary')], undefined, 3, 'no-canary'],
      [['--canary-fd', '77'], undefined, 3, 'descriptor 77'],
      [['--canary-fd', '0'], undefined, 2, 'needs 8 characters'],
      [['--canary-fd', '0', '--canary', at('x')], undefined, 2, 'two ways to give one text'],
      [['--trust', at('x')], undefined, 2, '--trust needs --worm'],
    ] as const) {
      const answer = await attempt([...args], clients)
      expect([args, answer.code, answer.stdout]).toEqual([args, code, ''])
      expect(answer.stderr).toContain(says)
    }
    expect(existsSync(at('none.tar.gz'))).toBe(false)
  }, 60_000)
})

/** A gzip'd tar of hand-made entries. */
async function tar(entries: [Partial<Header> & { name: string }, Bytes][]): Promise<Bytes> {
  const archive = pack()
  const chunks: Bytes[] = []
  const collected = (async () => {
    for await (const chunk of archive) if (chunk instanceof Uint8Array) chunks.push(new Uint8Array(chunk))
  })()
  for (const [header, bytes] of entries) archive.entry(header, Buffer.from(bytes))
  archive.finalize()
  await collected
  return new Uint8Array(gzipSync(concat(...chunks), { level: 1 }))
}

/** Empty observations of tar's own form, each under a name of its own. */
async function emptyEntries(count: number): Promise<Buffer> {
  const model = await packArchive(new Map([['observations/a00000.json', new Uint8Array(0)]]), 0o644)
  const block = Buffer.from(Bun.gunzipSync(Uint8Array.from(model)).subarray(0, 512))
  const sumOf = (): number => Number.parseInt(block.toString('latin1', 148, 154), 8)
  const zero = sumOf()
  const digits = 'observations/a'.length
  const entries = Buffer.alloc(count * 512)
  for (let i = 0; i < count; i++) {
    const name = String(i).padStart(5, '0')
    block.write(name, digits)
    // the checksum is the sum of the header's bytes
    const more = [...name].reduce((total, digit) => total + Number(digit), 0)
    block.write((zero + more).toString(8).padStart(6, '0'), 148)
    block.copy(entries, i * 512)
  }
  return entries
}

describe('no bundle at all is refused:', () => {
  const hostile: [what: string, make: () => Promise<Bytes> | Bytes][] = [
    ['random bytes', () => random(1 << 16)],
    ['an empty file', () => new Uint8Array(0)],
    ['an archive without a manifest', () => tar([[{ name: 'trail.ndjson' }, utf8('x\n')]])],
    ['a name that climbs', () => tar([[{ name: '../../etc/cron.d/x' }, utf8('x')]])],
    ['an absolute name', () => tar([[{ name: '/etc/cron.d/x' }, utf8('x')]])],
    ['a name of no use', () => tar([[{ name: 'notes.txt' }, utf8('x')]])],
    ['a link', () => tar([[{ name: 'manifest.json', type: 'symlink', linkname: '/etc/passwd' }, utf8('')]])],
    [
      'a hard link',
      () => tar([[{ name: 'manifest.json', type: 'link', linkname: '/etc/passwd' }, utf8('')]]),
    ],
    ['a device', () => tar([[{ name: 'manifest.json', type: 'character-device' }, utf8('')]])],
    [
      'a name twice',
      () =>
        tar([
          [{ name: 'manifest.json' }, utf8('{}\n')],
          [{ name: 'manifest.json' }, utf8('{}\n')],
        ]),
    ],
  ]
  for (const [what, make] of hostile)
    test(what, async () => {
      writeFileSync(at('hostile.tar.gz'), await make())
      await expect(
        judgeBundle(at('hostile.tar.gz'), {
          trust: a.live.at('pki', 'trust'),
          anchors: a.live.at('worm'),
          require: 'full',
          signatures: 'last',
          gapSeconds: 300,
        }),
      ).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
    })

  const growing: [what: string, make: () => Promise<Bytes> | Bytes][] = [
    [
      'half a bundle',
      async () => (await packArchive(new Map([['manifest.json', utf8('{}\n')]]), 0o644)).subarray(0, 80),
    ],
    [
      'a bomb',
      () => {
        const zeros = new Uint8Array(1 << 24)
        return tar([[{ name: 'trail.ndjson' }, concat(...Array<Bytes>(4).fill(zeros))]])
      },
    ],
    [
      'a million entries',
      async () => {
        const some = await emptyEntries(50_000)
        return concat(...Array<Bytes>(20).fill(new Uint8Array(gzipSync(some, { level: 1 }))))
      },
    ],
    [
      'more entries than a bundle has',
      async () => new Uint8Array(gzipSync(Buffer.concat([await emptyEntries(3000), Buffer.alloc(1024)]))),
    ],
  ]
  for (const [what, make] of growing)
    test(`${what}, by the command, in less than 256 MiB`, async () => {
      writeFileSync(at('hostile.tar.gz'), await make())
      const answer = await run('verify', 'hostile.tar.gz', ...evidence())
      expect([answer.code, answer.stdout]).toEqual([1, ''])
      expect(answer.stderr).toMatch(/^proof_suite: error: .*(hostile\.tar\.gz|bundle): /)
      expect(answer.rssBytes).toBeGreaterThan(10 << 20)
      expect(answer.rssBytes).toBeLessThan(256 << 20)
    })

  test('a file that is not there, a folder, a wrong profile', async () => {
    expect((await run('verify', 'nothing.tar.gz', ...evidence())).code).toBe(3)
    expect((await run('verify', '.', ...evidence())).stderr).toContain('proof_suite: error: ')
    expect((await run('verify', 'x', ...evidence(), '--require', 'some')).code).toBe(2)
    expect((await run('verify', 'x')).code).toBe(2)
  }, 60_000)
})

test('prints its controls as a table, as Markdown and as data', async () => {
  const [table, markdown, json] = await Promise.all(
    [[], ['--markdown'], ['--json']].map(args => run('controls', ...args)),
  )
  for (const { id } of controls) expect(table?.stdout).toContain(id)
  expect(markdown?.stdout).toBe(`${controlsMarkdown()}\n`)
  expect(JSON.parse(json?.stdout ?? '')).toEqual(JSON.parse(JSON.stringify(controls)))
})
