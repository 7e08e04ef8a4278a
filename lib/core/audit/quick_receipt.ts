/** What a client asks of a folder of receipts, at a fraction of the price of parsing each: which row is the newest. */
import { quickEvent } from './quick_event.ts'

export interface QuickReceipt {
  readonly id: string
  readonly table: string
  readonly tenant: string
  readonly key: string
  readonly version: number
  readonly wrapVersion: number
  readonly after: string
}

const line = /^\{"v":1,"origin":"([a-z0-9./-]{1,200})","payload":"([A-Za-z0-9+/]+={0,2})"\}\n$/
const members =
  /"tenant":"([^"]+)","table":"([^"]+)","action":"[a-z]+","key":"([^"]+)","ver":([0-9]+),"wver":([0-9]+),.*"after":"([0-9a-f]{64})","sig"/

/**
 * The row of a receipt (SPEC §4.8) in the commonest spelling, its LF included; null for one of another log. Undefined
 * says nothing: parseReceipt decides. Whatever it lets through, parseReceipt accepts too.
 */
export function quickReceipt(text: string, origin: string): QuickReceipt | null | undefined {
  const [, of, payload] = line.exec(text) ?? []
  if (of === undefined || payload === undefined) return undefined
  const bytes = Buffer.from(payload, 'base64')
  if (bytes.toString('base64') !== payload) return undefined
  const event = bytes.toString('latin1') // quickEvent lets nothing but ASCII through
  const quick = quickEvent(event)
  const [, tenant, table, key, version, wrapVersion, after] = members.exec(event) ?? []
  if (quick === undefined || tenant === undefined || table === undefined || key === undefined)
    return undefined
  if (after === undefined) return undefined
  if (of !== origin) return null
  const numbers = { version: Number(version), wrapVersion: Number(wrapVersion) }
  return { id: quick.id, table, tenant, key, ...numbers, after }
}

/** What stands in the base64 of a text wherever `part` (ASCII) stands in the text: one for each of the three alignments. */
export const base64Needles = (part: string): string[] =>
  [0, 1, 2].map(offset => {
    const whole = Buffer.from('\0'.repeat(offset) + part).toString('base64')
    // characters that share bits with what stands before or behind are not the part's alone
    return whole.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + part.length) * 8) / 6))
  })
