/** anchor_head as its service runs it: the compiled binary, the account of auth_socket, a real server, a folder as store. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { anchorHash, isEventOf, noPredecessor, openAnchor, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { formatAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import { type AnchorKey, publicKeys } from '../../lib/core/audit/checkpoint.ts'
import { parseEvent } from '../../lib/core/audit/event.ts'
import { Frontier, leafHash } from '../../lib/core/audit/merkle.ts'
import { schemaFingerprint } from '../../lib/core/audit/schema.ts'
import { type Bytes, equal, random, toBase64, toHex } from '../../lib/core/bytes.ts'
import { grantsFor } from '../../lib/core/sqlgen/grants.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { applySchema, schemaSnapshot } from '../../lib/edge/schema.ts'
import { definitions } from '../../sql/index.ts'
import { binary } from '../support/binary.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { listenUnix } from '../support/unix_datagram.ts'

setDefaultTimeout(60_000)

const origin = 'ztmysql.local/c0ffee00c0ffee00'
const key: AnchorKey = { name: origin, ed25519: random(32), mldsa44: random(32) }
const log = { origin, logKeys: [{ ...publicKeys(key), from: 1, until: null }] }

let server: Mysqld
let root: Connection
let program: string
let dir: string
const at = (...names: string[]) => join(dir, ...names)

const stdoutOf = async (command: string[]): Promise<string> => {
  const child = Bun.spawn(command, { stdout: 'pipe' })
  return (await new Response(child.stdout).text()).trim()
}

beforeAll(async () => {
  program = await binary('anchor_head')
  server = await freshServer()
  root = await openMysql({ socket: server.socket, user: 'root' })
  await applySchema(root, { origin })
  const me = await stdoutOf(['id', '-un'])
  await root.run('CREATE USER anchor@localhost IDENTIFIED WITH auth_socket AS ?', [me])
  for (const privilege of grantsFor('anchor', definitions))
    await root.run(`GRANT ${privilege} TO anchor@localhost`)
}, 300_000)

afterAll(async () => {
  await root.close()
  await server.stop()
  rmSync(dir, { recursive: true, force: true })
})

// One log for all tests: each begins where the one before ended, as in life. The store and the state are kept.
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-anchor-head-'))
  mkdirSync(at('worm'))
  mkdirSync(at('state'), { mode: 0o700 })
  writeFileSync(at('state', 'anchor_key.json'), formatAnchorKey(key), { mode: 0o600 })
})

interface Outcome {
  code: number
  stdout: string
  stderr: string
}

const places = () => ['--socket', server.socket, '--state', at('state'), '--worm', at('worm')]

function start(args: string[], env: Record<string, string> = {}) {
  return Bun.spawn([program, ...args], {
    cwd: dir,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

async function ended(child: ReturnType<typeof start>): Promise<Outcome> {
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  for (const seed of [key.ed25519, key.mldsa44])
    for (const secret of [toBase64(seed), toHex(seed)]) expect(stdout + stderr).not.toContain(secret)
  return { code, stdout, stderr }
}

const run = (...args: string[]) => ended(start([...args, '--syslog', 'none', ...places()]))

async function write(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await root.call('securedb.record_nonce', ['nonce', Buffer.from(random(32))])
}

/** Holds the store against the trail, as a verifier would: returns the number of the last anchor. */
async function expectWhole(): Promise<number> {
  const events = await root.query(
    'SELECT seq, prev_hash, payload, curr_hash FROM securedb.audit_events ORDER BY seq',
  )
  const bytes = (value: unknown): Bytes => {
    if (!(value instanceof Uint8Array)) throw new Error('not bytes')
    return value
  }
  const anchors = readdirSync(at('worm'))
    .sort()
    .map(name => readFileSync(at('worm', name)))
  const frontier = new Frontier()
  let head = genesisHash(origin)
  let prev = noPredecessor
  let number = 0
  for (const event of events) {
    const payload = bytes(event.payload)
    expect(equal(bytes(event.prev_hash), head)).toBe(true)
    head = linkHash(head, payload)
    expect(equal(bytes(event.curr_hash), head)).toBe(true)
    frontier.append(leafHash(payload))
    const object = anchors[number]
    if (object === undefined || parseAnchor(object).size !== frontier.size) continue
    const anchor = parseAnchor(object)
    number += 1
    expect(anchor.number).toBe(number)
    expect(anchor.prev).toBe(prev)
    expect(isEventOf(anchor, parseEvent(payload), toHex(head))).toBe(true)
    expect(equal(openAnchor(anchor, log).root, frontier.root())).toBe(true)
    prev = anchorHash(object)
  }
  expect(number).toBe(anchors.length)
  const [state] = await root.query('SELECT confirmed_number, confirmed_sha256 FROM securedb.anchor_state')
  expect(Number(state?.confirmed_number)).toBe(number)
  expect(toHex(bytes(state?.confirmed_sha256))).toBe(prev)
  return number
}

