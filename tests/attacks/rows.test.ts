/** What root, or whoever he lends a right to, can do to rows; each is named, in code and place. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { newUuid, random, uuidBytes } from '../../lib/core/bytes.ts'
import type { Row } from '../../lib/core/tables.ts'
import { openMysql } from '../../lib/edge/mysql.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { dataKeyRow, signerIn, userRow } from '../support/live.ts'
import { failures } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked

beforeAll(async () => {
  a = await attacked()
}, 300_000)

const rowOf = (id: string) => [uuidBytes(id)]

/** Every stored column of a row set back to what it once was. */
async function putBack(table: string, key: string, row: Row): Promise<void> {
  const names = Object.keys(row).filter(name => row[name] !== undefined && name !== key)
  const raw = (value: Row[string]) =>
    typeof value === 'string' && /^[0-9a-f]{8}-/.test(value) ? uuidBytes(value) : (value ?? null)
  await a.shell.silently(
    `UPDATE securedb.${table} SET ${names.map(name => `${name} = ?`).join()} WHERE ${key} = ?`,
    [...names.map(name => raw(row[name] ?? null)), raw(row[key] ?? null)],
  )
}

describe('a row behind the back of its table', () => {
  for (const [column, value] of [
    ['role', 'admin'],
    ['full_name', random(40)],
    ['mac', random(32)],
    ['salt', random(16)],
    ['state', 'erased'],
  ] as const)
    test(`gets another ${column}, with the triggers dropped and made again as they were`, () =>
      a.exposes(async () => {
        await a.shell.silently(`UPDATE securedb.users SET ${column} = ? WHERE id = ?`, [
          value,
          uuidBytes(a.people.ada),
        ])
        // the schema tells nothing of it: it is as it was when the next anchor looks
        await a.live.anchor()
        a.shell.fetchAnchors()
        expect(failures(await a.shell.verify())).toEqual([`ROW_EDITED users ${a.people.ada}`])
        return [`ROW_EDITED users ${a.people.ada}`]
      }))

  test('gets another balance', () =>
    a.exposes(async () => {
      await a.shell.silently(
        'UPDATE securedb.accounts SET balance_minor = 999999 WHERE id = ?',
        rowOf(a.account),
      )
      return [`ROW_EDITED accounts ${a.account}`]
    }))

  test('is deleted', () =>
    a.exposes(async () => {
      await a.shell.silently('DELETE FROM securedb.users WHERE id = ?', rowOf(a.people.bob))
      return [`ROW_MISSING users ${a.people.bob}`]
    }))

  test('is inserted', () =>
    a.exposes(async () => {
      const id = newUuid()
      const row = await a.shell.row('users', a.people.bob)
      const names = Object.keys(row)
      await a.shell.silently(
        `INSERT INTO securedb.users (${names}) SELECT ${names.map(n => (n === 'id' ? '?' : n))} FROM securedb.users WHERE id = ?`,
        [uuidBytes(id), uuidBytes(a.people.bob)],
      )
      return [`ROW_WITHOUT_EVENT users ${id}`]
    }))

  test('swaps a cell with another row, another column, another tenant', () =>
    a.exposes(async () => {
      const { ada, bob, grace } = a.people
      await a.shell.silently(
        `UPDATE securedb.users x JOIN securedb.users y ON x.id = ? AND y.id IN (?, ?)
          SET x.full_name = y.email, y.full_name = x.full_name`,
        [ada, bob, grace].map(id => uuidBytes(id)),
      )
      return [ada, bob, grace].map(id => `ROW_EDITED users ${id}`)
    }))

  test('gets one of its older cells back, or all of itself', async () => {
    await a.exposes(async () => {
      await a.shell.silently('UPDATE securedb.users SET full_name = ? WHERE id = ?', [
        a.oldAda.full_name ?? null,
        uuidBytes(a.people.ada),
      ])
      return [`ROW_EDITED users ${a.people.ada}`]
    })
    await a.exposes(async () => {
      await putBack('users', 'id', a.oldAda)
      return [`ROW_EDITED users ${a.people.ada}`]
    })
  })

  test('swaps its wrapped key with another tenant’s', () =>
    a.exposes(async () => {
      const [mine, theirs] = [a.acme.dekId, a.globex.dekId]
      await a.shell.silently(
        'UPDATE securedb.data_keys x JOIN securedb.data_keys y ON x.id = ? AND y.id = ? SET x.sealed_key = y.sealed_key',
        [uuidBytes(mine), uuidBytes(theirs)],
      )
      return [`ROW_EDITED data_keys ${mine}`]
    }))

  test('is a data key of the attacker', () =>
    a.exposes(async () => {
      const { id, ...row } = dataKeyRow(a.acme)
      const planted: Row = { ...row, id: id ?? '' }
      const names = Object.keys(planted)
      await a.shell.silently(
        `INSERT INTO securedb.data_keys (${names}) VALUES (${names.map(() => '?')})`,
        names.map(name => {
          const value = planted[name] ?? null
          return typeof value === 'string' && (name === 'id' || name === 'tenant_id')
            ? uuidBytes(value)
            : value
        }),
      )
      return [`ROW_WITHOUT_EVENT data_keys ${id}`]
    }))

  test('is an old grant of a tenant, put back after it was revoked', () =>
    a.exposes(async () => {
      await putBack('tenant_grant', 'account', a.oldGrant)
      return ['ROW_EDITED tenant_grant temp_app']
    }))

  test('goes with its whole table', () =>
    a.exposes(async () => {
      await a.shell.root.run('DROP TABLE securedb.accounts')
      return [`ROW_MISSING accounts ${a.account}`]
    }))

  test('loses a column', () =>
    a.exposes(
      async () => {
        await a.shell.root.run('ALTER TABLE securedb.accounts DROP COLUMN mac')
        return [`ROW_MALFORMED accounts ${a.account}`]
      },
      {
        exported: false,
        undo: async () => {
          await a.shell.root.run('DROP TABLE securedb.accounts')
        },
      },
    ))
})

