/**
 * What a verifier can find, as data: the code is stable, `evidence` says what exposes it, `means` is for a person
 * who has never seen the code. A `fail` makes the verdict fail; a `pending` is young and may still come right;
 * a `note` is worth reading. docs/findings.md is made from this list.
 */
export type Evidence =
  | 'chain'
  | 'anchors'
  | 'receipts'
  | 'rows'
  | 'signatures'
  | 'schema'
  | 'heartbeat'
  | 'format'
export type Severity = 'fail' | 'pending' | 'note'

interface Kind {
  severity: Severity
  evidence: Evidence
  means: string
}

const kinds = {
  ORIGIN_MISMATCH: [
    'fail',
    'format',
    'this trail, anchor or receipt belongs to another log than the trust folder names',
  ],
  EVENT_MALFORMED: [
    'fail',
    'chain',
    'an event is not in the one form that the server writes, or of no kind that it makes; somebody else wrote it',
  ],
  EVENT_COLUMNS: [
    'fail',
    'chain',
    'the columns beside an event do not say what the event says; the row was edited',
  ],
  SEQ_GAP: ['fail', 'chain', 'event numbers skip or repeat; events were deleted, duplicated or moved'],
  CHAIN_BREAK: [
    'fail',
    'chain',
    'an event does not name the hash of the one before it; events were removed, moved or rewritten',
  ],
  HASH_MISMATCH: [
    'fail',
    'chain',
    'the stored hash is not that of the stored bytes; one of them was changed',
  ],
  HEAD_MISMATCH: ['fail', 'chain', 'the size or head that the database keeps is not that of its own events'],
  ANCHOR_NONE: ['fail', 'anchors', 'there is no anchor; nothing off the host supports this trail'],
  ANCHOR_FORMAT: [
    'fail',
    'anchors',
    'an anchor object is not in the one form; it was not written by anchor_head',
  ],
  ANCHOR_SIGNATURE: [
    'fail',
    'anchors',
    'a checkpoint lacks a valid pair of signatures by the keys that the trust folder names for its number',
  ],
  ANCHOR_CHAIN: ['fail', 'anchors', 'an anchor does not name its predecessor; an anchor was replaced'],
  ANCHOR_MISSING: ['fail', 'heartbeat', 'a numbered anchor is absent from the store'],
  ANCHOR_FORK: [
    'fail',
    'anchors',
    'the trail does not have the root or head that was anchored; anchored history was rewritten',
  ],
  ANCHOR_BEYOND: [
    'fail',
    'anchors',
    'an anchor covers more events than the trail has; its tail was cut or an old copy restored',
  ],
  ANCHOR_EVENT: ['fail', 'anchors', 'the last event under an anchor is not the anchor event it names'],
  ANCHOR_PENDING: [
    'pending',
    'anchors',
    'an anchor recorded in the trail is not in this copy of the store yet',
  ],
  HEARTBEAT_GAP: [
    'fail',
    'heartbeat',
    'no anchor reached the store for longer than the limit; what was stored meanwhile could be rewritten until the next one',
  ],
  EVENT_UNSEALED: [
    'fail',
    'heartbeat',
    'a committed event waits outside the trail for longer than the sealer takes; nothing supports it, and it can vanish',
  ],
  CLOCK_AHEAD: [
    'fail',
    'heartbeat',
    'an event is later than the moment at which the store received it; the clock of the host was ahead',
  ],
  ANCHOR_LATE: [
    'fail',
    'heartbeat',
    'the store received an anchor long after the host says it was made; it was held back or the clock was behind',
  ],
  RECEIPT_MISSING: ['fail', 'receipts', 'a write was acknowledged to its client and is not in the trail'],
  RECEIPT_PENDING: [
    'pending',
    'receipts',
    'a write is too young to be sealed, or sealed and not yet under an anchor',
  ],
  RECEIPT_UNPROVED: [
    'pending',
    'receipts',
    'a receipt has no proof beside it yet; a trail that holds it under an anchor makes one',
  ],
  PROOF_BAD: [
    'fail',
    'receipts',
    'the proof beside a receipt does not verify; it was made for something else, or the log signed another past',
  ],
  TIME_BACKWARDS: [
    'fail',
    'chain',
    'the time of a signed event is earlier than its predecessor allows; the clock was set back, or an event was held back',
  ],
  LATE_COMMIT: ['note', 'chain', 'an unsigned event was committed later than others that carry a later time'],
  VERSION_GAP: ['fail', 'rows', 'the versions of a row skip or repeat; a write was hidden or replayed'],
  BEFORE_MISMATCH: [
    'fail',
    'rows',
    'an event says that its row looked different before than the previous event left it; the row was edited in between',
  ],
  ROW_EDITED: [
    'fail',
    'rows',
    'a row is not what its last event says; it was changed without the procedures',
  ],
  ROW_WITHOUT_EVENT: ['fail', 'rows', 'a row has no event at all; it was inserted without the procedures'],
  ROW_MISSING: ['fail', 'rows', 'the trail says that a row exists and it does not; it was deleted'],
  ROW_MALFORMED: ['fail', 'rows', 'a row has columns or values that its definition does not allow'],
  SIG_MISSING: [
    'fail',
    'signatures',
    'a write carries no signature of its client; whoever made it had no certificate',
  ],
  SIG_BAD: [
    'fail',
    'signatures',
    'the signature does not match the write; it was made for something else, or forged',
  ],
  SIG_UNKNOWN_SIGNER: ['fail', 'signatures', 'the signer has no certificate in the trust folder'],
  SIG_NOT_ALLOWED: [
    'fail',
    'signatures',
    'the signer may not make this write (another tenant, or the wrong role)',
  ],
  SIG_NOT_IN_FORCE: [
    'fail',
    'signatures',
    'the certificate of the signer was expired, revoked or not yet valid when the write was anchored',
  ],
  SCHEMA_NOT_GOLDEN: [
    'fail',
    'schema',
    'the schema that was anchored is not the one of the release; a routine, trigger, view or grant was changed',
  ],
  SERVER_CHANGED: [
    'fail',
    'schema',
    'another MySQL, or another plugin or component, runs, and nobody announced it; an upgrade that went unsaid, or an intruder',
  ],
  LOG_RESTORED: [
    'note',
    'anchors',
    'the trail goes on from a backup; nothing that was anchored is missing, what came after the last anchor may be',
  ],
  RESTORE_LOSS: [
    'fail',
    'anchors',
    'the trail goes on from a backup that lacks anchored events, or names an anchor that this copy does not have',
  ],
} as const satisfies Record<string, readonly [Severity, Evidence, string]>

