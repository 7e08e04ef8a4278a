/** The record of what the host was set up with, written once all else is in place. */
import { formatHostRecord, hostRecordPath } from '../../core/host/record.ts'
import type { Setup } from './setup.ts'
import { fileStep, type Layer, rootFile } from './steps.ts'

export async function recordLayer(setup: Setup): Promise<Layer> {
  const step = fileStep(setup, {
    id: 'host-record',
    description: 'keep what the host was set up with, so that a later run needs no flags',
    dirs: [{ path: '/etc/ztmysql', mode: 0o755, uid: 0, gid: 0 }],
    files: [rootFile(hostRecordPath, formatHostRecord(setup.wanted))],
  })
  return { steps: [step], findings: [] }
}
