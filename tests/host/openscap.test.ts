import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseScanSummary } from '../../lib/core/openscap.ts'
import { sha256Hex } from '../../lib/edge/owned_files.ts'
import { binary } from '../support/binary.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

const scanner = '/root/openscap_scan'
const content = '/usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml'
let host: TestHost
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'zt-scan-'))
  host = await bootHost({ name: 'scan', ip: '10.77.0.52', base: 'trixie' })
  await host.push([await binary('openscap_scan')], '/root')
})
afterAll(async () => {
  await host.stop()
  rmSync(folder, { recursive: true, force: true })
})

const install = (...packages: string[]) =>
  host.must('apt-get', 'install', '-q', '-y', '--no-install-recommends', '--no-download', ...packages)

// In the order in which a person meets them: each step makes the next error appear.
describe('on a Debian 13 host', () => {
  test('without oscap says which package has it', async () => {
    expect(await host.exec(scanner)).toEqual({
      exitCode: 3,
      stdout: '',
      stderr: 'openscap_scan: error: oscap is not installed\nhint: apt-get install openscap-scanner\n',
    })
  })

  test('without content says which package has it', async () => {
    await install('openscap-scanner', 'openssl', 'linux-base')
    const { exitCode, stderr } = await host.exec(scanner, '--list')
    expect(exitCode).toBe(3)
    expect(stderr).toStartWith('openscap_scan: error: no SCAP content for Debian GNU/Linux 13 (trixie)')
    expect(stderr).toContain('hint: apt-get install ssg-debian (a release that has ssg-debian13-ds.xml)')
  })

  test('lists the profiles', async () => {
    await host.mustSh('dpkg -i /var/cache/sid/*.deb')
    expect(await host.must(scanner, '--list')).toContain(
      'cis_level2_server  CIS Debian Benchmark for Level 2 - Server\n',
    )
  })

  test('says that Debian has no STIG, and what there is', async () => {
    const { exitCode, stderr } = await host.exec(scanner, '--profile', 'stig')
    expect(exitCode).toBe(3)
    expect(stderr).toContain(
      `openscap_scan: error: ${content} has no STIG profile\nhint: give --profile one of anssi`,
    )
    expect(await host.sh('ls /var/lib/ztmysql/scan')).toMatchObject({ exitCode: 2 })
  })

  test('refuses content that others can change, that is cut, and that is not there', async () => {
    await host.mustSh(
      `head -c 100000 ${content} > /srv/cut.xml; cp ${content} /srv/open.xml; chmod 666 /srv/open.xml`,
    )
    expect((await host.exec(scanner, '--content', '/srv/open.xml')).stderr).toContain(
      'error: /srv/open.xml: others can change it, and a scan runs what is in it',
    )
    expect((await host.exec(scanner, '--content', '/srv/cut.xml')).stderr).toContain('error: oscap info')
    expect((await host.exec(scanner, '--content', '/srv/none.xml')).stderr).toContain(
      'error: /srv/none.xml: no such file',
    )
  })

  test('scans, and keeps results, report and summary in a private folder', async () => {
    const { exitCode, stdout } = await host.exec(scanner)
    expect(exitCode).toBe(1) // a stock host does not satisfy CIS level 2
    const dir = await host.pull('/var/lib/ztmysql/scan', folder)
    expect(await host.must('stat', '-c', '%a %U', '/var/lib/ztmysql/scan')).toBe('700 root\n')
    expect(await host.must('ls', '-A', '/var/lib/ztmysql/scan')).toBe(
      'report.html\nresults.xml\nsummary.json\n',
    )
    const scan = parseScanSummary(readFileSync(join(dir, 'summary.json')), 'summary.json')
    expect(scan.profile).toBe('xccdf_org.ssgproject.content_profile_cis_level2_server')
    expect(scan.failed.length).toBe(
      (scan.counts.fail ?? 0) + (scan.counts.error ?? 0) + (scan.counts.unknown ?? 0),
    )
    expect(scan.counts.pass).toBeGreaterThan(100)
    expect(scan.counts.fail).toBeGreaterThan(10)
    expect(scan.failed.every(({ title, id }) => title !== id)).toBe(true)
    expect(scan.state.opensslProviders?.[0]).toMatch(/^default 3\.\d+\.\d+ active$/)
    for (const [i, name] of ['results.xml', 'report.html'].entries())
      expect(scan.files[i]?.sha256).toBe(sha256Hex(readFileSync(join(dir, name))))
    // oscap's own counts, of the same results
    const ask = (what: string) =>
      host.sh(`grep -c '<result>${what}</result>' /var/lib/ztmysql/scan/results.xml`)
    for (const what of ['pass', 'fail', 'notapplicable'])
      expect(Number((await ask(what)).stdout)).toBe(scan.counts[what] ?? 0)
    expect(stdout).toContain(`${scan.counts.pass} pass, ${scan.counts.fail} fail`)
    expect(stdout).toContain('FIPS mode: ')
  })

  test('a rule that the host was made to break turns from pass to fail', async () => {
    const failed = async () =>
      // a small profile: CIS takes a minute
      (
        JSON.parse((await host.exec(scanner, '--profile', 'standard', '--json')).stdout) as {
          failed: { id: string }[]
        }
      ).failed.map(({ id }) => id)
    const rule = 'xccdf_org.ssgproject.content_rule_file_permissions_etc_shadow'
    expect(await failed()).not.toContain(rule)
    await host.must('chmod', '666', '/etc/shadow')
    expect(await failed()).toContain(rule)
    await host.must('chmod', '640', '/etc/shadow')
  })
})
