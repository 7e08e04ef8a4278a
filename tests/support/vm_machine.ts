/**
 * A virtual machine with Debian's own kernel: what the kernel of a container does not have (AppArmor). Its disk is a test
 * host's tree with a kernel in it; commands go over a serial line of virtio to an agent that root runs in the guest, so
 * that it needs no network.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Ended, safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { inCache } from '../../lib/edge/mysqld_cache.ts'
import { baseFolder, sid } from './host_base.ts'
import { baseLayers } from './host_base_installed.ts'
import { must, succeeded } from './host_command.ts'
import { runFolder } from './host_run.ts'
import { bootHost, hostsSupported } from './hosts.ts'

const vmTools: Record<string, string> = { 'qemu-system-x86_64': 'qemu-system-x86', mke2fs: 'e2fsprogs' }

/** Undefined where virtual machines can be booted; else one line that says why not. */
export async function vmSupported(): Promise<string | undefined> {
  if (process.arch !== 'x64') return `needs a PC (x86-64), this is ${process.arch}`
  const missing = Object.entries(vmTools).filter(([tool]) => Bun.which(tool, { PATH: safePath() }) === null)
  if (missing.length > 0) return `missing tools: apt-get install ${missing.map(([, pack]) => pack).join(' ')}`
  return hostsSupported()
}

/** In software: a machine that is itself virtual often has a KVM that dies in the guest's first second. */
const accelerator = process.env.ZT_VM_ACCEL ?? 'tcg'

/** $1 the mount point. Debian's smallest kernel, its modules and an initial file system. */
const addKernel = `
set -eu
cp -L /etc/resolv.conf "$1/etc/resolv.conf"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
trap 'umount -R "$1/dev" "$1/proc"' EXIT
chroot "$1" apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Retries=3 update
chroot "$1" apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Retries=3 --no-install-recommends install linux-image-cloud-amd64 initramfs-tools zstd
`