describe('anchor_head', () => {
  test('opens the gate of a new database, and says so', async () => {
    const before = await ended(start(['status', ...places()]))
    expect(before.code).toBe(1)
    expect(before.stdout).toContain('anchors    none yet\n')
    expect(before.stdout).toContain('gate       closed (45G02): no anchor yet: run anchor_head now\n')
    expect(before.stderr).toContain('hint: run anchor_head now')
    const now = await run('now')
    expect(now.stderr).toBe(
      'gate before: closed (45G02): no anchor yet: run anchor_head now\ngate after: open\n',
    )
    expect(now.stdout).toMatch(
      /^anchor 1: \d+ events, head [0-9a-f]{64}, anchor-0000000001\.json stored in \S+\/worm\n$/,
    )
    expect(now.code).toBe(0)
    expect(await expectWhole()).toBe(1)
    const after = await ended(start(['status', ...places()]))
    expect(after.code).toBe(0)
    expect(after.stdout).toContain('gate       open')
    expect(after.stdout).toContain(`store      ${at('worm')} (the host's word): anchor-0000000001.json`)
  })

  test('anchors what was written since, with the fingerprint of the schema as it stands', async () => {
    await write(3)
    const { code, stdout, stderr } = await run('--json')
    expect([code, stderr]).toEqual([0, ''])
    const told = JSON.parse(stdout)
    const anchor = parseAnchor(readFileSync(at('worm', 'anchor-0000000002.json')))
    expect(told).toMatchObject({ number: 2, size: anchor.size, head: anchor.head, stored: 'created' })
    expect(anchor.fingerprint).toBe(toHex(schemaFingerprint(await schemaSnapshot(root))))
    expect(await expectWhole()).toBe(2)
  })

  test('takes its settings from the environment too', async () => {
    const { code, stdout } = await ended(
      start([], {
        MYSQL_SOCKET: server.socket,
        ANCHOR_STATE: at('state'),
        ANCHOR_KEY: at('state', 'anchor_key.json'),
        ANCHOR_SYSLOG: 'none',
        WORM_DIR: at('worm'),
      }),
    )
    expect(code).toBe(0)
    expect(stdout).toStartWith('anchor 3: ')
    expect(await expectWhole()).toBe(3)
  })

  test('says where the store lacks what was confirmed', async () => {
    const standing = async () => (await ended(start(['status', ...places()]))).stdout
    const name = 'anchor-0000000003.json'
    renameSync(at('worm', name), at(name))
    expect(await standing()).toContain(`(the host's word): has no ${name}, which was confirmed`)
    renameSync(at(name), at('worm', name))
    expect(await standing()).toContain(`(the host's word): ${name}`)
  })

  test('sends AUDIT_CHAIN_HEAD to the system log, and goes on without one', async () => {
    using listener = listenUnix(at('log'))
    expect((await ended(start(['--syslog', at('log'), ...places()]))).code).toBe(0)
    const object = readFileSync(at('worm', 'anchor-0000000004.json'))
    const [line, ...more] = listener.receive()
    expect(more).toEqual([])
    expect(line).toContain(` anchor_head `)
    expect(line).toContain(` AUDIT_CHAIN_HEAD [ztmysql@32473 origin="${origin}" number="4" `)
    expect(line).toContain(` sha256="${anchorHash(object)}"] `)
    const { code, stderr } = await ended(start(['--syslog', at('nobody'), ...places()]))
    expect(code).toBe(0)
    expect(stderr).toBe(`anchor_head: warning: syslog ${at('nobody')}: nobody takes messages there\n`)
    expect(await expectWhole()).toBe(5)
  })

  test('keeps an anchor that the store did not take, and catches up', async () => {
    renameSync(at('worm'), at('away'))
    const { code, stdout, stderr } = await run()
    expect([code, stdout]).toEqual([3, ''])
    expect(stderr).toBe(
      `anchor_head: error: worm store ${at('worm')}: no such folder\nhint: mount or create it, then run this again\n`,
    )
    const standing = JSON.parse((await ended(start(['status', '--json', ...places()]))).stdout)
    expect(standing).toMatchObject({ recordedNumber: 6, confirmedNumber: 5, outstanding: [6], gate: null })
    expect(standing.store.error).toContain('no such folder')
    renameSync(at('away'), at('worm'))
    const again = await run()
    expect(again.code).toBe(0)
    expect(again.stdout.match(/^anchor \d+/gm)).toEqual(['anchor 6', 'anchor 7'])
    expect(await expectWhole()).toBe(7)
  })

  test('run four times at once makes four anchors, one after another', async () => {
    const before = await expectWhole()
    const outcomes = await Promise.all([run(), run(), run(), run()])
    expect(outcomes.map(({ code, stderr }) => [code, stderr])).toEqual(outcomes.map(() => [0, '']))
    expect(await expectWhole()).toBe(before + 4)
  })

  test('in a loop goes on until it is told to stop, and leaves no lock', async () => {
    const before = await expectWhole()
    const child = start(['loop', '--every', '1', '--syslog', 'none', ...places()])
    const told = ended(child)
    for (let i = 0; i < 200 && readdirSync(at('worm')).length < before + 2; i++) await Bun.sleep(50)
    renameSync(at('worm'), at('away'))
    await Bun.sleep(1500)
    renameSync(at('away'), at('worm'))
    const target = readdirSync(at('worm')).length + 1
    for (let i = 0; i < 200 && readdirSync(at('worm')).length < target; i++) await Bun.sleep(50)
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await told
    expect(code).toBe(143)
    expect(stdout.match(/^anchor \d+/gm)?.length).toBeGreaterThanOrEqual(2)
    expect(stderr).toContain('no such folder')
    expect(readdirSync(at('state'))).not.toContain('.lock')
    expect((await run()).code).toBe(0)
    expect(await expectWhole()).toBeGreaterThan(before + 2)
  })
})

