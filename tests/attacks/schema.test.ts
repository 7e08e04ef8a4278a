/** Routines bent for a while or for good, and table files edited while the server is down. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { uuidBytes } from '../../lib/core/bytes.ts'
import { crc32c } from '../../lib/core/crc32c.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { userRow } from '../support/live.ts'
import { failures } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked

beforeAll(async () => {
  a = await attacked()
}, 300_000)

const anchor = async (): Promise<void> => {
  await a.live.anchor()
  a.shell.fetchAnchors()
}

/** Replaces a routine by a changed one, in a session like the one that made it. Returns the way back. */
async function bend(
  kind: 'PROCEDURE' | 'FUNCTION',
  name: string,
  change: (sql: string) => string,
): Promise<() => Promise<void>> {
  const { root } = a.shell
  const [shown] = await root.query(`SHOW CREATE ${kind} securedb.${name}`)
  const original = String(shown?.[kind === 'PROCEDURE' ? 'Create Procedure' : 'Create Function'])
  const rights = await root.query('SELECT * FROM mysql.procs_priv WHERE Routine_name = ?', [name])
  const make = async (sql: string): Promise<void> => {
    await root.run(`DROP ${kind} securedb.${name}`)
    for (const variable of ['sql_mode', 'character_set_client', 'collation_connection'])
      await root.run(`SET SESSION ${variable} = ?`, [String(shown?.[variable])])
    await root.run(sql)
    for (const { User, Host } of rights)
      await root.run(`GRANT EXECUTE ON ${kind} securedb.${name} TO ?@?`, [String(User), String(Host)])
  }
  const changed = change(original)
  expect(changed).not.toBe(original)
  await make(changed)
  return () => make(original)
}

describe('a procedure that stores another role than it was sent', () => {
  const backdoor = () =>
    bend('PROCEDURE', 'app_create_user_encrypted', sql => {
      const at = sql.lastIndexOf('`p_role`') >= 0 ? '`p_role`' : 'p_role'
      const insert = sql.indexOf('INSERT INTO `users`')
      const value = sql.indexOf(at, insert)
      return `${sql.slice(0, value)}'admin'${sql.slice(value + at.length)}`
    })
  const use = async (): Promise<string> => {
    const { id } = userRow(a.acme)
    await a.live.write(a.acme, 'users', 'create', userRow(a.acme, { id: id ?? '' }))
    const row = await a.shell.row('users', String(id))
    expect(row.role).toBe('admin')
    await a.live.seal()
    return `SIG_BAD event ${await a.shell.seqOf(row.evt_id as Uint8Array)}`
  }

  test('for the time between two anchors', () =>
    a.exposes(async () => {
      const restore = await backdoor()
      const found = await use()
      await restore()
      await anchor()
      expect(failures(await a.shell.verify())).toEqual([found])
      return [found]
    }))

  test('while an anchor is made', () =>
    a.exposes(async () => {
      const restore = await backdoor()
      const found = await use()
      await anchor()
      await restore()
      await anchor()
      return [found, 'SCHEMA_NOT_GOLDEN anchor 4']
    }))
})

describe('a backdoor that is there when an anchor is made', () => {
  const statements: [what: string, make: string, drop: string][] = [
    [
      'a procedure of its own',
      'CREATE PROCEDURE securedb.harmless() SELECT 1',
      'DROP PROCEDURE securedb.harmless',
    ],
    ['a table', 'CREATE TABLE securedb.notes (id INT PRIMARY KEY)', 'DROP TABLE securedb.notes'],
    [
      'a view',
      'CREATE VIEW securedb.all_users AS SELECT * FROM securedb.users',
      'DROP VIEW securedb.all_users',
    ],
    [
      'a trigger',
      'CREATE TRIGGER securedb.extra BEFORE INSERT ON securedb.users FOR EACH ROW SET NEW.role = NEW.role',
      'DROP TRIGGER securedb.extra',
    ],
    [
      'an event',
      'CREATE EVENT securedb.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM securedb.audit_pending',
      'DROP EVENT securedb.nightly',
    ],
    [
      'a routine that runs with the caller’s rights',
      'ALTER PROCEDURE securedb.record_nonce SQL SECURITY INVOKER',
      'ALTER PROCEDURE securedb.record_nonce SQL SECURITY DEFINER',
    ],
    [
      'an index that does not begin with the tenant',
      'ALTER TABLE securedb.users ADD INDEX roles (role)',
      'ALTER TABLE securedb.users DROP INDEX roles',
    ],
    [
      'a right of the definer',
      "GRANT DROP ON securedb.* TO 'api_definer'@'localhost'",
      "REVOKE DROP ON securedb.* FROM 'api_definer'@'localhost'",
    ],
    [
      'a definer that can log in',
      "ALTER USER 'api_definer'@'localhost' ACCOUNT UNLOCK",
      "ALTER USER 'api_definer'@'localhost' ACCOUNT LOCK",
    ],
  ]
  for (const [what, make, drop] of statements)
    test(what, () =>
      a.exposes(
        async () => {
          await a.shell.root.run(make)
          await anchor()
          return ['SCHEMA_NOT_GOLDEN anchor 4']
        },
        { undo: async () => void (await a.shell.root.run(drop)) },
      ),
    )

  test('a routine of another definer', () =>
    a.exposes(async () => {
      const restore = await bend('PROCEDURE', 'record_nonce', sql =>
        sql.replace('DEFINER=`api_definer`@`localhost`', 'DEFINER=`root`@`localhost`'),
      )
      await anchor()
      await restore()
      return ['SCHEMA_NOT_GOLDEN anchor 4']
    }))
})

/** InnoDB's page of 16 KiB: CRC-32C over header and body, apart, stored at both ends. */
const pageBytes = 16_384

function sealPage(page: Buffer): void {
  const sum = (crc32c(page.subarray(4, 26)) ^ crc32c(page.subarray(38, pageBytes - 8))) >>> 0
  page.writeUInt32BE(sum, 0)
  page.writeUInt32BE(sum, pageBytes - 8)
}

/** Changes the role of a user in the table's file wherever it stands, old versions included; InnoDB sees nothing. */
function editFile(path: string, id: string): void {
  const file = readFileSync(path)
  const needle = Buffer.from(uuidBytes(id))
  let edited = 0
  for (let start = 0; start < file.length; start += pageBytes) {
    const page = file.subarray(start, start + pageBytes)
    const before = page.readUInt32BE(0)
    const roles: number[] = []
    for (let row = page.indexOf(needle); row >= 0; row = page.indexOf(needle, row + 1)) {
      const role = page.indexOf('customer', row)
      if (role >= 0 && role < row + 200) roles.push(role)
    }
    if (roles.length === 0) continue
    sealPage(page)
    expect(page.readUInt32BE(0)).toBe(before) // else the sum is not InnoDB's, and the server would refuse the page
    for (const role of roles) page.write('director', role)
    sealPage(page)
    const fd = openSync(path, 'r+')
    writeSync(fd, page, 0, pageBytes, start)
    closeSync(fd)
    edited++
  }
  expect(edited).toBeGreaterThan(0)
}

test('a table file edited while the server is down', () =>
  a.exposes(async () => {
    const { server } = a.live
    await server.stop({ keep: true })
    try {
      editFile(join(server.dataDir, 'securedb', 'users.ibd'), a.people.ada)
    } finally {
      await server.restart()
      await a.shell.reopen()
    }
    expect((await a.shell.row('users', a.people.ada)).role).toBe('director')
    return [`ROW_EDITED users ${a.people.ada}`]
  }))

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
