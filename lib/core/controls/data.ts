import type { Control } from './control.ts'

export const dataControls: Control[] = [
  {
    id: 'data.ciphertext-only',
    layer: 'data',
    claim: 'every PII cell is a nonce, a ciphertext and a tag, and none reads as text',
    standard: ['GDPR Art. 32(1)(a)', 'SP 800-38D'],
    status: 'enforced',
    enforcedBy: 'the client; lengths checked by the procedures',
    expect: { kind: 'judgement', judgement: 'ciphertext' },
    grade: 'recomputed',
    dependsOn: ['audit.state'],
    sabotage: "a client that stores a person's name in the clear",
  },
  {
    id: 'data.canary-absent',
    layer: 'data',
    claim:
      "a person's data written by a client is nowhere in the data directory, binary log or temporary files",
    standard: ['GDPR Art. 32(1)(a)'],
    status: 'enforced',
    enforcedBy: 'the client; the server never holds a data key',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'canary', at: 'control_found', is: true },
        { probe: 'canary', at: 'found', length: 0 },
      ],
    },
    grade: 'host',
    dependsOn: [],
    sabotage: 'the canary in a comment of a table',
  },
  {
    id: 'data.wrapped-keys',
    layer: 'data',
    claim: "every data key is wrapped by its tenant's KMS key and signed by its tenant's key issuer",
    standard: ['SP 800-57 part 1, 6.2', 'FIPS 204'],
    status: 'enforced',
    enforcedBy: 'lib/client; issuer keys of the trust folder',
    expect: { kind: 'judgement', judgement: 'wrapped-keys' },
    grade: 'recomputed',
    dependsOn: ['audit.state'],
    sabotage: 'a data key whose issuer signature is of another key',
  },
  {
    id: 'data.hybrid-wrap',
    layer: 'data',
    claim: 'data keys are wrapped by KMS and ML-KEM-768 together',
    standard: ['FIPS 203'],
    status: 'available',
    enforcedBy: '--pq of pq_envelope_cli; suite kms+ml-kem-768',
    expect: { kind: 'judgement', judgement: 'hybrid' },
    grade: 'recomputed',
    dependsOn: ['data.wrapped-keys'],
    sabotage: 'a hybrid data key whose KEM fingerprint is of no key in the trust folder',
  },
]
