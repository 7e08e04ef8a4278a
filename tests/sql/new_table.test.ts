import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { type Bytes, newUuid, random, toBase64, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { openRow, type RowKeys, sealRow } from '../../lib/core/envelope/row.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import { columnsOf, type Row, type TableDefinition, tableSchema } from '../../lib/core/tables.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { applySchema, planSchema } from '../../lib/edge/schema.ts'
import { definitions } from '../../sql/index.ts'
import { type Deployment, deployment, erasedRow, type TestTenant, userRow } from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

/** A table that no release has: every kind of column, a parent, an index, every standard procedure. */
const notes: TableDefinition = tableSchema.parse({
  table: 'notes',
  scheme: 'notes/1',
  writer: 'client',
  key: { name: 'note', type: 'text', max: 20 },
  states: ['live', 'erased'],
  sealed: true,
  columns: [
    { kind: 'clear', name: 'user_id', type: 'uuid', immutable: true },
    { kind: 'clear', name: 'priority', type: 'int', optional: true },
    { kind: 'clear', name: 'tag', type: 'text', max: 300, optional: true },
    { kind: 'sealed', name: 'body', max: 2000 },
    { kind: 'blind', name: 'body_bidx', of: 'body', normalise: 'name' },
  ],
  parents: [{ column: 'user_id', table: 'users' }],
  indexes: [['body_bidx'], ['user_id', 'priority']],
  view: 'app_notes',
  procedures: {
    create: 'app_create_note',
    createMany: 'app_create_notes',
    update: 'app_update_note',
    erase: 'app_erase_note',
  },
})

let d: Deployment
let tenant: TestTenant
let app: Connection
let owner: Row
let keys: RowKeys

beforeAll(async () => {
  d = await deployment({ definitions: [...definitions, notes] })
  tenant = d.tenants[0]
  app = await d.connect(tenant.account)
  owner = userRow(tenant)
  await d.write(app, prepareWrite(d.define('users'), 'create', owner, tenant.by))
  keys = { dek: random(32), dekId: tenant.dekId, blind: new Map([['body', random(32)]]) }
})
afterAll(() => d[Symbol.asyncDispose]())

const seal = (key: string, version: number, body: string, more: Row = {}): Row =>
  sealRow(
    notes,
    keys,
    { tenant: tenant.id, key, version },
    { user_id: String(owner.id), priority: -5n, tag: null, body, ...more },
  )

describe('a further table is a definition and no new code', () => {
  test('it is written, read, updated and erased, with its digest in the trail', async () => {
    const row = seal('note 1 "é"', 1, 'first')
    const event = parseEvent(utf8(await d.write(app, prepareWrite(notes, 'create', row, tenant.by))))
    if (!isRowEvent(event)) throw new Error('not a row event')
    expect(event).toMatchObject({
      table: 'notes',
      key: 'note 1 "é"',
      scheme: 'notes/1',
      after: toHex(rowDigest(notes, row)),
    })
    const [stored] = await app.query('SELECT * FROM app_notes WHERE note = ?', ['note 1 "é"'])
    const read = rowFromDatabase(notes, stored ?? {})
    expect(openRow(notes, keys.dek, read, { tenant: tenant.id, key: 'note 1 "é"' })).toMatchObject({
      body: 'first',
    })
    const next = seal('note 1 "é"', 2, 'second', { tag: 'x'.repeat(300) })
    const updated = parseEvent(utf8(await d.write(app, prepareWrite(notes, 'update', next, tenant.by))))
    expect(updated).toMatchObject({
      before: toHex(rowDigest(notes, row)),
      after: toHex(rowDigest(notes, next)),
    })
    await refused(
      d.write(
        app,
        prepareWrite(notes, 'update', { ...seal('note 1 "é"', 3, 'x'), user_id: newUuid() }, tenant.by),
      ),
      '1644 45W03',
    )
    const other = userRow(tenant)
    await d.write(app, prepareWrite(d.define('users'), 'create', other, tenant.by))
    await refused(
      d.write(
        app,
        prepareWrite(
          notes,
          'update',
          { ...seal('note 1 "é"', 3, 'x'), user_id: String(other.id) },
          tenant.by,
        ),
      ),
      '1644 45W01',
    )
    const erased = erasedRow(notes, next)
    expect(
      parseEvent(utf8(await d.write(app, prepareWrite(notes, 'erase', erased, tenant.by)))),
    ).toMatchObject({ after: toHex(rowDigest(notes, erased)) })
  })

  test('in batches too, whose parents must be there', async () => {
    const member = (row: Row): object => {
      const { event, signature, signer } = prepareWrite(notes, 'create', row, tenant.by)
      const columns = columnsOf(notes).filter(c => c.name !== 'tenant_id' && c.name !== 'state')
      const values = columns.map(c => {
        const value = row[c.name] ?? null
        if (value instanceof Uint8Array) return [c.name, toBase64(value)]
        return [c.name, typeof value === 'bigint' ? Number(value) : value]
      })
      return {
        ...Object.fromEntries(values),
        evt_id: event,
        evt_sig: toBase64(signature),
        evt_key: toBase64(signer),
      }
    }
    const send = async (rows: Row[]): Promise<string[]> =>
      JSON.parse(
        String((await app.call('app_create_notes', [JSON.stringify(rows.map(member))]))[0]?.[0]?.receipts),
      )
    const rows = Array.from({ length: 20 }, (_, i) =>
      seal(`b${i}`, 1, `body ${i}`, { priority: BigInt(i - 10) }),
    )
    const digests = (await send(rows)).map(r => parseEvent(utf8(r))).map(e => (isRowEvent(e) ? e.after : ''))
    expect(new Set(digests)).toEqual(new Set(rows.map(r => toHex(rowDigest(notes, r)))))
    await refused(send([seal('c1', 1, 'x'), { ...seal('c2', 1, 'x'), user_id: newUuid() }]), '1644 45W03')
    expect(await app.query("SELECT 1 FROM app_notes WHERE note = 'c1'")).toEqual([])
  })

  test('it is covered like the others: no direct access, no delete, no row of a neighbour', async () => {
    await refused(app.query('SELECT * FROM notes'), '1142')
    await refused(d.root.run('DELETE FROM notes'), '1644 45A02')
    await refused(d.root.run("UPDATE notes SET tag = 'x'"), '1644 45A02')
    const neighbour = await d.connect(d.tenants[1].account)
    expect(await neighbour.query('SELECT * FROM app_notes')).toEqual([])
    neighbour.destroy()
    const auditor = await d.connect(d.auditor)
    expect((await auditor.query('SELECT * FROM notes')).length).toBe(21)
    auditor.destroy()
  })

  test('a later form of it is one migration; rows of before verify under their scheme', async () => {
    const second: TableDefinition = tableSchema.parse({
      ...notes,
      scheme: 'notes/2',
      columns: [...notes.columns, { kind: 'clear', name: 'colour', type: 'text', max: 10, optional: true }],
    })
    const sql = 'ALTER TABLE notes ADD COLUMN colour VARCHAR(10) NULL AFTER body_bidx'
    const release = await import('../../sql/index.ts')
    const options = {
      origin: d.origin,
      definitions: [...definitions, second],
      migrations: [...release.migrations, { name: '050_raise_notes_2', sql }],
    }
    const { changes } = await planSchema(d.root, options)
    expect(changes.filter(c => c.item.startsWith('migration')).map(c => c.item)).toEqual([
      'migration notes/2',
      'migration 050_raise_notes_2',
    ])
    await applySchema(d.root, options)
    const [old] = await d.root.query("SELECT * FROM notes WHERE note = 'b3'")
    const [event] = await d.root.query('SELECT payload FROM audit_events WHERE payload LIKE \'%"key":"b3"%\'')
    const parsed = parseEvent(event?.payload as Bytes)
    if (!isRowEvent(parsed)) throw new Error('not a row event')
    expect(parsed.scheme).toBe('notes/1')
    expect(toHex(rowDigest(notes, rowFromDatabase(notes, old ?? {})))).toBe(parsed.after)
    const row = { ...seal('d1', 1, 'later'), colour: 'red' }
    const written = parseEvent(utf8(await d.write(app, prepareWrite(second, 'create', row, tenant.by))))
    expect(written).toMatchObject({ scheme: 'notes/2', after: toHex(rowDigest(second, row)) })
    const recorded = await d.root.query(
      "SELECT payload FROM audit_events WHERE payload LIKE '%050_raise_notes_2%'",
    )
    expect(recorded.length).toBe(1)
    expect(uuidBytes(tenant.id).length).toBe(16)
  })
})
