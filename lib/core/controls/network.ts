import type { Control } from './control.ts'

const suites = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']

export const networkControls: Control[] = [
  {
    id: 'network.tls-enforced',
    layer: 'network',
    claim: 'a connection without TLS is refused',
    standard: ['CIS MySQL 8.1', 'PCI DSS 4.2.1'],
    status: 'enforced',
    enforcedBy: 'REQUIRE SUBJECT of every account (1045), and behind it require_secure_transport=ON (3159)',
    // MySQL asks for the account's certificate first; either refusal alone would do
    expect: { kind: 'checks', checks: [{ probe: 'plaintext', at: 'errno', in: [1045, 3159] }] },
    grade: 'network',
    // the same option file opens over TLS, so the refusal is not one of a wrong password
    dependsOn: ['network.tls-1.3'],
    sabotage: 'SET GLOBAL require_secure_transport=OFF, and ALTER USER … REQUIRE NONE on the probe account',
  },
  {
    id: 'network.tls-1.3',
    layer: 'network',
    claim: 'TLS 1.3 is spoken, and nothing older',
    standard: ['RFC 8446', 'CIS MySQL 2.15'],
    status: 'enforced',
    enforcedBy: 'tls_version=TLSv1.3',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'handshake', at: 'protocol', is: 'TLSv1.3' },
        { probe: 'handshake', at: 'transcript', matches: '^New, TLSv1\\.3, Cipher is TLS_' },
        { probe: 'tls12', at: 'transcript', matches: 'alert protocol version' },
        { probe: 'tls12', at: 'transcript', matches: 'Cipher is \\(NONE\\)' },
      ],
    },
    grade: 'network',
    dependsOn: [],
    sabotage: "SET GLOBAL tls_version='TLSv1.2,TLSv1.3' and ALTER INSTANCE RELOAD TLS",
  },
  {
    id: 'network.suites',
    layer: 'network',
    claim: 'only the two 256-bit suites are negotiated',
    standard: ['RFC 8446 B.4', 'CIS MySQL 2.17'],
    status: 'enforced',
    enforcedBy: 'tls_ciphersuites',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'handshake', at: 'cipher', in: suites },
        { probe: 'handshake', at: 'transcript', matches: `Cipher is (?:${suites.join('|')})$` },
        { probe: 'weak_suite', at: 'transcript', matches: 'alert handshake failure' },
        { probe: 'weak_suite', at: 'transcript', matches: 'Cipher is \\(NONE\\)' },
      ],
    },
    grade: 'network',
    dependsOn: [],
    sabotage: 'TLS_AES_128_GCM_SHA256 added to tls_ciphersuites and ALTER INSTANCE RELOAD TLS',
  },
  {
    id: 'network.server-identity',
    layer: 'network',
    claim:
      "the server's certificate is signed by the CA of the trust folder, names the server and is in force; no other stands in its chain",
    standard: ['RFC 5280', 'RFC 9525'],
    status: 'enforced',
    enforcedBy: 'ssl_cert, ssl_key; ssl-mode=VERIFY_IDENTITY in every client file',
    expect: { kind: 'judgement', judgement: 'server-certificate', probe: 'handshake' },
    grade: 'network',
    dependsOn: [],
    sabotage: "another certificate of another CA in the server's place",
  },
  {
    id: 'network.mutual-authentication',
    layer: 'network',
    claim: 'a client without a certificate of the CA is refused',
    standard: ['RFC 8446 4.4.2', 'CIS MySQL 8.2'],
    status: 'enforced',
    enforcedBy: 'REQUIRE SUBJECT and ISSUER of every account; ssl_ca',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'no_certificate', at: 'errno', is: 1045 },
        { probe: 'foreign_certificate', at: 'transcript', matches: 'alert unknown ca' },
      ],
    },
    grade: 'network',
    dependsOn: [],
    sabotage: 'ALTER USER … REQUIRE NONE on the probe account',
  },
]
