import { describe, expect, test } from 'bun:test'
import { formatMetrics, type HostState, metricsOf } from '../../lib/core/host/metrics.ts'

const state: HostState = {
  version: '0.1.0',
  commit: 'abc',
  trail: {
    recordedNumber: 12,
    recordedSize: 345,
    confirmedNumber: 11,
    confirmedAt: '2026-11-24T14:15:30.250000Z',
    pending: 2,
    oldestPendingAt: '2026-11-24T14:15:31.000000Z',
    gate: '45G02',
  },
  limits: { unsealedSeconds: 30, anchorSeconds: 300, anchorWarnSeconds: 120 },
  certificates: { server: '2027-02-22T14:18:00.000000Z', log_client: null },
  crlNextUpdate: '2026-12-24T14:18:00.000000Z',
  verifiedAt: null,
  check: { at: '2026-11-24T14:00:00.000000Z', drift: 3 },
  queuedLines: null,
  units: { 'ztmysql-anchor.timer': true, 'ztmysql-check.timer': false },
}

/** As strict as Prometheus' own reader of the text format is: HELP, TYPE, samples, each family in one piece. */
function parse(text: string): Map<string, { help: string; samples: Map<string, number> }> {
  const families = new Map<string, { help: string; samples: Map<string, number> }>()
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  const lines = text.slice(0, -1).split('\n')
  let current: { name: string; samples: Map<string, number> } | undefined
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i] ?? ''
    const [, named, help] = /^# HELP ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line) ?? []
    if (named !== undefined && help !== undefined) {
      if (families.has(named)) throw new Error(`${named} twice`)
      i += 1
      if (lines[i] !== `# TYPE ${named} gauge`) throw new Error(`${named}: no TYPE after HELP`)
      current = { name: named, samples: new Map() }
      families.set(named, { help, samples: current.samples })
      continue
    }
    const [, name, labels = '', value] =
      /^([a-z_:][a-z0-9_:]*)(\{(?:[a-z_][a-z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)$/.exec(
        line,
      ) ?? []
    if (name === undefined || value === undefined || name !== current?.name)
      throw new Error(`line ${i + 1}: ${line}`)
    if (current.samples.has(labels)) throw new Error(`${name}${labels} twice`)
    current.samples.set(labels, Number(value))
  }
  return families
}

describe('the metrics of a host', () => {
  test('are what Prometheus reads', () => {
    const families = parse(formatMetrics(metricsOf(state)))
    const value = (name: string, labels = '') => families.get(`ztmysql_${name}`)?.samples.get(labels)
    expect(value('build_info', '{version="0.1.0",commit="abc"}')).toBe(1)
    expect(value('up')).toBe(1)
    expect(value('anchor_confirmed_timestamp_seconds')).toBe(Date.parse('2026-11-24T14:15:30.250Z') / 1000)
    expect(value('anchor_confirmed_number')).toBe(11)
    expect(value('anchor_recorded_number')).toBe(12)
    expect(value('tree_size_events')).toBe(345)
    expect(value('unsealed_events')).toBe(2)
    expect(value('unsealed_oldest_timestamp_seconds')).toBe(Date.parse('2026-11-24T14:15:31Z') / 1000)
    expect(value('gate_open')).toBe(0)
    expect(value('gate_closed', '{sqlstate="45G01"}')).toBe(0)
    expect(value('gate_closed', '{sqlstate="45G02"}')).toBe(1)
    expect(value('gate_limit_seconds', '{limit="anchor_warn"}')).toBe(120)
    expect(value('certificate_not_after_timestamp_seconds', '{certificate="server"}')).toBe(
      Date.parse('2027-02-22T14:18:00Z') / 1000,
    )
    expect(value('certificate_not_after_timestamp_seconds', '{certificate="log_client"}')).toBeUndefined()
    expect(value('crl_next_update_timestamp_seconds')).toBe(Date.parse('2026-12-24T14:18:00Z') / 1000)
    expect(value('check_drift_items')).toBe(3)
    expect(value('check_success')).toBe(1)
    expect(value('unit_active', '{unit="ztmysql-anchor.timer"}')).toBe(1)
    expect(value('unit_active', '{unit="ztmysql-check.timer"}')).toBe(0)
    for (const absent of ['verification_timestamp_seconds', 'log_queue_lines'])
      expect([absent, families.has(`ztmysql_${absent}`)]).toEqual([absent, false])
  })

  test('say that the database is down instead of repeating what it said', () => {
    const families = parse(formatMetrics(metricsOf({ ...state, trail: null, limits: null, check: null })))
    expect(families.get('ztmysql_up')?.samples.get('')).toBe(0)
    for (const absent of ['gate_open', 'anchor_confirmed_number', 'check_success', 'check_drift_items'])
      expect([absent, families.has(`ztmysql_${absent}`)]).toEqual([absent, false])
  })

  test('say that drift could not be looked for', () => {
    const families = parse(
      formatMetrics(metricsOf({ ...state, check: { at: '2026-11-24T14:00:00Z', drift: null } })),
    )
    expect(families.get('ztmysql_check_success')?.samples.get('')).toBe(0)
    expect(families.has('ztmysql_check_drift_items')).toBe(false)
  })

  test('have names with their unit, as Prometheus asks', () => {
    for (const { name, help } of metricsOf(state)) {
      expect(name).toMatch(/^ztmysql_[a-z_]+$/)
      if (/timestamp|limit/.test(name)) expect(name).toEndWith('_seconds')
      expect(help).toEndWith('.')
    }
  })
})

describe('the format', () => {
  test('escapes what would end a label or a line', () => {
    const text = formatMetrics([
      { name: 'a', help: 'one\ntwo \\', samples: [{ labels: { b: 'x"y\\z\nw' }, value: 1 }] },
    ])
    expect(text).toBe('# HELP a one\\ntwo \\\\\n# TYPE a gauge\na{b="x\\"y\\\\z\\nw"} 1\n')
    expect(parse(text).size).toBe(1)
  })

  test('refuses what Prometheus would', () => {
    const sample = [{ value: 1 }]
    for (const bad of [
      [{ name: 'a b', help: 'x', samples: sample }],
      [{ name: 'a', help: 'x', samples: [{ value: Number.NaN }] }],
      [{ name: 'a', help: 'x', samples: [{ labels: { 'b-c': 'x' }, value: 1 }] }],
      [{ name: 'a', help: 'x', samples: [{ labels: { __b: 'x' }, value: 1 }] }],
      [
        { name: 'a', help: 'x', samples: sample },
        { name: 'a', help: 'y', samples: sample },
      ],
    ])
      expect(() => formatMetrics(bad)).toThrow(/^metric a/)
  })
})
