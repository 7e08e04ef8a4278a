/** The firewall on a booted host, by real connections from two places: one that MySQL is open to, and a stranger. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  applyLayer,
  clean,
  layerCommand,
  lines,
  openMysqld,
  planLayer,
  pushLayers,
  statusOf,
  tryLayer,
} from '../support/host_layers.ts'
import { bootHost, hostsSupported, lan, type Place, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

const open = { allowRemote: true, allowedCidr: ['10.77.0.32/28', 'fd00:77::30/124'] }
const listenPort = 7004

let host: TestHost
let friend: TestHost
let stranger: Place

beforeAll(async () => {
  expect(await hostsSupported()).toBeUndefined()
  host = await bootHost({ name: 'n1', ip: '10.77.0.31', base: 'installed' })
  friend = await bootHost({ name: 'n2', ip: '10.77.0.32', base: 'installed' })
  stranger = await lan()
  await pushLayers(host)
  await openMysqld(host)
  await host.must(
    'systemd-run',
    '-q',
    '--unit',
    'listener',
    'socat',
    `TCP6-LISTEN:${listenPort},fork`,
    'PIPE',
  )
  await host.mustSh(`until ss -Htln "sport = :${listenPort}" | grep -q .; do sleep 0.05; done`)
})
afterAll(async () => {
  await friend.stop()
  await host.stop()
})

const fromFriend = async (address: string, port: number): Promise<string> => {
  const knock = `exec 3<>/dev/tcp/${address}/${port}`
  const { exitCode, stderr } = await friend.exec('timeout', '3', 'bash', '-c', knock)
  return exitCode === 0 ? 'open' : /refused/.test(stderr) ? 'refused' : 'silent'
}

/** How SSH, MySQL and another service look, over IPv4 and IPv6. */
const seenBy = (look: (address: string, port: number) => Promise<string>): Promise<string[]> =>
  Promise.all([host.ip, host.ip6].flatMap(address => [22, 3306, listenPort].map(port => look(address, port))))
const byFriend = () => seenBy(fromFriend)
const byPort = (address: string, port: number) => stranger.port(address, port)
const byStranger = () => seenBy(byPort)
const all = (ssh: string, mysql: string, other: string) => [ssh, mysql, other, ssh, mysql, other]

describe('the firewall', () => {
  test('is closed where all was open, but for SSH', async () => {
    expect(await Promise.all([byFriend(), byStranger()])).toEqual([
      all('open', 'open', 'open'),
      all('open', 'open', 'open'),
    ])
    await applyLayer(host, 'firewall')
    expect(await Promise.all([byFriend(), byStranger()])).toEqual([
      all('open', 'silent', 'silent'),
      all('open', 'silent', 'silent'),
    ])
    expect(await planLayer(host, 'firewall')).toEqual(clean)
    expect(await statusOf(host, 'host.firewall')).toBe('pass')
    expect(await fromFriend(host.ip, 22)).toBe('open')
  })

  test('opens MySQL to its networks and to nobody else, IPv4 and IPv6', async () => {
    await applyLayer(host, 'firewall', open)
    expect(await Promise.all([byFriend(), byStranger()])).toEqual([
      all('open', 'open', 'silent'),
      all('open', 'silent', 'silent'),
    ])
    expect(await planLayer(host, 'firewall', open)).toEqual(clean)
    expect(await statusOf(host, 'host.firewall')).toBe('pass')
  })

  test('refuses a source that opens more connections than mysqld holds, and nobody beside it', async () => {
    await friend.must('ip', 'address', 'add', '10.77.0.33/24', 'dev', 'host0')
    await friend.must('ip', 'address', 'add', 'fd00:77::33/64', 'dev', 'host0', 'nodad')
    for (const [address, from, other] of [
      [host.ip, '10.77.0.32', '10.77.0.33'],
      [host.ip6, 'fd00:77::32', 'fd00:77::33'],
    ]) {
      const knock = `nc -zv -w 3 -s ${from} ${address} 3306 2>&1`
      const script = `for ((i = 0; i < 3000; i++)); do said=$(${knock}) || { echo "$i $said"; break; }; done`
      const ended = await friend.must('bash', '-c', script)
      expect(ended).toContain('Connection refused')
      expect(Number.parseInt(ended, 10)).toBeGreaterThanOrEqual(200)
      expect(
        (await friend.exec('nc', '-z', '-w', '3', '-s', `${other}`, `${address}`, '3306')).exitCode,
      ).toBe(0)
      await friend.mustSh(`until nc -z -w 3 -s ${from} ${address} 3306; do sleep 0.2; done`) // two a second
    }
  })

  test('is there again after a reboot, before anybody asks', async () => {
    await host.reboot()
    // the bridge has to learn where the host is now
    for (const look of [fromFriend, byPort])
      for (const address of [host.ip, host.ip6])
        while ((await look(address, 22)) !== 'open') await Bun.sleep(500)
    expect(await Promise.all([byFriend(), byStranger()])).toEqual([
      all('open', 'open', 'silent'),
      all('open', 'silent', 'silent'),
    ])
    expect(await planLayer(host, 'firewall', open)).toEqual(clean)
  })

  test('closes MySQL again, and its limit goes with it', async () => {
    await applyLayer(host, 'firewall')
    const seen = [host.ip, host.ip6].map(address => fromFriend(address, 3306))
    expect(await Promise.all(seen)).toEqual(['silent', 'silent'])
    expect((await host.must('iptables', '-S')).includes('hashlimit')).toBe(false)
    expect(await host.must('dpkg', '--verify', 'ufw')).not.toContain('before')
    await applyLayer(host, 'firewall', open)
  })
})

