import type { Control } from './control.ts'

export const identityControls: Control[] = [
  {
    id: 'identity.certificate-binding',
    layer: 'identity',
    claim: "an account does not open with another account's certificate, even with its password",
    standard: ['CIS MySQL 8.2', 'ISO 27001 A.8.5'],
    status: 'enforced',
    enforcedBy: 'REQUIRE SUBJECT and ISSUER',
    expect: { kind: 'checks', checks: [{ probe: 'other_certificate', at: 'errno', is: 1045 }] },
    grade: 'network',
    dependsOn: [],
    sabotage: 'ALTER USER … REQUIRE X509 on the probe account',
  },
  {
    id: 'identity.accounts-bound',
    layer: 'identity',
    claim:
      'every account that can log in over the network is bound to one subject and issuer and to an address range',
    standard: ['CIS MySQL 7.6, 8.2', 'dev-sec mysql-baseline db-04, db-05, db-07'],
    status: 'enforced',
    enforcedBy: 'accounts made by vm_oneclick',
    expect: { kind: 'judgement', judgement: 'accounts-bound', probe: 'accounts' },
    grade: 'host',
    dependsOn: [],
    sabotage: "CREATE USER 'x'@'%'",
  },
  {
    id: 'identity.rights',
    layer: 'identity',
    claim: 'every account but root holds the rights of its role, and no others',
    standard: ['CIS MySQL 5.1-5.9', 'PCI DSS 7.2.2', 'ISO 27001 A.8.2'],
    status: 'enforced',
    enforcedBy: 'grants made by vm_oneclick',
    expect: { kind: 'judgement', judgement: 'rights', probe: 'rights' },
    grade: 'host',
    dependsOn: [],
    sabotage: 'GRANT SELECT ON securedb.users TO an application',
  },
]
