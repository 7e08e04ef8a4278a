import { describe, expect, test } from 'bun:test'
import { grantsFor } from '../../lib/core/sqlgen/grants.ts'
import { generateObjects } from '../../lib/core/sqlgen/objects.ts'
import { parametersOf } from '../../lib/core/sqlgen/parameters.ts'
import { ident, literal } from '../../lib/core/sqlgen/text.ts'
import { tableSchema } from '../../lib/core/tables.ts'
import { definitions, handwritten, migrations, tableDefinitions } from '../../sql/index.ts'

describe('generated SQL', () => {
  test.each(definitions.map(d => d.table))('of %s is what was reviewed', table => {
    const def = tableDefinitions.get(table)
    if (!def) throw new Error(table)
    const objects = generateObjects(def, tableDefinitions)
    expect(objects.map(o => `-- ${o.kind} ${o.name}\n${o.sql}`).join('\n\n')).toMatchSnapshot()
  })

  test('says nothing that depends on the caller’s settings or leaves what it should not', () => {
    const all = [...handwritten, ...definitions.flatMap(d => generateObjects(d, tableDefinitions))]
    for (const { name, sql } of all) {
      const code = sql.replace(/--.*$/gm, '')
      expect([
        name,
        code.match(
          /\b(?:NOW|CURRENT_TIMESTAMP|UTC_TIMESTAMP|RAND|UUID|GET_LOCK|LAST_INSERT_ID|PREPARE|EXECUTE|CURRENT_USER)\s*\(|AUTO_INCREMENT|CASCADE|DELIMITER/gi,
        ),
      ]).toEqual([name, null])
      // RESIGNAL shows a key's value in SHOW WARNINGS: only where no application calls.
      if (/RESIGNAL/.test(code)) expect(['record_anchor', 'seal_backlog']).toContain(name)
    }
  })

  test('forces views onto indexes that begin with the tenant', () => {
    for (const def of definitions) {
      const [table] = generateObjects(def, tableDefinitions)
      const keys = table?.sql.match(/(?:PRIMARY KEY|KEY `[a-z_]+`) \(([^)]+)\)/g) ?? []
      expect(keys.length).toBe(1 + def.indexes.length)
      for (const key of keys) expect(key).toContain('(`tenant_id`')
    }
  })

  test('refuses names and literals that could end what they stand in', () => {
    for (const name of ['x`', 'X', '', 'a b', "a'", '1a'])
      expect(() => ident(name)).toThrow('not a plain name')
    expect(() => literal('a\\')).toThrow('backslash')
    expect(literal("it's")).toBe("'it''s'")
  })

  test('takes no parent that is not defined and no batch of administrators', () => {
    const users = tableDefinitions.get('accounts')
    const grant = tableDefinitions.get('tenant_grant')
    if (!users || !grant) throw new Error('no definition')
    expect(() => generateObjects(users, new Map())).toThrow('users')
    const many = tableSchema.parse({ ...grant, procedures: { createMany: 'admin_create_grants' } })
    expect(() => generateObjects(many, tableDefinitions)).toThrow('administrators')
  })
})

describe('parameters', () => {
  test('stand in the order of the specification', () => {
    const users = tableDefinitions.get('users')
    const grant = tableDefinitions.get('tenant_grant')
    const tenants = tableDefinitions.get('tenants')
    const keys = tableDefinitions.get('data_keys')
    if (!users || !grant || !tenants || !keys) throw new Error('no definition')
    const names = (...args: Parameters<typeof parametersOf>) =>
      parametersOf(...args)
        .map(p => p.name)
        .join(' ')
    const event = 'evt_id evt_sig evt_key'
    expect(names(users, 'create')).toBe(
      `id version wrap_version role full_name email phone email_bidx phone_bidx field_suite dek_id record_key mac salt ${event}`,
    )
    expect(names(users, 'erase')).toBe(`id version ${event}`)
    expect(names(keys, 'retire')).toBe(`id version salt ${event}`)
    expect(names(grant, 'create')).toBe(`tenant_id account version wrap_version salt ${event}`)
    expect(names(grant, 'retire')).toBe(`tenant_id account version salt ${event}`)
    expect(names(tenants, 'create')).toBe(`tenant_id version wrap_version label salt ${event}`)
    expect(names(tenants, 'retire')).toBe(`tenant_id version salt ${event}`)
  })
})

describe('rights', () => {
  test('of an application are its procedures and views, and no table', () => {
    const rights = grantsFor('app', definitions)
    expect(rights.filter(r => r.startsWith('SELECT'))).toEqual([
      'SELECT ON securedb.app_data_keys',
      'SELECT ON securedb.app_users',
      'SELECT ON securedb.app_accounts',
    ])
    expect(rights.filter(r => r.includes('admin_') || /^SELECT ON securedb\.(?!app_)/.test(r))).toEqual([])
    expect(grantsFor('probe', definitions)).toEqual(rights)
  })

  test('of the anchor are five procedures', () => {
    expect(
      grantsFor('anchor', definitions).map(r => r.replace('EXECUTE ON PROCEDURE securedb.', '')),
    ).toEqual(['seal_due', 'record_anchor', 'confirm_anchor', 'schema_snapshot', 'anchor_status'])
  })
})

test('hand-written files hold one object each, named as the file', async () => {
  const { readdirSync } = await import('node:fs')
  const files = readdirSync(`${import.meta.dirname}/../../sql`).filter(f => f.endsWith('.sql'))
  expect(files.length).toBe(migrations.length + handwritten.length)
  for (const { name } of migrations) expect(files).toContain(`${name}.sql`)
  const made = files.filter(f => f >= '100').map(f => f.replace(/^\d+_create_|\.sql$/g, ''))
  expect(new Set(handwritten.map(o => o.name))).toEqual(new Set(made))
})
