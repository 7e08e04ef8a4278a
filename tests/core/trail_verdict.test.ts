import { describe, expect, test } from 'bun:test'
import { linkHash } from '../../lib/core/audit/chain.ts'
import { type Event, formatEvent, parseEvent, type RowEvent } from '../../lib/core/audit/event.ts'
import type { TrailEvent } from '../../lib/core/audit/source.ts'
import type { Verdict } from '../../lib/core/audit/trail_verdict.ts'
import { verdictJson } from '../../lib/core/audit/verdict_text.ts'
import { fromUtf8, newUuid, random, utf8 } from '../../lib/core/bytes.ts'
import type { Row, TableDefinition } from '../../lib/core/tables.ts'
import { honestTrail, makeWriter, notesTable, type TrailBuilder } from '../support/trail.ts'

const failures = (verdict: Verdict): string[] =>
  verdict.findings.kept.filter(f => f.severity === 'fail').map(f => `${f.code} ${f.where}`)
const codes = (verdict: Verdict): string[] => [...new Set(failures(verdict).map(f => f.split(' ')[0] ?? ''))]

const at = (trail: TrailBuilder, seq: number): TrailEvent => {
  const event = trail.events[seq]
  if (!event) throw new Error(`no event ${seq}`)
  return event
}
const rowOf = (trail: TrailBuilder, n: number): Row => {
  const row = [...trail.rows.values()][n]
  if (!row) throw new Error(`no row ${n}`)
  return row
}
/** What root does who knows the format: rewrites event `seq` and every link after it. */
function rewriteFrom(trail: TrailBuilder, seq: number, change: (text: string) => string): void {
  let prev = at(trail, seq).prev
  for (let i = seq; i < trail.events.length; i++) {
    const old = at(trail, i)
    const payload = i === seq ? utf8(change(fromUtf8(old.payload, 'payload'))) : old.payload
    const curr = linkHash(prev, payload)
    trail.events[i] = { ...old, prev, payload, curr }
    prev = curr
  }
}

describe('an honest trail', () => {
  test('holds, and says what is pending', async () => {
    const trail = honestTrail()
    const verdict = await trail.verify()
    expect(failures(verdict)).toEqual([])
    expect(verdict).toMatchObject({ ok: true, events: 7, anchors: 2, anchored: 6, rows: 3, receipts: 5 })
    expect(verdict.findings.kept.map(f => f.code)).toEqual(['RECEIPT_PENDING'])
    expect(verdict.signaturesChecked).toBe(3)
  })

  test('holds with all signatures, in several passes, and with a queued event', async () => {
    const trail = honestTrail()
    expect((await trail.verify({ signatures: 'all', rowsPerPass: 1 })).signaturesChecked).toBe(5)
    const queued = trail.events.pop()
    const head = queued?.prev
    const source = trail.source({
      ...(head ? { head } : {}),
      async *pending() {
        if (queued) yield [queued.payload]
      },
    })
    expect(failures(await trail.verify({}, source))).toEqual([])
  })

  test('is judged without rows, by its own last events', async () => {
    const trail = honestTrail()
    const { rows: _rows, ...source } = trail.source()
    expect((await trail.verify({}, source)).signaturesChecked).toBe(3)
  })
})

