/** chain_verify beyond its verdict, as an auditor and a data subject type it: proofs, receipts, archives, schemas. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
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
import { join } from 'node:path'
import { anchorName, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { youngMs } from '../../lib/core/audit/queue_check.ts'
import { formatReceipt, receiptName } from '../../lib/core/audit/receipt.ts'
import { formatTime } from '../../lib/core/time.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { binary } from '../support/binary.ts'
import { receiptOf } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked
let dir: string
let program: string
const at = (...names: string[]) => join(dir, ...names)

interface Answer {
  code: number
  stdout: string
  stderr: string
}

async function run(args: string[], stdin?: Uint8Array): Promise<Answer> {
  const child = Bun.spawn([program, ...args], {
    cwd: dir,
    env: { PATH: process.env.PATH ?? '', TMPDIR: dir },
    stdin: stdin ?? 'ignore',
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

const ok = async (args: string[], stdin?: Uint8Array): Promise<string> => {
  const { code, stdout, stderr } = await run(args, stdin)
  expect([stderr, code]).toEqual(['', 0])
  return stdout
}

const trust = () => ['--trust', a.live.at('pki', 'trust')]
const evidence = () => [...trust(), '--anchors', a.live.at('auditor')]
const whole = ['--file', 'trail.ndjson']
const first = () => a.receipts[0] as (typeof a.receipts)[0]
const verdict = (...args: string[]) => run(['verify', ...evidence(), '--gap', '86400', '--json', ...args])
const findings = ({ stdout }: Answer): string[] =>
  (JSON.parse(stdout) as { findings: { code: string; severity: string; where: string }[] }).findings
    .filter(f => f.severity === 'fail')
    .map(f => `${f.code} ${f.where}`)

beforeAll(async () => {
  a = await attacked()
  program = await binary('chain_verify')
  dir = mkdtempSync(join(tmpdir(), 'zt-proofs-'))
  await ok(['export', '--defaults-file', a.live.client('auditor'), '--out', 'trail.ndjson'])
  await ok(['export', '--defaults-file', a.live.client('auditor'), '--out', 'trail.zst', '--zstd'])
  const text = readFileSync(at('trail.ndjson'), 'utf8')
  const lines = text.split('\n')
  const event = JSON.parse(lines[5] ?? '') as { payload: string }
  const payload = Buffer.from(event.payload, 'base64').toString().replace('"conn":', '"conn":1')
  lines[5] = JSON.stringify({ ...event, payload: Buffer.from(payload).toString('base64') })
  writeFileSync(at('rewritten.ndjson'), lines.join('\n'))
}, 300_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('a proof of one event', () => {
  test('made from a file, packed or not, or the live trail, is the same, and holds offline', async () => {
    const { event, payload } = first()
    const id = event.id
    await ok(['prove', id, ...evidence(), ...whole, '--payload', 'payload'])
    expect(readFileSync(at('payload'))).toEqual(Buffer.from(payload))
    const proof = readFileSync(at(`${id}.tlog-proof`), 'utf8')
    expect(proof).toStartWith('c2sp.org/tlog-proof@v1\nindex ')
    const seq = Number(/index ([0-9]+)/.exec(proof)?.[1])
    for (const [name, source] of [
      [id, ['--file', 'trail.zst']],
      [String(seq), whole],
      [id, ['--socket', a.live.server.socket]],
    ] as const) {
      await ok(['prove', name, ...evidence(), ...source, '--out', 'again.tlog-proof'])
      expect(readFileSync(at('again.tlog-proof'), 'utf8')).toBe(proof)
    }
    writeFileSync(at('receipt.json'), formatReceipt(first()))
    writeFileSync(at('many.receipts'), a.receipts.toReversed().map(formatReceipt).join(''))
    for (const [given, stdin] of [
      [['--payload', 'payload'], undefined],
      [['--payload', '-'], payload],
      [['--receipt', 'receipt.json'], undefined],
      [['--receipt', 'many.receipts'], undefined],
      [['--receipt', 'receipt.json', '--anchors', a.live.at('auditor')], undefined],
      [['--receipt', 'receipt.json', '--engine', 'native'], undefined],
      [['--receipt', 'receipt.json', '--engine', 'both'], undefined],
    ] as const)
      expect(await ok(['check-proof', `${id}.tlog-proof`, ...trust(), ...given], stdin)).toContain(
        `event ${seq} of ${a.origin}: create of users ${event.key} at ${event.time}, signed by app_user`,
      )
    const said = JSON.parse(
      await ok(['check-proof', `${id}.tlog-proof`, ...trust(), '--payload', 'payload', '--json']),
    ) as object
    expect(said).toMatchObject({ ok: true, index: seq, signedBy: 'app_user', anchor: null })
  })

  test('does not hold for other bytes, another place, another log, or a checkpoint that the copy lacks', async () => {
    const id = first().event.id
    const proof = readFileSync(at(`${id}.tlog-proof`), 'utf8')
    const check = (...args: string[]) => run(['check-proof', 'bad.tlog-proof', ...trust(), ...args])
    const other = Buffer.from(first().payload)
    other[other.length - 3] = (other[other.length - 3] ?? 0) ^ 1
    writeFileSync(at('other'), other)
    writeFileSync(at('bad.tlog-proof'), proof)
    expect((await check('--payload', 'other')).code).toBe(1)
    writeFileSync(at('others.receipts'), a.receipts.slice(1).map(formatReceipt).join(''))
    const none = await check('--receipt', 'others.receipts')
    expect([none.code, none.stderr.includes('none of the')]).toEqual([1, true])
    mkdirSync(at('fewer'))
    for (const number of [1, 2])
      cpSync(a.live.at('auditor', anchorName(number)), at('fewer', anchorName(number)))
    const lacking = await check('--payload', 'payload', '--anchors', 'fewer')
    expect([lacking.code, lacking.stderr.includes('no anchor of your copy')]).toEqual([1, true])
    const lines = proof.split('\n')
    for (const [what, text, code] of [
      ['index', proof.replace(/index [0-9]+/, 'index 1'), 1],
      ['a hash less', lines.toSpliced(2, 1).join('\n'), 1],
      [
        'two hashes swapped',
        lines
          .with(2, lines[3] ?? '')
          .with(3, lines[2] ?? '')
          .join('\n'),
        1,
      ],
      ['root', proof.replace(/\n\n([^\n]+\n[0-9]+)\n[^\n]{10}/, '\n\n$1\nAAAAAAAAAA'), 1],
      ['no checkpoint', lines.slice(0, 4).join('\n'), 3],
      ['origin', proof.replaceAll(a.origin, 'ztmysql.local/0000000000000000'), 1],
    ] as const) {
      expect([what, text === proof]).toEqual([what, false])
      writeFileSync(at('bad.tlog-proof'), text)
      const answer = await check('--payload', 'payload')
      expect([what, answer.code, answer.stdout]).toEqual([what, code, ''])
    }
  })

  test('of an event that no anchor covers, or that is not there, is not made', async () => {
    const last = a.receipts.at(-1)?.event.id ?? ''
    const young = await run(['prove', last, ...evidence(), ...whole])
    expect([young.code, young.stderr.includes('no anchor of your copy covers it yet')]).toEqual([3, true])
    const none = await run(['prove', '00000000-0000-4000-8000-000000000000', ...evidence(), ...whole])
    expect([none.code, none.stderr.includes('is not in this trail')]).toEqual([3, true])
    expect((await run(['prove', 'nonsense', ...evidence(), ...whole])).code).toBe(2)
    expect(existsSync(at(`${last}.tlog-proof`))).toBe(false)
  })

  test('is not made from a trail that was rewritten', async () => {
    const answer = await run([
      'prove',
      first().event.id,
      ...evidence(),
      '--file',
      'rewritten.ndjson',
      '--out',
      'no',
    ])
    expect([answer.code, answer.stderr.includes('its root of')]).toEqual([1, true])
    expect(existsSync(at('no'))).toBe(false)
  })
})

describe('consistency', () => {
  test('of any two anchors is proved, and the proof holds offline', async () => {
    for (const [from, to] of [
      [1, 2],
      [1, 3],
      [2, 3],
    ]) {
      await ok(['consistency', `${from}`, `${to}`, ...evidence(), ...whole, '--out', 'proof.json'])
      expect(await ok(['check-consistency', 'proof.json', ...trust()])).toContain(`anchor ${to} (`)
    }
    const proof = readFileSync(at('proof.json'), 'utf8')
    const parsed = JSON.parse(proof) as { proof: string[]; from: number }
    for (const bad of [
      proof
        .replace('"from":2', '"from":1')
        .replace(
          /"earlier":"[^"]*"/,
          `"earlier":${JSON.stringify(parseAnchor(readFileSync(a.live.at('auditor', anchorName(1)))).checkpoint)}`,
        ),
      `${JSON.stringify({ ...parsed, proof: parsed.proof.slice(1) })}\n`,
      `${JSON.stringify({ ...parsed, proof: parsed.proof.toReversed() })}\n`,
    ]) {
      writeFileSync(at('bad.json'), bad)
      expect((await run(['check-consistency', 'bad.json', ...trust()])).code).toBe(1)
    }
  })

  test('is not proved backwards, for an anchor that is missing, or from a trail that was cut', async () => {
    expect((await run(['consistency', '3', '1', ...evidence(), ...whole])).code).toBe(2)
    expect((await run(['consistency', '1', '9', ...evidence(), ...whole])).code).toBe(3)
    expect((await run(['consistency', '1', '2', ...evidence(), '--file', 'rewritten.ndjson'])).code).toBe(1)
  })
})

describe('receipts', () => {
  test('get their proofs in bulk, and need the trail no more', async () => {
    mkdirSync(at('receipts'))
    for (const receipt of a.receipts)
      writeFileSync(at('receipts', receiptName(receipt)), formatReceipt(receipt))
    const report = (text: string) => JSON.parse(text) as { proved: number; upgraded: number; counts: object }
    const before = report(await ok(['receipts', 'receipts', ...evidence(), '--json']))
    expect([before.proved, before.upgraded]).toEqual([0, 0])
    const made = report(await ok(['receipts', 'receipts', ...evidence(), ...whole, '--json']))
    expect(made).toMatchObject({ upgraded: a.receipts.length - 1, counts: { RECEIPT_PENDING: 1 } })
    expect(readdirSync(at('receipts')).filter(name => name.endsWith('.tlog-proof')).length).toBe(
      a.receipts.length - 1,
    )
    const after = report(await ok(['receipts', 'receipts', ...evidence(), '--json']))
    expect([after.proved, after.upgraded]).toEqual([a.receipts.length - 1, 0])
  })

  test('name the one that is missing, and the proof that is bad', async () => {
    cpSync(at('receipts'), at('worse'), { recursive: true })
    const payload = Buffer.from(first().payload).toString()
    const late = formatTime((Date.now() + youngMs - 5000) * 1000) // young for as long as can be
    const young = payload
      .replace(/"id":"[^"]{8}/, '"id":"deadbeef')
      .replace(/"time":"[^"]*"/, `"time":"${late}"`)
    const lost = receiptOf(a.origin, Buffer.from(young))
    writeFileSync(at('worse', receiptName(lost)), formatReceipt(lost))
    const [one, two] = a.receipts
    cpSync(at('worse', `${two?.event.id}.tlog-proof`), at('worse', `${one?.event.id}.tlog-proof`))
    const offline = await run(['receipts', 'worse', ...evidence(), '--json'])
    expect([offline.code, findings(offline)]).toEqual([1, [`PROOF_BAD receipt ${one?.event.id}`]])
    // old enough that nothing waits to be sealed any more
    const old = receiptOf(
      a.origin,
      Buffer.from(payload.replace(/"time":"[^"]*"/, '"time":"2026-01-01T00:00:00.000000Z"')),
    )
    writeFileSync(at('worse', receiptName(old)), formatReceipt(old))
    const online = await run(['receipts', 'worse', ...evidence(), ...whole, '--json'])
    expect([online.code, findings(online)]).toEqual([
      1,
      [`PROOF_BAD receipt ${one?.event.id}`, `RECEIPT_MISSING receipt ${one?.event.id}`],
    ])
  })
})

describe('a verification that begins where another ended', () => {
  test('is kept only where nothing was found, and judges what came since', async () => {
    expect((await verdict('--file', 'rewritten.ndjson', '--save-base', 'bad.base')).code).toBe(1)
    expect(existsSync(at('bad.base'))).toBe(false)
    expect((await verdict(...whole, '--as-of', '2', '--save-base', 'two.base')).code).toBe(0)
    for (const since of ['two.base', '2'])
      for (const source of [whole, ['--file', 'trail.zst'], ['--socket', a.live.server.socket]]) {
        const answer = await verdict(...source, '--since', since)
        expect([answer.stderr, answer.code]).toEqual(['', 0])
        const { from } = JSON.parse(answer.stdout) as { from: number }
        expect(from).toBe((JSON.parse(readFileSync(at('two.base'), 'utf8')) as { size: number }).size)
      }
  })

  test('finds what was done since, and refuses a base that was never anchored', async () => {
    const lines = readFileSync(at('trail.ndjson'), 'utf8').split('\n')
    const { size } = JSON.parse(readFileSync(at('two.base'), 'utf8')) as { size: number }
    writeFileSync(
      at('cut.ndjson'),
      lines
        .toSpliced(size + 3, 1)
        .join('\n')
        .replace(/"events":([0-9]+)/, (_, n) => `"events":${Number(n) - 1}`),
    )
    const answer = await verdict('--file', 'cut.ndjson', '--since', 'two.base')
    expect(answer.code).toBe(1)
    expect(findings(answer)).toContain(`SEQ_GAP event ${size + 3}`)
    for (const [from, to] of [
      [/"head":"../, '"head":"00'],
      [/"frontier":\["../, '"frontier":["00'],
      [/"anchor":2/, '"anchor":1'],
    ] as const) {
      writeFileSync(at('forged.base'), readFileSync(at('two.base'), 'utf8').replace(from, to))
      expect((await verdict(...whole, '--since', 'forged.base')).code).toBe(1)
    }
  })
})

describe('an archive', () => {
  test('verifies and proves by itself, from the start or from the middle, packed or not', async () => {
    for (const [from, to, packed] of [
      [0, 2, []],
      [1, 3, []],
      [2, 3, ['--zstd']],
    ] as const) {
      rmSync(at('range'), { force: true })
      await ok([
        'archive',
        ...evidence(),
        ...whole,
        '--from',
        `${from}`,
        '--to',
        `${to}`,
        '--out',
        'range',
        ...packed,
      ])
      const answer = await verdict('--file', 'range')
      expect([answer.stderr, answer.code]).toEqual(['', 0])
      expect(JSON.parse(answer.stdout)).toMatchObject({ lastAnchor: to })
    }
    await ok(['archive', ...evidence(), ...whole, '--from', '2', '--to', '3', '--out', 'range'])
    const { event, payload } = first()
    await ok(['prove', event.id, ...evidence(), '--file', 'range', '--out', 'ranged.tlog-proof'])
    writeFileSync(at('bytes'), payload)
    await ok([
      'check-proof',
      'ranged.tlog-proof',
      ...trust(),
      '--payload',
      'bytes',
      '--anchors',
      a.live.at('auditor'),
    ])
  })

  test('that was changed, or begins elsewhere than it says, does not verify', async () => {
    const text = readFileSync(at('range'), 'utf8')
    const lines = text.split('\n')
    for (const bad of [
      text.replace(/"frontier":\["../, '"frontier":["00'),
      text.replace(/"prev":"../, '"prev":"00'),
      lines
        .toSpliced(2, 1)
        .join('\n')
        .replace(/"events":([0-9]+)/, (_, n) => `"events":${Number(n) - 1}`),
      text.replace(/"size":[0-9]+/, '"size":999'),
      text.replace('"anchor":2', '"anchor":1'),
    ]) {
      expect(bad === text).toBe(false)
      writeFileSync(at('bent'), bad)
      expect((await verdict('--file', 'bent')).code).toBe(1)
    }
  })

  test('is not made of what does not verify', async () => {
    const answer = await run([
      'archive',
      ...evidence(),
      '--file',
      'rewritten.ndjson',
      '--to',
      '3',
      '--out',
      'never',
    ])
    expect([answer.code, existsSync(at('never'))]).toEqual([1, false])
  })
})

describe('a packed export', () => {
  test('verifies like the plain one', async () => {
    const [plain, packed] = [await verdict(...whole), await verdict('--file', 'trail.zst')]
    expect([packed.code, plain.code]).toEqual([0, 0])
    const bare = (text: string) => ({ ...(JSON.parse(text) as object), signatureSeconds: 0 })
    expect(bare(packed.stdout)).toEqual(bare(plain.stdout))
  })

  test('that was cut, or grows beyond all measure, is refused', async () => {
    writeFileSync(at('cut.zst'), readFileSync(at('trail.zst')).subarray(0, -20))
    expect((await verdict('--file', 'cut.zst')).code).toBe(3)
    writeFileSync(at('bomb.zst'), Bun.zstdCompressSync(Buffer.alloc(64 << 20, '{"seq":1}\n')))
    const bomb = await verdict('--file', 'bomb.zst')
    expect([bomb.code, bomb.stderr.includes('200 times')]).toEqual([3, true])
    expect(readdirSync(dir).filter(name => name.startsWith('zt-export-'))).toEqual([])
  })
})

describe('engines', () => {
  test('agree on an honest trail and on a rewritten one, with helper threads and without', async () => {
    const bare = (text: string) => ({ ...(JSON.parse(text) as object), signatureSeconds: 0, engine: '' })
    for (const source of [whole, ['--file', 'rewritten.ndjson']]) {
      const answers = await Promise.all(
        [[], ['--engine', 'native'], ['--engine', 'both'], ['--threads', '0'], ['--threads', '3']].map(more =>
          verdict(...source, '--signatures', 'all', ...more),
        ),
      )
      for (const { stdout } of answers) expect(bare(stdout)).toEqual(bare(answers[0]?.stdout ?? ''))
    }
  })
})

describe('a schema', () => {
  test('that was changed between two snapshots is told in words', async () => {
    const bySocket = ['--socket', a.live.server.socket]
    await ok(['schema-snapshot', ...bySocket, '--out', 'before.json'])
    expect(await ok(['schema-diff', 'before.json', 'live', ...bySocket])).toEndWith('nothing changed\n')
    try {
      await a.shell.root.run("CREATE USER intruder@'%' IDENTIFIED BY 'x'")
      await a.shell.root.run('GRANT SELECT ON securedb.users TO intruder@`%`')
      const told = await ok(['schema-diff', 'before.json', 'live', ...bySocket])
      expect(told).toContain("account 'intruder'@'%' is new")
      expect(told).toContain("the rights of 'intruder'@'%' is new")
    } finally {
      await a.shell.root.run('DROP USER intruder')
    }
  })

  test('is found by the fingerprint of an anchor', async () => {
    mkdirSync(at('snapshots'))
    cpSync(at('before.json'), at('snapshots', 'some.json'))
    const named = ['--anchors', a.live.at('auditor'), '--snapshots', 'snapshots']
    expect(await ok(['schema-diff', '1', '3', ...named])).toEndWith('nothing changed\n')
    expect((await run(['schema-diff', '1', '9', ...named])).code).toBe(3)
  })
})
