/**
 * `read --verify`: the row, the signature of its last event, and the proof that the event is under a checkpoint of
 * one's own copy of the store. The database is believed in nothing.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { tableDefinitions } from '../../sql/index.ts'
import { isRowEvent, parseEvent, type RowEvent } from '../core/audit/event.ts'
import { checkProof } from '../core/audit/proof_check.ts'
import { coveringAnchor, proveEvents } from '../core/audit/prove.ts'
import type { TrailEvent } from '../core/audit/source.ts'
import { parseTlogProof, type TlogProof, tlogProofMaxBytes } from '../core/audit/tlog_proof.ts'
import { type Bytes, toHex } from '../core/bytes.ts'
import { rowDigest } from '../core/digest.ts'
import { ZtError } from '../core/errors.ts'
import { fitsScheme, type Row, type TableDefinition, underScheme } from '../core/tables.ts'
import { readRegularFile } from '../edge/files.ts'
import { goodAnchors } from '../edge/prove.ts'
import { readAnchors, withSource } from '../edge/verify.ts'
import { type ClientFlags, foundLine, type Warn, withClient } from './actions.ts'

export interface VerifyFlags extends ClientFlags {
  /** The copy of the store. */
  anchors?: string
  /** Option file of an auditor, or an export: where the trail is. Default: the proof that lies beside the receipt. */
  auditor?: string
  trail?: string
}

interface Evidence {
  payload: Bytes
  event: RowEvent
  proof: TlogProof | undefined
}

/** One line: the row as `read` prints it, then what vouches for it. @throws VERIFY_FAILED, NOT_FOUND, STALE_ROW, … */
export function readVerified(id: string, flags: VerifyFlags, warn: Warn): Promise<string> {
  const { anchors: folder } = flags
  if (folder === undefined)
    throw new ZtError('USAGE', 'read --verify needs your own copy of the anchors: --anchors DIR')
  return withClient(flags, warn, async ({ client, trust, identity }) => {
    const { row, found } = await client.readRow(flags.table, id)
    const def = tableDefinitions.get(flags.table)
    if (def === undefined) throw new ZtError('BAD_INPUT', `${flags.table}: no such table`)
    const tenant = identity.tenant.id
    const stored = await readAnchors(folder)
    const evidence =
      flags.auditor === undefined && flags.trail === undefined
        ? await fromReceipt(flags.receipts, client.receiptOf(flags.table, row), id)
        : await fromTrail(flags, { table: def.table, tenant, key: id }, source =>
            coveringAnchor(source, goodAnchors(stored, trust)),
          )
    requireOf(def, row, evidence.event)
    if (evidence.proof === undefined)
      throw new ZtError('NOT_FOUND', `${def.table} ${id}: no anchor of your copy covers its last event yet`, {
        hint: 'an anchor is made each minute: fetch the anchors again, then run it again',
      })
    const proved = checkProof(evidence.proof, evidence.payload, {
      trust,
      definitions: tableDefinitions,
      anchors: stored,
    })
    const { event, index, anchor, signedBy, checkpoint } = proved
    const vouched = { event: event.id, index, anchor, size: checkpoint.size, signedBy }
    return `${foundLine(found).slice(0, -1)},"verified":${JSON.stringify(vouched)}}`
  })
}

/** The row must be what its event says, bit for bit, in the version that it says. */
function requireOf(def: TableDefinition, row: Row, event: RowEvent): void {
  const { id } = row
  const wrong = (what: string) =>
    new ZtError('VERIFY_FAILED', `${def.table} ${row[def.key.name] ?? id}: ${what}`, {
      hint: 'use nothing of it: the database shows another row than the one that was signed; run chain_verify',
    })
  if (event.action === 'erase') throw wrong('its last event is an erase, and the database shows it live')
  if (event.ver !== Number(row.version) || event.wver !== Number(row.wrap_version))
    throw wrong(
      `the database shows version ${row.version}.${row.wrap_version}, its last event in the trail is of ${event.ver}.${event.wver}`,
    )
  const scheme = underScheme(def, event.scheme)
  if (scheme === undefined || !fitsScheme(def, scheme, row) || toHex(rowDigest(scheme, row)) !== event.after)
    throw wrong('its digest is not the one that was signed')
}

/** With the trail at hand, the last event of the row in it, anchored or not. */
async function fromTrail(
  { auditor, trail }: VerifyFlags,
  place: { table: string; tenant: string; key: string },
  anchorOf: (source: Parameters<typeof coveringAnchor>[0]) => ReturnType<typeof coveringAnchor>,
): Promise<Evidence> {
  const options = {
    ...(auditor === undefined ? {} : { defaultsFile: auditor }),
    ...(trail === undefined ? {} : { file: trail }),
  }
  const needle = `"key":${JSON.stringify(place.key)}`
  const wants = ({ payload }: TrailEvent): boolean => Buffer.from(payload).includes(needle)
  const found = await withSource(options, source => proveEvents(source, anchorOf(source), wants))
  const its = found.flatMap(({ event, ...one }) =>
    isRowEvent(event) &&
    event.table === place.table &&
    event.tenant === place.tenant &&
    event.key === place.key
      ? [{ ...one, event }]
      : [],
  )
  const last = its.at(-1)
  if (last === undefined)
    throw new ZtError('NOT_FOUND', 'the trail has no event of this row', {
      hint: 'it may wait to be sealed; a receipt that stays missing is evidence: run chain_verify',
    })
  return { payload: last.payload, event: last.event, proof: last.proof }
}

/** The receipt of the row as it is, and the proof beside it, which `chain_verify receipts` makes. */
async function fromReceipt(dir: string, payload: Bytes | undefined, id: string): Promise<Evidence> {
  if (payload === undefined)
    throw new ZtError('NOT_FOUND', `${id}: no receipt in ${dir} is for its present version`, {
      hint: 'name where the trail is: --auditor FILE or --trail EXPORT',
    })
  const event = parseEvent(payload, 'receipt')
  if (!isRowEvent(event)) throw new ZtError('BAD_FORMAT', `${id}: its receipt is of no row`)
  const path = join(dir, `${event.id}.tlog-proof`)
  if (!existsSync(path))
    throw new ZtError('NOT_FOUND', `${path}: the receipt has no proof beside it yet`, {
      hint: 'make it with `chain_verify receipts`, or name where the trail is: --auditor FILE or --trail EXPORT',
    })
  const proof = parseTlogProof(readRegularFile(path, 'proof', tlogProofMaxBytes), path)
  return { payload, event, proof }
}
