/** Judges a bundle anew from its raw observations, the trail in it and what the auditor brings. */
import { type Anchor, parseAnchor } from '../audit/anchor.ts'
import type { Event } from '../audit/event.ts'
import type { Findings } from '../audit/findings.ts'
import type { StoredAnchor } from '../audit/source.ts'
import { type Verdict, verifyTrail } from '../audit/trail_verdict.ts'
import { type Bytes, equal } from '../bytes.ts'
import { probesOf } from '../controls/control.ts'
import { controls } from '../controls/index.ts'
import { ZtError } from '../errors.ts'
import type { Attest } from '../gcp/promise.ts'
import type { TableDefinition } from '../tables.ts'
import type { Trust } from '../trust.ts'
import {
  type Bundle,
  type BundleCertificate,
  type BundleFiles,
  joinTrails,
  type Manifest,
  readBundle,
} from './bundle.ts'
import { type Judged, judge } from './judge.ts'
import type { Observation } from './observation.ts'
import type { Evidence } from './outcome.ts'
import { meets, type Requirement } from './profile.ts'
import { RowEvidence } from './row_evidence.ts'

export interface VerifyBundleOptions {
  trust: Trust
  /** The auditor's own copy. */
  anchors: StoredAnchor[]
  definitions: Map<string, TableDefinition>
  golden: string[]
  requirement: Requirement
  now: number
  /** Hex; the nonce that the auditor asked for. */
  nonce?: string
  signatures: 'last' | 'all'
  /** Longest time between two anchors. */
  gapSeconds: number
  /** The auditor's own evidence from Google; it takes the place of the bundle's. */
  google?: Observation
  /** Checks attestations of an HSM against the roots of the trust folder. */
  attest?: Attest
}

/** An anchor of the auditor's copy, up to the bundle's closing one. */
export interface AnchorPoint {
  number: number
  /** Events covered. */
  size: number
  /** When the host says it was made, and when the store received it (null: the store keeps no time). ISO. */
  made: string
  received: string | null
}

export interface BundleVerdict {
  ok: boolean
  requirement: Requirement
  manifest: Manifest
  /** Hex of SHA-256 of manifest.json. */
  digest: string
  trail: Verdict
  judged: Judged[]
  observations: ReadonlyMap<string, Observation>
  /** Observations that no control of this release looks at: a newer collector made them, or somebody else. */
  unknown: string[]
  trust: Trust
  /** Of the bundle, to be shown; what they are worth the controls say. */
  certificates: BundleCertificate[]
  timeline: AnchorPoint[]
  gapSeconds: number
  /** When it was judged, ms since 1970. */
  now: number
  /** Whether the auditor named the nonce himself. */
  nonceAsked: boolean
  /** Store's time of the opening and closing anchors, ISO; empty where they are missing. */
  opened: string
  closed: string
}

/** Longest time between the two anchors that bracket a bundle. */
const widestSeconds = 900

/** @throws what a bundle that cannot be read throws: that is a failed verification, not a missing one */
export async function verifyBundle(files: BundleFiles, options: VerifyBundleOptions): Promise<BundleVerdict> {
  const { trust, definitions } = options
  const bundle = await readBundle(files, definitions)
  if (bundle.manifest.origin !== trust.origin)
    throw new ZtError(
      'VERIFY_FAILED',
      `bundle: is of log ${bundle.manifest.origin}, the trust folder of ${trust.origin}`,
    )
  const seen = new BracketEvents(bundle)
  const rows = new RowEvidence(trust)
  const copy = parsed(options.anchors)
  const closing = copy.find(({ anchor }) => anchor.size === bundle.closing.size)
  const judgedTrail = await verifyTrail(joinTrails(bundle.trail, bundle.closing), {
    trust,
    anchors: options.anchors,
    // later anchors cover events that the bundle does not hold
    ...(closing ? { asOf: closing.anchor.number } : {}),
    definitions,
    golden: options.golden,
    now: options.now,
    signatures: options.signatures,
    gapSeconds: options.gapSeconds,
    onEvent: (event, seq) => seen.add(event, seq),
    onRow: (table, row) => {
      const def = definitions.get(table)
      if (def) rows.add(def, row)
    },
  })
  compareAnchors(bundle.anchors, options.anchors, judgedTrail.findings)
  const trail = { ...judgedTrail, ok: judgedTrail.findings.clean }
  const brackets = seen.judge(copy, closing, options.nonce)
  const observations = new Map(bundle.observations)
  if (options.google) observations.set(options.google.id, options.google)
  const evidence: Evidence = {
    observations,
    trail,
    rows,
    trust,
    definitions: [...definitions.values()],
    scan: bundle.scan,
    bracketFault: brackets.fault,
    bracketNote: `between anchor ${brackets.opening?.anchor.number} and anchor ${closing?.anchor.number}, ${opened(brackets.opening)} to ${opened(closing)}`,
    google: {
      own: options.google !== undefined,
      attest: options.attest,
      anchors: options.anchors,
      opened: brackets.opening ? timeOf(brackets.opening) : null,
      closed: closing ? timeOf(closing) : null,
    },
  }
  const judged = controls.map(control => judge(control, evidence))
  const unknown = [...bundle.observations.keys()].filter(id => !knownProbes.has(id))
  return {
    // what this release cannot judge it cannot pass
    ok: unknown.length === 0 && judged.every(verdict => meets(verdict, options.requirement)),
    requirement: options.requirement,
    manifest: bundle.manifest,
    digest: bundle.digest,
    trail,
    judged,
    observations,
    unknown,
    trust,
    certificates: bundle.certificates,
    timeline: copy
      .filter(({ anchor }) => closing === undefined || anchor.number <= closing.anchor.number)
      .map(pointOf),
    gapSeconds: options.gapSeconds,
    now: options.now,
    nonceAsked: options.nonce !== undefined,
    opened: opened(brackets.opening),
    closed: opened(closing),
  }
}

