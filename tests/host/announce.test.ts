/** An upgrade of MySQL by its package on a booted host: announced it is an event of the trail, unannounced a finding. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { binary } from '../support/binary.ts'
import { baseFolder, sid } from '../support/host_base.ts'
import { must } from '../support/host_command.ts'
import {
  database,
  type Installation,
  installation,
  oneclick,
  whenActive,
} from '../support/host_installation.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let made: Installation
let host: TestHost
let version: string

beforeAll(async () => {
  made = await installation()
  host = await bootHost({ ...database, base: made.base })
  await whenActive(host, 'mysql')
  await host.push([await binary('chain_verify')], '/root')
  version = (await host.mustSh("mysql -BNe 'SELECT VERSION()'")).trim()
})
afterAll(() => host.stop())

/** Of the same length, for it stands in the program. */
const raised = (by: number) =>
  version.replace(
    /^(\d+\.\d+\.\d*)(\d)/,
    (_, head: string, last: string) => `${head}${(Number(last) + by) % 10}`,
  )

/** Debian's package with another version number, in its control file and in mysqld itself: how apt sees an upgrade. */
async function packageOf(wanted: string): Promise<string> {
  const archives = join(await baseFolder(sid), 'tree/var/cache/apt/archives')
  const name = readdirSync(archives).find(each => each.startsWith('mysql-server-core_')) ?? 'no package'
  const folder = join(made.dir, `package-${wanted}`)
  const number = (text: string) => /^\d+\.\d+\.\d+/.exec(text)?.[0] ?? text
  const [from, to] = [number(version), number(wanted)]
  await must(['dpkg-deb', '-R', join(archives, name), folder])
  await must(['sed', '-i', `s/${from.replaceAll('.', '\\.')}/${to}/g`, join(folder, 'usr/sbin/mysqld')])
  await must(['sed', '-i', `s/^Version: ${from}/Version: ${to}/`, join(folder, 'DEBIAN/control')])
  const deb = `${folder}.deb`
  await must(['dpkg-deb', '-Znone', '-b', folder, deb])
  return deb
}

/** As apt does it: unpacked over the other, configured, and the service restarted by whoever upgrades. */
async function upgrade(wanted: string): Promise<void> {
  await host.push([await packageOf(wanted)], '/root/packages')
  await host.mustSh(`dpkg -i --force-depends /root/packages/package-${wanted}.deb; systemctl restart mysql`)
  expect(await host.must('mysql', '-BNe', 'SELECT VERSION()')).toBe(`${wanted}\n`)
}

/** What an auditor finds in the trail after one anchor more. */
async function findings(): Promise<string[]> {
  await host.must('systemctl', 'start', 'ztmysql-anchor.service')
  await host.must(
    '/root/chain_verify',
    'export',
    '--socket',
    '/run/mysqld/mysqld.sock',
    '--out',
    '/root/trail',
  )
  const out = join(made.dir, 'announced')
  const anchors = await host.pull('/var/lib/ztmysql/worm', out)
  const trail = await host.pull('/root/trail', out)
  const judged = Bun.spawnSync([
    ...[await binary('chain_verify'), '--trust', join(made.pki, 'trust'), '--anchors', anchors],
    ...['--file', trail, '--json'],
  ])
  const { findings: found } = JSON.parse(String(judged.stdout)) as {
    findings: { code: string; severity: string; what: string }[]
  }
  return found.filter(({ severity }) => severity === 'fail').map(({ code, what }) => `${code}: ${what}`)
}

const told = () =>
  host.mustSh(
    `mysql -BNe "SELECT CONCAT(CONVERT(payload USING utf8mb4)) FROM securedb.audit_events" | grep '"action":"server"' | tail -n 1`,
  )

test('an upgrade that was announced is said in the trail, and no finding', async () => {
  expect(await findings()).toEqual([])
  expect(await host.must(oneclick, 'announce', '--minutes', '30')).toBe(
    `MySQL ${version}: a change within 30 minutes is announced in the trail\n`,
  )
  await upgrade(raised(1))
  expect(await findings()).toEqual([])
  const event = await told()
  expect(event).toContain(`"mysql":"${raised(1)}"`)
  expect(event).toContain('"announced":true')
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
})

test('one that nobody announced is a finding for good, and so is its repair', async () => {
  await host.must('mysql', '-e', "UPDATE securedb.server_state SET announced_until = '2020-01-01'") // half an hour later
  await upgrade(raised(2))
  expect(await findings()).toEqual([
    `SERVER_CHANGED: MySQL ${raised(2)} runs, and ${raised(1)} was announced`,
  ])
  expect(await told()).toContain('"announced":false')
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  await host.must(oneclick, 'announce')
  await upgrade(raised(3))
  expect(await findings()).toEqual([
    `SERVER_CHANGED: MySQL ${raised(2)} runs, and ${raised(1)} was announced`,
  ])
})

test('before the anchor looks, check names it, and a run of the installer announces it', async () => {
  await host.must('mysql', '-e', "UPDATE securedb.server_state SET announced_until = '2020-01-01'")
  await host.must('systemctl', 'stop', 'ztmysql-anchor.timer')
  await upgrade(raised(4))
  const drift = await host.exec(oneclick, 'check')
  expect([drift.exitCode, drift.stdout]).toEqual([1, expect.stringContaining('event server')])
  expect(drift.stdout).toContain(`MySQL ${raised(4)}`)
  await host.must(oneclick, '--yes')
  expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  expect(await told()).toContain('"announced":true')
  expect((await findings()).length).toBe(1)
})
