/** A verdict for people and for programs. */
import { printable } from '../printable.ts'
import { type Findings, findingCodes, kindOf } from './findings.ts'
import type { Verdict } from './trail_verdict.ts'

/** Every finding, as a table for people: docs/findings.md. */
export const findingsMarkdown = (): string =>
  ['| finding | severity | found by | means |', '| --- | --- | --- | --- |']
    .concat(
      findingCodes.map(code => {
        const { severity, evidence, means } = kindOf(code)
        return `| \`${code}\` | ${severity} | ${evidence} | ${means} |`
      }),
    )
    .join('\n')

/** Shape of `--json`, version 1. */
export function verdictJson(verdict: Verdict): object {
  const { findings, base: _base, ...rest } = verdict
  return {
    v: 1,
    ...rest,
    ...findingsJson(findings),
  }
}

export const findingsJson = (findings: Findings): FindingsJson => ({
  concerns: { log: findings.ofLog, tenants: Object.fromEntries(findings.ofTenants) },
  counts: Object.fromEntries(findings.counts),
  findings: findings.kept.map(f => ({ ...f, means: kindOf(f.code).means })),
})

/** How many failures concern the log as a whole, and how many each tenant alone. */
interface FindingsJson {
  concerns: { log: number; tenants: Record<string, number> }
  counts: object
  findings: object[]
}

const tenantsShown = 20

/**
 * Whom the failures concern: one tenant can make its own writes fail (the server checks no signature), and must not take
 * the others' verdict with it.
 */
function formatConcerns({ ofLog, ofTenants }: Findings): string[] {
  const lines = [...ofTenants]
    .slice(0, tenantsShown)
    .map(([tenant, n]) => `            tenant ${printable(tenant)}: ${n} failure${n === 1 ? '' : 's'}`)
  if (ofTenants.size > tenantsShown)
    lines.push(`            and ${ofTenants.size - tenantsShown} further tenants`)
  if (ofLog > 0) return ['', `concerns    the log as a whole: ${ofLog} of the failures`, ...lines]
  return ['', 'concerns    these tenants alone; nothing that fails is of another:', ...lines]
}

/** Findings and the last line, for people. */
export function formatFindings(findings: Findings): string[] {
  const lines: string[] = []
  for (const severity of ['note', 'pending', 'fail'] as const)
    for (const finding of findings.kept.filter(f => f.severity === severity))
      lines.push(
        '',
        `${severity === 'fail' ? 'FAIL' : severity} ${finding.code}: ${printable(finding.where)}: ${printable(finding.what)}`,
        `     ${kindOf(finding.code).means}`,
      )
  const total = [...findings.counts.values()].reduce((a, b) => a + b, 0)
  if (total > findings.kept.length)
    lines.push('', `${total - findings.kept.length} further findings are not shown`)
  const failed = findings.count('fail')
  if (failed > 0) lines.push(...formatConcerns(findings))
  lines.push(
    '',
    failed === 0 ? 'verdict: holds' : `verdict: does not hold, ${failed} finding${failed === 1 ? '' : 's'}`,
  )
  return lines
}

export function formatVerdict(verdict: Verdict): string {
  const { findings } = verdict
  return [
    `log         ${verdict.origin}`,
    ...(verdict.judged === 'chain'
      ? ['judged      chain, tree and anchors alone: no rows, no signatures of writers']
      : []),
    `events      ${verdict.events}${verdict.from > 0 ? `, of which ${verdict.events - verdict.from} from event ${verdict.from} on were looked at` : ''}, head ${verdict.head}`,
    `anchors     ${verdict.anchors}, the newest is ${verdict.lastAnchor || 'none'} and covers ${verdict.anchored} events`,
    `rows        ${verdict.rows}${verdict.rowsUnjudged > 0 ? `, of which ${verdict.rowsUnjudged} were not written since and are not judged` : ''}`,
    `signatures  ${verdict.signaturesChecked} checked in ${verdict.signatureSeconds.toFixed(1)} s of one core`,
    `receipts    ${verdict.receipts}`,
    `engine      ${verdict.engine}`,
    ...formatFindings(findings),
  ].join('\n')
}
