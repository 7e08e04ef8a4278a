/** What the installer refuses, finds and takes back, on hosts that really boot. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import type { Ended } from '../../lib/edge/child.ts'
import {
  archive,
  bring,
  database,
  type Installation,
  installation,
  oneclick,
  whenActive,
  workstation,
} from '../support/host_installation.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'
import { makeServerFiles, writeArchive } from '../support/server_archive.ts'

setDefaultTimeout(600_000)

const run = `${oneclick} --yes --pki-tar ${archive}`
/** In a mount namespace of its own: what is changed there, nobody else sees. */
const inside = (script: string) => ['unshare', '-m', 'bash', '-euc', script]
const withStatus = (name: string, version: string) =>
  inside(
    `cp /var/lib/dpkg/status /tmp/status; printf '\\nPackage: ${name}\\nStatus: install ok installed\\nMaintainer: x\\nArchitecture: all\\nVersion: ${version}\\nDescription: x\\n' >> /tmp/status; mount --bind /tmp/status /var/lib/dpkg/status; ${run}`,
  )
const withRelease = (edit: string, also = ':') =>
  inside(
    `sed '${edit}' /etc/os-release > /tmp/release; mount --bind /tmp/release /usr/lib/os-release; ${also}; ${run}`,
  )

describe('before anything is changed it refuses', () => {
  let host: TestHost
  beforeAll(async () => {
    host = await bootHost({ name: 'i1', ip: '10.77.0.21', base: 'stock' })
    const place = await workstation()
    await bring(host, place)
    for (const [name, wishes] of [
      ['expired', { madeDaysAgo: 91 }],
      ['mismatch', { otherKey: true }],
    ] as const) {
      const file = join(place.dir, `${name}.tar.gz`)
      await host.push([await writeArchive(file, (await makeServerFiles(wishes)).files)], '/root')
    }
    await host.mustSh('chmod 755 /root; sleep 1; touch /marker; sleep 1') // mtimes are compared in whole seconds
  })
  afterAll(() => host.stop())

  const refusals: [what: string, command: string[], code: number, message: string][] = [
    [
      'a person who is not root',
      ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'bash', '-c', run],
      3,
      'only root can set up a host',
    ],
    [
      'a system without systemd',
      inside(`mount -t tmpfs tmpfs /run/systemd; ${run}`),
      1,
      'does not run systemd',
    ],
    ['another distribution', withRelease('s/^ID=.*/ID=mint/'), 1, 'which is not supported'],
    [
      'a distribution whose apt has no MySQL',
      withRelease(
        's/^PRETTY_NAME=.*/PRETTY_NAME="Debian 13"/; $a VERSION_ID="13"',
        'mkdir /tmp/lists; mount --bind /tmp/lists /var/lib/apt/lists',
      ),
      1,
      'apt has no MySQL for Debian 13: 8.4 or newer is needed',
    ],
    ['an archive that is not there', [oneclick, '--yes', '--pki-tar', '/tmp/none'], 3, 'no such file'],
    [
      'an archive that was cut',
      ['bash', '-c', `umask 077; head -c 3000 ${archive} > /tmp/cut; ${oneclick} --yes --pki-tar /tmp/cut`],
      3,
      'archive /tmp/cut: not a gzip archive',
    ],
    [
      'an archive that others can read',
      [
        'bash',
        '-c',
        `cp ${archive} /tmp/loose; chmod 644 /tmp/loose; ${oneclick} --yes --pki-tar /tmp/loose`,
      ],
      3,
      'mode 0644 lets others in',
    ],
    [
      'an archive behind a link',
      ['bash', '-c', `ln -s ${archive} /tmp/link; ${oneclick} --yes --pki-tar /tmp/link`],
      3,
      'is a symbolic link',
    ],
    [
      'an archive of another user',
      ['bash', '-c', `cp ${archive} /tmp/his; chown 65534 /tmp/his; ${oneclick} --yes --pki-tar /tmp/his`],
      3,
      'belongs to another user',
    ],
    [
      'an archive whose certificate has expired',
      [oneclick, '--yes', '--pki-tar', '/root/expired.tar.gz'],
      2,
      'server-cert.pem: expired on',
    ],
    [
      'an archive whose key is of another certificate',
      [oneclick, '--yes', '--pki-tar', '/root/mismatch.tar.gz'],
      2,
      'server-key.pem: not the key of server-cert.pem',
    ],
    [
      'an archive of another CA than the pinned one',
      [...run.split(' '), '--ca-sha256', '0'.repeat(64)],
      1,
      'not the pinned one',
    ],
    [
      'a network that is none',
      [...run.split(' '), '--allow-remote', '--allowed-cidr', '10.1.2.3/8'],
      2,
      'network "10.1.2.3/8"',
    ],
    [
      'a network that is everybody',
      [...run.split(' '), '--allow-remote', '--allowed-cidr', '0.0.0.0/0'],
      2,
      'network "0.0.0.0/0"',
    ],
    ['remote access for nobody', [...run.split(' '), '--allow-remote'], 2, 'needs the networks'],
    [
      'port 3306 in other hands',
      [
        'bash',
        '-c',
        `systemd-socket-activate -l 3306 cat & until grep -q :0CEA /proc/net/tcp6; do sleep 0.1; done; ${run}; code=$?; kill %1; exit $code`,
      ],
      1,
      'port 3306 is taken by systemd-socket-',
    ],
    [
      'a full disk',
      inside(
        `cp -a /var/lib/dpkg /tmp/dpkg; mount -t tmpfs -o size=90m tmpfs /var/lib; mv /tmp/dpkg /var/lib/; ${run}`,
      ),
      3,
      '1600 MiB are needed',
    ],
    [
      'a read-only /etc',
      inside(`mount --bind /etc /etc; mount -o remount,ro,bind /etc; ${run}`),
      3,
      '/etc: the file system is read-only',
    ],
    [
      'databases of somebody else',
      inside(
        `cp -a /var/lib/dpkg /tmp/dpkg; mount -t tmpfs tmpfs /var/lib; mv /tmp/dpkg /var/lib/; mkdir -p /var/lib/mysql/shop; ${run}`,
      ),
      1,
      '/var/lib/mysql holds other databases: shop',
    ],
    ['MariaDB', withStatus('mariadb-server', '1:11.8'), 1, 'mariadb-server is installed here'],
    ['an older MySQL', withStatus('mysql-server', '8.0.41-1'), 1, 'mysql-server 8.0.41-1 is installed here'],
    [
      'a source of MySQL that is none',
      [...run.split(' '), '--mysql-source', 'ftp'],
      2,
      '--mysql-source "ftp": not a source',
    ],
    [
      'MySQL that is said to be installed and is not',
      [...run.split(' '), '--mysql-source', 'installed'],
      3,
      'MySQL is not installed',
    ],
    [
      'a folder without packages',
      [...run.split(' '), '--mysql-source', '/tmp'],
      3,
      '/tmp: holds no .deb of a MySQL server',
    ],
  ]
  test.each(refusals)('%s', async (_what, command, code, message) => {
    const { exitCode, stderr } = await host.exec(...command)
    const errors = stderr.split('\n').filter(line => line.startsWith('vm_oneclick: error: '))
    expect([exitCode, errors]).toEqual([code, [expect.stringContaining(message)]])
    expect(stderr).toContain('hint: ')
    // what systemd keeps of each command that is run here is not the installer's
    const changed = await host.mustSh(
      "find /etc /usr /var/lib /var/log -xdev -newer /marker -type f ! -path '/var/log/journal/*' ! -path '/var/lib/systemd/*'",
    )
    expect(changed).toBe('')
  })
})

