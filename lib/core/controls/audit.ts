import type { Control } from './control.ts'

const recomputed = { layer: 'audit', status: 'enforced', grade: 'recomputed' } as const

export const auditControls: Control[] = [
  {
    ...recomputed,
    id: 'audit.append-only',
    claim: 'even root cannot update or delete an event without removing a trigger first',
    standard: ['PCI DSS 10.3.2'],
    enforcedBy: 'triggers on audit_events',
    expect: {
      kind: 'checks',
      checks: [
        { probe: 'append_only', at: 'attempts.update.errno', is: 1644 },
        { probe: 'append_only', at: 'attempts.update.sqlState', is: '45A01' },
        { probe: 'append_only', at: 'attempts.delete.errno', is: 1644 },
        { probe: 'append_only', at: 'attempts.delete.sqlState', is: '45A01' },
      ],
    },
    grade: 'host',
    dependsOn: [],
    sabotage: 'DROP TRIGGER on audit_events',
  },
  {
    ...recomputed,
    id: 'audit.chain',
    claim: 'every event names the hash of the one before it, from the first on',
    standard: ['FIPS 180-4', 'PCI DSS 10.3.4'],
    enforcedBy: 'seal_due',
    expect: {
      kind: 'trail',
      codes: [
        'EVENT_MALFORMED',
        'EVENT_COLUMNS',
        'SEQ_GAP',
        'CHAIN_BREAK',
        'HASH_MISMATCH',
        'HEAD_MISMATCH',
        'TIME_BACKWARDS',
        'ORIGIN_MISMATCH',
      ],
    },
    dependsOn: [],
    sabotage: 'one byte of one event',
  },
  {
    ...recomputed,
    id: 'audit.anchored',
    claim: "the trail extends every anchor of the auditor's own copy, each signed by Ed25519 and ML-DSA-44",
    standard: ['RFC 6962', 'C2SP tlog-checkpoint', 'FIPS 204'],
    enforcedBy: 'anchor_head, WORM store',
    expect: {
      kind: 'trail',
      codes: [
        'ANCHOR_NONE',
        'ANCHOR_FORMAT',
        'ANCHOR_SIGNATURE',
        'ANCHOR_CHAIN',
        'ANCHOR_FORK',
        'ANCHOR_BEYOND',
        'ANCHOR_EVENT',
      ],
    },
    dependsOn: [],
    sabotage: 'the trail rewritten and chained anew',
  },
  {
    ...recomputed,
    id: 'audit.heartbeat',
    claim:
      'anchors are numbered without a gap, none came later than the limit, and no event waits for its seal',
    standard: ['PCI DSS 10.3.3'],
    enforcedBy: 'anchor_head every minute',
    expect: {
      kind: 'trail',
      codes: ['ANCHOR_MISSING', 'HEARTBEAT_GAP', 'EVENT_UNSEALED', 'ANCHOR_LATE', 'CLOCK_AHEAD'],
    },
    dependsOn: ['audit.anchored'],
    sabotage: 'one anchor taken out of the copy',
  },
  {
    ...recomputed,
    id: 'audit.state',
    claim: 'every row of a protected table is what its last event says, and every event has its row',
    standard: ['ISO 27001 A.8.15'],
    enforcedBy: 'triggers on protected tables; row digests',
    expect: {
      kind: 'trail',
      codes: [
        'VERSION_GAP',
        'BEFORE_MISMATCH',
        'ROW_EDITED',
        'ROW_WITHOUT_EVENT',
        'ROW_MISSING',
        'ROW_MALFORMED',
      ],
    },
    dependsOn: ['audit.chain'],
    sabotage: 'a row edited with its triggers away',
  },
  {
    ...recomputed,
    id: 'audit.signatures',
    claim: 'every write is signed by a certificate that may make it',
    standard: ['FIPS 186-5'],
    enforcedBy: 'lib/client; certificates of the trust folder',
    expect: {
      kind: 'trail',
      codes: ['SIG_MISSING', 'SIG_BAD', 'SIG_UNKNOWN_SIGNER', 'SIG_NOT_ALLOWED', 'SIG_NOT_IN_FORCE'],
    },
    dependsOn: ['audit.chain'],
    sabotage: 'a row edited together with a forged event',
  },
  {
    ...recomputed,
    grade: 'host', // the fingerprint is of what the host's own procedure answers
    id: 'audit.schema',
    claim: 'every anchored schema is the golden one of the release',
    standard: ['CIS MySQL 5.10'],
    enforcedBy: 'schema_snapshot, sql/golden.json',
    expect: { kind: 'trail', codes: ['SCHEMA_NOT_GOLDEN'] },
    dependsOn: ['audit.anchored'],
    sabotage: "a procedure's body replaced",
  },
  {
    ...recomputed,
    id: 'audit.bracketed',
    claim:
      "this bundle was collected between two anchors of the auditor's own copy, after the auditor's nonce",
    standard: ['SP 800-53 AU-10'],
    enforcedBy: 'record_nonce; opening and closing anchors',
    expect: { kind: 'judgement', judgement: 'brackets' },
    dependsOn: ['audit.anchored'],
    sabotage: 'an observation edited after the bundle was closed',
  },
]