/** The triggers queue an event for what root writes by hand: it fits the row in all but the signature. */
async function writeByHand(
  set: string,
  params: Parameters<typeof a.shell.root.run>[1] = [],
): Promise<string> {
  await a.shell.root.run(
    `UPDATE securedb.users SET role = 'admin', version = version + 1, wrap_version = 1, ${set} WHERE id = ?`,
    [...(params ?? []), uuidBytes(a.people.bob)],
  )
  const { evt_id } = await a.shell.row('users', a.people.bob)
  await a.live.seal()
  return `event ${await a.shell.seqOf(evt_id as Uint8Array)}`
}

describe('a row together with an event that fits it', () => {
  test('in the name of the application, with the signature of an older write', () =>
    a.exposes(async () => [`SIG_BAD ${await writeByHand('evt_id = RANDOM_BYTES(16)')}`]))

  test('unsigned', () =>
    a.exposes(async () => [
      `SIG_MISSING ${await writeByHand('evt_id = RANDOM_BYTES(16), evt_sig = NULL, evt_key = NULL')}`,
    ]))

  test('with a valid signature of another tenant’s application', () =>
    a.exposes(async () => {
      const { evt_sig, evt_key } = await a.shell.row('users', a.people.grace)
      const set = 'evt_id = RANDOM_BYTES(16), evt_sig = ?, evt_key = ?'
      return [`SIG_NOT_ALLOWED ${await writeByHand(set, [evt_sig ?? null, evt_key ?? null])}`]
    }))

  test('with a key that nobody knows', () =>
    a.exposes(async () => [
      `SIG_UNKNOWN_SIGNER ${await writeByHand('evt_id = RANDOM_BYTES(16), evt_key = RANDOM_BYTES(32)')}`,
    ]))

  test('unsigned and not sealed yet, and hidden under an honest write', async () => {
    await a.exposes(async () => {
      await a.shell.stopSealer()
      await a.shell.root.run(
        "UPDATE securedb.users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16), evt_sig = NULL, evt_key = NULL WHERE id = ?",
        rowOf(a.people.bob),
      )
      const [queued] = await a.shell.root.query(
        "SELECT JSON_UNQUOTE(JSON_EXTRACT(CONVERT(payload USING utf8mb4), '$.id')) AS id FROM securedb.audit_pending",
      )
      await a.live.write(a.acme, 'users', 'update', { ...userRow(a.acme), id: a.people.bob, version: 3 })
      return [`SIG_MISSING queued event ${queued?.id}`]
    })
  })

  test('forged in every member before an honest write: named when all signatures are asked for', () =>
    a.exposes(
      async () => {
        await a.shell.stopSealer()
        await a.shell.root.run(
          "UPDATE securedb.users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
          rowOf(a.people.bob),
        )
        await a.shell.silently(
          'UPDATE securedb.audit_pending SET payload = REPLACE(payload, \'"actor":"root@localhost"\', \'"actor":"app_user@127.0.0.1"\')',
        )
        const { evt_id } = await a.shell.row('users', a.people.bob)
        await a.live.write(a.acme, 'users', 'update', { ...userRow(a.acme), id: a.people.bob, version: 3 })
        await a.live.seal()
        // documented: by default the last signature of a row is checked
        expect(failures(await a.shell.verify())).toEqual([])
        return [`SIG_BAD event ${await a.shell.seqOf(evt_id as Uint8Array)}`]
      },
      { options: () => ({ signatures: 'all' }) },
    ))

  test('by the application itself, with a right that root lent it and took back', () =>
    a.exposes(async () => {
      await a.shell.root.run("GRANT SELECT, UPDATE ON securedb.users TO 'app_user'@'127.0.0.1'")
      const app = await openMysql({ defaultsFile: a.live.client('app_user'), database: 'securedb' })
      try {
        const { affectedRows } = await app.run(
          "UPDATE users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
          rowOf(a.people.bob),
        )
        expect(affectedRows).toBe(1)
      } finally {
        await app.close()
        await a.shell.root.run("REVOKE SELECT, UPDATE ON securedb.users FROM 'app_user'@'127.0.0.1'")
      }
      const { evt_id } = await a.shell.row('users', a.people.bob)
      await a.live.anchor()
      a.shell.fetchAnchors()
      return [`SIG_BAD event ${await a.shell.seqOf(evt_id as Uint8Array)}`]
    }))
})

describe('a tenant or a grant', () => {
  const grant = () => ({
    tenant_id: a.globex.id,
    account: 'app_user',
    version: 1,
    wrap_version: 1,
    state: 'active',
    salt: random(16),
  })
  const orders = async (by: Parameters<typeof a.order>[3]): Promise<string> => {
    await a.order('tenant_grant', 'create', grant(), by)
    await a.live.seal()
    const [found] = await a.shell.root.query('SELECT MAX(seq) AS seq FROM securedb.audit_events')
    return `event ${Number(found?.seq)}`
  }

  test('signed by the administrator for another log', () =>
    a.exposes(async () => [`SIG_BAD ${await orders({ origin: 'ztmysql.local/00000000deadbeef' })}`]))

  test('signed by an administrator of another log', () =>
    a.exposes(async () => [
      `SIG_UNKNOWN_SIGNER ${await orders({ signer: random(32), secretKey: random(32) })}`,
    ]))

  test('signed by the application that gains by it', () =>
    a.exposes(async () => [
      `SIG_NOT_ALLOWED ${await orders(signerIn(a.live.at('pki', 'clients'), 'app_user', a.origin))}`,
    ]))
})

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
