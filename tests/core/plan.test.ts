import { describe, expect, test } from 'bun:test'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { privilegeDrift, privilegesOf } from '../../lib/core/grants.ts'
import { checkHostPart, isLoopback } from '../../lib/core/host_part.ts'
import { formatInstallRecord, parseInstallRecord, passwordDigest } from '../../lib/core/install_record.ts'
import {
  applyPlan,
  type Change,
  driftLines,
  formatPlan,
  isClean,
  type Plan,
  pendingSteps,
  type Step,
  summarisePlan,
} from '../../lib/core/plan.ts'

const step = (
  id: string,
  apply: () => void,
  changes: Change[] = [{ item: id, before: 'a', after: 'b' }],
): Step => ({
  id,
  description: `do ${id}`,
  changes,
  apply: async () => apply(),
})

const plan = (...steps: Step[]): Plan => ({ steps, findings: [], restart: [] })

describe('a plan', () => {
  test('shows what comes, goes and changes, and leaves out what is as it should be', () => {
    const shown = plan(
      step('one', () => undefined, [
        { item: 'x', before: null, after: '1' },
        { item: 'y', before: '1', after: null },
        { item: 'z', before: '1', after: '2' },
      ]),
      step('two', () => undefined, []),
    )
    shown.findings.push({ item: 'account', detail: 'is unknown' })
    expect(formatPlan(shown)).toEqual([
      'one: do one',
      '  + x: 1',
      '  - y: 1',
      '  ~ z: 1 → 2',
      'look at: what this program does not change',
      '  ! account: is unknown',
    ])
    expect(pendingSteps(shown).map(each => each.id)).toEqual(['one'])
  })

  test('in short has one line a step with the numbers of changes, and all that a person must look at', () => {
    const added = (item: string): Change => ({ item, before: null, after: 'x' })
    const shown = plan(
      step('one', () => undefined, [
        ...['/etc/a', '/etc/b', 'tls_version', "grant to 'app'@'::1'", 'tenants 1f (x.json)'].map(added),
      ]),
      step('two', () => undefined, ['procedure a', 'procedure b'].map(added)),
      step('three', () => undefined, []),
    )
    shown.findings.push({ item: 'account', detail: 'is unknown' })
    shown.restart.push(added('bind_address'))
    expect(summarisePlan(shown)).toEqual([
      'one: do one (5 changes: 2 files, 1 setting, 1 grant, 1 tenant)',
      'two: do two (2 changes)',
      'restart: settings that mysqld takes up when it starts again (1 setting)',
      'look at: what this program does not change',
      '  ! account: is unknown',
    ])
  })

  test('says whose turn it is: of apply, of a person, of mysqld', () => {
    const nothing = plan(step('x', () => undefined, []))
    expect(driftLines(nothing)).toEqual([])
    const restart = [{ item: 'x', before: 'a', after: 'b' }]
    expect(driftLines({ ...nothing, restart })).toEqual([
      ['to do', 'restart mysqld, so that it takes up 1 setting'],
    ])
    const findings = [{ item: 'account', detail: 'is unknown' }]
    expect(driftLines({ ...plan(step('tls', () => undefined)), findings, restart })).toEqual([
      ['drift', 'tls: vm_oneclick apply puts it right'],
      ['drift', 'account: look at it, as vm_oneclick apply does not change it'],
      ['to do', 'restart mysqld, so that it takes up 1 setting'],
    ])
  })

  test('is clean only without steps, findings and restarts', () => {
    expect(isClean(plan(step('x', () => undefined, [])))).toBe(true)
    expect(isClean(plan(step('x', () => undefined)))).toBe(false)
    expect(isClean({ ...plan(), findings: [{ item: 'x', detail: 'y' }] })).toBe(false)
    expect(isClean({ ...plan(), restart: [{ item: 'x', before: 'a', after: 'b' }] })).toBe(false)
  })

  test('is done in order, and stops at the step that fails with its error, its name and what stays', async () => {
    const done: string[] = []
    const failing = plan(
      step('one', () => done.push('one')),
      step('none', () => done.push('none'), []),
      step('two', () => {
        throw new ZtError('DENIED', 'no right', { hint: 'ask root' })
      }),
      step('three', () => done.push('three')),
    )
    await expect(applyPlan(failing)).rejects.toMatchObject({
      code: 'DENIED',
      message: 'step two: no right (the 1 before it are done and stay)',
      hint: 'ask root; then run it again',
    })
    expect(done).toEqual(['one'])
  })
})

