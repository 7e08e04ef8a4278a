/** An installer that dies in the middle of a step, whichever it is, and the power with it: the next run finishes. */
import { expect, setDefaultTimeout, test } from 'bun:test'
import type { Layers } from '../support/host_base_installed.ts'
import { archive, bring, database, oneclick, whenActive, workstation } from '../support/host_installation.ts'
import { repository, serve, useOnly } from '../support/host_repository.ts'
import { bootHost, lan, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(3_600_000)

/** Behind these it dies (killed.test.ts: in every step): in the restart of mysqld, in the schema, between binary and units. */
const three = ['keyring', 'plugins', 'binary']

/** Runs the installer until it says that a step is done, and kills it and all that it started in the next one. */
async function killBehind(host: TestHost, step: string): Promise<void> {
  const run = host.begin('install', oneclick, '--yes', '--pki-tar', archive)
  let said = ''
  for await (const chunk of run.stderr) {
    said += Buffer.from(chunk).toString()
    if (said.includes(`done ${step}:`)) break
  }
  expect(said).toContain(`done ${step}:`)
  await host.must('systemctl', 'kill', '-s', 'KILL', 'install')
  expect(await run.exited).not.toBe(0)
}

test('a run that is killed, and its host with it, is finished by the next one', async () => {
  const place = await workstation()
  let base: Layers | 'installed' = 'installed'
  for (const step of three) {
    const dying: TestHost = await bootHost({ ...database, base })
    await whenActive(dying, 'mysql')
    if (base === 'installed') await bring(dying, place)
    await killBehind(dying, step)
    await dying.kill()
    base = await dying.snapshot() // the next one dies one step further, without those before it again
    const next = await bootHost({ ...database, base })
    await whenActive(next, 'mysql')
    await next.must(oneclick, '--yes', '--pki-tar', archive)
    expect([step, await next.must(oneclick, 'check')]).toEqual([step, 'no drift\n'])
    expect(await next.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
    await next.stop()
  }
})

test('takes MySQL from a signed repository on the network where no package is at hand', async () => {
  const host = await bootHost({ ...database, base: 'stock' })
  const made = await repository()
  await useOnly(host, made)
  await bring(host, await workstation())
  const refused = await host.exec(oneclick, '--yes', '--pki-tar', archive)
  expect([refused.exitCode, refused.stderr]).toEqual([3, expect.stringContaining('step packages: apt-get: ')])
  expect(await host.must('dpkg-query', '-W')).not.toContain('mysql')
  const stop = await serve(made, await lan())
  await host.must('apt-get', 'update', '-q')
  await killBehind(host, 'packages')
  const source = await host.must('apt-cache', 'policy', 'mysql-server')
  expect(source).toMatch(/Installed: 9[^\n]*\n[\s\S]*\*\*\* 9[^\n]*\n *500 http:\/\/10\.77\.0\.1 local\/main/)
  await stop()
  await host.stop()
})
