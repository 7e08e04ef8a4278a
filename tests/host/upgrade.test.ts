/** A host that an older release set up, and went on with: today's makes it its own, and nothing of the trail is lost. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Anchor, anchorHash, parseAnchor } from '../../lib/core/audit/anchor.ts'
import { verifyTrail } from '../../lib/core/audit/trail_verdict.ts'
import { openExport } from '../../lib/edge/export_file.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { readAnchors } from '../../lib/edge/verify.ts'
import { version } from '../../lib/version.ts'
import { golden, goldenFingerprints, tableDefinitions } from '../../sql/index.ts'
import { binary } from '../support/binary.ts'
import { type Application, openApplication } from '../support/host_application.ts'
import {
  archive,
  bring,
  database,
  oneclick,
  remote,
  type Workstation,
  whenActive,
  workstation,
} from '../support/host_installation.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'
import { missingMigration, type OlderRelease, olderRelease } from '../support/older_release.ts'

setDefaultTimeout(600_000)

const older = '/root/older/vm_oneclick'
const person = { full_name: 'Ada Example', role: 'customer', email: 'ada@example.org' }

let place: Workstation
let release: OlderRelease
let host: TestHost
let application: Application
/** How many anchors the older release made at least: its timer goes on until the upgrade. */
let before: number

const sql = (statement: string) => host.must('mysql', '-BNe', statement)
const anchor = () => host.must('systemctl', 'start', 'ztmysql-anchor.service')
const stored = async () => Number(await host.mustSh('ls /var/lib/ztmysql/worm | wc -l'))
const migration = () =>
  sql(`SELECT COUNT(*) FROM securedb.migrations WHERE name = '${missingMigration}'`).then(Number)

/** What the auditor holds: the anchors, and the trail as it is exported now. */
async function evidence(): Promise<{ anchors: string; trail: string }> {
  const anchors = await host.pull('/var/lib/ztmysql/worm', join(place.dir, 'auditor'))
  await host.must(
    '/root/chain_verify',
    'export',
    '--socket',
    '/run/mysqld/mysqld.sock',
    '--out',
    '/root/trail',
  )
  return { anchors, trail: await host.pull('/root/trail', join(place.dir, 'auditor')) }
}

/** How many of them, from the first on, carry the older release's schema. */
function olderOnes(anchors: Anchor[]): number {
  const first = anchors.findIndex(({ fingerprint }) => fingerprint !== release.fingerprint)
  return first < 0 ? anchors.length : first
}

beforeAll(async () => {
  place = await workstation()
  release = await olderRelease()
  host = await bootHost({ ...database, base: 'installed' })
  await whenActive(host, 'mysql')
  await bring(host, place)
  await host.push([release.oneclick], '/root/older')
  await host.push([await binary('chain_verify')], '/root')
})
afterAll(() => host.stop())

test('the older release sets it up, takes writes and anchors them', async () => {
  await host.must(older, '--yes', '--pki-tar', archive, ...remote)
  expect(await host.must(older, 'check')).toBe('no drift\n')
  application = await openApplication(place, '10.77.0.61')
  await application.createPerson(person)
  await anchor()
  expect(await migration()).toBe(0)
  expect(await sql("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'restore_state'")).toBe(
    '0\n',
  )
})

test("today's plan says what would change, and changes nothing", async () => {
  const plan = await host.must(oneclick, 'plan', '--verbose')
  for (const item of [
    `migration ${missingMigration}`,
    'procedure anchor_status',
    '/usr/local/sbin/vm_oneclick',
    '/etc/systemd/system/mysql.service.d/zero-trust.conf',
  ])
    expect([item, plan.includes(item)]).toEqual([item, true])
  expect(plan).not.toContain('users/1') // what both have is left alone
  expect((await host.exec(oneclick, 'check')).exitCode).toBe(1)
  expect(await host.must(older, 'check')).toBe('no drift\n')
  expect(await migration()).toBe(0)
})

test('one run upgrades binary, units and schema; the next one has nothing to do', async () => {
  before = await stored()
  const rows = await sql('SELECT COUNT(*), SUM(version) FROM securedb.users')
  expect(await host.must(oneclick, '--yes')).toMatch(/^applied: .*confinement.*schema.*binary.*anchor-units/m)
  expect(await migration()).toBe(1)
  expect(await sql('SELECT COUNT(*), SUM(version) FROM securedb.users')).toBe(rows)
  expect(await host.must('/usr/local/sbin/vm_oneclick', '--version')).toContain(`vm_oneclick ${version} `)
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  expect(await host.must(oneclick, '--yes')).toBe('nothing to do\n')
  expect(await host.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
})

test('writes and anchors go on, also after a reboot', async () => {
  await application.createPerson({ ...person, email: 'later@example.org' })
  await anchor()
  await host.reboot()
  await whenActive(host, 'mysql')
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  await application.createPerson({ ...person, email: 'last@example.org' })
  await anchor()
  expect(await stored()).toBeGreaterThanOrEqual(before + 2)
})

test('the anchors are one chain across the upgrade, without a gap in their numbers', async () => {
  const { anchors: dir } = await evidence()
  const names = readdirSync(dir).toSorted()
  const texts = names.map(name => readFileSync(join(dir, name)))
  const anchors = texts.map((text, i) => parseAnchor(text, names[i] ?? ''))
  expect(anchors.map(({ number }) => number)).toEqual(anchors.map((_, i) => i + 1))
  for (const [i, { prev }] of anchors.slice(1).entries())
    expect(prev).toBe(anchorHash(texts[i] ?? new Uint8Array(0)))
  before = olderOnes(anchors)
  const rest = anchors.slice(before).map(({ fingerprint }) => fingerprint)
  expect([before > 0, new Set(rest)]).toEqual([true, new Set([golden.fingerprint])])
})

test('the trail verifies for who knows both releases; who knows one asks about the anchors of the other', async () => {
  const { anchors: dir, trail } = await evidence()
  const trust = await readTrust(join(place.pki, 'trust'))
  const judge = async (known: string[]) => {
    const verdict = await verifyTrail(await openExport(trail, tableDefinitions), {
      trust,
      anchors: await readAnchors(dir),
      receipts: [],
      definitions: tableDefinitions,
      golden: known,
      now: Date.now(),
      signatures: 'all',
    })
    return verdict.findings.kept.filter(f => f.severity === 'fail').map(f => `${f.code} ${f.where}`)
  }
  expect(await judge([release.fingerprint, ...goldenFingerprints])).toEqual([])
  expect(await judge(goldenFingerprints)).toEqual(
    Array.from({ length: before }, (_, i) => `SCHEMA_NOT_GOLDEN anchor ${i + 1}`),
  )
})

test('the older release refuses what the newer one made', async () => {
  for (const command of [['check'], ['--yes']]) {
    const { exitCode, stderr } = await host.exec(older, ...command)
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('which this release does not know')])
    expect(stderr).toContain('hint: use the newer release')
  }
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
})
