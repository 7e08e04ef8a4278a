/**
 * A whole journey with the compiled binaries, and then a search for each of its secrets, in every form and everywhere:
 * what is found stands in the list of where it belongs, or the test fails. What cannot find proves nothing, so that in
 * each place something is sought that is there.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as chapters from '../../lib/edge/demo/chapters.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { makeMistakes } from '../support/mistakes.ts'
import { Recorded } from '../support/recorded.ts'
import {
  newInTmp,
  type Place,
  placesOf,
  secretsInFiles,
  secretsOfClient,
  workFolder,
} from '../support/secrets.ts'
import { type Found, type Secret, Seeker } from '../support/seeker.ts'

setDefaultTimeout(600_000) // binaries that are not up to date are compiled first

/** Where a secret may lie, as patterns of the whole name of a place; everywhere else it is a leak. */
const belongs: readonly [secret: RegExp, ...places: string[]][] = [
  [/^passphrase$/, 'deployment/passphrase'],
  [
    /^password of (\w+)$/,
    'deployment/pki/pki.json',
    'deployment/pki/server/server.json',
    'deployment/pki/pki_server.tar.gz!server.json',
    'deployment/pki/(clients|probes)/$1.cnf',
    'deployment/pki/pki_probes.tar.gz!$1.cnf',
    'deployment/probes/$1.cnf',
  ],
  [
    /^anchor seed, /,
    'deployment/anchor/anchor_key.json',
    'deployment/pki/server/anchor_key.json',
    'deployment/pki/pki_server.tar.gz!anchor_key.json',
  ],
  [
    /^private key of server$/,
    'deployment/tls/server-key.pem',
    'deployment/pki/server/server-key.pem',
    'deployment/pki/pki_server.tar.gz!server-key.pem',
  ],
  [/^private key of ((?!probe|server)\w+)$/, 'deployment/pki/clients/$1-key.pem'],
  [
    /^private key of (probe\w+)$/,
    'deployment/pki/probes/$1-key.pem',
    'deployment/pki/pki_probes.tar.gz!$1-key.pem',
    'deployment/probes/$1-key.pem',
  ],
  [/^token of (\w+)$/, 'deployment/kms/$1.token'],
  [/^KMS key /, 'deployment/kms/state.json'],
  [/^KEM seed of (\w+)$/, 'deployment/pki/clients/$1-kem.json'],
  [/^(name|email|phone) of \w+$/, 'seen/pq_envelope_cli (read|open)/stdout'],
  // sealed wherever they are kept, or never written at all
  [/^(issuer seed|sealed key|data key|record key|planted) /],
]

/** A text that each of the places holds: the search must come upon it there. */
const controls: readonly [marker: string, ...places: string[]][] = [
  ['origin', 'deployment/pki/trust/log.json', 'deployment/worm/anchor-0000000001.json'],
  ['origin', 'deployment/proof_bundle.tar.gz!manifest.json', 'deployment/proof_bundle.tar.gz!trail.ndjson'],
  ['origin', 'deployment/trail.ndjson', 'deployment/receipts/acme/[^/]*.json'],
  ['statement', 'mysql/data/general.log', 'mysql/data/slow.log'],
  ['statement', 'performance_schema/events_statements_history_long'],
  ['row', 'mysql/data/zt_control/kept.ibd', 'mysql/data/binlog.0\\d*', 'mysql/data/#innodb_redo/.*'],
  ['user', 'mysql/error.log', 'performance_schema/error_log'],
  ['argument', 'ps', 'seen/chain_verify export/argv'],
  ['variable', 'ps', 'seen/chain_verify export/environ'],
  ['name of ada', 'seen/pq_envelope_cli read/stdout'],
  ['argument', 'seen/chain_verify export/stderr'],
  ['file', 'tmp/control', '/tmp/zt-control-.*'],
]

const unique = (): string => `qx${randomBytes(10).toString('hex')}`

/** Texts that are put where a search must find them; a MySQL user name has 32 characters at most. */
const markers: Secret[] = ['statement', 'row', 'user', 'argument', 'variable', 'file'].map(label => ({
  label,
  value: unique(),
}))
const marker = (label: string): string => String(markers.find(each => each.label === label)?.value)

const digits = (): string =>
  String(Number.parseInt(randomBytes(5).toString('hex'), 16))
    .padStart(13, '7')
    .slice(0, 11)

