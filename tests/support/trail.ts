/** A small honest trail with rows, anchors and receipts, made in memory: what attacks on the verifier start from. */
import { p256 } from '@noble/curves/nist.js'
import {
  anchorHash,
  anchorName,
  formatAnchor,
  noPredecessor,
  parseAnchor,
} from '../../lib/core/audit/anchor.ts'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import { type AnchorKey, publicKeys, signCheckpoint } from '../../lib/core/audit/checkpoint.ts'
import { type Event, formatEvent, type RowEvent, type ServerEvent } from '../../lib/core/audit/event.ts'
import { Frontier, leafHash } from '../../lib/core/audit/merkle.ts'
import { makeReceipt, type Receipt } from '../../lib/core/audit/receipt.ts'
import type { StoredAnchor, StoredRow, TrailEvent, TrailSource } from '../../lib/core/audit/source.ts'
import { type Verdict, type VerifyOptions, verifyTrail } from '../../lib/core/audit/trail_verdict.ts'
import {
  type Bytes,
  concat,
  fromHex,
  newUuid,
  random,
  toBase64,
  toHex,
  uuidBytes,
} from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { signerOf, signWrite } from '../../lib/core/signature.ts'
import { type Row, type TableDefinition, tableSchema } from '../../lib/core/tables.ts'
import type { Role, TrustedCertificate } from '../../lib/core/trust.ts'

export const notesTable: TableDefinition = tableSchema.parse({
  table: 'notes',
  scheme: 'notes/1',
  writer: 'client',
  key: { name: 'id', type: 'uuid' },
  states: ['live', 'erased'],
  sealed: false,
  columns: [{ kind: 'clear', name: 'text', type: 'text', max: 200 }],
  procedures: {},
})

const fingerprint = 'ab'.repeat(32)
const start = Date.UTC(2026, 0, 1)

export interface Writer {
  secretKey: Bytes
  certificate: TrustedCertificate
}

/** P-256 SubjectPublicKeyInfo in DER: fixed head, then the 65 bytes of the point (RFC 5480). */
const spkiHead = fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'spki head')

export function makeWriter(account: string, role: Role, tenant: string | null): Writer {
  const { secretKey } = p256.keygen()
  const publicKey = p256.getPublicKey(secretKey, false)
  const certificate: TrustedCertificate = {
    account,
    role,
    tenant,
    signer: toHex(signerOf(concat(spkiHead, publicKey))),
    serial: '01',
    subject: `/CN=${account}`,
    issuer: '/CN=ca',
    notBefore: new Date(start - 3_600_000).toISOString(),
    notAfter: new Date(start + 86_400_000).toISOString(),
    revokedAt: null,
    publicKey,
    der: new Uint8Array(0),
  }
  return { secretKey, certificate }
}

export class TrailBuilder {
  readonly origin = 'ztmysql.local/0123456789abcdef'
  readonly tenant = newUuid()
  readonly app = makeWriter('app_user', 'app', this.tenant)
  readonly other = makeWriter('app_other', 'app', newUuid())
  readonly admin = makeWriter('admin', 'administrator', null)
  readonly events: TrailEvent[] = []
  readonly rows = new Map<string, Row>()
  readonly anchors: StoredAnchor[] = []
  readonly receipts: Receipt[] = []
  readonly key: AnchorKey = { name: this.origin, ed25519: random(32), mldsa44: random(32) }
  #frontier = new Frontier()
  #head = genesisHash(this.origin)
  seconds = 0
  /** The table as it stands: a test raises its scheme. */
  table: TableDefinition = notesTable

  time(): string {
    return new Date(start + this.seconds * 1000).toISOString().replace('Z', '000Z')
  }