describe('privileges', () => {
  test('are read from SHOW GRANTS one by one', () => {
    expect(privilegesOf('GRANT USAGE ON *.* TO `app`@`127.0.0.1`')).toEqual([])
    expect(
      privilegesOf('GRANT SELECT, INSERT (`a`, `b`) ON `securedb`.`users` TO `app`@`%` WITH GRANT OPTION'),
    ).toEqual([
      'SELECT ON securedb.users',
      'INSERT (a, b) ON securedb.users',
      'GRANT OPTION ON securedb.users',
    ])
    expect(privilegesOf('GRANT EXECUTE ON PROCEDURE `securedb`.`seal_due` TO `anchor`@`localhost`')).toEqual([
      'EXECUTE ON PROCEDURE securedb.seal_due',
    ])
  })

  test('keep a role and a proxy whole, as nothing that anybody asked for', () => {
    for (const line of [
      'GRANT `r`@`%` TO `app`@`%`',
      'GRANT PROXY ON ``@`` TO `root`@`localhost` WITH GRANT OPTION',
    ])
      expect(privilegesOf(line)).toEqual([line])
  })

  test('differ by what is missing and what is too much', () => {
    expect(privilegeDrift(['a', 'b'], ['b', 'c'])).toEqual({ missing: ['a'], extra: ['c'] })
  })
})

describe('a host part', () => {
  test.each([
    '127.0.0.1',
    '10.1.2.3',
    '10.1.0.0/16',
    '192.168.4.0/30',
    '::1',
    'fd00::5',
    '2001:db8:0:0:0:0:0:1',
  ])('may be %s', text => expect(checkHostPart(text)).toBe(text))

  test.each([
    '%',
    '10.%',
    '10.0.0.1_',
    'localhost',
    '',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.0/0',
    '10.0.0.1/24',
    'fd00::/8',
    '1::2::3',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    "1.2.3.4'",
  ])('may not be %j', text => expect(() => checkHostPart(text)).toThrow(ZtError))

  test('is loopback or not', () => {
    expect(['127.0.0.1', '::1', '10.0.0.1', '10.0.0.0/8'].map(isLoopback)).toEqual([true, true, false, false])
  })
})

describe('the record of an installation', () => {
  const record = {
    v: 1,
    kind: 'ztmysql-installation',
    origin: 'ztmysql.local/0123456789abcdef',
    serverName: 'db.example',
    hostPart: '127.0.0.1',
    anchorUser: 'anchor',
    tlsDir: '/etc/ztmysql/tls',
    anchorDir: '/var/lib/ztmysql/anchor',
    caSha256: ['aa'.repeat(32)],
    serverNotAfter: '2027-01-01T00:00:00.000000Z',
    crlNextUpdate: '2026-12-01T00:00:00.000000Z',
    loadedTls: 'bb'.repeat(32),
    files: [{ path: '/etc/ztmysql/tls/ca.pem', mode: 0o640, owner: '0:0', sha256: 'cc'.repeat(32) }],
    accounts: [
      {
        account: 'auditor',
        role: 'auditor',
        tenant: null,
        subject: '/CN=auditor',
        issuer: '/CN=ca',
        password: passwordDigest('auditor', 'a password'),
        stored: 'dd'.repeat(32),
      },
    ],
  } as const

  test('comes back as it went, byte for byte', () => {
    const text = formatInstallRecord(parseInstallRecord(utf8(`${JSON.stringify(record)}\n`), 'record'))
    expect(text).toBe(`${JSON.stringify(record)}\n`)
  })

  test.each([
    ['without its last line end', (text: string) => text.slice(0, -1)],
    ['with a blank', (text: string) => text.replace(':1,', ': 1,')],
    ['with a member too many', (text: string) => text.replace('{"v":1', '{"v":1,"x":1')],
    ['of an administrator', (text: string) => text.replace('"role":"auditor"', '"role":"administrator"')],
  ])('is refused %s', (_what, edit) => {
    expect(() => parseInstallRecord(utf8(edit(`${JSON.stringify(record)}\n`)), 'record')).toThrow(ZtError)
  })

  test('keeps no password, and tells two apart', () => {
    expect(passwordDigest('auditor', 'a password')).not.toBe(passwordDigest('auditor', 'b password'))
    expect(passwordDigest('auditor', 'a password')).not.toBe(passwordDigest('other', 'a password'))
    expect(JSON.stringify(record)).not.toContain('a password')
  })
})
