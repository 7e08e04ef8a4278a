/** Receipts: the payload that a procedure returned, kept by the client that asked for it (SPEC §4.8). */
import { z } from 'zod'
import { type Bytes, fromBase64, fromUtf8, toBase64 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { checkOrigin, isOrigin } from '../origin.ts'
import { type Event, eventMaxBytes, parseEvent } from './event.ts'

export interface Receipt {
  origin: string
  /** The bytes under the chain and the tree. */
  payload: Bytes
  /** What they say. */
  event: Event
}

const receiptSchema = z.strictObject({
  v: z.literal(1),
  origin: z.string().refine(isOrigin),
  payload: z.string(),
})

const receiptMaxBytes = 2 * eventMaxBytes

/** A receipt of a payload. @throws BAD_FORMAT where it is not an event */
export function makeReceipt(origin: string, payload: Bytes): Receipt {
  return { origin: checkOrigin(origin), payload, event: parseEvent(payload, 'receipt') }
}

/** `EVENTID.json`. */
export const receiptName = (receipt: Receipt): string => `${receipt.event.id}.json`

export function formatReceipt({ origin, payload }: Pick<Receipt, 'origin' | 'payload'>): string {
  makeReceipt(origin, payload)
  return formatCanonical({ v: 1, origin, payload: toBase64(payload) }, true)
}

/** A receipt from its file. @param name of the file, where it has one. @throws BAD_FORMAT, NEWER_FORMAT */
export function parseReceipt(source: Bytes | string, what = 'receipt', name?: string): Receipt {
  const { origin, payload } = parseCanonical(source, receiptSchema, what, {
    maxBytes: receiptMaxBytes,
    newline: true,
  })
  const bytes = fromBase64(payload, `${what}: payload`)
  const receipt = { origin, payload: bytes, event: parseEvent(bytes, what) }
  if (name !== undefined && name !== receiptName(receipt))
    throw new ZtError('BAD_FORMAT', `${what}: holds event ${receipt.event.id}, its name is ${name}`)
  return receipt
}

/** The receipts of one call of many writes, from their one file (SPEC §4.8). @throws BAD_FORMAT, NEWER_FORMAT */
export function parseReceipts(source: Bytes | string, what = 'receipts'): Receipt[] {
  const text = typeof source === 'string' ? source : fromUtf8(source, what)
  return text.split(/(?<=\n)/).map((line, i) => parseReceipt(line, `${what}: line ${i + 1}`))
}