const person = (name: string) => ({
  full_name: `${name} ${unique()}`,
  role: 'customer',
  email: `${unique()}@Example.org`,
  phone: `+49 ${digits()}`,
})
const people = { ada: person('Ada'), bob: person('Bob'), eve: person('Eve') }

/** Secrets that are handed in where they do not belong; a program may refuse them, and not repeat them. */
const planted = {
  passphrase: unique(),
  password: unique(),
  token: unique(),
  json: unique(),
  pem: unique(),
  pii: unique(),
}

let recorded: Recorded
let secrets: Secret[]
const found: (Found & { place: string })[] = []
const tmpBefore = new Set(readdirSync('/tmp'))
const outside = join('/tmp', `zt-control-${unique()}`)

beforeAll(async () => {
  recorded = await Recorded.make()
  const ids = await journey()
  expect(await makeMistakes(recorded, planted, people.eve)).toEqual([])
  await plantControls()
  secrets = [
    ...(await secretsInFiles(recorded.scene)),
    ...(await secretsOfClient(recorded.scene, recorded.scene.tenants[0], ids)),
    ...(await secretsOfClient(recorded.scene, recorded.scene.tenants[1], [])),
    ...Object.entries(people).flatMap(([who, { full_name, email, phone }]) => [
      { label: `name of ${who}`, value: full_name },
      { label: `email of ${who}`, value: email },
      { label: `phone of ${who}`, value: phone },
      { label: `phone of ${who}`, value: phone.replaceAll(' ', '') }, // as it is indexed
    ]),
    ...Object.entries(planted).map(([what, value]) => ({ label: `planted ${what}`, value })),
  ]
  await search()
})

async function search(): Promise<void> {
  const origin = {
    label: 'origin',
    value: JSON.parse(readFileSync(recorded.scene.at('pki/trust/log.json'), 'utf8')).origin,
  }
  const seeker = new Seeker([...secrets, ...markers, origin])
  const look = ({ name, bytes }: Place) => {
    for (const each of seeker.find(bytes)) found.push({ ...each, place: name })
  }
  for await (const place of placesOf(recorded)) look(place)
  for (const place of newInTmp(tmpBefore, [recorded.dir, recorded.server.dir])) look(place)
}

const isAt = (place: string, patterns: readonly string[], who = ''): boolean =>
  patterns.some(pattern => new RegExp(`^${pattern.replace('$1', who)}$`).test(place))

test('the search finds each form of a secret, in the middle of other bytes and over line ends', () => {
  const text = { label: 'text', value: 'Tom@Example.org' }
  const bytes = { label: 'bytes', value: new Uint8Array(randomBytes(32)) }
  const seeker = new Seeker([text, bytes])
  expect(seeker.needles.length).toBeGreaterThan(40)
  for (const needle of seeker.needles)
    for (const offset of [0, 1, 2, 3, 4097]) {
      const hay = Buffer.concat([randomBytes(offset), needle.bytes, randomBytes(7)])
      expect(seeker.find(hay)).toContainEqual({ label: needle.label, form: needle.form })
    }
  const pem = (before: number) =>
    Buffer.concat([randomBytes(before), bytes.value, randomBytes(9)])
      .toString('base64')
      .replace(/.{64}/g, '$&\n')
  for (const before of [0, 1, 2, 40, 41, 42])
    expect(seeker.find(Buffer.from(pem(before))).map(({ label }) => label)).toContain('bytes')
  expect(seeker.find(randomBytes(1 << 20))).toEqual([])
})

test.each(controls.map(([label, ...places]) => [label, places] as const))(
  'it finds %s in %p',
  (label, places) => {
    for (const pattern of places)
      expect([
        pattern,
        found.filter(each => each.label === label).some(({ place }) => isAt(place, [pattern])),
      ]).toEqual([pattern, true])
  },
)

