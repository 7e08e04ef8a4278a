/** Values of the kernel: a file for the next boot, and the running kernel's own word. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import {
  coredumpPath,
  coredumpText,
  type KernelFacts,
  kernelChanges,
  kernelFindings,
  kernelValues,
  limitsPath,
  limitsText,
  procPath,
  sysctlPath,
  sysctlText,
} from '../../core/host/kernel.ts'
import { errno } from '../file_error.ts'
import { fileStep, type Host, type Layer, rootFile } from './steps.ts'
import { ask, must } from './system.ts'

function isFixed(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return false
  } catch (thrown) {
    if (errno(thrown) === 'EROFS' || errno(thrown) === 'EACCES' || errno(thrown) === 'EPERM') return true
    throw thrown
  }
}

/** `systemd-nspawn`, `docker`, …; null on a machine of its own, virtual or not. */
export async function containerKind(): Promise<string | null> {
  const { exitCode, stdout } = await ask('systemd-detect-virt', '--container') // exit 1: none
  return exitCode === 0 ? stdout.trim() : null
}

export async function observeKernel(): Promise<KernelFacts> {
  const names = kernelValues.map(({ name }) => name)
  const there = names.filter(name => existsSync(procPath(name)))
  return {
    values: Object.fromEntries(
      names.map(name => [name, there.includes(name) ? readFileSync(procPath(name), 'utf8').trim() : null]),
    ),
    fixed: there.filter(name => isFixed(procPath(name))),
    container: await containerKind(),
  }
}

/** Sets them one by one: in a container `sysctl --system` fails at the first that is not its own. */
async function take(): Promise<void> {
  for (const { item, after } of kernelChanges(await observeKernel()))
    await must('sysctl', '-q', '-w', `${item.replace(/^kernel /, '')}=${after}`)
  const [first] = kernelChanges(await observeKernel())
  if (first === undefined) return
  throw new ZtError('IO', `${first.item}: is ${first.before} although it was set to ${first.after}`, {
    hint: 'something sets it back; see what runs here that writes to /proc/sys',
  })
}

export async function kernelLayer(host: Host): Promise<Layer> {
  const facts = await observeKernel()
  const dir = (path: string) => ({ path, mode: 0o755, uid: 0, gid: 0 })
  const step = fileStep(host, {
    id: 'kernel',
    description: 'values of the kernel, and no memory of a process in a file',
    dirs: [dir('/etc/systemd/coredump.conf.d'), dir('/etc/security/limits.d')],
    files: [
      rootFile(sysctlPath, sysctlText()),
      rootFile(coredumpPath, coredumpText),
      rootFile(limitsPath, limitsText),
    ],
    changes: kernelChanges(facts),
    take,
  })
  return { steps: [step], findings: kernelFindings(facts) }
}
