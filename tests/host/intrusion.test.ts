/** Bans on a booted host: a real connection refused after log-ins that failed, and nobody else's; not what a log says. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  applyLayer,
  clean,
  lines,
  openMysqld,
  planLayer,
  pushLayers,
  statusOf,
} from '../support/host_layers.ts'
import { bootHost, hostsSupported, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

const open = { allowRemote: true, allowedCidr: ['10.77.0.32/28', 'fd00:77::30/124'] }

let host: TestHost
let client: TestHost

beforeAll(async () => {
  expect(await hostsSupported()).toBeUndefined()
  host = await bootHost({ name: 'n1', ip: '10.77.0.31', base: 'installed' })
  client = await bootHost({ name: 'n2', ip: '10.77.0.32', base: 'installed' })
  await client.must('ip', 'address', 'add', '10.77.0.33/24', 'dev', 'host0')
  await client.must('ip', 'address', 'add', 'fd00:77::33/64', 'dev', 'host0', 'nodad')
  await pushLayers(host)
  await openMysqld(host)
  await applyLayer(host, 'firewall', open)
  await applyLayer(host, 'fail2ban', open)
})
afterAll(async () => {
  await client.stop()
  await host.stop()
})

interface Caller {
  to: string
  from: string
  neighbour: string
}
const callers = (): Caller[] => [
  { to: host.ip, from: '10.77.0.32', neighbour: '10.77.0.33' },
  { to: host.ip6, from: 'fd00:77::32', neighbour: 'fd00:77::33' },
]

/** The error number of one log-in to MySQL; 0 where it went through. */
async function logIn(to: string, from: string, password: string, user = 'w'): Promise<number> {
  const { exitCode, stderr } = await client.execWith(
    { env: { MYSQL_PWD: password } },
    ...[
      'timeout',
      '60',
      'mysql',
      '-h',
      to,
      '-u',
      user,
      `--bind-address=${from}`,
      '--connect-timeout=10',
      '-e',
      'SELECT 1',
    ],
  )
  return exitCode === 0 ? 0 : Number(/ERROR (\d+)/.exec(stderr)?.[1] ?? -1)
}

const refused = 2003 // the client's own: no connection

/** Wrong passwords until no connection comes about; how many the server answered. */
async function failUntilBanned(to: string, from: string, user = 'w'): Promise<number> {
  for (let answered = 0; ; answered++) {
    const errno = await logIn(to, from, 'wrong', user)
    if (errno === refused) return answered
    expect([1045, 2013, 2026]).toContain(errno) // the last two: banned while it was at it
    if (answered > 200) throw new Error('nobody bans')
  }
}

const sshState = async (to: string, from: string): Promise<string> => {
  const { exitCode, stderr } = await client.exec('nc', '-zv', '-w', '5', '-s', from, to, '22')
  return exitCode === 0 ? 'open' : /refused/.test(stderr) ? 'refused' : 'silent'
}

describe('who is refused again and again', () => {
  test('by MySQL is banned from MySQL, alone, and comes in again when unbanned', async () => {
    for (const { to, from, neighbour } of callers()) {
      expect(await logIn(to, from, 'right')).toBe(0)
      expect(await failUntilBanned(to, from)).toBeGreaterThanOrEqual(5)
      expect(await logIn(to, from, 'right')).toBe(refused)
      expect([await logIn(to, neighbour, 'right'), await sshState(to, from)]).toEqual([0, 'open'])
      expect(await host.must('fail2ban-client', 'unban', from)).toBe('1\n')
      expect(await logIn(to, from, 'right')).toBe(0)
    }
  })

  test('cannot have another one banned by the name that he gives', async () => {
    const [caller] = callers()
    if (caller === undefined) throw new Error('no caller')
    const { to, from, neighbour } = caller
    await failUntilBanned(to, from, `x'@'${neighbour}' (using password: YES)`)
    expect(await logIn(to, neighbour, 'right')).toBe(0)
    expect(await host.must('fail2ban-client', 'get', 'ztmysql', 'banip')).toContain(from)
    expect(await host.must('fail2ban-client', 'get', 'ztmysql', 'banip')).not.toContain(neighbour)
    await host.must('fail2ban-client', 'unban', '--all')
  })

  test('by sshd is banned from SSH, alone', async () => {
    // sshd itself holds a source off for a quarter of a minute before its last failure: both families at once
    const refuseUntilBanned = async ({ to, from, neighbour }: Caller) => {
      const ssh = `ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new -oBindAddress=${from}`
      await client.mustSh(
        `for ((i = 0; i < 300; i++)); do
           if said=$(nc -zv -w 5 -s ${from} ${to} 22 2>&1); then ${ssh} nobody$i@${to} true 2>/dev/null || sleep 0.2
           elif [[ $said == *refused* ]]; then exit 0; fi
         done; echo 'nobody bans' >&2; exit 1`,
      )
      expect([await logIn(to, from, 'right'), await sshState(to, neighbour)]).toEqual([0, 'open'])
      expect(await host.must('fail2ban-client', 'unban', from)).toBe('1\n')
      expect(await sshState(to, from)).toBe('open')
    }
    await Promise.all(callers().map(refuseUntilBanned))
  })

  test('on the host itself is never banned', async () => {
    const wrong = 'for i in 1 2 3 4 5 6 7 8; do MYSQL_PWD=wrong mysql -h 127.0.0.1 -u w || true; done'
    await host.sh(wrong)
    await host.mustSh(
      "until grep -c 'ztmysql. Ignore 127.0.0.1' /var/log/fail2ban.log | grep -qx '[1-9][0-9]*'; do sleep 0.2; done",
    )
    expect(await host.must('fail2ban-client', 'get', 'ztmysql', 'banip')).toBe('\n')
    expect((await host.sh('MYSQL_PWD=right mysql -h 127.0.0.1 -u w -e "SELECT 1"')).exitCode).toBe(0)
  })
})