/** Runs a script on layers mounted at $1, with a new folder on top, in a private mount namespace. */
async function onLayers(layers: string[], up: string, script: string, ...args: string[]): Promise<void> {
  const place = mkdtempSync(join(await runFolder(), 'mount-'))
  for (const each of ['work', 'root']) mkdirSync(join(place, each))
  mkdirSync(up, { recursive: true })
  const options = `lowerdir=${layers.join(':')},upperdir=${up},workdir=${join(place, 'work')}`
  const mounted = `mount -t overlay overlay -o '${options}' "$1"\n${script}`
  try {
    await must(
      [
        'unshare',
        '-m',
        '--propagation',
        'private',
        'bash',
        '-c',
        mounted,
        'vm',
        join(place, 'root'),
        ...args,
      ],
      {
        env: { DEBIAN_FRONTEND: 'noninteractive' },
      },
    )
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** The installed tree of the test hosts, with a kernel on top: made once, in half a minute. */
async function kernelLayers(): Promise<string[]> {
  const { layers } = await baseLayers('installed', bootHost)
  const folder = join(await baseFolder(sid), 'machine') // a lock of its own: hosts boot meanwhile
  const layer = join(folder, 'kernel')
  return inCache(folder, 'installs a kernel', async () => {
    if (existsSync(layer)) return [layer, ...layers]
    rmSync(`${layer}.part`, { recursive: true, force: true })
    await onLayers(layers, `${layer}.part`, addKernel)
    renameSync(`${layer}.part`, layer)
    return [layer, ...layers]
  })
}

/** Answers each line `id base64(script)` with `id exit-code base64(stdout) base64(stderr)`, `=` before each. */
const agent = `#!/bin/bash
exec 3<>/dev/virtio-ports/agent
echo ready >&3
while read -r id script <&3; do
  base64 -d <<< "$script" > /run/agent.sh
  bash -euo pipefail /run/agent.sh </dev/null >/run/agent.out 2>/run/agent.err
  code=$?
  echo "$id $code =$(base64 -w0 /run/agent.out) =$(base64 -w0 /run/agent.err)" >&3
done
`

const unit = `[Unit]
After=multi-user.target apparmor.service
[Service]
Type=simple
ExecStart=/usr/local/sbin/vm-agent
StandardOutput=null
Environment=HOME=/root DEBIAN_FRONTEND=noninteractive
WorkingDirectory=/root
[Install]
WantedBy=multi-user.target
`

/** $1 the mount point, $2 the image, the rest what goes to /root. Only the image is as large as its content. */
const makeImage = `
set -eu
root=$1 image=$2
shift 2
[ $# = 0 ] || cp -- "$@" "$root/root/"
echo vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\\n127.0.1.1 vm\\n' > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
printf '/dev/vda / ext4 defaults 0 1\\n' > "$root/etc/fstab"
printf '%s' "$AGENT" > "$root/usr/local/sbin/vm-agent"
chmod 755 "$root/usr/local/sbin/vm-agent"
printf '%s' "$UNIT" > "$root/etc/systemd/system/vm-agent.service"
chroot "$root" systemctl -q enable vm-agent.service
mke2fs -q -t ext4 -d "$root" "$image" 6G
`

export class VirtualMachine {
  readonly #process: Bun.Subprocess
  readonly #socket: Socket
  readonly #folder: string
  #lines: (line: string) => void = () => undefined
  #count = 0

  private constructor(process: Bun.Subprocess, socket: Socket, folder: string) {
    this.#process = process
    this.#socket = socket
    this.#folder = folder
    let rest = ''
    socket.on('error', () => undefined) // the end of the machine, which is told by its exit
    socket.setEncoding('utf8').on('data', chunk => {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#lines(line)
    })
  }

  /** @param files of this machine, copied to /root; @param command words more for the kernel */
  static async boot(files: string[], command = ''): Promise<VirtualMachine> {
    const layers = await kernelLayers()
    const folder = mkdtempSync(join(tmpdir(), 'zt-vm-')) // short: it holds a socket
    onExit(() => rmSync(folder, { recursive: true, force: true }))
    const image = join(folder, 'disk')
    const up = join(folder, 'up')
    const script = `export AGENT UNIT\nAGENT=${quote(agent)}\nUNIT=${quote(unit)}\n${makeImage}`
    await onLayers(layers, up, script, image, ...files)
    rmSync(up, { recursive: true, force: true })
    const kernel = layers.map(layer => join(layer, 'boot')).find(existsSync) ?? ''
    const named = (prefix: string) =>
      join(kernel, readdirSync(kernel).find(name => name.startsWith(prefix)) ?? prefix)
    const child = Bun.spawn(
      [
        'setpriv',
        '--pdeathsig',
        'KILL',
        'qemu-system-x86_64',
        '-machine',
        `q35,accel=${accelerator}`,
        '-cpu',
        'max',
        ...['-smp', '2', '-m', '2048', '-display', 'none', '-nodefaults', '-no-reboot', '-nic', 'none'],
        ...['-kernel', named('vmlinuz-'), '-initrd', named('initrd.img-')],
        ...['-append', `root=/dev/vda rw console=ttyS0 systemd.show_status=no ${command}`],
        ...['-drive', `file=${image},format=raw,if=virtio,cache=unsafe`],
        ...['-serial', `file:${join(folder, 'console')}`],
        ...['-device', 'virtio-serial', '-device', 'virtserialport,chardev=agent,name=agent'],
        ...['-chardev', `socket,id=agent,path=${join(folder, 'agent')},server=on,wait=off`],
        ...['-device', 'virtio-rng-pci'],
      ],
      {
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: Bun.file(join(folder, 'qemu')),
        env: { PATH: safePath() },
      },
    )
    onExit(async () => {
      child.kill('SIGKILL')
      await child.exited
    })
    while (!existsSync(join(folder, 'agent'))) {
      if (child.exitCode !== null) throw new Error(`qemu: ${readFileSync(join(folder, 'qemu'), 'utf8')}`)
      await Bun.sleep(50)
    }
    const machine = new VirtualMachine(child, connect(join(folder, 'agent')), folder)
    await machine.#answer(line => line === 'ready')
    return machine
  }

  /** The next line that is meant. @throws where the machine ends meanwhile, with the last lines of its console */
  async #answer(meant: (line: string) => boolean): Promise<string> {
    const said = new Promise<string>(resolve => {
      this.#lines = line => {
        if (meant(line)) resolve(line)
      }
    })
    const ended = this.#process.exited.then(code => {
      throw new Error(`the machine ended with ${code}: ${this.console()}`)
    })
    return Promise.race([said, ended])
  }

  console(): string {
    return readFileSync(join(this.#folder, 'console'), 'utf8').split('\n').slice(-12).join('\n')
  }

  /** Runs a script of bash as root in the guest; its first failure ends it. */
  async sh(script: string): Promise<Ended> {
    const id = String(++this.#count)
    const answer = this.#answer(line => line.startsWith(`${id} `))
    this.#socket.write(`${id} ${Buffer.from(script).toString('base64')}\n`)
    const [, code, stdout = '', stderr = ''] = (await answer).split(' ')
    const text = (field: string) => Buffer.from(field.slice(1), 'base64').toString()
    return { exitCode: Number(code), stdout: text(stdout), stderr: text(stderr) }
  }

  /** What a script printed. @throws with its last words where it failed */
  async must(script: string): Promise<string> {
    return succeeded(`vm: ${script}`, await this.sh(script))
  }

  async stop(): Promise<void> {
    this.#socket.destroy()
    this.#process.kill('SIGKILL')
    await this.#process.exited
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

if (import.meta.main) {
  const why = await vmSupported()
  if (why !== undefined) console.log(why)
  process.exit(why === undefined ? 0 : 3)
}
