/** Kernel values, upgrades and services on a booted host. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  applyLayer,
  clean,
  judgeHost,
  lines,
  planLayer,
  pushLayers,
  statusOf,
} from '../support/host_layers.ts'
import { bootHost, hostsSupported, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let host: TestHost

beforeAll(async () => {
  expect(await hostsSupported()).toBeUndefined()
  host = await bootHost({ name: 'n1', ip: '10.77.0.31', base: 'installed' })
  await pushLayers(host)
})
afterAll(() => host.stop())

describe('the kernel', () => {
  test('in a container is not applicable, never a pass, and no reason for a change', async () => {
    await applyLayer(host, 'kernel')
    expect(await planLayer(host, 'kernel')).toEqual(clean)
    const { status, reason } = await judgeHost(host, 'host.kernel')
    expect([status, reason]).toEqual([
      'not-applicable',
      expect.stringContaining("not this container's: kernel "),
    ])
  })

  test('takes the values that can be set, and shows one that was changed by hand', async () => {
    // the values of the network are this host's own, once the container may write them
    await host.mustSh('mount --bind /proc/sys/net /proc/sys/net; mount -o remount,bind,rw /proc/sys/net')
    const pending = lines(await planLayer(host, 'kernel'))
    expect(pending).toContain('kernel net.ipv4.conf.all.log_martians: 0 → 1')
    await applyLayer(host, 'kernel')
    expect(await host.must('sysctl', '-n', 'net.ipv4.conf.all.log_martians')).toBe('1\n')
    expect(await planLayer(host, 'kernel')).toEqual(clean)
    await host.must('sysctl', '-q', '-w', 'net.ipv4.conf.all.accept_redirects=1')
    expect(lines(await planLayer(host, 'kernel'))).toEqual([
      'kernel net.ipv4.conf.all.accept_redirects: 1 → 0',
    ])
    expect(await statusOf(host, 'host.kernel')).toBe('fail')
    await applyLayer(host, 'kernel')
    expect(await host.must('sysctl', '-n', 'net.ipv4.conf.all.accept_redirects')).toBe('0\n')
  })

  test('UFW, when it is loaded, does not set them back', async () => {
    await applyLayer(host, 'firewall')
    await host.must('ufw', 'reload')
    expect(await planLayer(host, 'kernel')).toEqual(clean)
  })
})

/** A package of one file, in version 1 or 2. */
const makePackage = (name: string, version: number): string => `
mkdir -p /root/p/${name}/DEBIAN
printf 'Package: ${name}\\nVersion: ${version}\\nArchitecture: all\\nMaintainer: t\\nDescription: t\\n' > /root/p/${name}/DEBIAN/control
dpkg-deb -b /root/p/${name} /root/repo/${name}_${version}.deb`

describe('security upgrades', () => {
  beforeAll(() => applyLayer(host, 'updates'))

  test('come by themselves, and leave MySQL and its libraries alone', async () => {
    const held = ['mysql-server-zt', 'libmysqlclient99', 'mysql-community-zt']
    const names = ['harmless', ...held]
    await host.mustSh(`mkdir -p /root/repo; ${names.map(name => makePackage(name, 1)).join('\n')}`)
    await host.mustSh(
      `cd /root/repo; dpkg -i *_1.deb >/dev/null; rm *_1.deb; ${names.map(name => makePackage(name, 2)).join('\n')}`,
    )
    // the archive of security upgrades, as its label and its code name say
    await host.mustSh(`cd /root/repo
      for f in *.deb; do dpkg-deb -f $f; echo "Filename: ./$f"; echo "Size: $(stat -c %s $f)"; echo "SHA256: $(sha256sum $f | cut -d' ' -f1)"; echo; done > Packages
      printf 'Origin: Debian\\nLabel: Debian-Security\\nSuite: unstable-security\\nCodename: %s-security\\nSHA256:\\n %s %s Packages\\n' $(lsb_release -cs) $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) > Release
      chmod 755 /root /root/repo
      rm -rf /var/lib/apt/lists/*; rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
      echo 'deb [trusted=yes] file:/root/repo ./' > /etc/apt/sources.list.d/security.list
      apt-get -q update >/dev/null`)
    await host.must('unattended-upgrade', '-v')
    const version = (name: string) => host.mustSh(`dpkg-query -W ${name} | cut -f2`)
    expect(await version('harmless')).toBe('2\n')
    for (const name of held) expect([name, await version(name)]).toEqual([name, '1\n'])
  })

  test('are judged green, and red for each thing that is changed by hand', async () => {
    expect(await planLayer(host, 'updates')).toEqual(clean)
    expect(await statusOf(host, 'host.updates')).toBe('pass')
    const cases: [by: string, seen: RegExp, undo: string][] = [
      [
        'systemctl disable --now apt-daily-upgrade.timer',
        /^unit apt-daily-upgrade.timer: disabled, inactive/,
        '',
      ],
      ['rm /etc/apt/apt.conf.d/99ztmysql', /^\/etc\/apt\/apt.conf.d\/99ztmysql: - →/, ''],
      ['rm /etc/needrestart/conf.d/99-ztmysql.conf', /^\/etc\/needrestart\/conf.d\/99-ztmysql.conf: - →/, ''],
      [
        'echo \'APT::Periodic::Unattended-Upgrade "0";\' > /etc/apt/apt.conf.d/99zzz',
        /^! apt APT::Periodic::Unattended-Upgrade: is 0, should be 1/,
        'rm /etc/apt/apt.conf.d/99zzz',
      ],
      [
        "echo '#clear Unattended-Upgrade::Package-Blacklist;' > /etc/apt/apt.conf.d/99zzz",
        /^! apt Unattended-Upgrade::Package-Blacklist: has no mysql-/,
        'rm /etc/apt/apt.conf.d/99zzz',
      ],
    ]
    for (const [by, seen, undo] of cases) {
      await host.mustSh(by)
      const look = () => Promise.all([planLayer(host, 'updates'), statusOf(host, 'host.updates')])
      const [plan, status] = await look()
      expect([by, lines(plan).some(line => seen.test(line)), status]).toEqual([by, true, 'fail'])
      if (undo === '') await applyLayer(host, 'updates')
      else await host.mustSh(undo)
      expect([by, ...(await look())]).toEqual([by, clean, 'pass'])
    }
  })
})

test('the services of the release are judged: one that does not run, and any unit that failed', async () => {
  expect(await statusOf(host, 'host.services')).toBe('fail') // no anchors are made here
  const timer =
    '[Unit]\nDescription=stands in\n[Timer]\nOnCalendar=minutely\n[Install]\nWantedBy=timers.target\n'
  await host.write('/etc/systemd/system/ztmysql-anchor.timer', timer)
  await host.write('/etc/systemd/system/ztmysql-anchor.service', '[Service]\nExecStart=/bin/true\n')
  await host.mustSh('systemctl daemon-reload; systemctl enable -q --now ztmysql-anchor.timer')
  expect(await judgeHost(host, 'host.services')).toMatchObject({ status: 'pass' })
  await host.must('systemctl', 'stop', 'ztmysql-anchor.timer')
  expect(await statusOf(host, 'host.services')).toBe('fail')
  await host.must('systemctl', 'start', 'ztmysql-anchor.timer')
  await host.sh('systemd-run -q --unit broken --service-type=oneshot false')
  await host.mustSh('until systemctl is-failed -q broken; do sleep 0.1; done')
  expect((await judgeHost(host, 'host.services')).reason).toContain('broken.service failed')
  await host.must('systemctl', 'reset-failed')
  expect(await statusOf(host, 'host.services')).toBe('pass')
})