describe('an installed host', () => {
  let made: Installation
  let host: TestHost
  beforeAll(async () => {
    made = await installation()
    host = await bootHost({ ...database, base: made.base })
    await whenActive(host, 'mysql')
  })
  afterAll(() => host.stop())

  const sql = (statement: string) => host.must('mysql', '-N', '-e', statement)
  const rows = async (statement: string) => (await sql(statement)).trim().split('\n').filter(Boolean).sort()

  describe('is as the baselines ask', () => {
    test('what is on the disk is encrypted', async () => {
      expect(
        await rows(
          "SELECT name FROM information_schema.innodb_tablespaces WHERE encryption <> 'Y' AND name <> 'innodb_temporary'",
        ),
      ).toEqual([])
      expect(
        await rows('SELECT @@innodb_redo_log_encrypt, @@innodb_undo_log_encrypt, @@binlog_encryption'),
      ).toEqual(['1\t1\t1'])
      expect(
        await rows(
          "SELECT status_value FROM performance_schema.keyring_component_status WHERE status_key = 'Component_status'",
        ),
      ).toEqual(['Active'])
    })

    test('option files, data and keys are closed to others', async () => {
      const modes = await host.mustSh(
        'stat -L -c "%a %U:%G %n" /etc/mysql/my.cnf /etc/mysql/conf.d /etc/mysql/mysql.conf.d/* /var/lib/mysql /var/lib/mysql-keyring/* /etc/ztmysql/tls/server-key.pem /var/log/mysql/error.log',
      )
      const open = modes
        .trim()
        .split('\n')
        .filter(line => !/^\d+0 /.test(line))
      expect(open).toEqual([])
      expect(modes).toContain('640 root:mysql /etc/mysql/my.cnf\n')
      expect(modes).toContain('600 mysql:mysql /var/lib/mysql-keyring/component_keyring_file\n')
      expect(modes).toContain('600 mysql:mysql /etc/ztmysql/tls/server-key.pem\n')
    })

    test('nobody comes from anywhere, without a password or a name', async () => {
      expect(
        await rows(
          "SELECT user, host FROM mysql.user WHERE host = '%' OR user = '' OR (authentication_string = '' AND plugin NOT IN ('auth_socket', 'mysql_no_login'))",
        ),
      ).toEqual([])
      for (const right of ['File_priv', 'Super_priv', 'Process_priv', 'Create_user_priv', 'Grant_priv'])
        expect([
          right,
          await rows(
            `SELECT user FROM mysql.user WHERE ${right} = 'Y' AND user NOT IN ('root', 'debian-sys-maint', 'mysql.session', 'mysql.infoschema')`,
          ),
        ]).toEqual([right, []])
    })

    test('a weak password is refused, and a strong one is not', async () => {
      const weak = await host.exec('mysql', '-e', "CREATE USER weak@localhost IDENTIFIED BY 'secret'")
      expect([weak.exitCode, weak.stderr]).toEqual([1, expect.stringContaining('ERROR 1819')])
      await sql("CREATE USER strong@localhost IDENTIFIED BY 'aB3-5678901234'; DROP USER strong@localhost")
    })

    test('mysqld has no right of root, no way out, and no core', async () => {
      const status = await host.mustSh('cat /proc/$(pgrep -x mysqld)/status /proc/$(pgrep -x mysqld)/limits')
      expect(status).toMatch(/^CapBnd:\s+0+$/m)
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
      expect(status).toMatch(/^Seccomp:\s+2$/m)
      expect(status).toMatch(/^Max core file size\s+0\s+0/m)
      const judged = await host.must('systemd-analyze', 'security', '--no-pager', 'mysql.service')
      expect(Number(/exposure level for mysql\.service: ([\d.]+)/.exec(judged)?.[1])).toBeLessThan(2)
    })
  })

  describe('drift is found and put right', () => {
    const kinds: [what: string, change: string, item: string][] = [
      ['a setting', 'mysql -e "SET GLOBAL local_infile = ON"', 'local_infile'],
      ['a persisted setting', 'mysql -e "SET PERSIST max_connections = 300"', 'persisted max_connections'],
      ['a grant', 'mysql -e "GRANT SELECT ON securedb.users TO acme_app@127.0.0.1"', 'grant to'],
      [
        'the password of the second account of a name',
        "mysql -e \"ALTER USER 'acme_app'@'10.77.0.0/24' IDENTIFIED BY 'aB3-5678901234'\"",
        "account 'acme_app'@'10.77.0.0/24': password",
      ],
      ['a routine', 'mysql -e "DROP PROCEDURE securedb.app_transfer"', 'procedure app_transfer'],
      [
        'a trigger',
        'mysql -e "DROP TRIGGER securedb.audit_events_no_update"',
        'trigger audit_events_no_update',
      ],
      ['a component', 'mysql -e "UNINSTALL COMPONENT \'file://component_validate_password\'"', 'component'],
      [
        'a table in clear',
        'mysql -e "ALTER TABLE securedb.users ENCRYPTION = \'N\'"',
        'table securedb.users',
      ],
      [
        'an option file',
        'echo "local_infile=ON" >> /etc/mysql/mysql.conf.d/zero-trust.cnf',
        'zero-trust.cnf',
      ],
      ['the mode of an option file', 'chmod 644 /etc/mysql/my.cnf', '/etc/mysql/mysql.cnf'],
      [
        'the mode of the keys',
        'chmod 644 /var/lib/mysql-keyring/component_keyring_file',
        'component_keyring_file',
      ],
      [
        'the sandbox',
        'sed -i s/NoNewPrivileges=yes/NoNewPrivileges=no/ /etc/systemd/system/mysql.service.d/zero-trust.conf',
        'zero-trust.conf',
      ],
      ['the program', 'chmod 777 /usr/local/sbin/vm_oneclick', '/usr/local/sbin/vm_oneclick'],
      ['the profile of shells', 'echo >> /etc/profile.d/zero-trust-mysql.sh', 'zero-trust-mysql.sh'],
    ]
    let found: Ended
    beforeAll(async () => {
      for (const [, change] of kinds) await host.mustSh(change)
      found = await host.exec(oneclick, 'check')
    })

    test.each(kinds)('%s', (_what, _change, item) => {
      expect([found.exitCode, found.stdout]).toEqual([1, expect.stringContaining(item)])
    })

    test('and all of it is as it was after one run', async () => {
      await host.must(oneclick, '--yes')
      expect(await host.must(oneclick, 'check')).toBe('no drift\n')
    })

    test('mysqld that was stopped runs again, now and at the next boot', async () => {
      await host.mustSh('systemctl disable --now mysql')
      const stopped = await host.exec(oneclick, 'check')
      expect([stopped.exitCode, stopped.stdout]).toEqual([1, expect.stringContaining('unit mysql.service')])
      expect(stopped.stdout).toContain('! mysqld: does not run')
      await host.must(oneclick, '--yes')
      expect(await host.must(oneclick, 'check')).toBe('no drift\n')
    })

    const looked: [what: string, change: string, item: string, back: string][] = [
      [
        'a table that was changed',
        'mysql -e "ALTER TABLE securedb.boot COMMENT = \'x\', ADD COLUMN more INT"',
        'table boot',
        'mysql -e "ALTER TABLE securedb.boot COMMENT = \'\', DROP COLUMN more"',
      ],
      [
        'an account that nobody asked for',
        'mysql -e "CREATE USER stranger@localhost IDENTIFIED BY \'aB3-5678901234\'"',
        "account 'stranger'@'localhost'",
        'mysql -e "DROP USER stranger@localhost"',
      ],
      [
        'a drop-in that is not ours',
        'printf "[Service]\\nNoNewPrivileges=no\\n" > /etc/systemd/system/mysql.service.d/zz.conf; systemctl daemon-reload',
        '/etc/systemd/system/mysql.service.d/zz.conf',
        'rm /etc/systemd/system/mysql.service.d/zz.conf; systemctl daemon-reload',
      ],
      [
        'the file of the keys that is gone',
        'mv /var/lib/mysql-keyring/component_keyring_file /root/',
        '/var/lib/mysql-keyring/component_keyring_file: is gone',
        'mv /root/component_keyring_file /var/lib/mysql-keyring/',
      ],
    ]
    test('a person must look at the rest', async () => {
      for (const [, change] of looked) await host.mustSh(change)
      const { exitCode, stdout } = await host.exec(oneclick, 'check')
      expect(exitCode).toBe(1)
      for (const [what, , item] of looked)
        expect([what, stdout]).toEqual([what, expect.stringContaining(`! ${item}`)])
      for (const [, , , back] of looked) await host.mustSh(back)
      expect(await host.must(oneclick, 'check')).toBe('no drift\n')
    })
  })

  test('options that mysqld does not start with are refused, and it goes on with those of before', async () => {
    await host.mustSh("printf '[mysqld]\\nno_such_option=1\\n' > /etc/mysql/mysql.conf.d/zz.cnf")
    const before = await host.mustSh('pgrep -x mysqld')
    const { exitCode, stderr } = await host.exec(oneclick, '--yes', '--no-allow-remote')
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('mysqld would not start again: ')])
    expect(stderr).toContain("unknown variable 'no_such_option=1'")
    expect(await host.mustSh('pgrep -x mysqld')).toBe(before)
    await host.mustSh('rm /etc/mysql/mysql.conf.d/zz.cnf')
    await host.must(oneclick, '--yes', '--allow-remote')
    expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  })

  test('is taken back, with its data and its keys, and made again from its record', async () => {
    const events = Number(await sql('SELECT COUNT(*) FROM securedb.audit_events'))
    await host.must(oneclick, 'rollback', '--yes')
    expect(await rows('SELECT @@require_secure_transport, @@local_infile, @@skip_name_resolve')).toEqual([
      '0\t0\t0',
    ])
    expect(Number(await sql('SELECT COUNT(*) FROM securedb.audit_events'))).toBeGreaterThanOrEqual(events)
    const left = await host.mustSh(
      'ls /etc/systemd/system /etc/systemd/system/mysql.service.d /usr/local/sbin /etc/mysql/mysql.conf.d; stat -L -c %a /etc/mysql/my.cnf',
    )
    expect(left).not.toMatch(/ztmysql|zero-trust\.c|vm_oneclick/)
    expect(left).toMatch(/^644$/m)
    expect(await host.must(oneclick, 'rollback', '--yes')).toBe('nothing to take back\n')
    await host.reboot()
    await whenActive(host, 'mysql')
    expect((await host.exec(oneclick, 'check')).exitCode).toBe(1)
    await host.must(oneclick, '--yes', '--allow-remote', '--allowed-cidr', '10.77.0.0/24')
    expect(await host.must(oneclick, 'check')).toBe('no drift\n')
  })
})
