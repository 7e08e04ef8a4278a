/** Where the anchor service of this host keeps things, by the record of the host. */

import { ZtError } from '../../core/errors.ts'
import { hostRecordPath, parseHostRecord } from '../../core/host/record.ts'
import { shipFolder } from '../../core/host/units.ts'
import { readRegularFile } from '../files.ts'

/** Nothing on a machine that has no such record. @throws BAD_FORMAT, NEWER_FORMAT, PERMISSION */
export function anchorPlaces(): { worm?: string; ship?: string } {
  try {
    const bytes = readRegularFile(hostRecordPath, 'record of the host', 1 << 16)
    const { worm, logHost } = parseHostRecord(bytes, hostRecordPath)
    return { worm, ...(logHost === null ? {} : { ship: shipFolder }) }
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NOT_FOUND') return {}
    throw thrown
  }
}
