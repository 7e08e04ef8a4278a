/** chain_verify as an auditor types it: on a live server by socket and by certificate, and on an export of it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { formatReceipt, receiptName } from '../../lib/core/audit/receipt.ts'
import { findingsMarkdown } from '../../lib/core/audit/verdict_text.ts'
import { uuidBytes } from '../../lib/core/bytes.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { binary } from '../support/binary.ts'
import { userRow } from '../support/live.ts'
import { receiptOf } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

const root = resolve(import.meta.dir, '../..')
let a: Attacked
let dir: string
let program: string
const at = (...names: string[]) => join(dir, ...names)

interface Answer {
  code: number
  stdout: string
  stderr: string
}

async function run(...args: string[]): Promise<Answer> {
  const child = Bun.spawn([program, ...args], {
    cwd: dir,
    env: { PATH: process.env.PATH ?? '' },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}

interface Report {
  ok: boolean
  events: number
  anchors: number
  lastAnchor: number
  rows: number
  counts: Record<string, number>
  findings: { code: string; severity: string; where: string; what: string; means: string }[]
  [name: string]: unknown
}

const evidence = () => [
  '--trust',
  a.live.at('pki', 'trust'),
  '--anchors',
  a.live.at('auditor'),
  '--gap',
  '86400',
]
const bySocket = () => ['--socket', a.live.server.socket]
const byCertificate = () => ['--defaults-file', a.live.client('auditor')]
/** Without what the machine took for it. */
const report = ({ stdout }: Answer): Report => ({ ...(JSON.parse(stdout) as Report), signatureSeconds: 0 })
const failing = (answer: Answer): string[] =>
  report(answer)
    .findings.filter(f => f.severity === 'fail')
    .map(f => `${f.code} ${f.where}`)

