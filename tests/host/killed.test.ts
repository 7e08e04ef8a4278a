/**
 * An installer that is killed in the middle of dpkg's work, and with `--all` in each of its steps besides, each time
 * from the disk that the kill before it left, and the power with it: the next run goes on, the last one finishes.
 */
import { expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { archive, bring, database, oneclick, whenActive, workstation } from '../support/host_installation.ts'
import { cgroupRoot, named } from '../support/host_run.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(3_600_000)

const unit = 'install'

/** By its control group, from outside: in a millisecond, where systemctl in the guest takes tens of them. */
function killNow({ name }: TestHost): void {
  const group = join(cgroupRoot() ?? '', named(name))
  const places = ['payload/system.slice', 'system.slice'].map(slice => join(group, slice, `${unit}.service`))
  const place = places.find(existsSync)
  if (place === undefined) throw new Error(`no control group of ${unit}: ${places.join(', ')}`)
  writeFileSync(join(place, 'cgroup.kill'), '1')
}

/** Kills the installer as soon as it says that a step is done. Returns the step; undefined where it ended before. */
async function killAtFirstStep(host: TestHost): Promise<string | undefined> {
  const run = host.begin(unit, oneclick, '--yes', '--pki-tar', archive)
  let said = ''
  for await (const chunk of run.stderr) {
    said += Buffer.from(chunk).toString()
    const step = /^done ([a-z0-9-]+):/m.exec(said)?.[1]
    if (step === undefined) continue
    killNow(host)
    expect(await run.exited).not.toBe(0)
    return step
  }
  expect([await run.exited, said]).toEqual([0, expect.any(String)])
  return undefined
}

async function killInDpkg(host: TestHost): Promise<void> {
  const run = host.begin(unit, oneclick, '--yes', '--pki-tar', archive)
  await host.mustSh('until test -e /usr/sbin/mysqld; do sleep 0.05; done')
  killNow(host)
  expect(await run.exited).not.toBe(0)
  expect((await host.exec('dpkg', '--audit')).stdout).not.toBe('') // it was in the middle
}

test('what was killed is taken up by the next run, wherever it died', async () => {
  const place = await workstation()
  let host = await bootHost({ ...database, base: 'stock' })
  await bring(host, place)
  await killInDpkg(host)
  const died = ['dpkg']
  if (process.env.ZT_HOST_ALL)
    for (;;) {
      await host.kill()
      host = await bootHost({ ...database, base: await host.snapshot() })
      const step = await killAtFirstStep(host)
      if (step === undefined) break
      died.push(step)
    }
  await host.kill()
  await host.start()
  await host.must(
    oneclick,
    '--yes',
    ...((await host.sh(`test -e ${archive}`)).exitCode === 0 ? ['--pki-tar', archive] : []),
  )
  await whenActive(host, 'mysql')
  expect([died, await host.must(oneclick, 'check')]).toEqual([died, 'no drift\n'])
  expect(await host.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
  process.stderr.write(`killed behind: ${died.join(', ')}\n`)
  await host.stop()
})