/** What the host shows as its anchors must be what the auditor has: else it shows others to others. */
function compareAnchors(shown: Map<string, Bytes>, copy: StoredAnchor[], findings: Findings): void {
  for (const { name, bytes } of copy) {
    const other = shown.get(name)
    if (other !== undefined && !equal(other, bytes))
      findings.add('ANCHOR_FORK', name, "the host's object of this name is not the one in your copy")
  }
}

interface CopyAnchor {
  anchor: Anchor
  receivedAt: number | null
}

const knownProbes = new Set(controls.flatMap(probesOf))

const pointOf = ({ anchor, receivedAt }: CopyAnchor): AnchorPoint => ({
  number: anchor.number,
  size: anchor.size,
  made: anchor.time,
  received: receivedAt === null ? null : new Date(receivedAt).toISOString(),
})

const timeOf = (copy: CopyAnchor): number => copy.receivedAt ?? Date.parse(copy.anchor.time)
const opened = (copy: CopyAnchor | undefined): string => (copy ? new Date(timeOf(copy)).toISOString() : '')

/** Anchors that parse; what is wrong with the others is verifyTrail's to say. */
function parsed(stored: StoredAnchor[]): CopyAnchor[] {
  return stored
    .flatMap(({ bytes, receivedAt }) => {
      try {
        return [{ anchor: parseAnchor(bytes), receivedAt }]
      } catch {
        return [] // reported as ANCHOR_FORMAT
      }
    })
    .sort((a, b) => a.anchor.number - b.anchor.number)
}

/** Finds the nonce's and the manifest's events while the trail goes by. */
class BracketEvents {
  readonly #bundle: Bundle
  #nonceAt: number | undefined
  #manifestAt: number | undefined

  constructor(bundle: Bundle) {
    this.#bundle = bundle
  }

  add(event: Event, seq: number): void {
    const { manifest, digest, trail } = this.#bundle
    if (event.action === 'nonce' && seq < trail.size && event.data.nonce === manifest.nonce)
      this.#nonceAt ??= seq
    if (event.action === 'manifest' && seq >= trail.size && event.data.digest === digest)
      this.#manifestAt ??= seq
  }

  judge(
    copy: CopyAnchor[],
    closing: CopyAnchor | undefined,
    asked: string | undefined,
  ): { fault: string | undefined; opening: CopyAnchor | undefined } {
    const { manifest, trail } = this.#bundle
    const nonceAt = this.#nonceAt
    const opening = nonceAt === undefined ? undefined : copy.find(({ anchor }) => anchor.size > nonceAt)
    const fault = (): string | undefined => {
      if (asked !== undefined && asked !== manifest.nonce)
        return `the bundle answers nonce ${manifest.nonce}, the auditor asked for ${asked}`
      if (nonceAt === undefined) return `the trail holds no event with nonce ${manifest.nonce}`
      if (this.#manifestAt === undefined) return 'no event after the trail names the digest of this manifest'
      if (!opening || opening.anchor.size > trail.size)
        return "no anchor of your copy lies between the nonce and the trail's end"
      if (!closing) return 'the closing anchor is not in your copy of the store: fetch the anchors again'
      const width = (timeOf(closing) - timeOf(opening)) / 1000
      if (width < 0 || width > widestSeconds)
        return `its two anchors lie ${Math.round(width)} s apart, at most ${widestSeconds} are allowed`
      return undefined
    }
    return { fault: fault(), opening }
  }
}
