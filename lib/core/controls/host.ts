import type { Control } from './control.ts'

const host = { layer: 'host', grade: 'host', dependsOn: [] } as const

export const hostControls: Control[] = [
  {
    ...host,
    id: 'host.settings',
    claim: 'the server runs with the settings of the release',
    standard: ['CIS MySQL 8.4', 'dev-sec mysql-baseline 5.1'],
    status: 'enforced',
    enforcedBy: 'zero-trust.cnf; lib/core/settings_list.ts',
    expect: { kind: 'judgement', judgement: 'settings', probe: 'settings' },
    dependsOn: [],
    sabotage: 'SET GLOBAL local_infile=ON',
  },
  {
    ...host,
    id: 'host.firewall',
    claim: 'UFW is active and denies what is not allowed',
    standard: ['CIS Debian 4.1', 'PCI DSS 1.2'],
    status: 'enforced',
    enforcedBy: 'ufw',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'firewall', at: 'status', matches: '^Status: active' },
        { probe: 'firewall', at: 'status', matches: 'Default: deny \\(incoming\\)' },
      ],
    },
    dependsOn: [],
    sabotage: 'ufw disable',
  },
  {
    ...host,
    id: 'host.intrusion',
    claim: 'fail2ban watches sshd and denied MySQL log-ins',
    standard: ['CIS Debian 5.2', 'PCI DSS 8.3.4'],
    status: 'enforced',
    enforcedBy: 'fail2ban',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'intrusion', at: 'status', matches: 'sshd' },
        { probe: 'intrusion', at: 'status', matches: 'mysqld' },
      ],
    },
    dependsOn: [],
    sabotage: 'systemctl stop fail2ban',
  },
  {
    ...host,
    id: 'host.confinement',
    claim: 'mysqld runs confined by AppArmor or SELinux',
    standard: ['CIS Debian 1.3'],
    status: 'available',
    enforcedBy: 'AppArmor profile of mysqld',
    expect: { kind: 'checks', checks: [{ probe: 'confinement', at: 'label', matches: 'enforce' }] },
    dependsOn: [],
    sabotage: 'aa-complain mysqld',
  },
  {
    ...host,
    id: 'host.fips',
    claim: 'the kernel runs in FIPS mode',
    standard: ['FIPS 140-3'],
    status: 'optional',
    enforcedBy: 'the operating system',
    expect: { kind: 'checks', checks: [{ probe: 'fips', at: 'enabled', is: '1' }] },
    dependsOn: [],
    sabotage: 'a kernel booted without fips=1',
  },
  {
    ...host,
    id: 'host.scan',
    claim: 'an OpenSCAP scan of the host was run',
    standard: ['SP 800-126'],
    status: 'optional',
    enforcedBy: 'openscap_scan',
    expect: { kind: 'checks', checks: [{ probe: 'scan', at: 'profile', matches: '.' }] },
    dependsOn: [],
    sabotage: 'no results in the folder of scans',
  },
]
