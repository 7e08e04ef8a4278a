/** Values of the kernel, and what else keeps memory out of files, as data with the source of each. */
import type { Change, Finding } from '../plan.ts'

export interface KernelValue {
  name: string
  value: string
  from: readonly string[]
  why: string
}

const everyInterface = (family: 'ipv4' | 'ipv6', key: string, value: string, from: string[], why: string) =>
  ['all', 'default'].map(which => ({ name: `net.${family}.conf.${which}.${key}`, value, from, why }))

/** Names as sysctl.d takes them; sources: CIS Debian Linux 12 v1.1, and kernel.org's Documentation/admin-guide/sysctl. */
export const kernelValues: readonly KernelValue[] = [
  {
    name: 'kernel.randomize_va_space',
    value: '2',
    from: ['CIS 1.5.1', 'sysctl/kernel'],
    why: 'addresses of a process differ from start to start',
  },
  {
    name: 'kernel.yama.ptrace_scope',
    value: '2',
    from: ['CIS 1.5.2', 'LSM/Yama'],
    why: 'only root may look into another process, so not even mysql into mysqld',
  },
  {
    name: 'fs.suid_dumpable',
    value: '0',
    from: ['CIS 1.5.3', 'sysctl/fs'],
    why: 'a process that changed its user writes no memory to a file',
  },
  {
    name: 'kernel.dmesg_restrict',
    value: '1',
    from: ['sysctl/kernel'],
    why: 'addresses in the log of the kernel are for root',
  },
  {
    name: 'kernel.kptr_restrict',
    value: '2',
    from: ['sysctl/kernel'],
    why: 'addresses of the kernel are shown to nobody',
  },
  {
    name: 'kernel.unprivileged_bpf_disabled',
    value: '1',
    from: ['sysctl/kernel'],
    why: 'programs in the kernel are loaded by root alone, until the next boot',
  },
  {
    name: 'net.core.bpf_jit_harden',
    value: '2',
    from: ['sysctl/net'],
    why: 'compiled programs in the kernel carry no constants of a user',
  },
  {
    name: 'kernel.sysrq',
    value: '0',
    from: ['sysctl/kernel'],
    why: 'no key on a console kills, remounts or dumps',
  },
  {
    name: 'dev.tty.ldisc_autoload',
    value: '0',
    from: ['Kconfig LDISC_AUTOLOAD'],
    why: 'no old line discipline is loaded for an unprivileged user',
  },
  {
    name: 'fs.protected_hardlinks',
    value: '1',
    from: ['sysctl/fs'],
    why: 'no hard link to a file that one may not write',
  },
  {
    name: 'fs.protected_symlinks',
    value: '1',
    from: ['sysctl/fs'],
    why: 'a link in a shared folder leads nobody else astray',
  },
  {
    name: 'fs.protected_fifos',
    value: '2',
    from: ['sysctl/fs'],
    why: "another user's pipe in a shared folder is not written to",
  },
  {
    name: 'fs.protected_regular',
    value: '2',
    from: ['sysctl/fs'],
    why: "another user's file in a shared folder is not written to",
  },
  {
    name: 'net.ipv4.ip_forward',
    value: '0',
    from: ['CIS 3.3.1', 'networking/ip-sysctl'],
    why: 'a database host routes for nobody',
  },
  {
    name: 'net.ipv6.conf.all.forwarding',
    value: '0',
    from: ['CIS 3.3.1', 'networking/ip-sysctl'],
    why: 'a database host routes for nobody',
  },
  ...everyInterface('ipv4', 'send_redirects', '0', ['CIS 3.3.2'], 'it sends nobody another way'),
  {
    name: 'net.ipv4.icmp_ignore_bogus_error_responses',
    value: '1',
    from: ['CIS 3.3.3'],
    why: 'broken answers do not fill the log',
  },
  {
    name: 'net.ipv4.icmp_echo_ignore_broadcasts',
    value: '1',
    from: ['CIS 3.3.4'],
    why: 'it is no amplifier',
  },
  ...everyInterface('ipv4', 'accept_redirects', '0', ['CIS 3.3.5'], 'nobody on the wire moves its routes'),
  ...everyInterface('ipv6', 'accept_redirects', '0', ['CIS 3.3.5'], 'nobody on the wire moves its routes'),
  ...everyInterface('ipv4', 'secure_redirects', '0', ['CIS 3.3.6'], 'nor does a gateway'),
  ...everyInterface('ipv4', 'rp_filter', '1', ['CIS 3.3.7'], 'an address comes in where it belongs'),
  ...everyInterface('ipv4', 'accept_source_route', '0', ['CIS 3.3.8'], 'a packet does not choose its way'),
  ...everyInterface('ipv6', 'accept_source_route', '0', ['CIS 3.3.8'], 'a packet does not choose its way'),
  ...everyInterface('ipv4', 'log_martians', '1', ['CIS 3.3.9'], 'impossible addresses leave a line'),
  {
    name: 'net.ipv4.tcp_syncookies',
    value: '1',
    from: ['CIS 3.3.10'],
    why: 'a flood of openings fills no queue',
  },
]

