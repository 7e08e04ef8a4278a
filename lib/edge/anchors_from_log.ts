/** A folder of anchors, as a verifier reads it, from the files in which a log host keeps what it received. */
import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  type LogFault,
  logLineMaxChars,
  type ReceivedAnchor,
  ReceivedAnchors,
} from '../core/audit/anchor_log.ts'
import { ZtError } from '../core/errors.ts'
import { onExit } from './cleanup.ts'
import { fileError } from './files.ts'
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
  refuseExisting(out)
  const temp = join(dirname(out), `.zt-${randomBytes(9).toString('hex')}.tmp`)
  const clean = () => rmSync(temp, { recursive: true, force: true })
  const forget = onExit(clean)
  try {
    mkdirSync(temp, { mode: 0o755 })
    const made = await write(files, temp)
    renameSync(temp, out)
    return made
  } catch (thrown) {
    throw fileError(thrown, out, 'folder of anchors')
  } finally {
    forget()
    clean()
  }
}

/** A rename would take an empty folder's place. */
function refuseExisting(out: string): void {
  if (lstatSync(out, { throwIfNoEntry: false }) !== undefined)
    throw fileError({ code: 'EEXIST' }, out, 'folder of anchors')
}

async function write(files: readonly string[], dir: string): Promise<FromLog> {
  const seen = new Map<number, string>()
  const faults: FromLog['faults'] = []
  let again = 0
  for (const file of files) {
    const received = new ReceivedAnchors(seen)
    try {
      for await (const line of lines(file, logLineMaxChars)) {
        const anchor = received.add(line.replace(/\n$/, ''))
        if (anchor !== undefined) put(dir, anchor)
      }
    } catch (thrown) {
      throw fileError(thrown, file, 'received lines')
    }
    again += received.again
    faults.push(...received.faults.map(fault => ({ ...fault, file })))
  }
  if (seen.size === 0)
    throw new ZtError('NOT_FOUND', `no anchor in ${files.join(', ')}`, {
      hint: 'name the file in which the log host keeps what the database host sends',
    })
  let first = Number.POSITIVE_INFINITY
  let last = 0
  for (const number of seen.keys()) {
    first = Math.min(first, number)
    last = Math.max(last, number)
  }
  return { anchors: seen.size, first, last, again, faults }
}

function put(dir: string, { name, bytes, receivedAt }: ReceivedAnchor): void {
  const path = join(dir, name)
  writeFileSync(path, bytes, { mode: 0o444, flag: 'wx' })
  utimesSync(path, receivedAt / 1000, receivedAt / 1000)
}
