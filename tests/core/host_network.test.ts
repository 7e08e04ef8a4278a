/** What the layers of the network compute: networks, rules, the kernel's openings, jails, apt's settings. */
import { describe, expect, test } from 'bun:test'
import { contains, formatCidr, parseCidr, readCidr } from '../../lib/core/host/cidr.ts'
import { expressionsInFiles, failRegex, jailText } from '../../lib/core/host/fail2ban.ts'
import { type FirewallFacts, planRules, settingOf } from '../../lib/core/host/firewall.ts'
import { isStock, readKernel } from '../../lib/core/host/firewall_kernel.ts'
import { letsIn, parseRules } from '../../lib/core/host/firewall_rules.ts'
import { firewallFaults } from '../../lib/core/host/firewall_state.ts'
import { withBlock, withValue } from '../../lib/core/host/firewall_text.ts'
import {
  kernelFaults,
  kernelFindings,
  kernelValues,
  procPath,
  sysctlText,
} from '../../lib/core/host/kernel.ts'
import { aptText, aptValue, updateFaults } from '../../lib/core/host/updates.ts'
import { hostJudgements } from '../../lib/core/proof/host_judgements.ts'

const cidr = (text: string) => parseCidr(text)

describe('a network', () => {
  test('is written in one way, and one address without a prefix', () => {
    for (const [given, written] of [
      ['10.1.0.0/16', '10.1.0.0/16'],
      ['10.1.2.3/32', '10.1.2.3'],
      ['2001:DB8:0:0:1::/80', '2001:db8:0:0:1::/80'],
      ['2001:db8::1/128', '2001:db8::1'],
      ['fe80:0:0:0:0:0:0:0/64', 'fe80::/64'],
    ] as const)
      expect(formatCidr(cidr(given))).toBe(written)
  })

  test('that is none, has bits behind its prefix or takes in too much is refused', () => {
    for (const text of [
      ...['', '10.1.0.0/33', '10.1.2.3/16', '10.1.0/16', '010.1.0.0/16', '10.1.0.0/16/1', 'x', '10.1.0.0/+8'],
      ...[
        '0.0.0.0/0',
        '10.0.0.0/7',
        '::/0',
        '2000::/3',
        '2001:db8::/129',
        '2001:db8:::/48',
        '1:2:3:4:5:6:7:8:9',
      ],
      ...['::ffff:10.0.0.1', '::ffff:a00:1', 'fe80::1%eth0', '10.1.0.0/016'],
    ])
      expect(() => cidr(text)).toThrow(/^network /)
  })

  test('holds the ones within it, of its own family', () => {
    expect(contains(cidr('10.1.0.0/16'), cidr('10.1.255.0/24'))).toBe(true)
    expect(contains(cidr('10.1.0.0/24'), cidr('10.1.0.0/16'))).toBe(false)
    expect(contains(cidr('10.1.0.0/16'), cidr('10.2.0.1'))).toBe(false)
    expect(contains(cidr('fd00::/16'), cidr('fd00:1::/32'))).toBe(true)
    expect(contains({ family: 4, first: 0n, bits: 0 }, cidr('fd00::1'))).toBe(false)
  })
})

const tuple = (text: string) => `### tuple ### ${text}`
const rules = (...lines: string[]) => parseRules(lines.map(tuple).join('\n'), 4)
const from = (source: string, port = 22, iface: string | null = 'eth0') => ({
  source: readCidr(source) ?? { family: 4 as const, first: 0n, bits: 0 },
  port,
  iface,
})

