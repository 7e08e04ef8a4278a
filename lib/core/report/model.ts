/** Makes the model of a report from a verdict: what the verifier judged itself, nothing copied from the bundle's words. */
import { kindOf } from '../audit/findings.ts'
import { type Json, probesOf } from '../controls/control.ts'
import type { Judged } from '../proof/judge.ts'
import { type Observation, observationName } from '../proof/observation.ts'
import type { Status } from '../proof/outcome.ts'
import { isRequired, meets } from '../proof/profile.ts'
import type { BundleVerdict } from '../proof/verify_bundle.ts'
import { judgeBaselines } from './baselines.ts'
import { certificatesOf } from './certificates.ts'
import { pretty } from './excerpt.ts'
import { hintOf } from './hint.ts'
import type { Report, ReportControl, ReportObservation } from './schema.ts'
import { gapsOf, thinned } from './timeline.ts'

export interface ReportMaker {
  tool: string
  commit: string
  /** Name of the countersigner that was asked for and verified. */
  signer?: string
  /** Whether the CA was named by its digest. */
  pinned?: boolean
}

/** An observation may be 1 MiB; the bundle holds it whole. */
const excerptChars = 6000

export function makeReport(verdict: BundleVerdict, maker: ReportMaker): Report {
  const { manifest, trail, trust, judged, observations } = verdict
  const count = (status: Status): number => judged.filter(one => one.status === status).length
  return {
    v: 2,
    kind: 'ztmysql-report',
    ok: verdict.ok,
    requirement: verdict.requirement.text,
    judged: { at: new Date(verdict.now).toISOString(), tool: maker.tool, commit: maker.commit },
    bundle: {
      digest: verdict.digest,
      tool: manifest.tool,
      commit: manifest.commit,
      host: manifest.host,
      origin: manifest.origin,
      nonce: manifest.nonce,
      nonceAsked: verdict.nonceAsked,
      created: manifest.created,
      opened: verdict.opened === '' ? null : verdict.opened,
      closed: verdict.closed === '' ? null : verdict.closed,
      files: manifest.files.length + 2,
      signer: maker.signer ?? null,
    },
    trust: { serial: trust.serial, time: trust.time, pinned: maker.pinned === true },
    counts: {
      pass: count('pass'),
      fail: count('fail'),
      error: count('error'),
      notApplicable: count('not-applicable'),
    },
    controls: judged.map(one => controlOf(one, verdict)),
    observations: [...observations.values()].map(observationOf),
    unknownObservations: verdict.unknown,
    trail: {
      events: trail.events,
      head: trail.head,
      anchored: trail.anchored,
      anchors: trail.anchors,
      lastAnchor: trail.lastAnchor,
      rows: trail.rows,
      signaturesChecked: trail.signaturesChecked,
    },
    findings: trail.findings.kept.map(({ code, severity, evidence, where, what }) => ({
      code,
      severity,
      evidence,
      where,
      what,
      means: kindOf(code).means,
    })),
    findingCounts: Object.fromEntries(trail.findings.counts),
    anchors: {
      count: verdict.timeline.length,
      limitSeconds: verdict.gapSeconds,
      gaps: gapsOf(verdict.timeline, verdict.gapSeconds),
      points: thinned(verdict.timeline),
    },
    certificates: certificatesOf(verdict),
    baselines: judgeBaselines(judged, observations),
  }
}

function controlOf(judged: Judged, verdict: BundleVerdict): ReportControl {
  const { control, status, reason } = judged
  const met = meets(judged, verdict.requirement)
  return {
    id: control.id,
    layer: control.layer,
    claim: control.claim,
    standard: control.standard,
    status: control.status,
    grade: control.grade,
    enforcedBy: control.enforcedBy,
    dependsOn: control.dependsOn,
    required: isRequired(control, verdict.requirement),
    met,
    verdict: status,
    reason,
    hint: status === 'pass' ? null : hintOf(judged, met),
    observations: probesOf(control).filter(probe => verdict.observations.has(probe)),
  }
}

/** Pretty as far as it is shown: a megabyte of brackets must not be printed first and clipped then. */
function excerptOf(result: Json): string {
  const flat = JSON.stringify(result)
  return flat.length > 20 * excerptChars ? flat : pretty(result)
}

function observationOf(o: Observation): ReportObservation {
  const text = o.error ?? excerptOf(o.result ?? null)
  const clipped = text.length > excerptChars
  return {
    id: o.id,
    time: o.time,
    host: o.host,
    identity: o.identity,
    grade: o.grade,
    command: o.command,
    path: observationName(o.id),
    failed: o.error !== undefined,
    excerpt: clipped ? text.slice(0, excerptChars) : text,
    clipped,
  }
}