describe('killed after a step, anchor_head', () => {
  const script =
    () => `import { anchorNow } from ${JSON.stringify(resolve(import.meta.dir, '../../lib/edge/anchor_service.ts'))}
const [socket, state, worm, wanted] = process.argv.slice(2)
await anchorNow({ socket, state, worm, key: state + '/anchor_key.json', syslog: 'none' }, {
  onStep: step => { if (step === wanted) process.kill(process.pid, 'SIGKILL') },
})`
  test.each(['sealed', 'recorded', 'signed', 'kept', 'stored', 'logged', 'confirmed'])(
    '%s, finishes without gap or second signature',
    async step => {
      const before = await expectWhole()
      writeFileSync(at('killed.ts'), script())
      await write(2)
      const child = Bun.spawn(
        [process.execPath, at('killed.ts'), server.socket, at('state'), at('worm'), step],
        {
          stdout: 'pipe',
          stderr: 'pipe',
        },
      )
      await child.exited
      expect(child.signalCode).toBe('SIGKILL')
      const kept = readdirSync(at('state', 'spool')).sort().at(-1) ?? ''
      const signed = readFileSync(at('state', 'spool', kept))
      const { code, stderr } = await run()
      expect([code, stderr]).toEqual([0, ''])
      expect(readFileSync(at('worm', kept)).equals(signed)).toBe(true)
      const made = step === 'sealed' ? 1 : 2
      expect(await expectWhole()).toBe(before + made)
    },
  )
})

