import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { parseEvent } from '../../lib/core/audit/event.ts'
import { schemaFingerprint } from '../../lib/core/audit/schema.ts'
import { type Bytes, random, toHex } from '../../lib/core/bytes.ts'
import { grantsFor } from '../../lib/core/sqlgen/grants.ts'
import { anchorDatabase } from '../../lib/edge/anchor_database.ts'
import { readGolden } from '../../lib/edge/golden.ts'
import { type Connection, openMysql } from '../../lib/edge/mysql.ts'
import { applySchema, planSchema, schemaSnapshot } from '../../lib/edge/schema.ts'
import { definitions, golden } from '../../sql/index.ts'
import { freshServer, type Mysqld } from '../support/mysql.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(120_000)

const origin = `ztmysql.local/${toHex(random(8))}`

let server: Mysqld
let root: Connection

beforeAll(async () => {
  server = await freshServer({
    options: ['transaction_isolation=READ-COMMITTED', 'default_time_zone=+00:00'],
  })
  root = await openMysql({ socket: server.socket, user: 'root' })
})
afterAll(async () => {
  root.destroy()
  await server.stop()
})

const items = async (connection = root): Promise<string[]> =>
  (await planSchema(connection, { origin })).changes.map(c => c.item)

const fingerprint = async (): Promise<string> => toHex(schemaFingerprint(await schemaSnapshot(root)))

