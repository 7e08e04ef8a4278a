/** Root on the database host with an hour and the code before him, and the way back: a state saved and put back exactly. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  anchorHash,
  anchorName,
  formatAnchor,
  noPredecessor,
  parseAnchor,
} from '../../lib/core/audit/anchor.ts'
import { parseAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import { type AnchorKey, signCheckpoint } from '../../lib/core/audit/checkpoint.ts'
import { formatEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { exportSource } from '../../lib/core/audit/export.ts'
import { Frontier, leafHash } from '../../lib/core/audit/merkle.ts'
import type { Receipt } from '../../lib/core/audit/receipt.ts'
import { type Verdict, type VerifyOptions, verifyTrail } from '../../lib/core/audit/trail_verdict.ts'
import { type Bytes, fromUtf8, toHex, uuidBytes, uuidText } from '../../lib/core/bytes.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import type { Row } from '../../lib/core/tables.ts'
import type { Trust } from '../../lib/core/trust.ts'
import type { Connection } from '../../lib/edge/mysql.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { exportLines, readAnchors, withSource } from '../../lib/edge/verify.ts'
import { goldenFingerprints, tableDefinitions } from '../../sql/index.ts'
import { definitionOf, type Live } from './live.ts'

const saved = 'zt_saved'
/** What belongs to sessions, to a start of the server and to the sealer's last look, and is no evidence. */
const volatile = ['boot', 'tenant_context', 'seal_state']
// without a definer it would become root's, and the schema another one
const alterSealer = 'ALTER DEFINER=api_definer@localhost EVENT securedb.seal_events'
const folders = ['worm', 'anchor', 'auditor']

export interface StoredEvent {
  tenant: Bytes
  event: Bytes
  payload: Bytes
}

export class RootShell {
  readonly live: Live
  readonly #trust: Trust
  #tables: string[] = []
  #triggers: { name: string; table: string; sql: string; session: Row }[] = []
  #sealerStopped = false

  private constructor(live: Live, trust: Trust) {
    this.live = live
    this.#trust = trust
  }

  static async open(live: Live): Promise<RootShell> {
    return new RootShell(live, await readTrust(live.at('pki', 'trust')))
  }

  get root(): Connection {
    return this.live.root
  }

  /** The auditor fetches what the store has and he has not; what he has stays as it is. */
  fetchAnchors(): void {
    const [store, copy] = [this.live.at('worm'), this.live.at('auditor')]
    mkdirSync(copy, { recursive: true })
    for (const name of readdirSync(store))
      if (!existsSync(join(copy, name)))
        cpSync(join(store, name), join(copy, name), { preserveTimestamps: true })
  }

  /** Keeps tables, anchors and anchor state as they are now, for rollback(). */
  async save(): Promise<void> {
    const { root } = this
    await this.#hurry()
    this.fetchAnchors()
    for (const folder of folders) this.#copy(folder, `saved-${folder}`)
    await root.run(`DROP DATABASE IF EXISTS ${saved}`)
    await root.run(`CREATE DATABASE ${saved}`)
    const tables = await root.query(
      "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'securedb' AND TABLE_TYPE = 'BASE TABLE'",
    )
    this.#tables = tables.map(row => String(row.name)).filter(name => !volatile.includes(name))
    this.#triggers = []
    for (const row of await root.query('SHOW TRIGGERS FROM securedb')) {
      const name = String(row.Trigger)
      const [shown] = await root.query(`SHOW CREATE TRIGGER securedb.${name}`)
      const sql = String(shown?.['SQL Original Statement'])
      this.#triggers.push({ name, table: String(row.Table), sql, session: shown ?? {} })
    }
    for (const table of this.#tables) await root.run(`CREATE TABLE ${saved}.${table} LIKE securedb.${table}`)
    await this.#exclusively(async () => {
      for (const table of this.#tables)
        await root.run(`INSERT INTO ${saved}.${table} SELECT * FROM securedb.${table}`)
    })
  }

