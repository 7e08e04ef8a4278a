/** One booted tree: systemd-nspawn on an overlay, systemd as PID 1, real service capabilities; it goes on over reboots. */
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { errno } from '../../lib/edge/file_error.ts'
import { call } from './host_command.ts'
import { plugIn, unplug } from './host_lan.ts'
import { endCgroup, named } from './host_run.ts'

/** What nspawn ends with where the guest asked for a reboot. */
const rebootCode = 133

/** A working power-off takes seconds; a minute and a half is systemd's own limit for a unit that does not stop. */
const stopSeconds = 120

/** $1 its name, $2 its folder, $3 the layers, $4 its namespace, $5 host name. In a private mount namespace. */
const boot = `
set -eu
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1"
echo $BASHPID > "/sys/fs/cgroup/$1/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$2/up,workdir=$2/work,volatile" "$2/root"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
exec systemd-nspawn -q -b -M "$1" --hostname="$5" -D "$2/root" --register=no --keep-unit \\
  --kill-signal=SIGRTMIN+3 --network-namespace-path="$4" --resolv-conf=off --timezone=off --link-journal=no \\
  --console=read-only --capability=CAP_NET_ADMIN,CAP_IPC_LOCK
` // volatile: a thrown-away disk need not be synced; CAP_NET_ADMIN: without it ufw and fail2ban only pretend

export interface Ground {
  name: string
  ip: string
  /** Holds up/, work/ and root/. */
  folder: string
  /** Trees beneath, the topmost first. */
  layers: string[]
}

/** The supervisor of one guest. */
export class Machine {
  readonly ground: Ground
  #process: Bun.Subprocess | undefined
  #ended: Promise<void> = Promise.resolve()
  #boots = 0
  #forget = (): void => undefined

  constructor(ground: Ground) {
    this.ground = ground
  }

  /** How often it was started, reboots included. */
  get boots(): number {
    return this.#boots
  }

  get runs(): boolean {
    return this.#process !== undefined
  }

  async start(): Promise<void> {
    await this.#boot()
    this.#forget = onExit(() => this.kill())
    this.#ended = this.#supervise()
  }

  async #boot(): Promise<void> {
    const { name, ip, folder, layers } = this.ground
    rmSync(join(folder, 'work'), { recursive: true, force: true }) // it remembers that the last mount was not synced
    for (const each of ['up', 'work', 'root']) mkdirSync(join(folder, each), { recursive: true })
    const namespace = await plugIn(name, ip)
    const args = [named(name), folder, layers.join(':'), namespace, name]
    const console = Bun.file(join(folder, `console.${++this.#boots}`))
    this.#process = Bun.spawn(
      // the guest must not outlive a test run that is killed
      [
        'setpriv',
        '--pdeathsig',
        'KILL',
        'unshare',
        '-m',
        '--propagation',
        'private',
        'bash',
        '-c',
        boot,
        'boot',
        ...args,
      ],
      { stdin: 'ignore', stdout: console, stderr: console, env: { PATH: safePath() } },
    )
  }

  async #supervise(): Promise<void> {
    for (;;) {
      const code = await this.#process?.exited
      appendFileSync(join(this.ground.folder, 'ends'), `${code}\n`)
      await endCgroup(named(this.ground.name))
      if (code !== rebootCode) break
      await this.#boot()
    }
    this.#process = undefined
    this.#forget()
    await unplug(this.ground.name)
  }

  /** The guest's PID 1 as this machine numbers it; undefined while there is none. */
  get leader(): number | undefined {
    const pid = this.#process?.pid
    if (pid === undefined) return undefined
    try {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
      return children
        .filter(child => child !== '')
        .map(Number)
        .find(child => readFileSync(`/proc/${child}/comm`, 'utf8') === 'systemd\n')
    } catch (thrown) {
      if (['ENOENT', 'ESRCH'].includes(errno(thrown) ?? '')) return undefined // it is coming or going
      throw thrown
    }
  }

  /** The words that make a command run inside. @throws where it is not up */
  enter(): string[] {
    const leader = this.leader
    if (leader === undefined) throw new Error(`host ${this.ground.name} is not up: ${this.console()}`)
    return ['nsenter', '-t', String(leader), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', '--']
  }

  /** The last lines of what the guest, or nspawn, said on its console. */
  console(): string {
    try {
      const text = readFileSync(join(this.ground.folder, `console.${this.#boots}`), 'utf8')
      return text.split('\n').slice(-8).join('\n')
    } catch (thrown) {
      if (errno(thrown) !== 'ENOENT') throw thrown
      return 'it was never started'
    }
  }

  /** Sends systemd a real-time signal; systemctl through nsenter can deadlock with the shutdown that it asks for. */
  async signal(name: 'RTMIN+4' | 'RTMIN+5'): Promise<void> {
    const leader = this.leader
    if (leader === undefined) throw new Error(`host ${this.ground.name} is not up: ${this.console()}`)
    await call(['bash', '-c', `kill -s ${name} ${leader}`])
  }

  /** An orderly power-off. @throws where it takes longer than systemd allows a unit to stop; then it is killed */
  async stop(): Promise<void> {
    if (!this.runs) return
    await this.signal('RTMIN+4')
    let said: string | undefined
    const late = setTimeout(() => {
      said = this.console()
      this.#process?.kill('SIGKILL')
    }, stopSeconds * 1000)
    await this.#ended
    clearTimeout(late)
    if (said !== undefined)
      throw new Error(`host ${this.ground.name} did not power off within ${stopSeconds} s: ${said}`)
  }

  /** The power cut. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#ended
  }
}
