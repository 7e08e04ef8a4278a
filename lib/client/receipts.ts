/** The folder of receipts: what is kept before a call, after it, and what it says of the newest versions (SPEC §4.8). */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isRowEvent } from '../core/audit/event.ts'
import { base64Needles, quickReceipt } from '../core/audit/quick_receipt.ts'
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
  /** The payload of the receipt of a row as it is, where one is kept. @throws BAD_FORMAT */
  payloadOf(def: TableDefinition, row: Row): Bytes | undefined
}

interface Newest {
  version: number
  wrapVersion: number
  after: string
  /** Where it was read or written. */
  path: string
}

const maxBytes = 1 << 20
/** Rows that are sought one by one before all receipts are read. */
const maxSeeks = 4
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

  const add = (known: Map<string, Newest>, place: string, found: Newest): void => {
    const seen = known.get(place)
    if (seen === undefined || isNewer(found, seen)) known.set(place, found)
  }

  const learn = (known: Map<string, Newest>, payload: Bytes, path: string): void => {
    const { event } = makeReceipt(origin, payload)
    if (!isRowEvent(event)) return
    const place = [event.table, event.tenant, event.key].join()
    add(known, place, { version: event.ver, wrapVersion: event.wver, after: event.after, path })
  }

  const learnLine = (known: Map<string, Newest>, text: string, path: string, what: string, name?: string) => {
    const quick = quickReceipt(text, origin)
    if (quick === null) return
    if (quick !== undefined && (name === undefined || name === `${quick.id}.json`)) {
      const { table, tenant, key, version, wrapVersion, after } = quick
      add(known, [table, tenant, key].join(), { version, wrapVersion, after, path })
      return
    }
    const receipt = parseReceipt(text, what, name)
    if (receipt.origin === origin) learn(known, receipt.payload, path)
  }

  /** Calls `take` with the bytes of each file of receipts. */
  const eachFile = (take: (bytes: Buffer, path: string, name?: string) => void): void => {
    for (const name of list('.json')) {
      const path = join(dir, name)
      take(readRegularFile(path, 'receipt', maxBytes), path, name)
    }
    for (const name of list('.receipts')) {
      const path = join(dir, name)
      take(readRegularFile(path, 'receipts', maxManyBytes), path)
    }
  }

  const learnFile = (known: Map<string, Newest>, bytes: Bytes, path: string, name?: string): void => {
    const text = fromUtf8(bytes, path)
    if (name !== undefined) {
      learnLine(known, text, path, `receipt ${path}`, name)
      return
    }
    for (const [i, line] of text.split(/(?<=\n)/).entries())
      learnLine(known, line, path, `${path}: line ${i + 1}`)
  }

  let seeks = 0

  /**
   * The newest receipt of a row. Whoever reads a few rows has the files searched for their keys, a twentieth of the price
   * of understanding them; whoever reads more has all of them indexed once. A writer pays for neither.
   */
  const newestOf = (table: string, tenant: string, key: string): Newest | undefined => {
    const place = [table, tenant, key].join()
    if (newest !== undefined) return newest.get(place)
    const known = new Map<string, Newest>()
    if (seeks < maxSeeks && /^[a-z0-9_-]+$/i.test(key)) {
      seeks += 1
      const needles = base64Needles(`"key":"${key}"`)
      eachFile((bytes, path, name) => {
        if (needles.some(needle => bytes.includes(needle))) learnFile(known, bytes, path, name)
      })
      return known.get(place)
    }
    eachFile((bytes, path, name) => learnFile(known, bytes, path, name))
    newest = known
    return known.get(place)
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
      if (newest !== undefined) learn(newest, payload, path)
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
      if (newest !== undefined) for (const { payload } of kept) learn(newest, payload, path)
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
    payloadOf: (def, row) => {
      const place = placeOf(def, row)
      const seen = newestOf(def.table, place.tenant, place.row)
      if (seen?.version !== Number(row.version) || seen.wrapVersion !== Number(row.wrap_version))
        return undefined
      return parseReceipts(readRegularFile(seen.path, 'receipts', maxManyBytes), seen.path).find(
        ({ event }) => isRowEvent(event) && event.after === seen.after && event.key === place.row,
      )?.payload
    },
    requireFresh: (def, row) => {
      const place = placeOf(def, row)
      const seen = newestOf(def.table, place.tenant, place.row)
      if (seen === undefined) return
      const found = {
        version: Number(row.version),
        wrapVersion: Number(row.wrap_version),
        after: toHex(rowDigest(def, row)),
        path: '',
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
