/** JUnit XML: a suite for each layer, a case for each control. Times are those of collection, durations unknown. */
import type { Report, ReportControl } from './schema.ts'
import { byLayer, line } from './words.ts'

/** XML 1.0 has no spelling at all for most control characters, lone surrogates, U+FFFE and U+FFFF. */
export function xml(text: string): string {
  return line(text.toWellFormed())
    .replace(/[\uFFFE\uFFFF]/g, '\uFFFD')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

const attributes = (values: Record<string, string | number>): string =>
  Object.entries(values)
    .map(([name, value]) => ` ${name}="${xml(String(value))}"`)
    .join('')

type Result = 'passed' | 'failures' | 'errors' | 'skipped'

/** Whoever reads JUnit knows no profiles: a control that was not asked for is skipped, one that falls short fails. */
function resultOf({ verdict, met }: ReportControl): Result {
  if (verdict === 'pass') return 'passed'
  if (met) return 'skipped'
  return verdict === 'error' ? 'errors' : 'failures'
}

function testCase(control: ReportControl): string {
  const head = `    <testcase${attributes({ classname: `zero-trust-mysql.${control.layer}`, name: `${control.id}: ${control.claim}`, time: 0 })}`
  const text = [control.reason, control.hint === null ? '' : `hint: ${control.hint}`].filter(Boolean)
  const message = attributes({ message: `${control.verdict}: ${control.reason}` })
  const body = text.map(xml).join('\n')
  switch (resultOf(control)) {
    case 'passed':
      return `${head}/>`
    case 'skipped':
      return `${head}>\n      <skipped${message}/>\n    </testcase>`
    case 'errors':
      return `${head}>\n      <error${message} type="${control.verdict}">${body}</error>\n    </testcase>`
    case 'failures':
      return `${head}>\n      <failure${message} type="${control.verdict}">${body}</failure>\n    </testcase>`
  }
}

export function formatJunit(report: Report): string {
  const counts = (controls: readonly ReportControl[]) => {
    const of = (kind: Result): number => controls.filter(control => resultOf(control) === kind).length
    return {
      tests: controls.length,
      failures: of('failures'),
      errors: of('errors'),
      skipped: of('skipped'),
      time: 0,
    }
  }
  const unknown = report.unknownObservations.length
  const total = counts(report.controls)
  const all = { ...total, tests: total.tests + unknown, errors: total.errors + unknown }
  const timestamp = report.judged.at.replace(/\.\d+Z$/, '')
  const suites = byLayer(report.controls).map(([layer, controls]) =>
    [
      `  <testsuite${attributes({ name: layer, ...counts(controls), timestamp, hostname: report.bundle.host })}>`,
      ...controls.map(testCase),
      '  </testsuite>',
    ].join('\n'),
  )
  const strangers =
    unknown === 0
      ? []
      : [
          `  <testsuite${attributes({ name: 'unknown', tests: unknown, failures: 0, errors: unknown, skipped: 0, time: 0, timestamp, hostname: report.bundle.host })}>`,
          ...report.unknownObservations.map(
            id =>
              `    <testcase${attributes({ classname: 'zero-trust-mysql.unknown', name: id, time: 0 })}><error message="no control of this release looks at it"/></testcase>`,
          ),
          '  </testsuite>',
        ]
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: `proof_suite ${report.bundle.origin}`, ...all })}>`,
    ...suites,
    ...strangers,
    '</testsuites>',
    '',
  ].join('\n')
}
