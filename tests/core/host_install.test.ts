import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { toBase64 } from '../../lib/core/bytes.ts'
import { recogniseDistribution } from '../../lib/core/host/distribution.ts'
import {
  dropInText,
  failureLines,
  lastOptionFolder,
  mysqldPaths,
  parseUnitProperties,
  profileWithBlock,
} from '../../lib/core/host/mysqld.ts'
import {
  checkOracleKey,
  openPgpFingerprints,
  oracleRepository,
  oracleSources,
  oracleSuite,
} from '../../lib/core/host/oracle.ts'
import {
  isRecentMysql,
  parseCandidate,
  parseInstalled,
  parseMysqlSource,
  refuseOldCandidate,
} from '../../lib/core/host/packages.ts'
import { listenersOn, otherDatabases } from '../../lib/core/host/preflight.ts'
import { formatOptionFile, settingsFor } from '../../lib/core/settings.ts'
import { hostComponents } from '../../lib/core/settings_host.ts'

const release = (id: string, version: string, codename: string) =>
  `ID=${id}\nVERSION_ID="${version}"\nVERSION_CODENAME=${codename}\nPRETTY_NAME="x"\n`

describe('packages', () => {
  test('are installed where dpkg says so, not where only their configuration is left', () => {
    const text = 'ufw installed 0.36.2-10\nfail2ban config-files 1.1\nmysql-server not-installed \n'
    expect([...parseInstalled(text)]).toEqual([['ufw', '0.36.2-10']])
  })

  test('have the version that apt names as its candidate', () => {
    expect(parseCandidate('mysql-server:\n  Installed: (none)\n  Candidate: 9.7.4-2\n')).toBe('9.7.4-2')
    expect(parseCandidate('mysql-server:\n  Installed: (none)\n  Candidate: (none)\n')).toBeNull()
    expect(parseCandidate('')).toBeNull()
  })

  test.each([
    ['9.7.4-2', true],
    ['8.4.0-0ubuntu1', true],
    ['1:8.4.3-1debian12', true],
    ['10.0.1', true],
    ['8.0.41-1', false],
    ['5.8+1.1.1', false],
    ['8.3.9', false],
  ])('MySQL %s will do: %p', (version, will) => {
    expect(isRecentMysql(version)).toBe(will)
  })

  test('are refused with the choices where apt has none that will do', () => {
    const debian = recogniseDistribution(release('debian', '13', 'trixie'))
    for (const candidate of [null, '8.0.41-1'])
      expect(() => refuseOldCandidate(debian, candidate)).toThrow('8.4 or newer is needed')
    refuseOldCandidate(debian, '8.4.1')
    const sid = recogniseDistribution('ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n')
    refuseOldCandidate(sid, null) // an image without lists
    expect(() => refuseOldCandidate(sid, '8.0.41-1')).toThrow('which is too old')
  })

  test('come from one of four sources', () => {
    expect(parseMysqlSource('oracle')).toEqual({ kind: 'oracle' })
    expect(parseMysqlSource('/srv/debs')).toEqual({ kind: 'folder', path: '/srv/debs' })
    for (const text of ['', 'debs', 'Oracle', './debs'])
      expect(() => parseMysqlSource(text)).toThrow('not a source')
  })
})

describe("Oracle's repository", () => {
  // made with gpg 2.2: `gpg --quick-gen-key 'Test <test@example.org>' ed25519 sign never`
  const armored = `-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawWmqRYJKwYBBAHaRw8BAQdAQd9yedESE27u1qI/Ce5iaT+TuO5lluopUW62
6Od05Z20F1Rlc3QgPHRlc3RAZXhhbXBsZS5vcmc+iJAEExYIADgWIQQbjcfMO5z0
/7rBG5T8Kr0rY7icGAUCawWmqQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAK
CRD8Kr0rY7icGCzUAP97xUFXxHr2etF3BJdU6810hG7vqV0+S5y0498VP4Y3mgD+
MJ1FwVzz9hHdAJvTGUpbJcKBNHt2yJlHAgeX9uao7As=
=L7QB
-----END PGP PUBLIC KEY BLOCK-----
`
  const own = '1b8dc7cc3b9cf4ffbac11b94fc2abd2b63b89c18'

  test('has the fingerprint that gpg gives its key', () => {
    expect(openPgpFingerprints(armored)).toEqual([own])
  })

  test('reads long packets of the old and the new format alike', () => {
    const body = Buffer.concat([Buffer.from([4]), Buffer.alloc(525, 7)])
    const wanted = createHash('sha1')
      .update(Buffer.from([0x99, 2, 14]))
      .update(body)
      .digest('hex')
    const block = (...head: number[]) =>
      `-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n${toBase64(new Uint8Array([...head, ...body]))}\n-----END PGP PUBLIC KEY BLOCK-----\n`
    expect(openPgpFingerprints(block(0x99, 2, 14))).toEqual([wanted])
    expect(openPgpFingerprints(block(0xc6, 193, 78))).toEqual([wanted])
    expect(openPgpFingerprints(block(0xc6, 255, 0, 0, 2, 14))).toEqual([wanted])
    for (const head of [
      [0x99, 2, 15],
      [0x9b, 2],
      [0x19, 2, 14],
      [0xc6, 230],
    ])
      expect(() => openPgpFingerprints(block(...head))).toThrow('OpenPGP key')
  })

  test('is refused with another key, with two, and with none', () => {
    for (const text of [armored, armored + armored, armored.replace('mDME', 'mDMF'), '', 'x'])
      expect(() => checkOracleKey(text)).toThrow()
    expect(() => checkOracleKey(armored)).toThrow(`holds ${own}`)
  })

  test('is named for the system, its key for it alone', () => {
    const text = release('ubuntu', '24.04', 'noble')
    const ubuntu = recogniseDistribution(text)
    const sources = oracleSources(ubuntu, oracleSuite(ubuntu, text))
    expect(sources).toContain('URIs: https://repo.mysql.com/apt/ubuntu/\nSuites: noble\n')
    expect(sources).toContain(`Signed-By: ${oracleRepository.keyPath}\n`)
    const sid = recogniseDistribution('ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n')
    expect(() => oracleSuite(sid, 'ID=debian\nVERSION_CODENAME=forky\n')).toThrow(
      'no packages for Debian sid',
    )
  })
})