describe('rules of UFW', () => {
  test('are read as its files keep them, without those for what is forwarded or goes out', () => {
    const [rule, ...rest] = rules(
      'limit_log tcp 22 0.0.0.0/0 any 10.0.0.0/8 in_eth0 comment=6b6570743a2078',
      'route:allow any any 0.0.0.0/0 any 10.0.0.0/8 in',
      'allow tcp 53 0.0.0.0/0 any 0.0.0.0/0 out',
      'allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in',
    )
    expect(rule).toMatchObject({ action: 'limit', ports: '22', iface: 'eth0', comment: 'kept: x' })
    expect(rule?.command.join(' ')).toBe(
      'limit log in on eth0 proto tcp from 10.0.0.0/8 to 0.0.0.0/0 port 22',
    )
    expect(rest.map(({ ports }) => ports)).toEqual(['22'])
  })

  test('let in what the first of them that fits lets in', () => {
    const allow = 'allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in'
    expect(letsIn(rules(allow), from('10.1.1.1'))).toBe(true)
    expect(letsIn(rules(allow), from('11.1.1.1'))).toBe(false)
    expect(letsIn(rules(allow), from('10.1.1.1', 2222))).toBe(false)
    expect(letsIn(rules('deny any any 0.0.0.0/0 any 10.1.0.0/16 in', allow), from('10.1.1.1'))).toBe(false)
    expect(letsIn(rules(allow, 'deny any any 0.0.0.0/0 any 10.1.0.0/16 in'), from('10.1.1.1'))).toBe(true)
    expect(letsIn(rules('allow tcp 20:30 0.0.0.0/0 any 0.0.0.0/0 in_eth1'), from('10.1.1.1'))).toBe(false)
    expect(letsIn(rules('limit tcp 20:30 0.0.0.0/0 any 0.0.0.0/0 in_eth0'), from('10.1.1.1'))).toBe(true)
    // for one source port alone: not counted on
    expect(letsIn(rules('allow tcp 22 0.0.0.0/0 9 0.0.0.0/0 in'), from('10.1.1.1'))).toBe(false)
    expect(letsIn([], from('10.1.1.1'))).toBe(false)
  })
})

const kernel = (...input: string[]) =>
  [
    '-P INPUT DROP',
    '-N ufw-before-input',
    '-N ufw-user-input',
    '-N ufw-user-limit-accept',
    '-A INPUT -j ufw-before-input',
    '-A ufw-before-input -i lo -j ACCEPT',
    '-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A ufw-before-input -j ufw-user-input',
    '-A ufw-user-limit-accept -j ACCEPT',
    ...input,
  ].join('\n')

const ssh = '-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT'

const facts = (change: Partial<FirewallFacts> = {}): FirewallFacts => ({
  conf: 'ENABLED=yes\n',
  defaults:
    'IPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\nDEFAULT_FORWARD_POLICY="DROP"\nIPT_SYSCTL=\n',
  user: tuple('allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in'),
  user6: '',
  kernel: kernel(ssh),
  kernel6: null,
  sshPorts: [22],
  unit: 'enabled',
  rivals: [],
  ...change,
})
const closed = { allowRemote: false, allowedCidr: [] }
const judge = (change: Partial<FirewallFacts> = {}) =>
  hostJudgements.firewall({ wanted: closed, facts: { ...facts(change) } })

