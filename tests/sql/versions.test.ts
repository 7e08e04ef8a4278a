/** What runs is said in the trail: by whoever changes it, or by the next anchor, and then it was not announced. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { type Event, parseEvent } from '../../lib/core/audit/event.ts'
import type { Bytes } from '../../lib/core/bytes.ts'
import { observeServer } from '../../lib/edge/host/versions.ts'
import { announceServer } from '../../lib/edge/schema.ts'
import { type Deployment, deployment } from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(180_000)

const component = 'file://component_validate_password'
let db: Deployment

beforeAll(async () => {
  db = await deployment()
}, 300_000)
afterAll(async () => db[Symbol.asyncDispose]())

async function trail(): Promise<Event[]> {
  const rows = await db.root.query('SELECT payload FROM securedb.audit_events ORDER BY seq')
  return rows.map(row => parseEvent(row.payload as Bytes))
}
const told = async () => (await trail()).flatMap(event => (event.action === 'server' ? [event.data] : []))

describe('what runs', () => {
  test('is announced with the schema, by version and by a digest of what is loaded', async () => {
    const lines = [
      ...(await db.root.query(
        `SELECT CONCAT_WS(' ', 'plugin', PLUGIN_NAME, PLUGIN_VERSION, PLUGIN_LIBRARY, PLUGIN_LIBRARY_VERSION) AS line
         FROM information_schema.PLUGINS WHERE PLUGIN_LIBRARY IS NOT NULL AND PLUGIN_STATUS = 'ACTIVE'`,
      )),
      ...(await db.root.query("SELECT CONCAT('component ', component_urn) AS line FROM mysql.component")),
    ].map(row => Buffer.from(String(row.line)))
    expect(lines.length).toBeGreaterThan(0)
    const digest = createHash('sha256').update(lines.sort(Buffer.compare).join('\n')).digest('hex')
    const [version] = await db.root.query('SELECT VERSION() AS mysql')
    expect(await told()).toEqual([{ mysql: String(version?.mysql), digest, announced: true, until: null }])
  })

  test('is not said again while nothing changes', async () => {
    await db.anchor()
    await announceServer(db.root)
    expect(await told()).toHaveLength(1)
  })

  test('is noticed by the next anchor, and covered by it, where nobody announced a change', async () => {
    await db.root.run(`INSTALL COMPONENT '${component}'`)
    await db.anchor()
    const events = await told()
    expect(events).toHaveLength(2)
    expect(events[1]).toMatchObject({ mysql: events[0]?.mysql, announced: false, until: null })
    expect(events[1]?.digest).not.toBe(events[0]?.digest)
    expect((await trail()).slice(-2).map(event => event.action)).toEqual(['server', 'anchor'])
    await db.anchor()
    expect(await told()).toHaveLength(2)
  })

  test('is announced where root says so first', async () => {
    await db.root.run(`UNINSTALL COMPONENT '${component}'`)
    await announceServer(db.root)
    await db.anchor()
    const events = await told()
    expect(events).toHaveLength(3)
    expect(events[2]).toEqual({ ...(events[0] as (typeof events)[number]), announced: true })
  })

  test('may change while an announcement holds, and no longer', async () => {
    await announceServer(db.root, 60)
    const [opened] = (await told()).slice(3)
    expect(opened?.announced).toBe(true)
    expect(Date.parse(String(opened?.until)) - Date.now()).toBeWithin(50 * 60_000, 61 * 60_000)
    await db.root.run(`INSTALL COMPONENT '${component}'`)
    await db.anchor()
    expect((await told()).slice(4)).toEqual([expect.objectContaining({ announced: true, until: null })])
    await db.root.run("UPDATE securedb.server_state SET announced_until = '2020-01-01'")
    await db.root.run(`UNINSTALL COMPONENT '${component}'`)
    await db.anchor()
    expect((await told()).slice(5)).toEqual([expect.objectContaining({ announced: false })])
  })

  test('is a change too where only the version differs', async () => {
    await db.root.run("UPDATE securedb.server_state SET mysql = '9.7.3-1'")
    const observed = await observeServer(db.root)
    expect(observed?.known?.mysql).toBe('9.7.3-1')
    expect(observed?.running.digest).toBe(String(observed?.known?.digest))
    await db.anchor()
    expect((await told()).slice(6)).toEqual([expect.objectContaining({ announced: false })])
    expect((await observeServer(db.root))?.known).toEqual((await observeServer(db.root))?.running)
  })

  test('is not for the anchor, the auditor or an application to announce', async () => {
    for (const connection of [
      await db.connectAnchor(),
      await db.connectBare('auditor'),
      await db.connectBare('app_user'),
    ]) {
      await refused(connection.call('record_server', [true, 60]), '1370')
      await refused(connection.run('CALL observe_server(@a, @b)'), '1370')
      await connection.close()
    }
  })
})