describe('a jail', () => {
  test('is as it shall be, and bans outlast a reboot', async () => {
    expect(await planLayer(host, 'fail2ban', open)).toEqual(clean)
    expect(await statusOf(host, 'host.intrusion')).toBe('pass')
    await failUntilBanned(host.ip, '10.77.0.32')
    await host.reboot()
    await client.mustSh(`until nc -z -w 3 -s 10.77.0.33 ${host.ip} 3306; do sleep 0.5; done`)
    expect(await logIn(host.ip, '10.77.0.32', 'right')).toBe(refused)
    expect(await planLayer(host, 'fail2ban', open)).toEqual(clean)
    await host.must('fail2ban-client', 'unban', '--all')
  })

  const cases: [by: string, seen: RegExp][] = [
    ['fail2ban-client set sshd bantime 1', /^jail sshd bantime: 1 → 3600$/],
    ['fail2ban-client set ztmysql addignoreip 10.0.0.0/8', /^jail ztmysql ignoreip: 10.0.0.0\/8 127/],
    ['fail2ban-client set sshd delfailregex 0', /^jail sshd expressions: \d+ → \d+$/],
    ['fail2ban-client set ztmysql dellogpath /var/log/mysql/error.log', /^jail ztmysql watches: /],
    ['fail2ban-client stop ztmysql', /^jail ztmysql: - → watches and bans$/],
    ['systemctl disable --now fail2ban', /^unit fail2ban.service: disabled, inactive → enabled, active$/],
    ['sed -i s/3600/1/ /etc/fail2ban/jail.d/ztmysql.local', /^\/etc\/fail2ban\/jail.d\/ztmysql.local: /],
  ]
  const planAndStatus = () =>
    Promise.all([planLayer(host, 'fail2ban', open), statusOf(host, 'host.intrusion')])
  for (const [by, seen] of cases)
    test(`that was changed by hand is found and put right: ${by}`, async () => {
      await host.mustSh(by)
      const [plan, status] = await planAndStatus()
      expect(lines(plan).filter(line => seen.test(line))).toHaveLength(1)
      // the judge goes by what runs; a file that nobody has loaded yet is the installer's to find
      expect(status).toBe(by.startsWith('sed') ? 'pass' : 'fail')
      await applyLayer(host, 'fail2ban', open)
      expect(await planAndStatus()).toEqual([clean, 'pass'])
    })

  test('that another file overrules is said, and the files are put back', async () => {
    await host.write('/etc/fail2ban/jail.d/zz.local', '[sshd]\nmaxretry = 50\n')
    await host.must('fail2ban-client', 'reload')
    const { exitCode, stderr } = await host.exec('/root/layers', 'plan', 'fail2ban', '{}')
    expect([exitCode, stderr]).toEqual([0, ''])
    await expect(applyLayer(host, 'fail2ban', open)).rejects.toThrow(
      'did not take it: jail sshd maxretry: 50',
    )
  })
})