describe('a firewall', () => {
  test('as it shall be passes, and each way of being otherwise fails', () => {
    expect(firewallFaults(facts(), closed)).toEqual([])
    expect(judge().status).toBe('pass')
    const rule = (text: string) => ({ kernel: kernel(ssh, text) })
    const changes: Partial<FirewallFacts>[] = [
      { conf: 'ENABLED=no\n' },
      { conf: '' },
      { defaults: facts().defaults.replace('DROP', 'ACCEPT') },
      { defaults: facts().defaults.replace('IPV6=yes', 'IPV6=no') },
      { unit: 'disabled' },
      { rivals: ['nftables.service'] },
      { kernel: '' },
      { kernel: kernel() },
      { kernel: kernel(ssh).replace('INPUT DROP', 'INPUT ACCEPT') },
      { kernel: kernel(ssh).replace('-A INPUT -j ufw-before-input\n', '') },
      { kernel6: '' },
      { kernel6: kernel(ssh) },
      { sshPorts: [22, 2222] },
      rule('-A INPUT -p tcp -m tcp --dport 3306 -j ACCEPT'),
      rule('-A INPUT -j ACCEPT'),
      rule('-A INPUT -p udp -m udp --dport 53 -j ACCEPT'),
      rule('-A INPUT ! -s 10.0.0.1/32 -p tcp -m tcp --dport 80 -j ACCEPT'),
      rule('-A ufw-user-input -p tcp -m multiport --dports 3000:4000 -j ACCEPT'),
      rule('-N side\n-A side -p tcp -m tcp --dport 8080 -j ACCEPT\n-A INPUT -j side'),
      rule('-A INPUT -j NFQUEUE --queue-num 1'),
      { user: `${facts().user}\n${tuple('allow tcp 3306 0.0.0.0/0 any 0.0.0.0/0 in')}` },
    ]
    for (const change of changes) expect([change, judge(change).status]).toEqual([change, 'fail'])
    expect(hostJudgements.firewall({}).status).toBe('fail')
    expect(
      hostJudgements.firewall({
        wanted: { allowRemote: true, allowedCidr: ['0.0.0.0/0'] },
        facts: { ...facts() },
      }).status,
    ).toBe('fail')
  })

  test('a chain that nothing leads to opens nothing', () => {
    expect(
      judge({ kernel: kernel(ssh, '-N side', '-A side -j ACCEPT', '-N FWD', '-A FORWARD -j side') }).status,
    ).toBe('pass')
  })

  test('leaves a narrower rule of the administrator for SSH as it is', () => {
    const user = tuple('allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in')
    expect(planRules(facts({ user, kernel6: '' }), closed).add).toEqual([])
    expect(planRules(facts({ user: '', kernel6: '' }), closed).add.map(({ family }) => family)).toEqual([
      4, 6,
    ])
    expect(planRules(facts({ kernel6: '' }), closed).add.map(({ family }) => family)).toEqual([6])
    const all = tuple('allow any any 0.0.0.0/0 any 10.0.0.0/8 in')
    expect(planRules(facts({ user: all }), closed).add).toHaveLength(1)
  })

  test('openings are read from the kernel with their source, also those of a limit', () => {
    const view = readKernel(
      kernel('-A ufw-user-input -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ufw-user-limit-accept'),
      4,
    )
    const [one, ...rest] = view.openings.filter(opening => !isStock(opening))
    expect([one?.ports, one && formatCidr(one.source), rest]).toEqual(['22', '10.0.0.0/8', []])
  })
})

describe('texts of UFW', () => {
  test('get a block at their end, replaced and removed to the byte', () => {
    const stock = '*filter\n# rules\nCOMMIT\n'
    const once = withBlock(stock, [cidr('10.1.0.0/16')])
    expect(once).toContain('--dport 3306 -s 10.1.0.0/16 -m conntrack --ctstate NEW -m hashlimit')
    expect(withBlock(once, [cidr('10.1.0.0/16')])).toBe(once)
    expect(withBlock(withBlock(once, [cidr('10.2.0.0/16')]), [])).toBe(stock)
    expect(withBlock('', [cidr('fd00::/48')])).toContain('--hashlimit-srcmask 64')
    expect(withBlock('', [cidr('fd00::/64')])).not.toContain('--hashlimit-srcmask')
  })

  test('keep every line but the one of a setting', () => {
    expect(withValue('# A=1\nA=1\nB=2\n A="3"\n', 'A', 'yes')).toBe('# A=1\nA="yes"\nB=2\n')
    expect(withValue('B=2', 'A', '')).toBe('B=2\nA=\n')
    expect([settingOf('A=1\nA="2"\n', 'A'), settingOf('#A=1', 'A'), settingOf("A=''", 'A')]).toEqual([
      '2',
      null,
      '',
    ])
  })
})

