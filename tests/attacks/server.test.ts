/** Root with the whole server before him: its storage, its scheduler, its accounts, and every column that it keeps. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { random, uuidBytes } from '../../lib/core/bytes.ts'
import { createView } from '../../lib/core/sqlgen/view.ts'
import { callOf, prepareWrite } from '../../lib/core/write.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { tableDefinitions } from '../../sql/index.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { definitionOf, userRow } from '../support/live.ts'
import { failures } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked
const run = (sql: string, params?: Parameters<typeof a.shell.root.run>[1]) => a.shell.root.run(sql, params)

beforeAll(async () => {
  a = await attacked()
}, 300_000)

test('is honest before anything is tried', () => a.isHonest())

test('every column of a row, one after the other, in every protected table', async () => {
  const found = await a.shell.root.query(
    `SELECT TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS type, CHARACTER_MAXIMUM_LENGTH AS size, ORDINAL_POSITION AS at
      FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'securedb'`,
  )
  const columns = found.filter(({ t }) => tableDefinitions.has(String(t)))
  const tables = [...tableDefinitions.keys()]
  const another = ({ c, type, size }: (typeof columns)[number]): string => {
    if (String(type).includes('int')) return `${c} + 1`
    if (String(type).includes('binary')) return `RANDOM_BYTES(${Math.min(Number(size), 16)})`
    return `CONCAT(LEFT(IFNULL(${c}, ''), ${Number(size) - 1}), 'x')`
  }
  const unseen: string[] = []
  for (let at = 1; ; at++) {
    // one column of each table at once: each table must be named
    const round = columns.filter(column => Number(column.at) === at)
    if (round.length === 0) break
    try {
      await a.shell.withoutTriggers(tables, async () => {
        for (const column of round) {
          const set = `${column.c} = ${another(column)}`
          const { affectedRows } = await run(`UPDATE securedb.${column.t} SET ${set} LIMIT 1`)
          expect([column.t, column.c, affectedRows]).toEqual([column.t, column.c, 1])
        }
      })
      const named = failures(await a.shell.verify())
      for (const { t, c } of round) if (!named.some(one => one.includes(` ${t} `))) unseen.push(`${t}.${c}`)
    } finally {
      await a.shell.rollback()
    }
  }
  expect(unseen).toEqual([])
}, 600_000)

const edited = () => [`ROW_EDITED users ${a.people.ada}`]
const admin = (id: string) => `role = IF(id = UUID_TO_BIN('${id}'), 'admin', role)`

describe('another way to the same row:', () => {
  test('an event of another schema, run by the scheduler as root', () =>
    a.exposes(async () => {
      await a.shell.withoutTriggers(['users'], async () => {
        await run(
          `CREATE EVENT zt_saved.once ON SCHEDULE AT CURRENT_TIMESTAMP DO UPDATE securedb.users SET ${admin(a.people.ada)}`,
        )
        while ((await a.shell.row('users', a.people.ada)).role !== 'admin') await Bun.sleep(50)
      })
      return edited()
    }))

  test('a cascade from a parent in another schema, which fires no trigger', () =>
    a.exposes(
      async () => {
        await run(
          'CREATE TABLE zt_saved.parents (tenant_id BINARY(16), id BINARY(16), PRIMARY KEY (tenant_id, id))',
        )
        await run('INSERT INTO zt_saved.parents SELECT tenant_id, id FROM securedb.users')
        await run(
          'ALTER TABLE securedb.users ADD CONSTRAINT leash FOREIGN KEY (tenant_id, id) REFERENCES zt_saved.parents (tenant_id, id) ON DELETE CASCADE',
        )
        await run('DELETE FROM zt_saved.parents WHERE id = ?', [uuidBytes(a.people.ada)])
        return [`ROW_MISSING users ${a.people.ada}`]
      },
      {
        undo: async () => {
          await run('ALTER TABLE securedb.users DROP FOREIGN KEY leash')
          await run('DROP TABLE zt_saved.parents')
        },
      },
    ))

  test('a partition exchanged for the table', () =>
    a.exposes(
      async () => {
        await run('CREATE TABLE zt_saved.parts LIKE securedb.users')
        await run('INSERT INTO zt_saved.parts SELECT * FROM securedb.users')
        await run(`UPDATE zt_saved.parts SET ${admin(a.people.ada)}`)
        await run('ALTER TABLE zt_saved.parts PARTITION BY KEY (tenant_id, id) PARTITIONS 1')
        await run(
          'ALTER TABLE zt_saved.parts EXCHANGE PARTITION p0 WITH TABLE securedb.users WITHOUT VALIDATION',
        )
        return edited()
      },
      { undo: async () => void (await run('DROP TABLE zt_saved.parts')) },
    ))

  test('an older file of the table, imported', () =>
    a.exposes(async () => {
      const file = (name: string) => join(a.live.server.dataDir, 'securedb', name)
      await run('FLUSH TABLES securedb.users FOR EXPORT')
      copyFileSync(file('users.ibd'), a.live.at('users.ibd'))
      copyFileSync(file('users.cfg'), a.live.at('users.cfg'))
      await run('UNLOCK TABLES')
      const { id } = userRow(a.acme)
      await a.live.write(a.acme, 'users', 'create', userRow(a.acme, { id: id ?? '' }))
      await a.live.seal()
      await run('ALTER TABLE securedb.users DISCARD TABLESPACE')
      for (const name of ['users.ibd', 'users.cfg']) copyFileSync(a.live.at(name), file(name))
      await run('ALTER TABLE securedb.users IMPORT TABLESPACE')
      rmSync(file('users.cfg'), { force: true })
      return [`ROW_MISSING users ${id}`]
    }))

  test('a second row of the same key', () =>
    a.exposes(
      async () => {
        await run('CREATE TABLE zt_saved.twice AS SELECT * FROM securedb.accounts')
        await run('SET SESSION sql_require_primary_key = OFF')
        await run('ALTER TABLE securedb.accounts DROP PRIMARY KEY')
        await a.shell.silently('INSERT INTO securedb.accounts SELECT * FROM zt_saved.twice')
        return [`ROW_WITHOUT_EVENT accounts ${a.account}`]
      },
      {
        undo: async () => {
          await run('DROP TABLE zt_saved.twice')
          await run('DROP TABLE securedb.accounts')
        },
      },
    ))

  test('a copy under the table’s name, the table under another', () =>
    a.exposes(
      async () => {
        await run('CREATE TABLE securedb.copies LIKE securedb.users')
        await run('INSERT INTO securedb.copies SELECT * FROM securedb.users')
        await run(`UPDATE securedb.copies SET ${admin(a.people.ada)}`)
        await run('RENAME TABLE securedb.users TO securedb.originals, securedb.copies TO securedb.users')
        return edited()
      },
      {
        undo: async () => {
          await run('DROP TABLE securedb.users')
          await run('RENAME TABLE securedb.originals TO securedb.users')
        },
      },
    ))

  test('a column of events that holds text, and compares by a collation', () =>
    a.exposes(
      async () => {
        const seq = await a.middle()
        await run(
          'ALTER TABLE securedb.audit_events MODIFY payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci',
        )
        return [`HASH_MISMATCH event ${seq}`]
      },
      { undo: async () => void (await run('DROP TABLE securedb.audit_events')), exported: false },
    ))
})

describe('a right that no grant to the account shows:', () => {
  test('a role that everybody has, taken back before an anchor: by what was written with it', () =>
    a.exposes(async () => {
      await run("CREATE ROLE 'peek'")
      await run("GRANT SELECT, UPDATE ON securedb.users TO 'peek'")
      await run("SET GLOBAL mandatory_roles = 'peek'")
      await run('SET GLOBAL activate_all_roles_on_login = ON')
      try {
        const app = await openMysql({
          defaultsFile: a.live.client('app_user'),
          port: a.live.server.port,
          database: 'securedb',
        })
        const { affectedRows } = await app.run(
          "UPDATE users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
          [uuidBytes(a.people.bob)],
        )
        expect(affectedRows).toBe(1)
        await app.close()
      } finally {
        await run("SET GLOBAL mandatory_roles = ''")
        await run('SET GLOBAL activate_all_roles_on_login = OFF')
        await run("DROP ROLE 'peek'")
      }
      const { evt_id } = await a.shell.row('users', a.people.bob)
      await a.live.seal()
      return [`SIG_BAD event ${await a.shell.seqOf(evt_id as Uint8Array)}`]
    }))
})

describe('seen by nothing but what the threat model says:', () => {
  test('a view that hides a row from its application: at the next anchor', () => {
    let restore = async (): Promise<unknown> => undefined
    return a.exposes(
      async () => {
        const [shown] = await a.shell.root.query('SHOW CREATE VIEW securedb.app_users')
        const original = createView(definitionOf('users'), 'app_users').sql
        const make = async (sql: string) => {
          for (const variable of ['character_set_client', 'collation_connection'])
            await run(`SET SESSION ${variable} = ?`, [String(shown?.[variable])])
          await run(sql)
        }
        restore = () => make(original)
        await make(`${original} AND t.id <> UUID_TO_BIN('${a.people.ada}')`)
        const seen = await a.live.asTenant(a.acme, c =>
          c.query('SELECT id FROM app_users WHERE id = ?', [uuidBytes(a.people.ada)]),
        )
        expect(seen).toEqual([])
        // the window: nothing that the verifier reads has changed
        expect(failures(await a.shell.verify())).toEqual([])
        await a.live.anchor()
        a.shell.fetchAnchors()
        return ['SCHEMA_NOT_GOLDEN anchor 4']
      },
      { undo: async () => void (await restore()) },
    )
  })

  test('a component that root announces to himself: the trail says what runs, and calls it announced', () =>
    a.exposes(
      async () => {
        await run("INSTALL COMPONENT 'file://component_validate_password'")
        await run(
          'UPDATE securedb.server_state SET announced_until = DATE_ADD(UTC_TIMESTAMP(6), INTERVAL 1 DAY)',
        )
        await a.live.anchor()
        a.shell.fetchAnchors()
        expect(failures(await a.shell.verify())).toEqual([])
        return []
      },
      { undo: async () => void (await run("UNINSTALL COMPONENT 'file://component_validate_password'")) },
    ))

  test('a component that nobody announced is named', () =>
    a.exposes(
      async () => {
        await run("INSTALL COMPONENT 'file://component_validate_password'")
        await a.live.anchor()
        a.shell.fetchAnchors()
        const events = await a.shell.events()
        return [`SERVER_CHANGED event ${events.length - 2}`]
      },
      { undo: async () => void (await run("UNINSTALL COMPONENT 'file://component_validate_password'")) },
    ))
})

describe('junk that a tenant signs', () => {
  test('fails its own writes, and leaves the others’ standing', () =>
    a.exposes(async () => {
      const row = userRow(a.globex)
      const by = { ...a.globex.by, secretKey: random(32) }
      const { procedure, params } = callOf(prepareWrite(definitionOf('users'), 'create', row, by))
      await a.live.asTenant(a.globex, c => c.call(procedure, params))
      await a.live.seal()
      const { ok, findings } = await a.shell.verify()
      expect([ok, findings.ofLog, [...findings.ofTenants]]).toEqual([false, 0, [[a.globex.id, 1]]])
      const { evt_id } = await a.shell.row('users', String(row.id))
      return [`SIG_BAD event ${await a.shell.seqOf(evt_id as Uint8Array)}`]
    }))
})

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