export type FindingCode = keyof typeof kinds

export interface Finding {
  code: FindingCode
  severity: Severity
  evidence: Evidence
  /** Where: `event 41`, `anchor 7`, `users 0b2c…`, `receipt …`. */
  where: string
  /** What was expected and what was found. */
  what: string
  /** Whose row or write it is; null where it concerns the log. */
  tenant: string | null
}

export const findingCodes = Object.keys(kinds) as FindingCode[]

export function kindOf(code: FindingCode): Kind {
  const [severity, evidence, means] = kinds[code]
  return { severity, evidence, means }
}

const mostTenants = 1000

/**
 * Collects findings, keeps the first `limit` of each code and counts all: a hostile trail must not fill the memory, nor a
 * tenant with many junk signatures push what root did out of the report.
 */
export class Findings {
  readonly kept: Finding[] = []
  readonly counts = new Map<FindingCode, number>()
  /** Failures that concern one tenant's rows and writes alone, by tenant. */
  readonly ofTenants = new Map<string, number>()
  /** Failures that concern the log as a whole, or more tenants than are counted. */
  ofLog = 0
  readonly #limit: number

  constructor(limit = 250) {
    this.#limit = limit
  }

  /** @param tenant whose row or write it is; none where it concerns the log */
  add(code: FindingCode, where: string, what: string, tenant?: string | null): void {
    const count = (this.counts.get(code) ?? 0) + 1
    this.counts.set(code, count)
    const { severity, evidence } = kindOf(code)
    if (count <= this.#limit)
      this.kept.push({ code, severity, evidence, where, what, tenant: tenant ?? null })
    if (severity !== 'fail') return
    if (tenant == null || (!this.ofTenants.has(tenant) && this.ofTenants.size >= mostTenants)) this.ofLog++
    else this.ofTenants.set(tenant, (this.ofTenants.get(tenant) ?? 0) + 1)
  }

  /** How many findings have this severity, kept or not. */
  count(severity: Severity): number {
    let n = 0
    for (const [code, count] of this.counts) if (kindOf(code).severity === severity) n += count
    return n
  }

  get clean(): boolean {
    return this.count('fail') === 0
  }
}
