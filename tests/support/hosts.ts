/**
 * Throw-away Debian hosts with systemd as PID 1, for tests of what only a real host shows. Root's, on Linux:
 *
 *     const host = await bootHost({ name: 'db', ip: '10.77.0.51', base: 'installed' })
 *     await host.push([await binary('vm_oneclick')], '/root')
 *     const { exitCode, stdout, stderr } = await host.exec('/root/vm_oneclick', 'check')
 *     await host.stop()
 *     const later = await bootHost({ name: 'db', ip: '10.77.0.51', base: await host.snapshot() })
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import type { Ended } from '../../lib/edge/child.ts'
import { sha256Hex } from '../../lib/edge/owned_files.ts'
import { baseLayers, type Layers } from './host_base_installed.ts'
import { call, type Given, must, succeeded } from './host_command.ts'
import { type Family, lan, openLan, type PortState, router, v6Of } from './host_lan.ts'
import { Machine } from './host_machine.ts'
import { runFolder } from './host_run.ts'

export { lan, outsider, Place, v6Of } from './host_lan.ts'
export { hostsSupported } from './host_supported.ts'

/**
 * `stock`: Debian sid and packages in its apt cache. `installed`: the same with the packages installed and running.
 * `trixie`: Debian 13. Or a snapshot of a host.
 */
export type Base = 'stock' | 'installed' | 'trixie' | Layers

export interface Wanted {
  /** Its host name: a letter, then at most nine letters and digits. */
  name: string
  /** In 10.77.0.0/24; its IPv6 address in fd00:77::/64 has the same last number. */
  ip: string
  base: Base
}

/** A unit may wait a minute and a half for what does not come. */
const bootSeconds = 180

/** What makes a host itself: written anew at each boot of a name, also on another host's snapshot. */
function writeIdentity(up: string, { name, ip }: Wanted): void {
  const etc = join(up, 'etc')
  mkdirSync(join(etc, 'systemd/network'), { recursive: true })
  // one of its own, or systemd takes it for a first boot, whose preset has networkd take host0 over
  writeFileSync(join(etc, 'machine-id'), `${sha256Hex(Buffer.from(name)).slice(0, 32)}\n`)
  writeFileSync(join(etc, 'hostname'), `${name}\n`)
  writeFileSync(join(etc, 'resolv.conf'), '') // a dead nameserver costs 10 s a look-up
  writeFileSync(join(etc, 'hosts'), `127.0.0.1 localhost\n127.0.1.1 ${name}\n::1 localhost\n`)
  writeFileSync(
    join(etc, 'systemd/network/10-host0.network'),
    `[Match]\nName=host0\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nGateway=${router}\n` +
      `[Address]\nAddress=${ip}/24\n[Address]\nAddress=${v6Of(ip)}/64\nDuplicateAddressDetection=none\n`,
  )
}

export class TestHost {
  readonly name: string
  readonly ip: string
  readonly ip6: string
  #machine: Machine

  constructor(machine: Machine) {
    this.#machine = machine
    this.name = machine.ground.name
    this.ip = machine.ground.ip
    this.ip6 = v6Of(this.ip)
  }

  /** Runs a command as a service of the guest, as root: its capabilities, limits and exit code are real. */
  exec(...argv: string[]): Promise<Ended> {
    return this.execWith({}, ...argv)
  }

  execWith({ stdin, env = {} }: Given, ...argv: string[]): Promise<Ended> {
    return call([...this.#service(env), ...argv], stdin === undefined ? {} : { stdin })
  }

  #service(env: Record<string, string>, ...more: string[]): string[] {
    const all = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      DEBIAN_FRONTEND: 'noninteractive',
      ...env,
    }
    const settings = Object.entries(all).flatMap(([name, value]) => ['-E', `${name}=${value}`])
    const service = ['-p', 'Type=exec', '-p', 'KillMode=mixed', '--working-directory=/root']
    return [
      ...this.#machine.enter(),
      'systemd-run',
      '-q',
      '--pipe',
      '--wait',
      '--collect',
      ...service,
      ...settings,
      ...more,
      '--',
    ]
  }