describe('anchor_head refuses', () => {
  test('wrong usage', async () => {
    for (const [args, message] of [
      [['--nonsense'], "unknown option '--nonsense'"],
      [['nonsense'], 'nonsense'],
      [['--socket', server.socket, '--state', at('state')], 'no store given'],
      [['loop', '--every', '0', ...places()], '--every: expected a whole number, at least 1, got 0'],
      [['--worm', 'ftp://x', '--socket', server.socket, '--state', at('state')], 'not a kind of store'],
      [['--syslog', 'nowhere', ...places()], 'syslog: "nowhere" is no target'],
    ] as const) {
      const { code, stdout, stderr } = await ended(start([...args]))
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain('anchor_head: error: ')
      expect(stderr).toContain(message)
    }
  })

  test('a key that others could read, that is missing, or that is none', async () => {
    const copy = at('key.json')
    writeFileSync(copy, formatAnchorKey(key), { mode: 0o644 })
    const loose = await run('--key', copy)
    expect([loose.code, loose.stdout]).toEqual([3, ''])
    expect(loose.stderr).toBe(
      `anchor_head: error: anchor key ${copy}: mode 0644 lets others in\nhint: close it: chmod 600 ${copy}\n`,
    )
    const missing = await run('--key', at('none.json'))
    expect([missing.code, missing.stderr]).toEqual([
      3,
      `anchor_head: error: anchor key ${at('none.json')}: no such file or folder\nhint: check the path\n`,
    ])
    writeFileSync(copy, 'hunter2')
    chmodSync(copy, 0o600)
    const wrong = await run('--key', copy)
    expect(wrong.code).toBe(3)
    expect(wrong.stderr).toStartWith(`anchor_head: error: anchor key ${copy}: not an anchor key file\n`)
    expect(wrong.stderr).not.toContain('hunter2')
  })

  test('a key of another log', async () => {
    const copy = at('other.json')
    writeFileSync(copy, formatAnchorKey({ ...key, name: 'ztmysql.local/ffffffffffffffff' }), { mode: 0o600 })
    const { code, stderr } = await run('--key', copy)
    expect(code).toBe(2)
    expect(stderr).toContain(`keeps anchors of log ${origin}`)
  })

  test('a server that is not there', async () => {
    const { code, stderr } = await ended(
      start(['--socket', at('nosocket'), '--state', at('state'), '--worm', at('worm')]),
    )
    expect(code).toBe(3)
    expect(stderr).toContain(`anchor_head: error: mysql ${at('nosocket')}: `)
    expect(stderr).toContain('hint: check that the server runs')
  })

  test('to sign where another object has its name, and says which', async () => {
    const number = (await expectWhole()) + 1
    const name = `anchor-${String(number).padStart(10, '0')}.json`
    writeFileSync(at('worm', name), 'squatter')
    for (const _ of [1, 2]) {
      const { code, stdout, stderr } = await run()
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toContain(
        `anchor_head: error: worm store ${at('worm')}: ${name} is there with other content`,
      )
    }
    rmSync(at('worm', name))
    expect((await run()).code).toBe(0)
    expect(await expectWhole()).toBe(number + 1)
  })

  test('to sign a trail whose end somebody cut off and wrote anew', async () => {
    const number = await expectWhole()
    await root.run('DROP TRIGGER securedb.audit_events_no_delete')
    await root.run('USE securedb')
    await root.run('DELETE FROM audit_events ORDER BY seq DESC LIMIT 1')
    await root.run(
      'UPDATE chain_head h JOIN (SELECT MAX(seq) AS last FROM audit_events) m JOIN audit_events e ON e.seq = m.last SET h.size = m.last + 1, h.head = e.curr_hash',
    )
    await write(1)
    const { code, stdout, stderr } = await run()
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(
      `anchor_head: error: anchor ${number + 1} is not signed: the trail does not extend the `,
    )
    expect(stderr).toContain('hint: delete nothing: run chain_verify')
    expect(readdirSync(at('worm')).length).toBe(number)
  })
})