describe('what was changed by hand', () => {
  const cases: { by: string; seen: RegExp; undo?: string }[] = [
    { by: 'ufw allow 3306', seen: /^rule of the firewall: allow 3306\/any from anywhere IPv4 → -$/ },
    { by: 'ufw --force disable', seen: /^ufw: disabled → enabled$/ },
    { by: 'ufw default allow incoming', seen: /^firewall incoming IPv4: ACCEPT → DROP$/ },
    {
      by: "sed -i 's/^IPV6=.*/IPV6=no/' /etc/default/ufw; ufw reload",
      seen: /^firewall rules IPv6: not loaded/,
    },
    { by: 'iptables -P INPUT ACCEPT', seen: /^firewall incoming IPv4: ACCEPT → DROP$/ },
    { by: 'ip6tables -F ufw6-user-input', seen: /^firewall rule IPv6: not loaded → allow 22\/tcp/ },
    {
      by: 'iptables -I ufw-user-input -p tcp --dport 99 -j ACCEPT',
      seen: /^firewall rule IPv4: .*99.* → not there$/,
    },
    {
      by: "sed -i 's/2.sec/99\\/sec/' /etc/ufw/before.rules; ufw reload",
      seen: /^firewall limit IPv4: none for/,
    },
    { by: 'systemctl disable ufw', seen: /^unit ufw.service: disabled → enabled$/ },
    {
      by: 'iptables -I INPUT -p tcp --dport 3306 -j ACCEPT',
      seen: /^! firewall IPv4: opens 3306 to anywhere/,
      undo: 'iptables -D INPUT -p tcp --dport 3306 -j ACCEPT',
    },
    {
      by: 'ufw allow from 10.0.0.0/8',
      seen: /^! firewall IPv4: opens 3306 to 10\.0\.0\.0\/8/,
      undo: 'ufw delete allow from 10.0.0.0/8',
    },
    {
      by: 'ufw allow 9100/tcp',
      seen: /^! firewall IPv6: opens what nobody asked for: allow 9100\/tcp from anywhere/,
      undo: 'ufw delete allow 9100/tcp',
    },
    {
      by: 'ip6tables -N side; ip6tables -A side -p tcp --dport 80 -j ACCEPT; ip6tables -A INPUT -j side',
      seen: /^! firewall IPv6: opens what nobody asked for: -A side/,
      undo: 'ip6tables -D INPUT -j side; ip6tables -F side; ip6tables -X side',
    },
    {
      by: 'systemctl enable nftables',
      seen: /^! unit nftables.service: loads firewall rules of its own/,
      undo: 'systemctl disable nftables',
    },
  ]
  const planAndStatus = () =>
    Promise.all([planLayer(host, 'firewall', open), statusOf(host, 'host.firewall')])
  for (const { by, seen, undo } of cases)
    test(`is found: ${by}`, async () => {
      await host.mustSh(by)
      const [red, fail] = await planAndStatus()
      expect(lines(red).filter(line => seen.test(line)).length).toBeGreaterThan(0)
      expect(fail).toBe('fail')
      if (undo === undefined) await applyLayer(host, 'firewall', open)
      else await host.mustSh(undo)
      expect(await planAndStatus()).toEqual([clean, 'pass'])
    })

  test('stays where its comment says why, and a rule for MySQL never does so', async () => {
    await host.must('ufw', 'allow', '9100/tcp', 'comment', 'kept: metrics')
    expect(await planLayer(host, 'firewall', open)).toEqual(clean)
    await host.must('ufw', 'allow', '3300:3310/tcp', 'comment', 'kept: no')
    expect(lines(await planLayer(host, 'firewall', open))[0]).toContain('opens 3306 to anywhere')
    await host.mustSh('ufw delete allow 3300:3310/tcp; ufw delete allow 9100/tcp')
  })
})