describe('the chain', () => {
  for (const column of ['prev', 'payload', 'curr'] as const)
    test(`shows one changed byte of ${column} in any event`, async () => {
      for (let seq = 0; seq < 7; seq++) {
        const trail = honestTrail()
        const bytes = at(trail, seq)[column].slice()
        bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1
        trail.events[seq] = { ...at(trail, seq), [column]: bytes }
        const found = failures(await trail.verify())
        expect(found.some(f => f.endsWith(` event ${seq}`))).toBe(true)
      }
    })

  test('shows columns that do not say what the event says', async () => {
    const trail = honestTrail()
    trail.events[1] = { ...at(trail, 1), columns: { tenant: random(16), event: random(16) } }
    expect(failures(await trail.verify())).toEqual(['EVENT_COLUMNS event 1'])
  })

  test('shows a deleted, a swapped and a repeated event', async () => {
    const deleted = honestTrail()
    deleted.events.splice(3, 1)
    expect(codes(await deleted.verify())).toContain('SEQ_GAP')
    const swapped = honestTrail()
    swapped.events.splice(3, 2, { ...at(swapped, 4), seq: 3 }, { ...at(swapped, 3), seq: 4 })
    expect(codes(await swapped.verify())).toContain('CHAIN_BREAK')
    const repeated = honestTrail()
    repeated.events.splice(3, 0, at(repeated, 3))
    expect(codes(await repeated.verify())).toContain('SEQ_GAP')
  })

  test('shows a self-consistent rewrite by the anchors', async () => {
    const trail = honestTrail()
    rewriteFrom(trail, 1, text => text.replace('app_user@127.0.0.1', 'app_user@127.0.0.2'))
    const found = failures(await trail.verify({ receipts: [] }, trail.source({ head: at(trail, 6).curr })))
    expect(found).toContain('ANCHOR_FORK anchor 1')
    expect(found).toContain('ANCHOR_EVENT anchor 1')
  })

  test('shows a tail cut behind an anchor, and after the last one by the receipts', async () => {
    const behind = honestTrail()
    behind.events.splice(5)
    const cut = behind.source({ head: at(behind, 4).curr })
    expect(codes(await behind.verify({}, cut))).toContain('ANCHOR_BEYOND')
    const after = honestTrail()
    after.events.splice(6)
    const old = Date.UTC(2026, 0, 2)
    expect(codes(await after.verify({ now: old }, after.source({ head: at(after, 5).curr })))).toContain(
      'RECEIPT_MISSING',
    )
  })

  test('shows a head that is not its own, another log, and a clock set back', async () => {
    const trail = honestTrail()
    expect(failures(await trail.verify({}, trail.source({ head: random(32) })))).toEqual([
      'HEAD_MISMATCH chain head',
    ])
    const other = trail.source({ origin: 'ztmysql.local/ffffffffffffffff' })
    expect(failures(await trail.verify({}, other))).toEqual(['ORIGIN_MISMATCH trail'])
    trail.seconds -= 3600
    trail.write(trail.row('late'))
    expect(failures(await trail.verify())).toEqual(['TIME_BACKWARDS event 7'])
  })

  test('shows an event that the server cannot have written', async () => {
    const trail = honestTrail()
    rewriteFrom(trail, 6, text => text.replace('"v":1', '"v": 1'))
    const found = await trail.verify({}, trail.source({ head: at(trail, 6).curr }))
    expect(failures(found)).toContain('EVENT_MALFORMED event 6')
  })
})

test('the wrong genesis, and a write sent by another account than signed it', async () => {
  const trail = honestTrail()
  const { payload } = at(trail, 2)
  const anchor = parseEvent(payload)
  for (const origin of [trail.origin, 'ztmysql.local/ffffffffffffffff']) {
    const bent = honestTrail()
    bent.append({ ...anchor, id: newUuid(), action: 'genesis', data: { origin } } as Event)
    expect(failures(await bent.verify())).toEqual(['EVENT_MALFORMED event 7'])
  }
  trail.write(trail.row('n'), trail.app, event => ({ ...event, actor: 'app_other@127.0.0.1' }))
  expect(failures(await trail.verify())).toEqual(['SIG_NOT_ALLOWED event 7'])
})

