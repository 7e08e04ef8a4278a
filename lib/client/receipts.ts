/** The folder of receipts: what is kept before a call, after it, and what it says of the newest versions (SPEC §4.8). */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isRowEvent } from '../core/audit/event.ts'
import {
  formatReceipt,
  makeReceipt,
  parseReceipt,
  parseReceipts,
  receiptName,
} from '../core/audit/receipt.ts'
import { type Bytes, fromUtf8, toHex } from '../core/bytes.ts'
import { rowDigest } from '../core/digest.ts'
import { placeOf } from '../core/envelope/row_mac.ts'
import { ZtError } from '../core/errors.ts'
import type { Row, TableDefinition } from '../core/tables.ts'
import {
  createExclusive,
  fileError,
  makePrivateDir,
  readRegularFile,
  removeFile,
  writeFileAtomic,
} from '../edge/files.ts'
import { formatPending, parsePending, type Write } from './pending.ts'

export interface Receipts {
  /** Before the call. @throws DISK_FULL, PERMISSION: then nothing was sent */
  expect(write: Write): void
  /** After the call, once the payload was compared: keeps it as evidence. @returns the path */
  keep(event: string, payload: Bytes): string
  /** The database refused it: nothing was written. */
  drop(event: string): void
  /** The writes of one call, in one file named after the first: a file each would cost more than the call. */
  expectMany(writes: readonly Write[]): void
  /** Their receipts, in one file. @returns the path */
  keepMany(receipts: readonly { event: string; payload: Bytes }[]): string
  dropMany(first: string): void
  /** Every call of many writes whose receipts never came. @throws BAD_FORMAT */
  pendingMany(definitions: ReadonlyMap<string, TableDefinition>): Write[][]
  /** Puts a payload that does not say what was sent where receipts are not looked for. @returns the path */
  dispute(event: string, payload: Bytes): string
  /** Every write whose receipt never came. @throws BAD_FORMAT */
  pending(definitions: ReadonlyMap<string, TableDefinition>): Write[]
  /** @throws STALE_ROW where a receipt knows a newer row, or another one of this version */
  requireFresh(def: TableDefinition, row: Row): void
}

interface Newest {
  version: number
  wrapVersion: number
  after: string
}

const maxBytes = 1 << 20
/** Of a call of 500 writes. */
const maxManyBytes = 1 << 25

export function openReceipts(dir: string, origin: string): Receipts {
  if (existsSync(dir)) makePrivateDir(dir) // whoever only reads needs no folder
  const file = (event: string, suffix: string) => join(dir, `${event}${suffix}`)
  let newest: Map<string, Newest> | undefined

  const list = (suffix: string): string[] => {
    if (!existsSync(dir)) return []
    try {
      return readdirSync(dir).filter(name => name.endsWith(suffix) && !name.startsWith('.'))
    } catch (thrown) {
      throw fileError(thrown, dir, 'receipts')
    }
  }

  const learn = (known: Map<string, Newest>, payload: Bytes): void => {
    const { event } = makeReceipt(origin, payload)
    if (!isRowEvent(event)) return
    const place = [event.table, event.tenant, event.key].join()
    const seen = known.get(place)
    const found = { version: event.ver, wrapVersion: event.wver, after: event.after }
    if (seen === undefined || isNewer(found, seen)) known.set(place, found)
  }

  // Read when a row is first read: a writer does not pay for it.
  const index = (): Map<string, Newest> => {
    if (newest !== undefined) return newest
    const known = new Map<string, Newest>()
    for (const name of list('.json')) {
      const receipt = parseReceipt(
        readRegularFile(join(dir, name), 'receipt', maxBytes),
        `receipt ${join(dir, name)}`,
        name,
      )
      if (receipt.origin === origin) learn(known, receipt.payload)
    }
    for (const name of list('.receipts')) {
      const path = join(dir, name)
      for (const receipt of parseReceipts(readRegularFile(path, 'receipts', maxManyBytes), path))
        if (receipt.origin === origin) learn(known, receipt.payload)
    }
    newest = known
    return known
  }

  const dropMany = (first: string): void => removeFile(file(first, '.pendings'))

  return {
    expect: write => {
      makePrivateDir(dir)
      createExclusive(file(write.event, '.pending'), formatPending(write))
    },
    keep: (event, payload) => {
      const path = join(dir, receiptName(makeReceipt(origin, payload)))
      writeFileAtomic(path, formatReceipt({ origin, payload }))
      removeFile(file(event, '.pending'))
      if (newest !== undefined) learn(newest, payload)
      return path
    },
    expectMany: writes => {
      const [first] = writes
      if (first === undefined) return
      makePrivateDir(dir)
      createExclusive(file(first.event, '.pendings'), writes.map(formatPending).join(''))
    },
    keepMany: kept => {
      const path = file(kept[0]?.event ?? '', '.receipts')
      writeFileAtomic(path, kept.map(({ payload }) => formatReceipt({ origin, payload })).join(''))
      dropMany(kept[0]?.event ?? '')
      if (newest !== undefined) for (const { payload } of kept) learn(newest, payload)
      return path
    },
    dropMany,
    pendingMany: definitions =>
      list('.pendings').map(name => {
        const path = join(dir, name)
        const text = fromUtf8(readRegularFile(path, 'pending writes', maxManyBytes), path)
        return text
          .split(/(?<=\n)/)
          .map((line, i) => parsePending(definitions, line, `pending writes ${path}: line ${i + 1}`))
      }),
    drop: event => removeFile(file(event, '.pending')),
    dispute: (event, payload) => {
      const path = file(event, '.disputed')
      writeFileAtomic(path, payload)
      return path
    },
    pending: definitions =>
      list('.pending').flatMap(name => {
        const path = join(dir, name)
        try {
          return [
            parsePending(
              definitions,
              readRegularFile(path, 'pending write', maxBytes),
              `pending write ${path}`,
            ),
          ]
        } catch (thrown) {
          if (thrown instanceof ZtError && thrown.code === 'NOT_FOUND') return [] // its own process has its receipt now
          throw thrown
        }
      }),
    requireFresh: (def, row) => {
      const place = placeOf(def, row)
      const seen = index().get([def.table, place.tenant, place.row].join())
      if (seen === undefined) return
      const found = {
        version: Number(row.version),
        wrapVersion: Number(row.wrap_version),
        after: toHex(rowDigest(def, row)),
      }
      const behind = isNewer(seen, found)
      const other = !isNewer(found, seen) && found.after !== seen.after
      if (!behind && !other) return
      throw new ZtError(
        'STALE_ROW',
        behind
          ? `${def.table} ${place.row}: the database shows version ${found.version}, a receipt here says ${seen.version} was written`
          : `${def.table} ${place.row}: version ${found.version} is not the one that a receipt here is for`,
        { hint: 'use nothing of it: somebody put another row back; run chain_verify with these receipts' },
      )
    },
  }
}

const isNewer = (a: Newest, b: Newest): boolean =>
  a.version > b.version || (a.version === b.version && a.wrapVersion > b.wrapVersion)
