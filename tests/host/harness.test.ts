import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repository, serve, useOnly } from '../support/host_repository.ts'
import { named, runName, sweepRuns } from '../support/host_run.ts'
import { bootHost, hostsSupported, lan, outsider, type TestHost, until } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let host: TestHost
let folder: string
beforeAll(async () => {
  expect(await hostsSupported()).toBeUndefined()
  folder = mkdtempSync(join(tmpdir(), 'zt-harness-'))
  host = await bootHost({ name: 'h1', ip: '10.77.0.51', base: 'stock' })
})
afterAll(async () => {
  await host.stop()
  rmSync(folder, { recursive: true, force: true })
})

const listen = async (port: number, family: 4 | 6, on = host) => {
  const service = [
    'systemd-run',
    '-q',
    '--unit',
    `listen${port}`,
    'nc',
    `-${family}`,
    '-lk',
    '-p',
    String(port),
  ]
  await on.must(...service)
  await on.mustSh(`until ss -Htln "sport = :${port}" | grep -q .; do sleep 0.05; done`)
}

describe('a booted host', () => {
  test('has systemd as PID 1, its own name and addresses, and no failed unit', async () => {
    expect(await host.must('cat', '/proc/1/comm')).toBe('systemd\n')
    expect(await host.must('hostname')).toBe('h1\n')
    expect(await host.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
    const addresses = await host.must('ip', '-br', 'address', 'show', 'host0')
    expect(addresses).toContain('10.77.0.51/24')
    expect(addresses).toContain('fd00:77::51/64')
  })

  test('runs a command as a service: exit code, output, input, environment', async () => {
    const script = 'echo out; echo err >&2; cat; echo "$WORD"; exit 7'
    const given = { stdin: 'in\n', env: { WORD: 'two words' } }
    expect(await host.execWith(given, 'bash', '-c', script)).toEqual({
      exitCode: 7,
      stdout: 'out\nin\ntwo words\n',
      stderr: 'err\n',
    })
    expect(host.must('false')).rejects.toThrow('h1: false: exit 1')
    expect((await host.sh('false; echo on')).stdout).toBe('')
  })

  test('takes files and gives them, with their modes, as root', async () => {
    writeFileSync(join(folder, 'a b'), 'bytes', { mode: 0o640 })
    await host.push([join(folder, 'a b')], '/srv/new')
    expect(await host.must('stat', '-c', '%a %U %G', '/srv/new/a b')).toBe('640 root root\n')
    await host.write('/srv/deep/er', 'x', 0o600)
    expect(await host.must('stat', '-c', '%a %s', '/srv/deep/er')).toBe('600 1\n')
    expect(readFileSync(await host.pull('/srv/new/a b', join(folder, 'back')), 'utf8')).toBe('bytes')
  })

  test('has no way out of its network', async () => {
    const probe = (address: string) => host.sh(`timeout 3 bash -c 'exec 3<>/dev/tcp/${address}/80'`)
    expect((await probe('10.77.0.1')).stderr).toContain('Connection refused') // the router is there
    for (const address of ['192.0.2.1', '127.0.0.1']) expect((await probe(address)).exitCode).not.toBe(0)
    expect(await host.must('ip', '-6', 'route', 'show', 'default')).toBe('')
  })
})

describe('after the packages are there', () => {
  let installed: TestHost
  let place: Awaited<ReturnType<typeof lan>>
  beforeAll(async () => {
    installed = await bootHost({ name: 'h2', ip: '10.77.0.52', base: 'installed' })
    place = await lan()
  })
  afterAll(() => installed.stop())

  test('they run', async () => {
    expect(await installed.must('systemctl', 'is-active', 'mysql', 'ssh', 'rsyslog')).toBe(
      'active\nactive\nactive\n',
    )
    expect(await installed.must('mysql', '-BNe', 'SELECT 1')).toBe('1\n')
    expect(await installed.must('systemctl', 'list-units', '--failed', '-q')).toBe('')
  })

  test('a port is open, refused or silent, over both families, and the firewall is real', async () => {
    await listen(7004, 4, installed)
    await listen(7006, 6, installed)
    expect(await installed.port(7004)).toBe('open')
    expect(await installed.isReachable(7006, 6)).toBe(true)
    expect(await installed.port(7005)).toBe('refused')
    expect(await installed.port(7005, 6)).toBe('refused')
    await installed.must('ufw', '--force', 'enable')
    expect(await installed.port(7004)).toBe('silent')
    expect(await installed.isReachable(7006, 6)).toBe(false)
    await installed.must('ufw', 'allow', 'from', '10.77.0.99', 'to', 'any', 'port', '7004')
    expect(await (await outsider('guest', '10.77.0.99')).port(installed.ip, 7004)).toBe('open')
    expect(await place.port(installed.ip, 7004)).toBe('silent')
    await installed.must('ufw', 'disable')
    expect(await installed.port(7004)).toBe('open')
  })

  test('rules of the firewall that nothing loads again are gone after a reboot, and files are there', async () => {
    await installed.must('iptables', '-I', 'INPUT', '-p', 'tcp', '--dport', '7009', '-j', 'DROP')
    await installed.write('/srv/kept', 'kept')
    const bootId = () => installed.must('journalctl', '--list-boots', '-q')
    const before = (await bootId()).split('\n').length
    expect(await installed.port(7009)).toBe('silent')
    expect(await installed.reboot()).toBe('running')
    await until('the port is refused', async () => (await installed.port(7009)) === 'refused')
    expect(await installed.must('cat', '/srv/kept')).toBe('kept')
    expect((await bootId()).split('\n').length).toBe(before + 1)
  })
})

test('a snapshot serves many hosts, and none of them changes it or another', async () => {
  const first = await bootHost({ name: 'h2', ip: '10.77.0.52', base: 'stock' })
  await first.write('/srv/common', 'common')
  expect(first.snapshot()).rejects.toThrow('h2 runs')
  await first.stop()
  const base = await first.snapshot()
  await first.start()
  await first.write('/srv/common', 'changed')
  await first.kill() // the power cut
  const fork = await bootHost({ name: 'h3', ip: '10.77.0.53', base })
  expect(await fork.must('cat', '/srv/common', '/etc/hostname')).toBe('commonh3\n')
  expect(await fork.must('hostname', '-I')).toStartWith('10.77.0.53 ')
  await fork.stop()
})

test('installs from a signed repository on its network, and not with a key that did not sign it', async () => {
  const made = await repository()
  const stop = await serve(made, await lan())
  await useOnly(host, made)
  expect(await host.must('apt-get', 'update', '-q')).toContain('http://10.77.0.1 local')
  expect(await host.must('apt-cache', 'policy', 'mysql-server')).toContain('http://10.77.0.1 local/main')
  await host.must('apt-get', 'install', '-q', '-y', '--no-install-recommends', 'netcat-openbsd')
  await host.must('cp', '/usr/share/keyrings/debian-archive-keyring.gpg', '/etc/apt/keyrings/local.gpg')
  await host.mustSh('rm -rf /var/lib/apt/lists/*')
  const { exitCode, stderr } = await host.exec('apt-get', 'update', '-q', '--error-on=any')
  expect(exitCode).toBe(100)
  expect(stderr).toContain('is not signed')
  await stop()
})

describe('another run', () => {
  const script = `
    import { bootHost } from ${JSON.stringify(join(import.meta.dir, '../support/hosts.ts'))}
    import { runName } from ${JSON.stringify(join(import.meta.dir, '../support/host_run.ts'))}
    const host = await bootHost({ name: 'h1', ip: '10.77.0.51', base: 'stock' })
    console.log(JSON.stringify({ runName, hostname: await host.must('hostname') }))
    await Bun.sleep(600_000)`

  test('has the same names and addresses beside this one; killed, it takes its hosts along, and a sweep the rest', async () => {
    const child = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' })
    const { value } = await child.stdout.getReader().read()
    const other = JSON.parse(Buffer.from(value ?? new Uint8Array()).toString()) as {
      runName: string
      hostname: string
    }
    expect(other.hostname).toBe('h1\n')
    expect(other.runName).not.toBe(runName)
    const nspawns = () =>
      Bun.spawnSync(['pgrep', '-f', `systemd-nspawn.*${other.runName}-h1`])
        .stdout.toString()
        .split('\n')
        .slice(1)
    expect(nspawns().length).toBeGreaterThan(0)
    const spaces = () => readdirSync('/run/netns').filter(name => name.startsWith(other.runName))
    expect(spaces().length).toBe(2)
    await sweepRuns() // spares it while it lives
    expect(spaces().length).toBe(2)
    child.kill('SIGKILL')
    await child.exited
    while (nspawns().length > 0) await Bun.sleep(20)
    await sweepRuns()
    expect(spaces()).toEqual([])
    expect(await host.must('hostname')).toBe('h1\n')
    expect(statSync(`/run/netns/${named('h1')}`).isFile()).toBe(true)
  })
})
