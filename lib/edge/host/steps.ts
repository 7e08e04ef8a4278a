/** The kinds of step that the host layer is made of. Each keeps the original first, and puts it back where it fails. */
import { reason, ZtError } from '../../core/errors.ts'
import type { Distribution } from '../../core/host/distribution.ts'
import type { HostRecord } from '../../core/host/record.ts'
import type { Change, Finding, Step } from '../../core/plan.ts'
import {
  dirChange,
  fileChange,
  type OwnedDir,
  type OwnedFile,
  putDir,
  putFile,
  snapshotFiles,
} from '../owned_files.ts'
import type { Journal } from './journal.ts'
import { must, unitState } from './system.ts'

/** The host that is set up: what it is, what it shall be, and where its originals are kept. */
export interface Host {
  distribution: Distribution
  wanted: HostRecord
  journal: Journal
}

/**
 * One part of the host. It is planned before anything is installed too, and once more right before it is applied: what
 * is not there yet (a tool, a user) is planned as still to be made.
 */
export interface Layer {
  steps: Step[]
  findings: Finding[]
}

export interface FileStep {
  id: string
  description: string
  dirs?: OwnedDir[]
  files: OwnedFile[]
  /** What else differs (a unit's state, a value of the kernel), besides the files. */
  changes?: Change[]
  /** Makes the files take effect, and sees that they did. */
  take?(): Promise<void>
}

export const rootFile = (path: string, bytes: string, mode = 0o644): OwnedFile => ({
  path,
  bytes,
  mode,
  uid: 0,
  gid: 0,
})

/** Files put in place and taken up, or none of them: where `take` fails, what was there is put back and taken up again. */
export function fileStep({ journal }: Pick<Host, 'journal'>, wanted: FileStep): Step {
  const { id, description, dirs = [], files, changes = [], take } = wanted
  return {
    id,
    description,
    changes: [...dirs.flatMap(dirChange), ...files.flatMap(fileChange), ...changes],
    apply: async () => {
      const differing = files.filter(file => fileChange(file).length > 0)
      for (const dir of dirs) if (dirChange(dir).length > 0) putDir(dir)
      for (const { path } of differing) journal.keepFile(path)
      const restore = snapshotFiles(differing)
      differing.forEach(putFile)
      try {
        await take?.()
      } catch (thrown) {
        restore()
        await takeBack(take, thrown)
        throw thrown
      }
    },
  }
}

/** With the old files in place again; where that fails too, both reasons are told. */
async function takeBack(take: FileStep['take'], thrown: unknown): Promise<void> {
  try {
    await take?.()
  } catch (again) {
    const hint = thrown instanceof ZtError ? thrown.hint : undefined // the first one is what a person can mend
    throw new ZtError('IO', `${reason(thrown)}; and with the old files back: ${reason(again)}`, {
      cause: thrown,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}

/** A unit that shall be enabled or not, running or not. */
export async function unitStep(
  { journal }: Pick<Host, 'journal'>,
  { id, description, unit, run }: { id: string; description: string; unit: string; run: boolean },
): Promise<Step> {
  const before = await unitState(unit)
  const after = run ? 'enabled, active' : 'disabled, inactive'
  const now = `${before.enabled}, ${before.active}`
  const fits = run
    ? ['enabled', 'static', 'alias', 'indirect'].includes(before.enabled) && before.active === 'active'
    : before.enabled !== 'enabled' && before.active !== 'active'
  return {
    id,
    description,
    changes: fits ? [] : [{ item: `unit ${unit}`, before: now, after }],
    apply: async () => {
      journal.keep({ kind: 'unit', name: unit, before })
      await must('systemctl', run ? 'enable' : 'disable', '--now', unit)
    },
  }
}