  /** Begins a command under a unit's name, so that it can be killed with all that it started. Its output as it comes. */
  begin(unit: string, ...argv: string[]): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
    const command = [...this.#service({}, `--unit=${unit}`), ...argv]
    return Bun.spawn(command, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  }

  /** What a command printed. @throws with its last words where it failed */
  async must(...argv: string[]): Promise<string> {
    return succeeded(`${this.name}: ${argv.join(' ')}`, await this.exec(...argv))
  }

  /** A script for bash, stopped by its first failure. */
  sh(script: string): Promise<Ended> {
    return this.exec('bash', '-euo', 'pipefail', '-c', script)
  }

  async mustSh(script: string): Promise<string> {
    return succeeded(`${this.name}: ${script}`, await this.sh(script))
  }

  /** Copies files of this machine into a folder of the guest, which is made; names and modes stay, root owns them. */
  async push(files: string[], folder: string): Promise<void> {
    await must([...this.#machine.enter(), 'mkdir', '-p', folder])
    for (const dir of new Set(files.map(dirname))) {
      const names = files.filter(file => dirname(file) === dir).map(file => basename(file))
      const tar = Bun.spawn(['tar', '-c', '-C', dir, '--owner=0', '--group=0', '--', ...names], {
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      })
      await must([...this.#machine.enter(), 'tar', '-x', '-C', folder], { stdin: tar.stdout })
      if ((await tar.exited) !== 0) throw new Error(`push: ${await new Response(tar.stderr).text()}`)
    }
  }

  /** Writes one file, root's; its folder is made. */
  async write(path: string, bytes: string | Uint8Array, mode = 0o644): Promise<void> {
    const script = 'mkdir -p "$1" && umask 077 && cat > "$2" && chmod "$3" "$2"'
    const args = ['write', posix.dirname(path), path, mode.toString(8)]
    await must([...this.#machine.enter(), 'sh', '-c', script, ...args], { stdin: bytes })
  }

  /** Copies a file or folder of the guest into a folder of this machine. */
  async pull(path: string, folder: string): Promise<string> {
    mkdirSync(folder, { recursive: true })
    const tar = [...this.#machine.enter(), 'tar', '-c', '-C', posix.dirname(path), '--', posix.basename(path)]
    const child = Bun.spawn(tar, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    await must(['tar', '-x', '-C', folder], { stdin: child.stdout })
    if ((await child.exited) !== 0) throw new Error(`pull: ${await new Response(child.stderr).text()}`)
    return join(folder, posix.basename(path))
  }

  /** How a TCP port looks from outside, from the router's place. */
  async port(port: number, family: Family = 4): Promise<PortState> {
    return (await lan()).port(family === 4 ? this.ip : this.ip6, port)
  }

  async isReachable(port: number, family: Family = 4): Promise<boolean> {
    return (await this.port(port, family)) === 'open'
  }

  /** Until the guest's systemd has come up; `degraded` where a unit failed. @throws with the console's last lines */
  async whenUp(): Promise<'running' | 'degraded'> {
    const end = Date.now() + bootSeconds * 1000
    for (let state = 'no systemd'; ; await Bun.sleep(100)) {
      if (!this.#machine.runs) throw new Error(`host ${this.name} ended at boot: ${this.#machine.console()}`)
      if (this.#machine.leader !== undefined)
        state = (await call([...this.#machine.enter(), 'systemctl', 'is-system-running'])).stdout.trim()
      if (state === 'running' || state === 'degraded') return state
      if (Date.now() > end) throw new Error(`host ${this.name} is ${state}: ${this.#machine.console()}`)
    }
  }

  /** An orderly reboot, seen through to its end. */
  async reboot(): Promise<'running' | 'degraded'> {
    const before = this.#machine.boots
    await this.#machine.signal('RTMIN+5')
    for (const end = Date.now() + bootSeconds * 1000; this.#machine.boots === before; await Bun.sleep(50))
      if (!this.#machine.runs || Date.now() > end)
        throw new Error(`host ${this.name} did not reboot: ${this.#machine.console()}`)
    return this.whenUp()
  }

  /** An orderly power-off. */
  stop(): Promise<void> {
    return this.#machine.stop()
  }

  /** A power cut: nothing is written any more, no unit is stopped. */
  kill(): Promise<void> {
    return this.#machine.kill()
  }

  /** Starts a stopped host again on its own disk. */
  async start(): Promise<'running' | 'degraded'> {
    await this.#machine.start()
    return this.whenUp()
  }

  /** The stopped host's disk, for `base` of any number of hosts; the host itself can be started on top of it. */
  async snapshot(): Promise<Layers> {
    if (this.#machine.runs) throw new Error(`host ${this.name} runs: stop or kill it first`)
    const { ground } = this.#machine
    const taken = join(await runFolder(), 'layers', crypto.randomUUID().slice(0, 8))
    mkdirSync(dirname(taken), { recursive: true })
    renameSync(join(ground.folder, 'up'), taken)
    ground.layers = [taken, ...ground.layers]
    return { layers: ground.layers }
  }
}

/** Waits for a condition, two minutes at most: a busy machine is slow, a hung one is a failure. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !(await holds()); await Bun.sleep(100))
    if (Date.now() > end) throw new Error(`waited two minutes in vain: ${what}`)
}

/** Boots a host and waits until it is up. An earlier host of that name must be stopped; its disk goes. */
export async function bootHost(wanted: Wanted): Promise<TestHost> {
  const { layers } = typeof wanted.base === 'string' ? await baseLayers(wanted.base, bootHost) : wanted.base
  await openLan()
  const folder = join(await runFolder(), wanted.name)
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true })
  writeIdentity(join(folder, 'up'), wanted)
  const host = new TestHost(new Machine({ name: wanted.name, ip: wanted.ip, folder, layers }))
  await host.start()
  return host
}
