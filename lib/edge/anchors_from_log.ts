/** A folder of anchors, as a verifier reads it, from the files in which a log host keeps what it received. */
import { mkdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { type LogFault, logLineMaxChars, ReceivedAnchors } from '../core/audit/anchor_log.ts'
import { ZtError } from '../core/errors.ts'
import { createExclusive, fileError } from './files.ts'
import { lines } from './trail.ts'

export interface FromLog {
  /** How many were written. */
  anchors: number
  first: number
  last: number
  /** Lines that repeat an anchor. */
  again: number
  /** Lines that claim to be an anchor and are none, by file. */
  faults: (LogFault & { file: string })[]
}

/**
 * @param files in the order in which they were written: the oldest first
 * @param out a folder that is not there yet
 * @throws NOT_FOUND where there is no anchor in them; CONFLICT where `out` exists
 */
export async function anchorsFromLog(files: readonly string[], out: string): Promise<FromLog> {
  const received = new ReceivedAnchors()
  const faults: FromLog['faults'] = []
  for (const file of files) {
    const each = new ReceivedAnchors(received.anchors)
    try {
      for await (const line of lines(file, logLineMaxChars)) each.add(line.replace(/\n$/, ''))
    } catch (thrown) {
      throw fileError(thrown, file, 'received lines')
    }
    received.again += each.again
    faults.push(...each.faults.map(fault => ({ ...fault, file })))
  }
  const numbers = [...received.anchors.keys()].sort((a, b) => a - b)
  const [first] = numbers
  const last = numbers.at(-1)
  if (first === undefined || last === undefined)
    throw new ZtError('NOT_FOUND', `no anchor in ${files.join(', ')}`, {
      hint: 'name the file in which the log host keeps what the database host sends',
    })
  makeNew(out)
  for (const { name, bytes, receivedAt } of received.anchors.values()) {
    const path = join(out, name)
    createExclusive(path, bytes, 0o444)
    utimesSync(path, receivedAt / 1000, receivedAt / 1000)
  }
  return { anchors: numbers.length, first, last, again: received.again, faults }
}

function makeNew(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o755 })
  } catch (thrown) {
    throw fileError(thrown, dir, 'folder of anchors')
  }
}