describe('mysqld', () => {
  test('reads the folder last that its option file includes last', () => {
    const text =
      '# x\n!includedir /etc/mysql/conf.d/\n  !includedir /no\n!includedir /etc/mysql/mysql.conf.d/\n'
    expect(lastOptionFolder(text)).toBe('/etc/mysql/mysql.conf.d')
    expect(lastOptionFolder('[mysqld]\n')).toBeNull()
  })

  test('may be reached from its networks and this machine, and reach no others', () => {
    expect(dropInText([])).toContain('\nIPAddressDeny=any\nIPAddressAllow=localhost\n')
    expect(dropInText(['10.1.0.0/16', 'fd00:1::/64'])).toContain(
      '\nIPAddressAllow=localhost 10.1.0.0/16 fd00:1::/64\n',
    )
  })

  test('keeps what an administrator added to its profile, and our lines once', () => {
    const own = '  /srv/data/ r,'
    const once = profileWithBlock(own)
    expect(once.startsWith(`${own}\n# zero-trust: begin\n`)).toBe(true)
    expect(once).toContain(`  ${mysqldPaths.manifest} r,\n`)
    expect(profileWithBlock(once)).toBe(once)
    expect(profileWithBlock(`${once}  /more r,\n`).match(/zero-trust: begin/g)).toHaveLength(1)
    expect(profileWithBlock('').startsWith('# zero-trust: begin\n')).toBe(true)
  })

  test('has a start of its own while it runs', () => {
    const text =
      'NeedDaemonReload=yes\nDropInPaths=/etc/a.conf /run/b.conf\nExecMainStartTimestamp=@1790000000\nMainPID=7\n'
    const dropIns = ['/etc/a.conf', '/run/b.conf']
    expect(parseUnitProperties(text)).toEqual({ needsReload: true, dropIns, startedAt: 1_790_000_000 })
    expect(parseUnitProperties(text.replace('MainPID=7', 'MainPID=0')).startedAt).toBeNull()
    expect(parseUnitProperties('')).toEqual({ needsReload: false, dropIns: [], startedAt: null })
  })

  test('says in its log why it did not start', () => {
    const log =
      '2026-11-24T14:28:46.4Z 0 [Note] [MY-010308] [Server] x\n2026-11-24T14:28:46.4Z 0 [ERROR] [MY-000067] [Server] unknown variable\n'
    expect(failureLines(log)).toEqual(['[ERROR] [MY-000067] [Server] unknown variable'])
  })
})

describe('before an installation', () => {
  const head =
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
  const line = (address: string, state: string, inode: number) =>
    `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`

  test('a port is taken by what listens there, not by what is connected to it', () => {
    const table = `${head}${line('0100007F:0CEA', '0A', 71)}${line('0100007F:0CEA', '01', 72)}${line('0100007F:0016', '0A', 73)}`
    expect(listenersOn(3306, table)).toEqual(['71'])
    expect(listenersOn(22, table)).toEqual(['73'])
    expect(listenersOn(3306, `${head}${line(`${'0'.repeat(32)}:0CEA`, '0A', 74)}`)).toEqual(['74'])
  })

  test('databases of others are the folders that are not ours', () => {
    const own = ['mysql', 'performance_schema', 'sys', 'securedb', '#innodb_redo', '#innodb_temp']
    expect(otherDatabases(own)).toEqual([])
    expect(otherDatabases([...own, 'shop', '@002e'])).toEqual(['@002e', 'shop'])
  })
})

describe('settings of a host', () => {
  const input = { tlsDir: '/etc/ztmysql/tls', initFile: '/etc/mysql/zt.sql', bindAddress: '127.0.0.1' }

  test('are added to those of a server, each once, with who asks and why', () => {
    const [server, host] = [settingsFor(input), settingsFor({ ...input, host: true })]
    expect(server.filter(({ scope }) => scope === 'host')).toEqual([])
    expect(host.filter(({ scope }) => scope !== 'host')).toEqual(server)
    const options = host.map(({ option }) => option)
    expect(new Set(options).size).toBe(options.length)
    for (const { option, from, why } of host)
      expect([
        option,
        from.every(id => /^(?:CIS \d+\.\d+(?:\.\d+)?|dev-sec [a-z]+-\d\d|design \d)$/.test(id)),
        why.length > 10,
      ]).toEqual([option, true, true])
  })

  test('of a component do not keep a server that has none from starting', () => {
    const host = settingsFor({ ...input, host: true })
    const ofComponents = host.filter(({ component }) => component !== undefined)
    expect(new Set(ofComponents.map(({ component }) => component))).toEqual(new Set(hostComponents))
    for (const { option } of ofComponents) expect(option).toStartWith('loose_')
    expect(formatOptionFile(host)).toContain('\nloose_validate_password.policy=STRONG\n')
  })
})