/** What CIS asks of the kernel and this host does otherwise. */
export const kernelExceptions: readonly { id: string; why: string }[] = [
  {
    id: 'CIS 3.3.11 accept_ra',
    why: 'many networks give a host its IPv6 address and route by router advertisement: turning it off cuts it from them',
  },
]

/** Behind 99-sysctl.conf, so that what is said here comes last. */
export const sysctlPath = '/etc/sysctl.d/99-ztmysql.conf'
export const coredumpPath = '/etc/systemd/coredump.conf.d/ztmysql.conf'
export const limitsPath = '/etc/security/limits.d/ztmysql.conf'

const made = '# made by vm_oneclick, which writes it anew'

/** A leading `-` passes over a value that this kernel does not have. */
export const sysctlText = (): string =>
  [made, ...kernelValues.map(({ name, value, why }) => `# ${why}\n-${name} = ${value}`), ''].join('\n')

/** CIS 1.5.4: where systemd-coredump is installed, it keeps nothing. */
export const coredumpText = `${made}\n[Coredump]\nStorage=none\nProcessSizeMax=0\n`

/** CIS 1.5.3: for log-in sessions; mysqld's own limit is in its unit. */
export const limitsText = `${made}\n* hard core 0\nroot hard core 0\n`

/** `net.ipv4.conf.all.rp_filter` → `/proc/sys/net/ipv4/conf/all/rp_filter`. */
export const procPath = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`

export interface KernelFacts {
  /** null: this kernel has no such value. */
  values: Record<string, string | null>
  /** Names of those that cannot be written here. */
  fixed: string[]
  /** As systemd-detect-virt --container says; null: a machine with a kernel of its own. */
  container: string | null
}

/** Whether the value there is at least as strict as the one that is asked for. */
function holds(name: string, value: string, wanted: string): boolean {
  // a value that is stricter still, and cannot be taken back before the next boot
  const alsoGood: Record<string, string[]> = { 'kernel.yama.ptrace_scope': ['3'] }
  return value === wanted || (alsoGood[name] ?? []).includes(value)
}

interface Difference {
  name: string
  before: string
  after: string
}

const differences = ({ values }: KernelFacts): Difference[] =>
  kernelValues.flatMap(({ name, value }) => {
    const before = values[name] ?? null
    return before === null || holds(name, before, value) ? [] : [{ name, before, after: value }]
  })

export const kernelChanges = (facts: KernelFacts): Change[] =>
  differences(facts)
    .filter(({ name }) => !facts.fixed.includes(name))
    .map(({ name, before, after }) => ({ item: `kernel ${name}`, before, after }))

/** In a container the kernel is the machine's around it, and no fault of this host; elsewhere a person must look. */
export const kernelFindings = (facts: KernelFacts): Finding[] =>
  facts.container !== null
    ? []
    : differences(facts)
        .filter(({ name }) => facts.fixed.includes(name))
        .map(({ name, before, after }) => ({
          item: `kernel ${name}`,
          detail: `is ${before}, should be ${after}, and cannot be set here`,
        }))

/** For the judge of evidence. */
export const kernelFaults = (facts: KernelFacts): string[] => [
  ...kernelChanges(facts).map(({ item, before, after }) => `${item}: ${before}, should be ${after}`),
  ...kernelFindings(facts).map(({ item, detail }) => `${item} ${detail}`),
]