  async #hurry(): Promise<void> {
    // a test that loses power has lost nothing
    await this.root.run('SET GLOBAL sync_binlog = 0')
    await this.root.run('SET GLOBAL innodb_flush_log_at_trx_commit = 0')
    await this.root.run('SET SESSION sql_log_bin = 0')
  }

  /** After a restart of the server. */
  async reopen(): Promise<void> {
    await this.live.reopen()
    await this.#hurry()
  }

  /** Everything as it was at save(). @throws where that did not work out */
  async rollback(): Promise<void> {
    if (this.#sealerStopped) await this.root.run(`${alterSealer} ENABLE`)
    this.#sealerStopped = false
    await this.restoreTables()
    for (const folder of folders) this.#copy(`saved-${folder}`, folder)
    const left = await this.#changed()
    if (left.length > 0) throw new Error(`not as it was: ${left.join(', ')}`)
  }

  /** The tables alone, as from a backup. */
  async restoreTables(): Promise<void> {
    const { root } = this
    for (const table of this.#tables)
      await root.run(`CREATE TABLE IF NOT EXISTS securedb.${table} LIKE ${saved}.${table}`)
    const changed = await this.#changed()
    await this.withoutTriggers(changed, async () => {
      for (const table of changed) {
        await root.run(`DELETE FROM securedb.${table}`)
        await root.run(`INSERT INTO securedb.${table} SELECT * FROM ${saved}.${table}`)
      }
    })
  }

  /** Tables, the anchor service's own state and the folder that it takes for the store: a snapshot of the machine. */
  async restoreHost(): Promise<void> {
    await this.restoreTables()
    for (const folder of ['anchor', 'worm']) this.#copy(`saved-${folder}`, folder)
  }

  /** Tables that hold something else than at save(). */
  async #changed(): Promise<string[]> {
    const sums = async (schema: string) => {
      const rows = await this.root.query(
        `CHECKSUM TABLE ${this.#tables.map(table => `${schema}.${table}`).join()}`,
      )
      return rows.map(row => String(row.Checksum))
    }
    const [was, is] = [await sums(saved), await sums('securedb')]
    return this.#tables.filter((_, i) => was[i] !== is[i])
  }

  #copy(from: string, to: string): void {
    rmSync(this.live.at(to), { recursive: true, force: true })
    cpSync(this.live.at(from), this.live.at(to), { recursive: true, preserveTimestamps: true })
  }

  /** One transaction in which no sealer works: it asks for the head without waiting. */
  async #exclusively(act: () => Promise<void>): Promise<void> {
    const { root } = this
    await root.run('START TRANSACTION')
    await root.query('SELECT * FROM securedb.chain_head FOR UPDATE')
    await act()
    await root.run('COMMIT')
  }

  /** Drops the triggers of some tables, acts in one transaction that shuts the sealer out, and makes them again. */
  async withoutTriggers(tables: string[], act: () => Promise<void>): Promise<void> {
    const { root } = this
    const away = this.#triggers.filter(trigger => tables.includes(trigger.table))
    for (const { name } of away) await root.run(`DROP TRIGGER IF EXISTS securedb.${name}`)
    try {
      await this.#exclusively(act)
    } finally {
      await this.makeTriggers(tables)
    }
  }

  /** The triggers of some tables as they were at save(). */
  async makeTriggers(tables: string[]): Promise<void> {
    const { root } = this
    for (const { name, sql, session } of this.#triggers.filter(one => tables.includes(one.table))) {
      await root.run(`DROP TRIGGER IF EXISTS securedb.${name}`)
      // careful work: a trigger remembers the session that made it, and the schema's fingerprint shows that
      for (const variable of ['sql_mode', 'character_set_client', 'collation_connection'])
        await root.run(`SET SESSION ${variable} = ?`, [String(session[variable])])
      await root.run(sql)
    }
  }

  /** Until the next rollback. */
  async stopSealer(): Promise<void> {
    this.#sealerStopped = true
    await this.root.run(`${alterSealer} DISABLE`)
    // a run that was under way ends within its second
    for (;;) {
      const running = await this.root.query(
        "SELECT 1 FROM performance_schema.threads WHERE NAME = 'thread/sql/event_worker'",
      )
      if (running.length === 0) return
      await Bun.sleep(20)
    }
  }

  /** An INSERT, UPDATE or DELETE with the triggers of its table out of the way. */
  silently(sql: string, params: Parameters<Connection['run']>[1] = []): Promise<void> {
    const table = /securedb\.([a-z_]+)/.exec(sql)?.[1] ?? ''
    return this.withoutTriggers([table], async () => {
      const { affectedRows } = await this.root.run(sql, params)
      if (affectedRows === 0) throw new Error(`touched nothing: ${sql}`)
    })
  }

  async events(): Promise<StoredEvent[]> {
    const rows = await this.root.query(
      'SELECT tenant_id AS tenant, evt_id AS event, payload FROM securedb.audit_events ORDER BY seq',
    )
    return rows as unknown as StoredEvent[]
  }

  /** Makes the whole trail out of `events`: numbered, chained, with a head that fits. */
  async rewrite(events: StoredEvent[]): Promise<void> {
    const { root } = this
    await this.withoutTriggers(['audit_events'], async () => {
      await root.run('DELETE FROM securedb.audit_events')
      let prev = genesisHash(this.live.origin)
      for (const [seq, { tenant, event, payload }] of events.entries()) {
        const curr = linkHash(prev, payload)
        await root.run(
          'INSERT INTO securedb.audit_events (seq, tenant_id, evt_id, prev_hash, payload, curr_hash) VALUES (?, ?, ?, ?, ?, ?)',
          [seq, tenant, event, prev, payload, curr],
        )
        prev = curr
      }
      await root.run('UPDATE securedb.chain_head SET size = ?, head = ?', [events.length, prev])
    })
  }

  /** The host's own key: root has it. */
  stolenKey(): AnchorKey {
    return parseAnchorKey(readFileSync(this.live.at('anchor', 'anchor_key.json')))
  }

  /**
   * Makes the whole trail out of `events`, and for every anchor event in it an anchor that fits, as whoever holds `key`
   * can; each names its forged predecessor. Returns name → bytes.
   */
  async rewriteWithAnchors(events: StoredEvent[], key: AnchorKey): Promise<Map<string, Bytes>> {
    const { origin } = this.live
    const forged = new Map<string, Bytes>()
    const frontier = new Frontier()
    let head = genesisHash(origin)
    let prev = noPredecessor
    const made: StoredEvent[] = []
    for (const stored of events) {
      const old = parseEvent(stored.payload)
      const event = old.action === 'anchor' ? { ...old, data: { ...old.data, prev } } : old
      const payload = formatEvent(event)
      made.push({ ...stored, payload })
      head = linkHash(head, payload)
      frontier.append(leafHash(payload))
      if (event.action !== 'anchor') continue
      const { number, fingerprint } = event.data
      const { time } = parseAnchor(readFileSync(this.live.at('worm', anchorName(number))))
      const size = frontier.size
      const checkpoint = signCheckpoint(
        { origin, size, root: frontier.root() },
        [key],
        Date.parse(time) / 1000,
      )
      const anchor = { v: 1 as const, origin, number, size, head: toHex(head), fingerprint, prev, time }
      const bytes = formatAnchor({ ...anchor, checkpoint })
      prev = anchorHash(bytes)
      forged.set(anchorName(number), bytes)
    }
    await this.rewrite(made)
    return forged
  }

  async row(table: string, key: string): Promise<Row> {
    const def = definitionOf(table)
    const [found] = await this.root.query(`SELECT * FROM securedb.${table} WHERE ${def.key.name} = ?`, [
      def.key.type === 'uuid' ? uuidBytes(key) : key,
    ])
    if (!found) throw new Error(`no row ${key} in ${table}`)
    return { ...found, ...rowFromDatabase(def, found) }
  }

  /** The number of the event that has this id. */
  async seqOf(event: Bytes | string): Promise<number> {
    const id = typeof event === 'string' ? uuidBytes(event) : event
    const [found] = await this.root.query('SELECT seq FROM securedb.audit_events WHERE evt_id = ?', [id])
    if (!found) throw new Error(`no event ${uuidText(id)}`)
    return Number(found.seq)
  }

  async #options(given: Partial<VerifyOptions>): Promise<VerifyOptions> {
    return {
      trust: this.#trust,
      anchors: await readAnchors(this.live.at('auditor')),
      definitions: tableDefinitions,
      golden: goldenFingerprints,
      now: Date.now(),
      signatures: 'last',
      gapSeconds: 24 * 3600,
      ...given,
    }
  }

  /** The auditor's verdict over the live database. */
  async verify(given: Partial<VerifyOptions> = {}): Promise<Verdict> {
    const options = await this.#options(given)
    return withSource({ socket: this.live.server.socket, user: 'root' }, source =>
      verifyTrail(source, options),
    )
  }

  /** The same over an export made now. */
  async verifyExport(given: Partial<VerifyOptions> = {}): Promise<Verdict> {
    const options = await this.#options(given)
    const parts: string[] = []
    await withSource({ socket: this.live.server.socket, user: 'root' }, async source => {
      for await (const part of exportLines(source, () => undefined)) parts.push(part)
    })
    const lines = parts.join('').match(/[^\n]*\n/g) ?? []
    const open = async function* () {
      yield* lines
    }
    return verifyTrail(await exportSource(open, lines.at(-1) ?? '', tableDefinitions, 'export'), options)
  }
}

/** What makes a verdict fail, as `CODE place`. */
export const failures = (verdict: Verdict): string[] =>
  verdict.findings.kept.filter(f => f.severity === 'fail').map(f => `${f.code} ${f.where}`)

export const text = (payload: Bytes): string => fromUtf8(payload, 'payload')

export const receiptOf = (origin: string, payload: Bytes): Receipt => ({
  origin,
  payload,
  event: parseEvent(payload),
})