test('each secret is where it belongs, and nowhere else', () => {
  const labels = [...new Set(secrets.map(({ label }) => label))]
  expect(labels.length).toBeGreaterThan(40)
  const leaks: string[] = []
  const missed: string[] = []
  for (const label of labels) {
    const rules = belongs.filter(([secret]) => secret.test(label))
    expect([label, rules.length]).toEqual([label, 1])
    const [[secret, ...places] = [/^$/]] = rules
    const who = secret.exec(label)?.[1] ?? ''
    const hits = found.filter(each => each.label === label)
    leaks.push(...hits.filter(({ place }) => !isAt(place, places, who)).map(hit => JSON.stringify(hit)))
    if (places.length > 0 && hits.length === 0 && !label.endsWith(' of eve') && !label.endsWith(' of bob'))
      missed.push(label)
  }
  expect({ leaks, missed }).toEqual({ leaks: [], missed: [] })
})

test('nothing stays behind in the temporary folder of the programs', () => {
  expect(readdirSync(recorded.tmp)).toEqual(['control'])
})

afterAll(async () => {
  rmSync(outside, { force: true })
  await recorded?.[Symbol.asyncDispose]()
})

/** Writes, reads, updates and erases people, alone and many at once; proof, verdict, export. Ids of who is left. */
async function journey(): Promise<string[]> {
  const { scene } = recorded
  const [tenant] = scene.tenants
  using work = workFolder(recorded, 'people')
  const envelope = async (args: string[], input?: object) => {
    const [command, env] = scene.envelope(tenant, ...args)
    const answer = await recorded.run(command, { env, ...(input ? { input: JSON.stringify(input) } : {}) })
    expect([args, answer.code, answer.stderr.replace(/^kms: .*\n/, '')]).toEqual([args, 0, ''])
    return answer.stdout.trim()
  }
  writeFileSync(work.at('person.json'), JSON.stringify(people.ada), { mode: 0o600 })
  const { id } = JSON.parse(await envelope(['create', '--input', work.at('person.json')]))
  const many = await envelope(['create', '--input', '-'], [people.bob, people.eve])
  const [bob, eve] = many.split('\n').map(line => String(JSON.parse(line).id))
  expect(JSON.parse(await envelope(['read', id]))).toEqual(people.ada)
  await envelope(['update', String(bob), '--input', '-'], { ...people.bob, role: 'analyst' })
  await envelope(['erase', String(eve), '--yes'])

  await recorded.asRoot('SET GLOBAL general_log = OFF') // a setting that the proof is about
  const bundle = await recorded.chapter(chapters.collectProof)
  await recorded.chapter(each => chapters.verifyOffline(each, bundle))
  await recorded.asRoot('SET GLOBAL general_log = ON')
  const trail = scene.at('trail.ndjson')
  await ran(0, 'chain_verify', ['export', '--socket', recorded.server.socket, '--out', trail])
  await ran(0, 'chain_verify', ['verify', ...scene.evidence, '--file', trail, '--receipts', tenant.receipts])
  return [String(id), String(bob)]
}

async function ran(code: number, program: string, args: string[], env: Record<string, string> = {}) {
  const answer = await recorded.run([recorded.scene.binary(program), ...args], { env })
  expect([program, args, answer.code, answer.stderr]).toEqual([program, args, code, expect.anything()])
}

async function plantControls(): Promise<void> {
  const { server } = recorded
  writeFileSync(outside, marker('file'), { mode: 0o600 })
  writeFileSync(join(recorded.tmp, 'control'), marker('file'))
  const root = await openMysql({ socket: server.socket, user: 'root' })
  await root.query(`SELECT '${marker('statement')}'`)
  await root.run('CREATE DATABASE zt_control')
  await root.run('CREATE TABLE zt_control.kept (id INT PRIMARY KEY, text VARBINARY(99))')
  // several: in the redo log, whose blocks of 512 bytes have a head and a tail, one may lie across two of them
  for (let id = 1; id <= 8; id++)
    await root.run(`INSERT INTO zt_control.kept VALUES (?, '${marker('row')}')`, [id])
  await root.run(
    'FLUSH TABLES zt_control.kept, securedb.users, securedb.data_keys, securedb.audit_events FOR EXPORT',
  )
  await root.run('UNLOCK TABLES')
  await root.run('FLUSH BINARY LOGS')
  const stranger = { socket: server.socket, user: marker('user') }
  await expect(openMysql(stranger)).rejects.toMatchObject({ code: 'DENIED' })
  const nowhere = ['export', '--socket', server.socket, '--out', `/${marker('argument')}/x`]
  await ran(3, 'chain_verify', nowhere, { CONTROL: marker('variable') })
  await recorded.dumpStatements()
  await root.close()
}