describe('the schema', () => {
  test('applied to an empty server is the golden one; applied again it changes nothing', async () => {
    const planned = await items()
    expect(planned.length).toBeGreaterThan(50)
    expect(
      await root.query("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'securedb'"),
    ).toEqual([])
    const changes = await applySchema(root, { origin })
    expect(changes.map(c => c.item)).toEqual(planned)
    expect(await readGolden(root)).toEqual(golden)
    const [before] = await root.query('SELECT size FROM chain_head')
    expect(await applySchema(root, { origin })).toEqual([])
    await root.call('seal_due')
    expect((await root.query('SELECT size FROM chain_head'))[0]).toEqual(before)
  })

  test('writes genesis, every migration and itself into the trail', async () => {
    const rows = await root.query('SELECT payload FROM audit_events ORDER BY seq')
    const events = rows.map(r => parseEvent(r.payload as Bytes))
    expect(events[0]).toMatchObject({ action: 'genesis', data: { origin } })
    const applied = await root.query("SELECT name, sha256 FROM migrations WHERE name NOT LIKE 'schema/%'")
    const recorded = events.flatMap(e => (e.action === 'migration' ? [e.data] : []))
    expect(new Set(recorded.map(m => `${m.name} ${m.sha256}`))).toEqual(
      new Set(applied.map(m => `${m.name} ${toHex(m.sha256 as Bytes)}`)),
    )
    expect(events.at(-1)).toMatchObject({ action: 'schema', data: { fingerprint: golden.fingerprint } })
  })

  test('is printed sorted by the bytes of kind and name, every object once', async () => {
    const objects = await schemaSnapshot(root)
    const keys = objects.map(o => `${o.kind}\0${o.name}`)
    expect(new Set(keys).size).toBe(keys.length)
    expect(keys).toEqual(keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
    const kinds = new Set(objects.map(o => o.kind))
    for (const kind of [
      'table',
      'view',
      'procedure',
      'function',
      'trigger',
      'event',
      'grant',
      'account',
      'server.variable',
      'server.account',
      'server.grant',
      'server.schema',
      'server.limit',
    ])
      expect(kinds).toContain(kind)
    expect(objects.filter(o => o.definition.includes('$A$005$'))).toEqual([]) // no password's hash
  })

  test.each<[string, string[], string[]]>([
    ['a trigger that is gone', ['DROP TRIGGER users_created'], ['trigger users_created']],
    [
      'a trigger of another body',
      [
        'DROP TRIGGER audit_events_no_delete',
        'CREATE DEFINER=api_definer@localhost TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events FOR EACH ROW SET @x = 1',
      ],
      ['trigger audit_events_no_delete'],
    ],
    [
      'one trigger more',
      ['CREATE TRIGGER extra BEFORE INSERT ON users FOR EACH ROW SET @x = 1'],
      ['trigger extra'],
    ],
    [
      'a procedure of another owner',
      ['DROP PROCEDURE app_erase_user', 'CREATE PROCEDURE app_erase_user() SELECT 1'],
      ['procedure app_erase_user'],
    ],
    ['one procedure more', ['CREATE PROCEDURE backdoor() SELECT 1'], ['procedure backdoor']],
    [
      'a procedure that runs as its caller',
      ['ALTER PROCEDURE seal_due SQL SECURITY INVOKER'],
      ['procedure seal_due'],
    ],
    [
      'a view that shows all',
      ['CREATE OR REPLACE VIEW app_users AS SELECT * FROM users'],
      ['view app_users'],
    ],
    ['an event that is off', ['ALTER EVENT seal_events DISABLE'], ['event seal_events']],
    [
      'an event of another owner',
      ['ALTER DEFINER=root@localhost EVENT seal_events ON SCHEDULE EVERY 1 SECOND'],
      ['event seal_events'],
    ],
    [
      'an owner who can log in',
      ["ALTER USER api_definer@localhost IDENTIFIED BY 'Xx-1' ACCOUNT UNLOCK"],
      ['account api_definer'],
    ],
    [
      'an owner with more rights',
      [
        'GRANT DELETE ON securedb.users TO api_definer@localhost',
        'GRANT SUPER ON *.* TO api_definer@localhost',
      ],
      ['grant to api_definer', 'grant to api_definer'],
    ],
    [
      'an owner with fewer rights',
      ['REVOKE TRIGGER ON securedb.* FROM api_definer@localhost'],
      ['grant to api_definer'],
    ],
  ])('shows %s, in plan and fingerprint, and puts it right', async (_, sabotage, expected) => {
    for (const statement of sabotage) await root.run(statement)
    expect(await items()).toEqual(expected)
    expect(await fingerprint()).not.toBe(golden.fingerprint)
    await applySchema(root, { origin })
    expect(await items()).toEqual([])
    expect(await fingerprint()).toBe(golden.fingerprint)
  })

  test.each([
    ['a column more', 'ALTER TABLE users ADD extra INT', 'ALTER TABLE users DROP extra'],
    [
      'an index that does not begin with the tenant',
      'CREATE INDEX extra ON users (role)',
      'DROP INDEX extra ON users',
    ],
    [
      'an invisible index',
      'ALTER TABLE users ALTER INDEX email_bidx INVISIBLE',
      'ALTER TABLE users ALTER INDEX email_bidx VISIBLE',
    ],
    ['a table more', 'CREATE TABLE extra (x INT)', 'DROP TABLE extra'],
    [
      'another default',
      "ALTER TABLE users ALTER `role` SET DEFAULT 'boss'",
      'ALTER TABLE users MODIFY `role` VARCHAR(32) NULL',
    ],
  ])('shows %s in its fingerprint, and stops at it', async (_, sabotage, restore) => {
    await root.run(sabotage)
    expect(await fingerprint()).not.toBe(golden.fingerprint)
    const plan = await planSchema(root, { origin })
    expect(plan.changes).toEqual([])
    expect(plan.findings.length).toBe(1)
    await expect(applySchema(root, { origin })).rejects.toMatchObject({ code: 'DRIFT' })
    await root.run(restore)
    expect(await fingerprint()).toBe(golden.fingerprint)
  })

  test('has no fingerprint while it is changed, so that no anchor signs one of no release', async () => {
    await root.run('DROP TRIGGER users_created')
    await root.run("CREATE USER 'an'@'localhost' IDENTIFIED WITH auth_socket")
    await root.run("GRANT EXECUTE ON PROCEDURE schema_snapshot TO 'an'@'localhost'")
    const reader = await openMysql({ socket: server.socket, user: 'root', database: 'securedb' })
    await reader.run('LOCK TABLES users READ') // root's sessions are not ended: the apply waits for this one
    const applied = applySchema(root, { origin })
    const other = await openMysql({ socket: server.socket, user: 'root', database: 'securedb' })
    const waits =
      "SELECT 1 FROM performance_schema.metadata_locks WHERE OBJECT_NAME = 'users' AND LOCK_STATUS = 'PENDING'"
    while ((await other.query(waits)).length === 0) await Bun.sleep(10)
    await refused(other.call('schema_snapshot'), '1305')
    const asked = anchorDatabase(other).fingerprint() // the anchor's own way to ask waits it out
    await reader.run('UNLOCK TABLES')
    await applied
    expect(toHex(await asked)).toBe(golden.fingerprint)
    expect(await fingerprint()).toBe(golden.fingerprint)
    const [granted] = await other.query("SELECT Proc_priv FROM mysql.procs_priv WHERE User = 'an'")
    expect(granted).toEqual({ Proc_priv: 'Execute' })
    await other.run("DROP USER 'an'@'localhost'")
    for (const connection of [reader, other]) connection.destroy()
  })

  test('that was left without one by an apply that was killed is whole after the next', async () => {
    await root.run('DROP PROCEDURE schema_snapshot')
    expect(await items()).toEqual(['procedure schema_snapshot'])
    await applySchema(root, { origin })
    expect(await fingerprint()).toBe(golden.fingerprint)
  })

  test('shows accounts, rights and backdoors elsewhere beside it', async () => {
    const server = async () =>
      new Map((await schemaSnapshot(root)).map(o => [`${o.kind} ${o.name}`, o.definition]))
    await root.run("CREATE USER extra@localhost IDENTIFIED BY 'Xx-1' REQUIRE X509")
    await root.run('GRANT UPDATE ON securedb.users TO extra@localhost')
    await root.run('GRANT EXECUTE ON PROCEDURE securedb.seal_due TO extra@localhost')
    await root.run('CREATE DATABASE elsewhere')
    await root.run('CREATE EVENT elsewhere.backdoor ON SCHEDULE EVERY 1 DAY DO SELECT 1')
    const found = await server()
    expect(found.get("server.account 'extra'@'localhost'")).toContain('require=X509')
    expect(found.get("server.grant 'extra'@'localhost'")).toBe(
      'EXECUTE ON PROCEDURE securedb.seal_due\nUPDATE ON securedb.users',
    )
    expect(found.has('server.event elsewhere.backdoor')).toBe(true)
    expect(found.has('server.schema elsewhere')).toBe(true)
    await root.run('DROP USER extra@localhost')
    await root.run('DROP DATABASE elsewhere')
    expect(await fingerprint()).toBe(golden.fingerprint)
  })

  test('leaves the rights of accounts on what it replaces', async () => {
    await root.run("CREATE USER someone@localhost IDENTIFIED BY 'Xx-1'")
    const rights = grantsFor('app', definitions)
    for (const right of rights) await root.run(`GRANT ${right} TO someone@localhost`)
    const before = await root.query('SHOW GRANTS FOR someone@localhost')
    await root.run('DROP VIEW app_users')
    await root.run('ALTER PROCEDURE app_erase_user SQL SECURITY INVOKER')
    await root.run("ALTER FUNCTION current_tenant COMMENT 'x'")
    await applySchema(root, { origin })
    expect(await root.query('SHOW GRANTS FOR someone@localhost')).toEqual(before)
    await root.run('DROP USER someone@localhost')
  })

  test('is upgraded past a session that idles in a transaction on its tables', async () => {
    await root.run("CREATE USER idler@localhost IDENTIFIED BY 'Xx-1'")
    for (const right of grantsFor('auditor', definitions)) await root.run(`GRANT ${right} TO idler@localhost`)
    await root.run('DROP TRIGGER users_no_delete')
    const idler = await openMysql({ socket: server.socket, user: 'idler', password: 'Xx-1' })
    await idler.run('START TRANSACTION')
    await idler.query('SELECT COUNT(*) FROM securedb.users')
    await applySchema(root, { origin })
    expect(await items()).toEqual([])
    await expect(idler.query('SELECT 1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
    await root.run('DROP USER idler@localhost')
  })

  test('stops where an applied migration was changed', async () => {
    await root.run("UPDATE migrations SET sha256 = RANDOM_BYTES(32) WHERE name = 'users/1'")
    await expect(planSchema(root, { origin })).rejects.toMatchObject({ code: 'REFUSED' })
    await expect(applySchema(root, { origin })).rejects.toMatchObject({ code: 'REFUSED' })
    const made = (await import('../../lib/core/sqlgen/columns.ts')).createTable
    const def = definitions.find(d => d.table === 'users')
    if (!def) throw new Error('no users')
    const digest = new Bun.CryptoHasher('sha256').update(made(def)).digest()
    await root.run("UPDATE migrations SET sha256 = ? WHERE name = 'users/1'", [digest])
    expect(await items()).toEqual([])
  })

  test.each(['999_create_future', 'schema/99.0.0', 'future/1'])('stops at a newer schema: %s', async name => {
    await root.run('INSERT INTO migrations VALUES (?, RANDOM_BYTES(32), UTC_TIMESTAMP(6))', [name])
    await expect(applySchema(root, { origin })).rejects.toMatchObject({ code: 'NEWER_FORMAT' })
    await root.run('DELETE FROM migrations WHERE name = ?', [name])
    expect(await items()).toEqual([])
  })

  test('stops at another log’s database, and at an origin that is none', async () => {
    await expect(applySchema(root, { origin: 'ztmysql.local/0000000000000001' })).rejects.toMatchObject({
      code: 'REFUSED',
    })
    await expect(applySchema(root, { origin: "x' OR 1" })).rejects.toMatchObject({ code: 'BAD_FORMAT' })
  })
})

describe('an interrupted application', () => {
  test('goes on where it stopped, and begins with genesis', async () => {
    await using other = await freshServer({ options: ['default_time_zone=+00:00'] })
    const real = await openMysql({ socket: other.socket, user: 'root' })
    for (let allowed = 5; ; allowed += 23) {
      let left = allowed
      const flaky: Connection = {
        ...real,
        run: (sql, params) => (left-- > 0 ? real.run(sql, params) : Promise.reject(new Error('cut'))),
      }
      await real.run('ROLLBACK') // as the end of the connection would
      await real.run('UNLOCK TABLES')
      const done = await applySchema(flaky, { origin }).then(
        () => true,
        e => e.message !== 'cut' && Promise.reject(e),
      )
      if (done) break
    }
    expect(await readGolden(real)).toEqual(golden)
    const events = (await real.query('SELECT payload FROM audit_events ORDER BY seq')).map(r =>
      parseEvent(r.payload as Bytes),
    )
    expect(events[0]?.action).toBe('genesis')
    expect(events.filter(e => e.action === 'genesis').length).toBe(1)
    const names = events.flatMap(e => (e.action === 'migration' ? [e.data.name] : []))
    expect(names.length).toBe(new Set(names).size)
    real.destroy()
  })
})