  append(event: Event): void {
    const payload = formatEvent(event)
    const curr = linkHash(this.#head, payload)
    const tenant = event.tenant === null ? new Uint8Array(16) : uuidBytes(event.tenant)
    const columns = { tenant, event: uuidBytes(event.id) }
    this.events.push({ seq: this.events.length, prev: this.#head, payload, curr, columns })
    this.#head = curr
    this.#frontier.append(leafHash(payload))
  }

  /** An honest signed write; `change` bends the event just before it is stored. */
  write(row: Row, writer: Writer = this.app, change: (event: RowEvent) => RowEvent = event => event): void {
    this.append(change(this.#signed(row, writer)))
    const last = this.events.at(-1)
    if (last) this.receipts.push(makeReceipt(this.origin, last.payload))
    this.rows.set(String(row.id), row)
  }

  /** An honest signed write whose event stays in the queue: its payload. */
  queue(row: Row): Bytes {
    const payload = formatEvent(this.#signed(row, this.app))
    this.rows.set(String(row.id), row)
    return payload
  }

  #signed(row: Row, writer: Writer): RowEvent {
    this.seconds++
    const id = String(row.id)
    const old = this.rows.get(id)
    const after = rowDigest(this.table, row)
    const action = old ? 'update' : 'create'
    const event = newUuid()
    const write = {
      origin: this.origin,
      event,
      action,
      tenant: this.tenant,
      table: 'notes',
      key: id,
      version: Number(row.version),
      wrapVersion: 1,
      after,
    }
    return {
      v: 1,
      id: event,
      time: this.time(),
      actor: 'app_user@127.0.0.1',
      conn: 7,
      tenant: this.tenant,
      table: 'notes',
      action,
      key: id,
      ver: Number(row.version),
      wver: 1,
      scheme: this.table.scheme,
      before: old ? toHex(rowDigest(this.table, { colour: null, ...old })) : null,
      after: toHex(after),
      sig: toBase64(signWrite(writer.secretKey, write)),
      signer: writer.certificate.signer,
      data: null,
    }
  }

  row(text: string, old?: Row): Row {
    return {
      tenant_id: this.tenant,
      id: old ? String(old.id) : newUuid(),
      version: old ? Number(old.version) + 1 : 1,
      wrap_version: 1,
      state: 'live',
      text,
      salt: random(16),
    }
  }

  /** An event of the server's own. */
  server(action: ServerEvent['action'], data: object): void {
    this.append({
      v: 1,
      id: newUuid(),
      time: this.time(),
      actor: 'root@localhost',
      conn: 8,
      tenant: null,
      table: null,
      action,
      key: null,
      ver: null,
      wver: null,
      scheme: null,
      before: null,
      after: null,
      sig: null,
      signer: null,
      data,
    } as Event)
  }

  /** What a backup made now would hold. */
  backup(): { size: number; rows: Map<string, Row> } {
    return { size: this.events.length, rows: new Map(this.rows) }
  }

  /** Goes back to a backup, says so (`changes` bends what it says), and goes on from the newest anchor of the store. */
  restore({ size, rows }: { size: number; rows: Map<string, Row> }, changes: object = {}): void {
    this.events.splice(size)
    this.#frontier = new Frontier()
    for (const { payload } of this.events) this.#frontier.append(leafHash(payload))
    this.#head = this.events.at(-1)?.curr ?? genesisHash(this.origin)
    this.rows.clear()
    for (const [id, row] of rows) this.rows.set(id, row)
    const last = this.anchors.at(-1)
    this.server('restore', {
      number: this.anchors.length,
      sha256: last ? anchorHash(last.bytes) : noPredecessor,
      size: last ? parseAnchor(last.bytes).size : 0,
      from: size,
      head: toHex(this.#head),
      backup: toHex(random(32)),
      ...changes,
    })
  }

  anchor(print = fingerprint): void {
    this.seconds += 60
    const number = this.anchors.length + 1
    const last = this.anchors.at(-1)
    const prev = last ? anchorHash(last.bytes) : noPredecessor
    this.append({
      v: 1,
      id: newUuid(),
      time: this.time(),
      actor: 'anchor@localhost',
      conn: 8,
      tenant: null,
      table: null,
      action: 'anchor',
      key: null,
      ver: null,
      wver: null,
      scheme: null,
      before: null,
      after: null,
      sig: null,
      signer: null,
      data: { number, fingerprint: print, prev },
    })
    const size = this.events.length
    const head = { origin: this.origin, size, root: this.#frontier.root() }
    const bytes = formatAnchor({
      v: 1,
      origin: this.origin,
      number,
      size,
      head: toHex(this.#head),
      fingerprint: print,
      prev,
      time: this.time(),
      checkpoint: signCheckpoint(head, [this.key], start / 1000 + this.seconds),
    })
    this.anchors.push({ name: anchorName(number), bytes, receivedAt: start + this.seconds * 1000 + 200 })
  }

  get head(): Bytes {
    return this.#head
  }

  source(changes: Partial<TrailSource> = {}): TrailSource {
    const { events, rows } = this
    return {
      origin: this.origin,
      from: 0,
      size: events.length,
      head: this.#head,
      rowCount: rows.size,
      async *events() {
        for (let i = 0; i < events.length; i += 3) yield events.slice(i, i + 3)
      },
      async *rows(): AsyncGenerator<StoredRow[]> {
        for (const row of rows.values()) yield [{ table: 'notes', row }]
      },
      ...changes,
    }
  }

  verify(options: Partial<VerifyOptions> = {}, source: TrailSource = this.source()): Promise<Verdict> {
    const keys = { ...publicKeys(this.key), from: 1, until: null }
    return verifyTrail(source, {
      trust: {
        origin: this.origin,
        logKeys: [keys],
        certificates: [this.app, this.other, this.admin].map(writer => writer.certificate),
      },
      anchors: this.anchors,
      receipts: this.receipts,
      definitions: new Map([['notes', notesTable]]),
      golden: [fingerprint],
      now: start + this.seconds * 1000 + 1000,
      signatures: 'last',
      ...options,
    })
  }
}

/** Two anchors over creates and updates of three rows, and one write after them. */
export function honestTrail(): TrailBuilder {
  const trail = new TrailBuilder()
  const a = trail.row('a')
  const b = trail.row('b')
  trail.write(a)
  trail.write(b)
  trail.anchor()
  trail.write(trail.row('a2', a))
  trail.write(trail.row('c'))
  trail.anchor()
  trail.write(trail.row('b2', b))
  return trail
}