describe('the jail of MySQL', () => {
  const address = (line: string) =>
    new RegExp(failRegex.replace('<ADDR>', '(?<ip>[0-9a-f.:]+)')).exec(line)?.groups?.ip ?? null
  const denied = (user: string, host = '10.0.0.9') =>
    ` 12 [Note] [MY-010926] [Server] Access denied for user '${user}'@'${host}' (using password: YES)`

  test('takes the address that the server wrote, whatever name the client gave', () => {
    expect(address(denied('app'))).toBe('10.0.0.9')
    expect(address(denied('app', 'fd00::9'))).toBe('fd00::9')
    expect(address(denied("x'@'1.1.1.1' (using password: YES)"))).toBe('10.0.0.9')
    expect(address(denied("x'@'1.1.1.1"))).toBe('10.0.0.9')
    expect(address(denied('app', 'localhost'))).toBeNull()
  })

  test('counts no other line', () => {
    expect(address(denied('app').replace('010926', '010914'))).toBeNull()
    expect(address(` 12 [Note] [MY-010914] [Server] x${denied('app')}`)).toBeNull()
    expect(
      address(` 9 [Note] [MY-010914] [Server] Access denied for user 'w'@'10.0.0.9' to database 'x'`),
    ).toBeNull()
  })

  test('watches the ports of SSH that there are', () => {
    expect(jailText([22, 2222])).toContain('\nport = 22,2222\n')
    expect(jailText([])).toContain('\nport = 22\n')
    const dump = `['multi-set', 'sshd', 'addfailregex', ['a', "b'"]]\n['set', 'ztmysql', 'addfailregex', "c"]`
    expect([expressionsInFiles(dump, 'sshd'), expressionsInFiles(dump, 'ztmysql')]).toEqual([2, 1])
  })
})

describe('values of the kernel', () => {
  const good = Object.fromEntries(kernelValues.map(({ name, value }) => [name, value]))
  const seen = { values: good, fixed: [], container: null }

  test('are each asked for once, with a source and a reason', () => {
    expect(new Set(kernelValues.map(({ name }) => name)).size).toBe(kernelValues.length)
    for (const { name, from: sources, why } of kernelValues)
      expect([name, sources.length > 0, why !== '']).toEqual([name, true, true])
    expect(sysctlText()).toContain('\n-fs.suid_dumpable = 0\n')
    expect(procPath('net.ipv4.ip_forward')).toBe('/proc/sys/net/ipv4/ip_forward')
  })

  test('that differ fail; what a kernel lacks does not; what was not looked at does', () => {
    expect(hostJudgements.kernel(seen).status).toBe('pass')
    for (const { name } of kernelValues) {
      expect([name, hostJudgements.kernel({ ...seen, values: { ...good, [name]: '7' } }).status]).toEqual([
        name,
        'fail',
      ])
      expect(kernelFaults({ ...seen, values: { ...good, [name]: null } })).toEqual([])
    }
    expect(hostJudgements.kernel({ ...seen, values: {} }).status).toBe('fail')
  })

  test('that cannot be set are a finding on a machine, and never a pass in a container', () => {
    const name = 'kernel.dmesg_restrict'
    const fixed = { values: { ...good, [name]: '0' }, fixed: [name] }
    expect(kernelFindings({ ...fixed, container: null })).toHaveLength(1)
    expect(kernelFindings({ ...fixed, container: 'systemd-nspawn' })).toEqual([])
    expect(hostJudgements.kernel({ ...fixed, container: null }).status).toBe('fail')
    expect(hostJudgements.kernel({ ...fixed, container: 'systemd-nspawn' }).status).toBe('not-applicable')
  })
})

test('upgrades are judged by what apt comes to, not by our file', () => {
  const dump = `APT::Periodic::Enable "1";
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "0";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "false";
`
  expect(aptValue(dump, 'APT::Periodic::Unattended-Upgrade')).toBe('1')
  const faults = updateFaults({
    apt: dump,
    installed: true,
    needrestart: null,
    timers: {},
    clocks: [],
    container: null,
  })
  expect(faults.filter(fault => /needrestart|Blacklist|timer|timesyncd/.test(fault))).toHaveLength(
    faults.length,
  )
  expect(faults).toHaveLength(8)
  expect(aptText).toContain('label=Debian-Security')
})