describe('the anchors', () => {
  test('missing, none, of another key, out of their chain', async () => {
    const trail = honestTrail()
    trail.anchor()
    const [one, two, three] = trail.anchors
    if (!one || !two || !three) throw new Error('three anchors expected')
    expect(codes(await trail.verify({ anchors: [] }))).toEqual(['ANCHOR_NONE'])
    expect(codes(await trail.verify({ anchors: [one, three] }))).toContain('ANCHOR_MISSING')
    expect(codes(await trail.verify({ anchors: [two, three] }))).toContain('ANCHOR_MISSING')
    const young = await trail.verify({ anchors: [one, two] })
    expect(young.ok).toBe(true)
    expect(young.findings.counts.get('ANCHOR_PENDING')).toBe(1)
    const foreign = honestTrail()
    const swapped = foreign.anchors[1]
    if (!swapped) throw new Error('an anchor expected')
    expect(codes(await trail.verify({ anchors: [one, swapped, three] }))).toEqual(
      expect.arrayContaining(['ANCHOR_CHAIN', 'ANCHOR_SIGNATURE']),
    )
    expect(
      codes(await trail.verify({ anchors: [{ ...one, name: 'anchor-0000000009.json' }, two, three] })),
    ).toContain('ANCHOR_FORMAT')
  })

  test('a gap in the heartbeat names the first event after it; late and early clocks show', async () => {
    const trail = honestTrail()
    trail.seconds += 900
    trail.anchor()
    const verdict = await trail.verify()
    expect(failures(verdict)).toEqual(['HEARTBEAT_GAP anchor 3'])
    expect(verdict.findings.kept.find(f => f.code === 'HEARTBEAT_GAP')?.what).toContain('event 6')
    const late = honestTrail()
    late.anchors[1] = {
      ...(late.anchors[1] ?? { name: '', bytes: random(1) }),
      receivedAt: Date.UTC(2026, 0, 2),
    }
    expect(codes(await late.verify())).toEqual(expect.arrayContaining(['ANCHOR_LATE', 'HEARTBEAT_GAP']))
    const ahead = honestTrail()
    ahead.anchors[1] = {
      ...(ahead.anchors[1] ?? { name: '', bytes: random(1) }),
      receivedAt: Date.UTC(2025, 11, 31),
    }
    expect(codes(await ahead.verify())).toContain('CLOCK_AHEAD')
  })

  test('a schema that is not the golden one', async () => {
    const trail = honestTrail()
    trail.anchor('cd'.repeat(32))
    expect(failures(await trail.verify())).toEqual(['SCHEMA_NOT_GOLDEN anchor 3'])
  })

  test('a schema of an older release, but not before the upgrade to a newer', async () => {
    const [old, now] = ['cd', 'ab'].map(byte => byte.repeat(32)) as [string, string]
    const trail = honestTrail()
    trail.anchor(old)
    expect(failures(await trail.verify({ golden: [old, now] }))).toEqual(['SCHEMA_NOT_GOLDEN anchor 3'])
    expect(failures(await trail.verify({ golden: [now, old] }))).toEqual([])
  })

  test('later ones are left out on request: the export is older', async () => {
    const trail = honestTrail()
    const old = { ...trail.source({ head: at(trail, 6).curr }), size: 7 }
    const events = trail.events.slice(0, 7)
    trail.anchor()
    const source = {
      ...old,
      async *events() {
        yield events
      },
    }
    expect(codes(await trail.verify({}, source))).toEqual(['ANCHOR_BEYOND'])
    expect((await trail.verify({ asOf: 2 }, source)).ok).toBe(true)
  })
})

describe('the state', () => {
  test('an edited, an inserted, a deleted row', async () => {
    const trail = honestTrail()
    const row = rowOf(trail, 0)
    trail.rows.set(String(row.id), { ...row, text: 'changed' })
    expect(failures(await trail.verify())).toEqual([`ROW_EDITED notes ${row.id}`])
    const inserted = honestTrail()
    const extra = inserted.row('x')
    inserted.rows.set('x', extra)
    expect(failures(await inserted.verify())).toEqual([`ROW_WITHOUT_EVENT notes ${extra.id}`])
    const deleted = honestTrail()
    const gone = rowOf(deleted, 1)
    deleted.rows.delete(String(gone.id))
    for (const rowsPerPass of [1, 1000])
      expect(failures(await deleted.verify({ rowsPerPass }))).toEqual([`ROW_MISSING notes ${gone.id}`])
  })

  test('a whole older row put back', async () => {
    const trail = honestTrail()
    const id = String(rowOf(trail, 0).id)
    const older = trail.row('a')
    trail.rows.set(id, { ...older, id })
    expect(codes(await trail.verify())).toEqual(['ROW_EDITED'])
  })

  test('a version skipped, and a row edited between two events', async () => {
    const trail = honestTrail()
    const row = rowOf(trail, 0)
    trail.write({ ...trail.row('skip', row), version: 9 })
    expect(codes(await trail.verify())).toEqual(['VERSION_GAP'])
    const between = honestTrail()
    const old = rowOf(between, 0)
    between.write(between.row('new', old), between.app, event => ({ ...event, before: 'ee'.repeat(32) }))
    expect(failures(await between.verify())).toEqual(['BEFORE_MISMATCH event 7'])
  })
})

describe('a table whose scheme was raised', () => {
  const raised: TableDefinition = {
    ...notesTable,
    scheme: 'notes/2',
    columns: [
      ...notesTable.columns,
      { kind: 'clear', name: 'colour', type: 'text', max: 20, optional: true, immutable: false },
    ],
    history: [{ scheme: 'notes/1', columns: notesTable.columns }],
  }
  const verify = async (trail: TrailBuilder) =>
    failures(await trail.verify({ definitions: new Map([['notes', raised]]) }))

  test('keeps verifying rows under the scheme of their last event', async () => {
    const trail = honestTrail()
    for (const row of trail.rows.values()) row.colour = null
    expect(await verify(trail)).toEqual([])
    const row = rowOf(trail, 0)
    trail.table = raised
    trail.write({ ...trail.row('red', row), colour: 'red' })
    expect(await verify(trail)).toEqual([])
  })

  test('shows a new column that was filled in a row of the old scheme', async () => {
    const trail = honestTrail()
    for (const row of trail.rows.values()) row.colour = null
    const row = rowOf(trail, 1)
    row.colour = 'red'
    expect(await verify(trail)).toEqual([`ROW_EDITED notes ${row.id}`])
  })

  test('shows a scheme that the release does not know', async () => {
    const trail = honestTrail()
    trail.table = { ...raised, scheme: 'notes/3' }
    for (const row of trail.rows.values()) row.colour = null
    const row: Row = { ...trail.row('n'), colour: null }
    trail.write(row)
    expect(await verify(trail)).toEqual([`ROW_EDITED notes ${row.id}`])
  })
})

