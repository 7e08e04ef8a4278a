/** A deployment with a little history, and an attack performed on it, named by the verifier, and undone. */
import { expect } from 'bun:test'
import type { Receipt } from '../../lib/core/audit/receipt.ts'
import type { VerifyOptions } from '../../lib/core/audit/trail_verdict.ts'
import { type Bytes, random } from '../../lib/core/bytes.ts'
import type { Row } from '../../lib/core/tables.ts'
import { callOf, prepareWrite, type Write } from '../../lib/core/write.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import type { Signer } from './deployment.ts'
import { accountRow, definitionOf, type Live, type LiveTenant, live, userRow } from './live.ts'
import { failures, RootShell, receiptOf } from './root_shell.ts'

export interface Expected {
  /** Whether an export made after the attack shows the same; what stands beside the events is not in it. */
  exported?: boolean
  options?: () => Partial<VerifyOptions>
  /** Puts back what no rollback of tables and anchors can. */
  undo?: () => Promise<void>
}

/**
 * Tenant acme: Ada (written twice, with an account), Bob, and Last, whom no anchor covers yet; tenant globex: Grace. Three anchors,
 * of which the last covers all but Last. A test leaves it as it found it.
 */
export class Attacked {
  readonly live: Live
  readonly shell: RootShell
  #administrator: Signer | undefined
  /** Of every write of an application, kept by its client. */
  readonly receipts: Receipt[] = []
  /** Ids of the people. */
  readonly people: Record<'ada' | 'bob' | 'grace' | 'last', string>

  /** Of Ada. */
  account = ''
  /** As stored, before they were written again: Ada, and the grant of temp_app to acme, which was revoked. */
  oldAda: Row = {}
  oldGrant: Row = {}

  private constructor(live: Live, shell: RootShell) {
    this.live = live
    this.shell = shell
    this.people = { ada: '', bob: '', grace: '', last: '' }
  }

  static async make(): Promise<Attacked> {
    const l = await live()
    const made = new Attacked(l, await RootShell.open(l))
    const [acme, globex] = l.tenants
    const ada = await made.write(acme, 'users', 'create', userRow(acme))
    made.oldAda = await made.shell.row('users', String(ada.id))
    await made.write(acme, 'users', 'update', { ...userRow(acme), id: ada.id ?? '', version: 2 })
    made.people.ada = String(ada.id)
    made.people.bob = String((await made.write(acme, 'users', 'create', userRow(acme))).id)
    made.people.grace = String((await made.write(globex, 'users', 'create', userRow(globex))).id)
    const account = await made.write(acme, 'accounts', 'create', accountRow(acme, String(ada.id)))
    made.account = String(account.id)
    const grant = { tenant_id: acme.id, account: 'temp_app', version: 1, wrap_version: 1, state: 'active' }
    await made.order('tenant_grant', 'create', { ...grant, salt: random(16) })
    made.oldGrant = await made.shell.row('tenant_grant', 'temp_app')
    await made.order('tenant_grant', 'retire', { ...grant, version: 2, state: 'revoked', salt: random(16) })
    await l.anchor()
    made.people.last = String((await made.write(acme, 'users', 'create', userRow(acme))).id)
    await l.seal()
    await made.shell.save()
    return made
  }

  get origin(): string {
    return this.live.origin
  }

  get acme(): LiveTenant {
    return this.live.tenants[0]
  }

  get globex(): LiveTenant {
    return this.live.tenants[1]
  }

  /** An honest write whose receipt its client keeps. */
  async write(tenant: LiveTenant, table: string, action: Write['action'], row: Row): Promise<Row> {
    this.receipts.push(receiptOf(this.origin, await this.live.write(tenant, table, action, row)))
    return row
  }

  /** An administrator's write, signed on the workstation for `origin` and applied by root. */
  async order(table: string, action: Write['action'], row: Row, by: Partial<Signer> = {}): Promise<void> {
    this.#administrator ??= await this.live.administrator()
    const { procedure, params } = callOf(
      prepareWrite(definitionOf(table), action, row, { ...this.#administrator, ...by }),
    )
    await this.live.root.call(`securedb.${procedure}`, params)
  }

  /** The number of the first write of Ada: in the middle, and under an anchor. */
  async middle(): Promise<number> {
    const [found] = await this.live.root.query(
      'SELECT MIN(seq) AS seq FROM securedb.audit_events WHERE payload LIKE ?',
      [`%"table":"users"%"key":"${this.people.ada}"%`],
    )
    return Number(found?.seq)
  }

  /** Payload of that event. */
  async middlePayload(): Promise<Bytes> {
    const event = (await this.shell.events())[await this.middle()]
    if (!event) throw new Error('no event')
    return event.payload
  }

  async isHonest(): Promise<void> {
    const { shell, receipts } = this
    expect(failures(await shell.verify({ receipts, signatures: 'all' }))).toEqual([])
    expect(failures(await shell.verifyExport({ receipts, signatures: 'all' }))).toEqual([])
  }

  /** The same with one more anchor, which looks at the schema again. */
  async isStillHonest(): Promise<void> {
    await this.live.anchor()
    this.shell.fetchAnchors()
    await this.isHonest()
    await this.shell.rollback()
  }

  /**
   * Performs an attack on a deployment that verifies, and undoes it. `act` returns `CODE place` of what must be found,
   * by the live verdict and by an export's.
   */
  async exposes(
    act: () => Promise<string[]>,
    { exported = true, options, undo }: Expected = {},
  ): Promise<void> {
    const { shell } = this
    try {
      const finds = await act()
      const given = options?.() ?? {}
      const found = failures(await shell.verify(given))
      expect(found).toEqual(expect.arrayContaining(finds))
      if (exported) expect(failures(await shell.verifyExport(given)).sort()).toEqual([...found].sort())
    } finally {
      await undo?.()
      await shell.rollback()
    }
  }
}

let shared: Promise<Attacked> | undefined

/** The one of this test process. */
export function attacked(): Promise<Attacked> {
  shared ??= Attacked.make().then(made => {
    onExit(async () => made.live[Symbol.asyncDispose]())
    return made
  })
  return shared
}

export const anHourLater = (): { now: number } => ({ now: Date.now() + 3_600_000 })