beforeAll(async () => {
  a = await attacked()
  program = await binary('chain_verify')
  dir = mkdtempSync(join(tmpdir(), 'zt-verify-'))
}, 300_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('one verdict, whatever it is read from:', () => {
  /** The reports of the three ways, without what only a live server shows. */
  const threeWays = async (): Promise<{ answers: Answer[]; reports: Report[] }> => {
    rmSync(at('trail.ndjson'), { force: true })
    const exported = await run('export', ...byCertificate(), '--out', 'trail.ndjson')
    expect([exported.stderr, exported.code]).toEqual(['', 0])
    const answers = await Promise.all(
      [bySocket(), byCertificate(), ['--file', 'trail.ndjson']].map(source =>
        run(...evidence(), ...source, '--signatures', 'all', '--json'),
      ),
    )
    return { answers, reports: answers.map(report) }
  }

  test('a sound deployment holds', async () => {
    const { answers, reports } = await threeWays()
    expect(answers.map(({ code, stderr }) => [code, stderr])).toEqual(Array(3).fill([0, '']))
    expect(reports[1]).toEqual(reports[0] as Report)
    expect(reports[2]).toEqual(reports[0] as Report)
    expect(reports[0]).toMatchObject({
      v: 1,
      ok: true,
      origin: a.origin,
      lastAnchor: 3,
      anchors: 3,
      counts: {},
      concerns: { log: 0, tenants: {} },
    })
    expect(Object.keys(reports[0] ?? {}).sort()).toEqual(
      [
        'anchored',
        'anchors',
        'concerns',
        'counts',
        'events',
        'findings',
        'head',
        'lastAnchor',
        'ok',
        'origin',
        'receipts',
      ]
        .concat([
          'engine',
          'from',
          'judged',
          'rows',
          'rowsUnjudged',
          'signatureSeconds',
          'signaturesChecked',
          'v',
        ])
        .sort(),
    )
    const text = await run(...evidence(), ...bySocket())
    expect([text.code, text.stdout.trim().split('\n').at(-1)]).toEqual([0, 'verdict: holds'])
  })

  test('a row edited and an event deleted are named alike, with their meaning', async () => {
    try {
      await a.shell.silently("UPDATE securedb.users SET role = 'admin' WHERE id = ?", [
        uuidBytes(a.people.ada),
      ])
      const last = (await a.shell.events()).length - 1
      await a.shell.silently('DELETE FROM securedb.audit_events WHERE seq = ?', [last])
      const { answers, reports } = await threeWays()
      expect(answers.map(({ code }) => code)).toEqual([1, 1, 1])
      expect(reports[1]).toEqual(reports[0] as Report)
      expect(reports[2]).toEqual(reports[0] as Report)
      expect(failing(answers[0] as Answer).sort()).toEqual([
        'HEAD_MISMATCH chain head',
        `ROW_EDITED users ${a.people.ada}`,
        `ROW_WITHOUT_EVENT users ${a.people.last}`,
      ])
      const text = await run(...evidence(), ...byCertificate())
      expect(text.stdout).toContain(`FAIL ROW_EDITED: users ${a.people.ada}: `)
      expect(text.stdout).toContain('a row is not what its last event says')
      expect(text.stdout.trim().split('\n').at(-1)).toBe('verdict: does not hold, 3 findings')
    } finally {
      await a.shell.rollback()
    }
  }, 60_000)
})

describe('anchors', () => {
  test('that are not there, are empty, or of another log', async () => {
    const base = ['--trust', a.live.at('pki', 'trust'), '--gap', '86400', ...bySocket(), '--json']
    const gone = await run(...base, '--anchors', 'nowhere')
    expect([gone.code, gone.stdout]).toEqual([3, ''])
    expect(gone.stderr).toMatch(/^chain_verify: error: worm store nowhere: no such folder\nhint: /)
    mkdirSync(at('empty'))
    const empty = await run(...base, '--anchors', 'empty')
    expect([empty.code, empty.stdout]).toEqual([3, ''])
    expect(empty.stderr).toMatch(/^chain_verify: error: empty: holds no anchors: .*\nhint: /)
    const other = at('other')
    cpSync(a.live.at('auditor'), other, { recursive: true, preserveTimestamps: true })
    const first = join(other, anchorName(1))
    const text = readFileSync(first, 'utf8').replaceAll(a.origin, 'ztmysql.local/00000000deadbeef')
    rmSync(first)
    writeFileSync(first, text)
    const foreign = await run(...base, '--anchors', 'other')
    expect(foreign.code).toBe(1)
    expect(failing(foreign)).toContain(`ORIGIN_MISMATCH ${anchorName(1)}`)
    mkdirSync(at('foreign'))
    cpSync(first, join(at('foreign'), anchorName(1)))
    const allForeign = await run(...base, '--anchors', 'foreign')
    expect([allForeign.code, allForeign.stdout]).toEqual([3, ''])
    expect(allForeign.stderr).toContain('holds anchors of the log ztmysql.local/00000000deadbeef')
  })

  test('later than an export are left out by --as-of, and not otherwise', async () => {
    try {
      await run('export', ...bySocket(), '--out', 'old.ndjson')
      await a.live.anchor()
      await a.live.anchor()
      a.shell.fetchAnchors()
      const judge = (...more: string[]) => run(...evidence(), '--file', 'old.ndjson', '--json', ...more)
      const late = await judge()
      expect([late.code, failing(late)]).toEqual([1, ['ANCHOR_BEYOND anchor 4', 'ANCHOR_BEYOND anchor 5']])
      const then = await judge('--as-of', '3')
      expect([then.code, report(then).lastAnchor]).toEqual([0, 3])
      expect(failing(await judge('--as-of', '4'))).toEqual(['ANCHOR_BEYOND anchor 4'])
    } finally {
      await a.shell.rollback()
    }
  }, 60_000)

  test('that stopped coming are a gap by the limit that is asked for', async () => {
    const answer = await run(...evidence().slice(0, 4), ...bySocket(), '--json', '--gap', '1')
    expect(answer.code).toBe(1)
    expect(failing(answer)).toContain('HEARTBEAT_GAP anchor 3')
  })
})

describe('an export', () => {
  beforeAll(async () => {
    const { code } = await run('export', ...bySocket(), '--out', 'whole.ndjson')
    expect(code).toBe(0)
  })

  test('that was cut, or has a line too few, proves nothing', async () => {
    const lines = readFileSync(at('whole.ndjson'), 'utf8').match(/[^\n]*\n/g) ?? []
    const half = Math.floor(lines.length / 2)
    for (const [what, text] of Object.entries({
      'in the middle of a line': lines.join('').slice(0, -300),
      'after half of its lines': lines.slice(0, half).join(''),
      'a line less': lines.toSpliced(half, 1).join(''),
      empty: '',
    })) {
      writeFileSync(at('cut.ndjson'), text)
      const answer = await run(...evidence(), '--file', 'cut.ndjson', '--json')
      expect([what, answer.code, answer.stdout]).toEqual([what, 3, ''])
      expect(answer.stderr).toMatch(/^chain_verify: error: cut\.ndjson/)
    }
  }, 60_000)

  test('of a newer format is not judged', async () => {
    const text = readFileSync(at('whole.ndjson'), 'utf8').replace('"v":1', '"v":2')
    writeFileSync(at('newer.ndjson'), text)
    const answer = await run(...evidence(), '--file', 'newer.ndjson')
    expect([answer.code, answer.stderr.includes('use a newer release')]).toEqual([3, true])
  })

  test('appears whole or not at all', async () => {
    mkdirSync(at('out'))
    for (const [out, code] of [
      [join('out', 'no', 'trail.ndjson'), 3],
      ['out', 2],
    ] as const) {
      const answer = await run('export', ...bySocket(), '--out', out)
      expect([answer.code, answer.stdout]).toEqual([code, ''])
    }
    const refused = await run(
      'export',
      '--defaults-file',
      a.live.client('app_user'),
      '--out',
      'out/app.ndjson',
    )
    expect([refused.code, refused.stderr.includes('1142')]).toEqual([3, true])
    expect(readdirSync(at('out'))).toEqual([])
    const { code } = await run('export', ...bySocket(), '--out', 'out/again.ndjson')
    expect([code, readFileSync(at('out/again.ndjson'), 'utf8')]).toEqual([
      0,
      readFileSync(at('whole.ndjson'), 'utf8'),
    ])
  }, 60_000)

  test('that is ended by Ctrl-C leaves nothing', async () => {
    mkdirSync(at('interrupted'))
    // the queue comes after the events, so the export is under way and cannot end
    const { root: shell } = a.shell
    const locking = await openMysql({ socket: a.live.server.socket, user: 'root' })
    await locking.run('LOCK TABLES securedb.audit_pending WRITE')
    const child = Bun.spawn([program, 'export', ...bySocket(), '--out', 'interrupted/trail.ndjson'], {
      cwd: dir,
      env: { PATH: process.env.PATH ?? '' },
      stderr: 'pipe',
    })
    try {
      for (;;) {
        const [found] = await shell.query(
          "SELECT COUNT(*) AS n FROM performance_schema.threads WHERE processlist_state LIKE 'Waiting for table metadata lock%'",
        )
        if (Number(found?.n) > 0 && readdirSync(at('interrupted')).length === 1) break
        await Bun.sleep(20)
      }
      child.kill('SIGINT')
      expect(await child.exited).toBe(130)
    } finally {
      await locking.close()
    }
    expect(readdirSync(at('interrupted'))).toEqual([])
  }, 60_000)
})

describe('receipts', () => {
  const folder = (name: string, receipts = a.receipts): string => {
    mkdirSync(at(name))
    for (const receipt of receipts) writeFileSync(at(name, receiptName(receipt)), formatReceipt(receipt))
    return name
  }
  const judge = (name: string) => run(...evidence(), ...bySocket(), '--json', '--receipts', name)

  test('of writes that are in the trail hold; one that no anchor covers is pending', async () => {
    writeFileSync(at(folder('mine'), 'unanswered.pending'), 'a call whose answer never came')
    const answer = await judge('mine')
    expect([answer.code, report(answer).receipts]).toEqual([0, a.receipts.length])
    expect(report(answer).findings.map(f => `${f.code} ${f.where}`)).toEqual([
      `RECEIPT_PENDING receipt ${a.receipts.at(-1)?.event.id}`,
    ])
  })

  test('of writes that vanished are missing once they are no longer young', async () => {
    try {
      await a.shell.stopSealer()
      const lost = receiptOf(a.origin, await a.live.write(a.acme, 'users', 'create', userRow(a.acme)))
      await a.shell.silently('DELETE FROM securedb.audit_pending')
      await a.shell.silently('DELETE FROM securedb.users WHERE evt_id = ?', [uuidBytes(lost.event.id)])
      const young = await judge(folder('young', [lost]))
      expect([young.code, report(young).counts]).toEqual([0, { RECEIPT_PENDING: 1 }])
      const time = '"time":"2026-01-01T00:00:00.000000Z"'
      const payload = Buffer.from(lost.payload)
        .toString()
        .replace(/"time":"[^"]*"/, time)
      const old = receiptOf(a.origin, new TextEncoder().encode(payload))
      const missing = await judge(folder('old', [old]))
      expect([missing.code, failing(missing)]).toEqual([1, [`RECEIPT_MISSING receipt ${lost.event.id}`]])
    } finally {
      await a.shell.rollback()
    }
  }, 60_000)

  test('that are none, or in no folder, cannot be judged', async () => {
    expect((await judge('nobody')).code).toBe(3)
    mkdirSync(at('broken'))
    writeFileSync(at('broken', `${a.receipts[0]?.event.id}.json`), '{}\n')
    const answer = await judge('broken')
    expect([answer.code, answer.stdout]).toEqual([3, ''])
    const [first, second] = a.receipts
    if (!first || !second) throw new Error('two receipts expected')
    writeFileSync(at('broken', `${first.event.id}.json`), formatReceipt(second))
    expect((await judge('broken')).stderr).toContain(`holds event ${second.event.id}`)
  })
})

describe('who may not, and what is wrong', () => {
  test('the trust folder of another CA than the pinned one', async () => {
    const { ca } = await readTrust(a.live.at('pki', 'trust'))
    const { sha256 } = await import('@noble/hashes/sha2.js')
    const pin = Buffer.from(sha256(ca[0]?.der ?? new Uint8Array())).toString('hex')
    expect((await run(...evidence(), ...bySocket(), '--ca-sha256', pin)).code).toBe(0)
    const wrong = await run(...evidence(), ...bySocket(), '--ca-sha256', 'ab'.repeat(32))
    expect([wrong.code, wrong.stdout]).toEqual([3, ''])
    expect(wrong.stderr).toContain('its CA is not the pinned one')
  })

  test('a trust folder that names another key of the log', async () => {
    const { buildTrust } = await import('../../lib/core/trust_build.ts')
    const { logName, makeCa, makeContent } = await import('../support/trust.ts')
    const { publicKeys } = await import('../../lib/core/audit/checkpoint.ts')
    const [ca, trust] = [await makeCa(), await readTrust(a.live.at('pki', 'trust'))]
    const key = {
      name: trust.origin,
      ed25519: new Uint8Array(32).fill(7),
      mldsa44: new Uint8Array(32).fill(7),
    }
    const content = await makeContent([ca], [])
    expect(content.origin).toBe(logName)
    const logKeys = [{ ...publicKeys(key), from: 1, until: null }]
    for (const [path, bytes] of buildTrust({ ...content, origin: trust.origin, logKeys }, [ca.scalar])) {
      mkdirSync(dirname(at('strange', path)), { recursive: true })
      writeFileSync(at('strange', path), bytes)
    }
    const answer = await run('--trust', 'strange', ...evidence().slice(2), ...bySocket())
    expect([answer.code, answer.stdout]).toEqual([3, ''])
    expect(answer.stderr).toContain('not one anchor is signed as the trust folder asks')
  })

  test('an account without the auditor’s rights', async () => {
    const answer = await run(...evidence(), '--defaults-file', a.live.client('app_user'))
    expect([answer.code, answer.stdout]).toEqual([3, ''])
    expect(answer.stderr).toMatch(/^chain_verify: error: mysql: .*1142, 42000\)\nhint: /)
  })

  test('a server that is not there, a socket that is none, a file that is none', async () => {
    for (const source of [
      ['--socket', at('no.sock')],
      ['--file', 'none.ndjson'],
      ['--file', '.'],
    ]) {
      const { code, stdout, stderr } = await run(...evidence(), ...source)
      expect([source, stdout, stderr.startsWith('chain_verify: error: ')]).toEqual([source, '', true])
      expect([source, code === 3 || code === 2]).toEqual([source, true])
    }
  })

  test('an option file that others can read', async () => {
    cpSync(a.live.client('auditor'), at('loose.cnf'))
    chmodSync(at('loose.cnf'), 0o644)
    const answer = await run(...evidence(), '--defaults-file', 'loose.cnf')
    expect([answer.code, /hint: close it: chmod 0?600 loose\.cnf/.test(answer.stderr)]).toEqual([3, true])
  })

  test('a folder that is not named: what it is, and how else to name it', async () => {
    const { code, stderr } = await run(...bySocket())
    expect([code, stderr]).toEqual([
      2,
      'chain_verify: error: missing --trust DIR or TRUST_DIR: the trust folder that outside_pki made\nhint: chain_verify verify --help\n',
    ])
    const anchors = await run('--trust', a.live.at('pki', 'trust'), ...bySocket())
    expect(anchors.stderr).toContain(
      "missing --anchors DIR or ANCHORS_DIR: your own copy of the WORM store's anchors\n",
    )
  })

  test('a command line that says too little or too much', async () => {
    for (const args of [
      [...bySocket()],
      [...evidence()],
      [...evidence(), ...bySocket(), '--gap', 'soon'],
      [...evidence(), ...bySocket(), '--signatures', 'some'],
      [...evidence(), ...bySocket(), '--nonsense'],
      ['export', ...bySocket()],
    ]) {
      const { code, stderr } = await run(...args)
      expect([args.slice(-2), code, /^chain_verify: error: .*\nhint: /.test(stderr)]).toEqual([
        args.slice(-2),
        2,
        true,
      ])
    }
  }, 60_000)
})

test('docs/findings.md is what the command prints', async () => {
  expect(existsSync(join(root, 'docs/findings.md'))).toBe(true)
  expect(readFileSync(join(root, 'docs/findings.md'), 'utf8')).toContain(`\n${findingsMarkdown()}\n`)
  expect((await run('findings')).stdout).toBe(`${findingsMarkdown()}\n`)
})