describe('a run over SSH', () => {
  const ssh = (...command: string[]) =>
    friend.exec('ssh', '-oBatchMode=yes', '-oStrictHostKeyChecking=accept-new', `root@${host.ip}`, ...command)
  const quoted = (verb: 'plan' | 'apply') =>
    layerCommand(verb, 'firewall', open)
      .map(word => `'${word}'`)
      .join(' ')

  beforeAll(async () => {
    await friend.must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', '/root/.ssh/id_ed25519')
    const key = await friend.must('cat', '/root/.ssh/id_ed25519.pub')
    await host.write('/root/.ssh/authorized_keys', key, 0o600)
  })

  test('goes through where its connection stays, also through sudo', async () => {
    const plain = await ssh(quoted('apply'))
    expect([plain.exitCode, plain.stderr]).toEqual([0, expect.not.stringContaining('error')])
    expect((await ssh('sudo', quoted('plan'))).exitCode).toBe(0)
  })

  test('is refused before anything changes where the rules would cut it, also through sudo', async () => {
    await host.must('ufw', '--force', 'disable')
    await host.mustSh('ufw delete allow proto tcp from any to any port 22')
    await host.mustSh('ufw allow proto tcp from 10.77.0.99 to any port 22') // the administrator's, and not from here
    const before = await host.must(
      'sha256sum',
      '/etc/ufw/user.rules',
      '/etc/default/ufw',
      '/etc/ufw/before.rules',
    )
    for (const command of [quoted('apply'), `sudo ${quoted('apply')}`]) {
      const { exitCode, stderr } = await ssh(command)
      expect([exitCode, stderr]).toEqual([
        1,
        expect.stringContaining('error: the firewall would cut this SSH connection: 10.77.0.32 to port 22'),
      ])
      expect(stderr).toContain('hint: open it first: ufw allow proto tcp from 10.77.0.32 to any port 22')
    }
    expect(
      await host.must('sha256sum', '/etc/ufw/user.rules', '/etc/default/ufw', '/etc/ufw/before.rules'),
    ).toBe(before)
    expect(await host.must('ufw', 'status')).toContain('inactive')
    await host.mustSh("ufw allow proto tcp from 10.77.0.32 to any port 22 comment 'kept: SSH'")
    expect((await ssh(quoted('apply'))).exitCode).toBe(0)
    expect([await fromFriend(host.ip, 22), await stranger.port(host.ip, 22)]).toEqual(['open', 'silent'])
    await host.mustSh('ufw delete allow proto tcp from 10.77.0.32 to any port 22')
    await host.mustSh('ufw delete allow proto tcp from 10.77.0.99 to any port 22')
    await applyLayer(host, 'firewall', open)
    expect(await stranger.port(host.ip, 22)).toBe('open')
  })

  test('SSH stays open at the ports where it really is: set up, listening, and held by a socket of systemd', async () => {
    await host.write('/etc/ssh/sshd_config.d/port.conf', 'Port 22\nPort 2222\n') // not taken up yet
    const socket = '[Socket]\nListenStream=\nListenStream=2200\n'
    await host.write('/etc/systemd/system/ssh.socket.d/port.conf', socket)
    await host.mustSh('systemctl daemon-reload; systemctl stop ssh.service; systemctl start ssh.socket')
    await applyLayer(host, 'firewall', open)
    expect(await host.must('ufw', 'status')).toMatch(
      /2200\/tcp +ALLOW +Anywhere[\s\S]*2222\/tcp +ALLOW +Anywhere/,
    )
    for (const address of [host.ip, host.ip6])
      expect([address, await stranger.port(address, 2200)]).toEqual([address, 'open'])
    expect(await statusOf(host, 'host.firewall')).toBe('pass')
  })
})

test('a firewall that does not take the rules is as it was before, and says so', async () => {
  await applyLayer(host, 'firewall')
  const files = ['/etc/ufw/user.rules', '/etc/ufw/user6.rules', '/etc/default/ufw', '/etc/ufw/before.rules']
  await host.mustSh('cp /etc/ufw/after.rules /root; echo rubbish >> /etc/ufw/after.rules')
  const before = await host.must('sha256sum', ...files)
  const { exitCode, stderr } = await tryLayer(host, 'firewall', open)
  expect([exitCode, stderr]).toEqual([
    3,
    expect.stringContaining('step firewall: iptables-restore -n --test /etc/ufw/after.rules: exit'),
  ])
  expect(await fromFriend(host.ip, 3306)).toBe('silent')
  await host.mustSh('cp /root/after.rules /etc/ufw/after.rules')
  expect(await host.must('sha256sum', ...files)).toBe(before)
  expect(await planLayer(host, 'firewall')).toEqual(clean)
  expect(await fromFriend(host.ip, 3306)).toBe('silent')
})
