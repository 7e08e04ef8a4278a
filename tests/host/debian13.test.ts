/** A booted Debian 13, whose apt has no MySQL that will do: refused with the choices, and what the choice of Oracle plans. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { oracleRepository } from '../../lib/core/host/oracle.ts'
import { archive, bring, oneclick, workstation } from '../support/host_installation.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let host: TestHost

beforeAll(async () => {
  host = await bootHost({ name: 'd13', ip: '10.77.0.53', base: 'trixie' })
  await bring(host, await workstation())
})
afterAll(() => host.stop())

test.each(['--yes', 'plan'])('refuses it, and says what can be done: %s', async verb => {
  const { exitCode, stderr } = await host.exec(oneclick, verb, '--pki-tar', archive)
  expect([exitCode, stderr]).toEqual([
    1,
    expect.stringContaining('error: apt has no MySQL for Debian 13: 8.4 or newer is needed\n'),
  ])
  expect(stderr).toContain("hint: --mysql-source oracle (Oracle's apt repository; not tested here)")
})

test("plans Oracle's repository by its key's fingerprint, says that it is not tested, and changes nothing", async () => {
  const plan = await host.must(
    oneclick,
    'plan',
    '--verbose',
    '--pki-tar',
    archive,
    '--mysql-source',
    'oracle',
  )
  expect(plan).toContain("oracle-repository: add Oracle's apt repository")
  expect(plan).toContain('not tested by this release')
  expect(plan).toContain(`${oracleRepository.keyPath}`)
  expect(plan).toContain(`key ${oracleRepository.fingerprint}`)
  expect(plan).toContain('https://repo.mysql.com/apt/debian/')
  expect(plan).toContain('mysql-community-server')
  expect((await host.exec('test', '-e', oracleRepository.sourcesPath)).exitCode).toBe(1)
})

test("without a way to Oracle's key it stops before anything is installed", async () => {
  const installed = await host.must('dpkg-query', '-W')
  const { exitCode, stderr } = await host.exec(
    ...[oneclick, '--yes', '--pki-tar', archive, '--mysql-source', 'oracle'],
  )
  expect([exitCode, stderr]).toEqual([3, expect.stringContaining(`${oracleRepository.keyUrl}: `)])
  expect(await host.must('dpkg-query', '-W')).toBe(installed)
  expect((await host.exec('test', '-e', oracleRepository.keyPath)).exitCode).toBe(1)
  await host.must('test', '-e', archive)
})