describe('signatures', () => {
  const bend = async (
    change: (event: RowEvent, trail: TrailBuilder) => RowEvent,
    options: Parameters<TrailBuilder['verify']>[0] = {},
  ): Promise<string[]> => {
    const trail = honestTrail()
    trail.write(trail.row('n'), trail.app, event => change(event, trail))
    return failures(await trail.verify(options))
  }

  test('a forged event with a matching row', async () => {
    expect(await bend(event => ({ ...event, sig: null, signer: null }))).toEqual(['SIG_MISSING event 7'])
    const stranger = makeWriter('stranger', 'app', null)
    expect(await bend(event => ({ ...event, signer: stranger.certificate.signer }))).toEqual([
      'SIG_UNKNOWN_SIGNER event 7',
    ])
    expect(await bend((event, trail) => ({ ...event, signer: trail.other.certificate.signer }))).toEqual([
      'SIG_NOT_ALLOWED event 7',
    ])
    expect(await bend((event, trail) => ({ ...event, signer: trail.admin.certificate.signer }))).toEqual([
      'SIG_NOT_ALLOWED event 7',
    ])
  })

  test('a valid signature from elsewhere', async () => {
    const borrowed = (event: RowEvent, trail: TrailBuilder): RowEvent => {
      const first = parseEvent(at(trail, 0).payload)
      return { ...event, sig: first.sig }
    }
    expect(await bend(borrowed)).toEqual(['SIG_BAD event 7'])
    expect(await bend(event => ({ ...event, id: newUuid() }))).toEqual(['SIG_BAD event 7'])
  })

  test('one that is not the last shows when all are asked for', async () => {
    const trail = honestTrail()
    const row = trail.row('n')
    trail.write(row, trail.app, event => ({ ...event, id: newUuid() }))
    trail.write(trail.row('n2', row))
    expect(failures(await trail.verify())).toEqual([])
    expect(failures(await trail.verify({ signatures: 'all' }))).toEqual(['SIG_BAD event 7'])
  })

  test('a certificate revoked or expired before the anchor', async () => {
    const trail = honestTrail()
    const revoked = {
      ...trail.app.certificate,
      revokedAt: new Date(Date.UTC(2026, 0, 1, 0, 1, 30)).toISOString(),
    }
    Object.assign(trail.app, { certificate: revoked })
    const found = failures(await trail.verify({ signatures: 'all' }))
    expect(found).toEqual([
      'SIG_NOT_IN_FORCE event 3',
      'SIG_NOT_IN_FORCE event 4',
      'SIG_NOT_IN_FORCE event 6',
    ])
  })

  test('a queued event without a signature that may make it', async () => {
    const trail = honestTrail()
    const row = trail.row('q')
    trail.write(row, trail.app, event => ({ ...event, sig: null, signer: null }))
    const queued = trail.events.pop()
    const source = trail.source({
      ...(queued ? { head: queued.prev } : {}),
      async *pending() {
        if (queued) yield [queued.payload]
      },
    })
    expect(codes(await trail.verify({}, source))).toEqual(['SIG_MISSING'])
  })
})

test('a hostile trail cannot fill the memory with findings, nor the terminal with escapes', async () => {
  const trail = honestTrail()
  for (let i = 0; i < 1200; i++) trail.events.push({ ...at(trail, 6), payload: utf8('{"\u001b[31m') })
  const verdict = await trail.verify()
  const malformed = verdict.findings.kept.filter(({ code }) => code === 'EVENT_MALFORMED')
  expect([malformed.length, verdict.findings.counts.get('EVENT_MALFORMED')]).toEqual([250, 1200])
  expect(verdict.findings.kept.length).toBeLessThan(250 * 5)
  expect(verdict.findings.count('fail')).toBeGreaterThan(1200)
  expect(JSON.stringify(verdictJson(verdict))).not.toContain('\u001b')
})

test('an event re-prints to its own bytes', () => {
  const { payload } = at(honestTrail(), 0)
  expect(formatEvent(parseEvent(payload))).toEqual(payload)
})
